//! Child processes that cannot outlive the run.
//!
//! Three nets, one below the other: a [`Process`] ends when it is dropped; SIGINT, SIGTERM and SIGHUP
//! end every one of them and remove the temporary folders (`registry`); and when the harness itself is
//! killed outright, the kernel signals each child (`spawner`) and a small guard removes the folder (`folder`).

mod folder;
mod output;
mod registry;
mod spawner;

use std::io;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

pub use folder::RunFolder;
pub use output::{Captured, run, run_within};
pub(crate) use output::{collect, run_to_end, text};
pub use registry::{install_signal_handlers, with_interrupts_ignored};

use crate::wait::becomes_true;

/// How a process is made to end when its time has come before it ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A postmaster: SIGQUIT, upon which it ends its backends and removes its shared memory.
    Postmaster,
    /// A program without a state worth saving: SIGKILL to its process group.
    Client,
    /// cargo and its like: SIGTERM to the process group, so that it removes what is half written.
    Build,
    /// What must not be cut short: SIGINT, and time to finish. A package manager is such a program, and
    /// initdb, whose single-user servers would leave their shared memory behind.
    Patient,
    /// A program that shares our terminal and gets its keys itself: SIGTERM.
    Interactive,
}

impl Ending {
    fn signal(self) -> Signal {
        match self {
            Self::Postmaster => Signal::SIGQUIT,
            Self::Client => Signal::SIGKILL,
            Self::Build | Self::Interactive => Signal::SIGTERM,
            Self::Patient => Signal::SIGINT,
        }
    }

    /// What the kernel sends when the harness dies without a chance to clean up.
    fn signal_on_our_death(self) -> Option<Signal> {
        (self != Self::Patient).then(|| self.signal())
    }

    /// A group of its own keeps the terminal's Ctrl-C away from it: we decide who ends, and in which order.
    fn has_own_group(self) -> bool {
        self != Self::Interactive
    }

    /// How long it may take to end before it is killed.
    fn patience(self) -> Duration {
        Duration::from_secs(if self == Self::Patient { 300 } else { 10 })
    }

    fn send(self, pid: Pid) {
        // The target may be gone already, which is what we want.
        let _ = match self {
            Self::Client | Self::Build => killpg(pid, self.signal()),
            Self::Postmaster | Self::Patient | Self::Interactive => kill(pid, self.signal()),
        };
    }
}

/// A child process that is ended and reaped when this value is dropped.
pub struct Process {
    child: Child,
    ending: Ending,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`.
    ///
    /// The child gets the kernel's promise to be signalled when we die. Its process group is its own
    /// unless it is [`Ending::Interactive`].
    pub fn spawn(command: Command, ending: Ending) -> io::Result<Self> {
        let child = spawner::spawn(command, ending)?;
        Ok(Self {
            child,
            ending,
            status: None,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal; a process that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none() {
            // Not reaped yet, so the pid is still ours.
            let _ = kill(self.nix_pid(), signal);
        }
    }

    /// Its exit status if it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = registry::reap(&mut self.child);
        }
        self.status
    }

    /// Its exit status if it ends within `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        becomes_true(timeout, || self.try_wait().is_some());
        self.status
    }

    /// Ends it the way its [`Ending`] says, by SIGKILL if that takes too long, and reaps it.
    pub fn end(&mut self) -> Option<ExitStatus> {
        if self.try_wait().is_none() {
            self.ending.send(self.nix_pid());
            if self.wait(self.ending.patience()).is_none() {
                let _ = kill(self.nix_pid(), Signal::SIGKILL);
                self.wait(Duration::from_secs(5));
            }
        }
        self.status
    }

    /// The writing end of its standard input, if it was piped and not taken yet.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The reading end of its standard output, if it was piped and not taken yet.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The reading end of its standard error, if it was piped and not taken yet.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hands the terminal to `command` until it ends: Ctrl-C is meant for it, not for us.
pub fn run_interactively(mut command: Command) -> io::Result<ExitStatus> {
    command
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    with_interrupts_ignored(|| {
        let mut process = Process::spawn(command, Ending::Interactive)?;
        loop {
            if let Some(status) = process.wait(Duration::from_secs(3600)) {
                return Ok(status);
            }
        }
    })
}
