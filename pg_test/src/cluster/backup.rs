//! A `pg_dump` that is at work when a scenario begins: read slowly, or not at all.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Database, Row, SlowReader};
use crate::wait::wait_until;

/// The name that Heroku's backups go by.
const NAME: &str = "Heroku Postgres Backups";

/// How long it may take to come to its COPY, or to its end.
const SOON: Duration = Duration::from_secs(20);

/// A `pg_dump` in the middle of copying a table out.
pub struct Backup {
    dump: SlowReader,
    /// The server process that sends to it.
    pub pid: i32,
}

impl Backup {
    /// Of the whole database, under the name that Heroku's backups go by; at 0 bytes a second it stalls.
    ///
    /// # Panics
    /// When it does not come to copy a table.
    pub fn start(database: &Database, bytes_per_second: u64) -> Backup {
        Self::of(database, &[], bytes_per_second)
    }

    /// [`Backup::start`] for one table.
    pub fn of_table(database: &Database, table: &str, bytes_per_second: u64) -> Backup {
        Self::of(database, &["-t", table], bytes_per_second)
    }

    fn of(database: &Database, arguments: &[&str], bytes_per_second: u64) -> Backup {
        // Backups of one name are told apart by their being new.
        let known = Self::sessions(database, "true");
        let mut command = database.pg_dump();
        command.env("PGAPPNAME", NAME).args(arguments);
        let dump = SlowReader::spawn(command, bytes_per_second).unwrap();
        let mut pid = 0;
        let copying = "query LIKE 'COPY %' AND state = 'active' AND wait_event = 'ClientWrite'";
        wait_until("the backup is held up in its COPY", SOON, || {
            let found = Self::sessions(database, copying);
            pid = found.into_iter().find(|p| !known.contains(p)).unwrap_or(0);
            // One that is not read is so for good once its program is, too.
            pid != 0 && (bytes_per_second > 0 || is_stuck(pid.unsigned_abs(), dump.pid()))
        });
        if bytes_per_second == 0 {
            fill_up(pid);
        }
        Backup { dump, pid }
    }

    fn sessions(database: &Database, which: &str) -> Vec<i32> {
        let rows = database.ask(&format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{}' \
             AND application_name = '{NAME}' AND {which}",
            database.name()
        ));
        let pid = |row: &Row| row.text("pid").parse().unwrap();
        rows.iter().map(pid).collect()
    }

    /// Reads at another rate from now on.
    pub fn set_rate(&self, bytes_per_second: u64) {
        self.dump.set_rate(bytes_per_second);
    }

    /// Whether the program goes on.
    pub fn is_running(&mut self) -> bool {
        self.dump.status().is_none()
    }

    /// Reads on at full speed, and tells how the program ends and what it says.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        self.dump.set_rate(u64::MAX / 2);
        let status = self.dump.wait(SOON);
        let said = self.dump.finish();
        match status {
            Some(status) => (status, said),
            None => panic!("the pg_dump goes on: {said}"),
        }
    }
}

/// Whether a program can write no more, whose server can write no more either.
///
/// The program sleeps then, but so does one that waits for its server. The server is woken by a program
/// that takes what there is: if it has slept all the while, there is something left to read, and the
/// program does not wait for that.
fn is_stuck(server: u32, program: u32) -> bool {
    let before = naps(server);
    is_asleep(server) && is_asleep(program) && is_asleep(server) && naps(server) == before
}

/// Whether a process waits for something.
fn is_asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}

/// How often a process has begun to wait, as the kernel puts it.
fn naps(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("voluntary_ctxt_switches"));
    line.map(str::to_owned)
}

/// Has a server process that cannot write fill its socket to the brim.
///
/// It sleeps until the socket is a quarter full at most, and awake writes as long as it is not quite
/// full (`unix_writable` in the kernel): whatever wakes it, such as a cancel, would let it write a
/// little more, and then answer. A few times, because the program may have read meanwhile.
fn fill_up(pid: i32) {
    let server = pid.unsigned_abs();
    for _ in 0..3 {
        let before = naps(server);
        // It reads its configuration with its next statement.
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
        wait_until("the server has woken and sleeps again", SOON, || {
            naps(server) != before && is_asleep(server)
        });
    }
}
