//! A server whose backends send their signals, or drop their files, late or not before a test lets them.
//!
//! For showing what happens between the last look at a victim and the signal, and right after it, with the
//! product as it is: a small library (`interposer/kill.rs`) takes the place of the C library's `kill` in the
//! server, and of its `truncate`, `fork` and `gettimeofday`. A folder controls it, read anew at each signal:
//!
//! - `pause`: so many microseconds pass before the signal;
//! - `before`, `after`: as long as it is there, and for 60 s at most, the backend is held up right before the
//!   signal, or right after; meanwhile `blocked-before` or `blocked-after` contains the pid of that backend;
//! - `truncate`: the same for a backend that drops the file of a relation. It has ended its transaction by then,
//!   and where the lock is the session's own it still holds it;
//! - `no-fork`: as long as it is there, the postmaster's `fork` fails, as where there is no room for another process;
//! - `asking`: the same for a backend that asks the postmaster for something, such as a
//!   background worker: lockguard does that between its judgement and the signal, and holds nothing then.
//!
//! - `clock`: two numbers of eight bytes, the pid of a process and by how many seconds its clock is ahead. Each
//!   process has it mapped from its start.
//!
//! The first two concern the cancels and terminations that one backend sends to another, by lockguard or by
//! `pg_cancel_backend` and `pg_terminate_backend`, and no other signal. lockguard has the victim's `fpInfoLock`
//! meanwhile: whoever needs that waits too, and does not answer to a cancel.
//!
//! Another library (`interposer/malloc.rs`) gives a server memory that is never twice the same before it is
//! written to: see [`start_on_dirty_memory`].

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::failure::{During, Failure};
use crate::installation::Installation;
use crate::process;
use crate::workspace;

/// Where the library finds its folder.
const VARIABLE: &str = "PG_TEST_KILL";

/// The library, and the folder that controls it.
pub struct Interposer {
    library: PathBuf,
    folder: PathBuf,
}

/// Where a backend can be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// All checks are made, the signal is not sent.
    Before,
    /// It is sent, and whoever sent it has not gone on.
    After,
    /// A transaction has ended, and the file of a relation is to be dropped.
    Truncate,
    /// It is decided on, and the background worker that keeps its record is about to be asked for.
    Asking,
}

impl Moment {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Truncate => "truncate",
            Self::Asking => "asking",
        }
    }
}

impl Interposer {
    /// Compiles the library for servers of that installation. Nothing is late yet.
    pub fn new(installation: &Installation) -> Result<Interposer, Failure> {
        let interposer = Interposer {
            library: installation.copy_in(&compile("kill")?)?,
            folder: installation.new_folder("kill")?,
        };
        interposer.set_clock(0, Duration::ZERO)?;
        Ok(interposer)
    }

    /// Sets the clock that this process alone tells the time by forward by that many seconds.
    pub fn set_clock(&self, pid: i32, ahead: Duration) -> Result<(), Failure> {
        let file = self.folder.join("clock");
        let mut bytes = i64::from(pid).to_ne_bytes().to_vec();
        bytes.extend(ahead.as_secs().to_ne_bytes());
        // In place, and never shorter: it is mapped.
        fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .and_then(|mut open| open.write_all(&bytes))
            .during(format!("write {}", file.display()))
    }

    /// Starts a server with it, as [`Cluster::start`] does without.
    pub fn start(
        &self,
        installation: &Installation,
        settings: &[(&str, &str)],
    ) -> Result<Cluster, Failure> {
        let environment = [
            ("LD_PRELOAD", self.library.as_path()),
            (VARIABLE, self.folder.as_path()),
        ];
        Cluster::start_with(installation, settings, &environment)
    }

    /// How long each signal is late from now on; zero: not at all.
    pub fn pause(&self, pause: Duration) -> Result<(), Failure> {
        let file = self.folder.join("pause");
        if pause.is_zero() {
            return remove(&file);
        }
        // In one step: a signal meanwhile must not find an empty file.
        let new = self.folder.join("pause.new");
        fs::write(&new, pause.as_micros().to_string())
            .and_then(|()| fs::rename(&new, &file))
            .during(format!("write {}", file.display()))
    }

    /// Holds up every backend at that moment until the returned value is dropped.
    pub fn hold(&self, moment: Moment) -> Result<Hold<'_>, Failure> {
        // Of a backend that ended while it was held up.
        remove(&self.sign(moment))?;
        let file = self.folder.join(moment.name());
        fs::write(&file, "").during(format!("write {}", file.display()))?;
        Ok(Hold {
            interposer: self,
            moment,
        })
    }

    /// Has no process start in the server until the returned value is dropped.
    pub fn without_fork(&self) -> Result<WithoutFork, Failure> {
        let file = self.folder.join("no-fork");
        fs::write(&file, "").during(format!("write {}", file.display()))?;
        Ok(WithoutFork(file))
    }

    fn sign(&self, moment: Moment) -> PathBuf {
        self.folder.join(format!("blocked-{}", moment.name()))
    }
}

/// Backends are held up as long as this lives.
pub struct Hold<'a> {
    interposer: &'a Interposer,
    moment: Moment,
}

impl Hold<'_> {
    /// The process id of the backend that is held up, if there is one; of several the last.
    pub fn pid(&self) -> Option<i32> {
        let sign = fs::read_to_string(self.interposer.sign(self.moment)).ok()?;
        sign.trim().parse().ok()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // Where that fails the limit of the library ends the wait.
        let _ = remove(&self.interposer.folder.join(self.moment.name()));
    }
}

/// The postmaster cannot fork as long as this lives.
pub struct WithoutFork(PathBuf);

impl Drop for WithoutFork {
    fn drop(&mut self) {
        // Where that fails the test that waits for a process does.
        let _ = remove(&self.0);
    }
}

fn remove(file: &Path) -> Result<(), Failure> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).during(format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Starts a server, as [`Cluster::start`] does, in which what nobody wrote differs each time that it is read: what
/// is right there does not depend on it.
pub fn start_on_dirty_memory(
    installation: &Installation,
    settings: &[(&str, &str)],
) -> Result<Cluster, Failure> {
    let library = installation.copy_in(&compile("malloc")?)?;
    Cluster::start_with(installation, settings, &[("LD_PRELOAD", &library)])
}

/// Takes half a second, and so is done anew each time.
fn compile(name: &str) -> Result<PathBuf, Failure> {
    let _alone = workspace::lock()?;
    let source = workspace::root().join(format!("pg_test/src/interposer/{name}.rs"));
    let library = workspace::scratch()?.join(format!("lib{name}.so"));
    let mut rustc = Command::new(rustc());
    rustc
        .args(["--edition", "2024", "--crate-type", "cdylib"])
        .args(["-O", "-C", "panic=abort", "-D", "warnings", "-o"])
        .arg(&library)
        .arg(&source);
    let what = format!("compile {}", source.display());
    let captured = process::run(rustc).during(&what)?;
    if captured.status.success() {
        return Ok(library);
    }
    Err(Failure::new(format!(
        "could not {what}:\n{}",
        captured.stderr
    )))
}

/// The compiler beside the cargo that started us, unless we are told another.
fn rustc() -> OsString {
    let neighbour = || {
        let cargo = std::env::var_os("CARGO")?;
        let rustc = Path::new(&cargo).with_file_name("rustc");
        rustc.is_file().then(|| rustc.into_os_string())
    };
    std::env::var_os("RUSTC")
        .or_else(neighbour)
        .unwrap_or_else(|| "rustc".into())
}
