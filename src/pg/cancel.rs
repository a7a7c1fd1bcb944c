//! A cancel that must not be lost. The server keeps one flag for a cancel and for the limits of waits
//! (`QueryCancelPending`): where both come before it looks, `ProcessInterrupts` tells of the limit alone, and the
//! cancel is forgotten. On a busy machine a process that waits to run again gets both at once.

use pgrx::pg_sys;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Another process has sent SIGINT since the watch began.
static HAS_COME: AtomicBool = AtomicBool::new(false);
/// The server's own handler.
static SERVERS: AtomicUsize = AtomicUsize::new(0);

/// While there is one, cancels are kept in mind. Within another it leaves all to that.
pub(super) struct Watch {
    servers: Option<libc::sigaction>,
}

/// In place of the server's handler, which it calls. Async-signal-safe: it stores a flag.
///
/// # Safety
/// Called by the system, with what `SA_SIGINFO` promises.
unsafe extern "C" fn keep_in_mind(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _: *mut libc::c_void,
) {
    // SAFETY: as promised. The address is that of the handler that was there, which takes the signal's number; never 0
    // or 1, for then this one is not installed.
    unsafe {
        // The limits of waits have the process send it to itself (`LockTimeoutHandler` in `postinit.c`).
        if (*info).si_pid() != libc::getpid() {
            HAS_COME.store(true, Ordering::Relaxed);
        }
        let handler = SERVERS.load(Ordering::Relaxed);
        let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
        handler(signal);
    }
}

impl Watch {
    pub(super) fn from_now() -> Watch {
        let ours = keep_in_mind
            as unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void)
            as usize;
        // SAFETY: plain structures. The new action differs from the server's in its handler alone, which calls the
        // server's, and in what that is told.
        let servers = unsafe {
            let mut servers: libc::sigaction = std::mem::zeroed();
            let is_known = libc::sigaction(libc::SIGINT, std::ptr::null(), &mut servers) == 0;
            let takes_number = servers.sa_flags & libc::SA_SIGINFO == 0;
            let is_none = [libc::SIG_DFL, libc::SIG_IGN, ours].contains(&servers.sa_sigaction);
            if !is_known || !takes_number || is_none {
                return Watch { servers: None };
            }
            SERVERS.store(servers.sa_sigaction, Ordering::Relaxed);
            HAS_COME.store(false, Ordering::Relaxed);
            let mut action = servers;
            action.sa_sigaction = ours;
            action.sa_flags |= libc::SA_SIGINFO;
            libc::sigaction(libc::SIGINT, &action, std::ptr::null_mut());
            servers
        };
        Watch {
            servers: Some(servers),
        }
    }

    /// Has the server answer to a cancel that has come since, though it has told of a limit instead.
    pub(super) fn bring_back(&self) {
        if HAS_COME.swap(false, Ordering::Relaxed) {
            // SAFETY: flags of this process, as the server's handler sets them.
            unsafe {
                pg_sys::QueryCancelPending = 1;
                pg_sys::InterruptPending = 1;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(servers) = &self.servers {
            // SAFETY: what was there before.
            unsafe { libc::sigaction(libc::SIGINT, servers, std::ptr::null_mut()) };
        }
    }
}
