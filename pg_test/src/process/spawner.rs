//! The one thread that starts all children.
//!
//! The kernel's parent-death signal (`prctl(2)`, PR_SET_PDEATHSIG) is sent when the *thread* that
//! started the child ends. Scenarios run on threads that come and go, so children are started by one
//! thread that lives as long as the process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};

use nix::sys::prctl;
use nix::unistd::{getpid, getppid};

use super::{Ending, registry};

struct Order {
    command: Command,
    ending: Ending,
    reply: Sender<io::Result<Child>>,
}

static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();

/// Starts `command` on the lasting thread and registers the child.
pub(super) fn spawn(command: Command, ending: Ending) -> io::Result<Child> {
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for Order {
                command,
                ending,
                reply,
            } in orders
            {
                // Whoever asked may be gone with its thread; a child nobody waits for ends at once.
                if let Err(mpsc::SendError(Ok(mut orphan))) =
                    reply.send(spawn_here(command, ending))
                {
                    let _ = orphan.kill();
                    registry::reap_blocking(&mut orphan);
                }
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes is gone");
    spawner
        .send(Order {
            command,
            ending,
            reply,
        })
        .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn spawn_here(mut command: Command, ending: Ending) -> io::Result<Child> {
    if ending.has_own_group() {
        command.process_group(0);
    }
    if let Some(signal) = ending.signal_on_our_death() {
        let parent = getpid();
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and getppid are
        // plain system calls, and nothing here allocates or locks. std switches uid and gid before it
        // runs this closure, which matters: a change of credentials clears the setting.
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(signal)?;
                // The parent may have died before the call above.
                if getppid() == parent {
                    Ok(())
                } else {
                    Err(io::ErrorKind::BrokenPipe.into())
                }
            });
        }
    }
    registry::spawn(&mut command, ending)
}
