//! What must be gone before we are: the list of children and folders, and the signals that end them all.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Ending;
use crate::failure::{During, Failure};
use crate::wait::becomes_true;

struct Registry {
    children: Vec<(Pid, Ending)>,
    /// Each folder with the guard that would remove it after us.
    folders: Vec<(PathBuf, Pid)>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    children: Vec::new(),
    folders: Vec::new(),
});
static INTERRUPTS_IGNORED: AtomicBool = AtomicBool::new(false);

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts and registers a child in one step, so that no child slips through while everything is being ended.
pub(super) fn spawn(command: &mut Command, ending: Ending) -> io::Result<Child> {
    let mut registry = registry();
    let child = command.spawn()?;
    registry.children.push((pid_of(&child), ending));
    Ok(child)
}

/// The exit status of a child that has ended; its pid then belongs to nobody and is forgotten.
pub(super) fn reap(child: &mut Child) -> Option<ExitStatus> {
    let mut registry = registry();
    let status = child.try_wait().ok().flatten()?;
    let pid = pid_of(child);
    registry.children.retain(|(known, _)| *known != pid);
    Some(status)
}

/// Waits for a child that is about to end.
pub(super) fn reap_blocking(child: &mut Child) {
    becomes_true(Duration::from_secs(5), || reap(child).is_some());
}

/// Registers a folder to be removed, and its guard.
pub(super) fn add_folder(path: &Path, guard: Pid) {
    registry().folders.push((path.to_path_buf(), guard));
}

/// Forgets a folder that has been removed.
pub(super) fn forget_folder(path: &Path) {
    registry().folders.retain(|(known, _)| known != path);
}

/// From now on SIGINT, SIGTERM and SIGHUP end all children, remove all folders, and exit with 128 + n.
///
/// The end of a cargo that waits for us counts as SIGTERM: `cargo test` that is killed passes nothing on.
/// Calling it again does nothing.
pub fn install_signal_handlers() -> Result<(), Failure> {
    static ONCE: Once = Once::new();
    let mut outcome = Ok(());
    ONCE.call_once(|| outcome = watch_for_signals());
    outcome
}

fn watch_for_signals() -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).during("watch for signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT && INTERRUPTS_IGNORED.load(Ordering::SeqCst) {
                continue;
            }
            end_everything();
            signal_hook::low_level::exit(128 + signal);
        }
    });
    if started_by_cargo() {
        prctl::set_pdeathsig(Signal::SIGTERM).during("watch over cargo")?;
    }
    Ok(())
}

/// Whether our parent is a cargo. `cargo run` is not: it becomes the program that it runs.
fn started_by_cargo() -> bool {
    std::fs::read_to_string(format!("/proc/{}/comm", getppid()))
        .is_ok_and(|name| name.trim() == "cargo")
}

/// Runs `body` while Ctrl-C is somebody else's: an interactive program's in the foreground.
pub fn with_interrupts_ignored<T>(body: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            INTERRUPTS_IGNORED.store(false, Ordering::SeqCst);
        }
    }
    INTERRUPTS_IGNORED.store(true, Ordering::SeqCst);
    let _restore = Restore;
    body()
}

/// Ends every child and removes every folder. Keeps the registry locked, so that nothing new starts.
fn end_everything() {
    let registry = registry();
    // The threads of the run now lose their servers; what they say to that is noise.
    std::panic::set_hook(Box::new(|_| {}));
    if registry
        .children
        .iter()
        .any(|(_, ending)| *ending == Ending::Patient)
    {
        eprintln!("interrupted; letting finish what must not be cut short");
    }
    // Clients first: a server that is told to go while its client still sends only logs more.
    for servers in [false, true] {
        for (pid, ending) in &registry.children {
            if (*ending == Ending::Postmaster) == servers {
                ending.send(*pid);
            }
        }
    }
    for (pid, ending) in &registry.children {
        if !becomes_true(ending.patience(), || has_ended(*pid)) {
            let _ = kill(*pid, Signal::SIGKILL);
            becomes_true(Duration::from_secs(2), || has_ended(*pid));
        }
    }
    for (folder, guard) in &registry.folders {
        if becomes_true(Duration::from_secs(5), || remove(folder)) {
            let _ = kill(*guard, Signal::SIGKILL);
            becomes_true(Duration::from_secs(1), || has_ended(*guard));
        }
    }
    std::mem::forget(registry);
}

/// Removes a folder; true when it is gone.
pub(super) fn remove(folder: &Path) -> bool {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Whether a child has ended. Reaps it, which its owner cannot do any more.
fn has_ended(pid: Pid) -> bool {
    !matches!(
        waitpid(pid, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive)
    )
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
