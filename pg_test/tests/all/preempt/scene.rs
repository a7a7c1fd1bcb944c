//! What the scenarios of preempting are played with: backups, sessions that hold a lock, the trail.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::{Cluster, Database, Row, Rows, Running, Session, SlowReader, wait_until};

/// How long anything may take that should come soon.
pub const SOON: Duration = Duration::from_secs(20);

/// Bytes a second at which a backup is read that would take minutes, and still reads.
pub const SLOWLY: u64 = 1_000_000;

/// The call with that policy, which is JSON.
pub fn preempt(policy: &str) -> String {
    format!(
        "SELECT relation::text, pid, class, usename, application_name, verdict, \
         (extract(epoch FROM waited) * 1000)::int AS waited_ms, reason, query \
         FROM lockguard.preempt_maintenance($policy${policy}$policy$)"
    )
}

/// What a call tells of that process.
#[track_caller]
pub fn row_of(rows: &Rows, pid: i32) -> &Row {
    let pid = pid.to_string();
    match rows.iter().find(|row| row.get("pid") == Some(&pid)) {
        Some(row) => row,
        None => panic!("no row of pid {pid} in {rows:#?}"),
    }
}

/// The verdict on that process.
#[track_caller]
pub fn verdict(rows: &Rows, pid: i32) -> &str {
    row_of(rows, pid).text("verdict")
}

/// A table that a dump takes some 1,000 bytes a row for.
pub fn table(database: &Database, name: &str, rows: u32) {
    database.session("setup").run(&format!(
        "CREATE TABLE {name} AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, {rows}) i"
    ));
}

/// Whether that process still has a session; one that ends itself when its client has gone counts.
pub fn is_alive(database: &Database, pid: i32) -> bool {
    !database
        .ask(&format!(
            "SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND backend_type <> 'parallel worker'"
        ))
        .is_empty()
}

/// Whether a table is there.
pub fn exists(database: &Database, table: &str) -> bool {
    let found = database
        .session("looker")
        .run(&format!("SELECT to_regclass('{table}')"));
    found.value().is_some()
}

/// A `pg_dump` in the middle of copying a table out.
pub struct Backup {
    dump: SlowReader,
    pub pid: i32,
}

impl Backup {
    /// Of the whole database, under the name that Heroku's backups go by.
    pub fn start(database: &Database, bytes_per_second: u64) -> Backup {
        Self::of(database, &[], bytes_per_second)
    }

    /// Of one table.
    pub fn of_table(database: &Database, table: &str, bytes_per_second: u64) -> Backup {
        Self::of(database, &["-t", table], bytes_per_second)
    }

    fn of(database: &Database, arguments: &[&str], bytes_per_second: u64) -> Backup {
        // Backups of one name are told apart by their being new.
        let known = Self::sessions(database, "true");
        let mut command = database.pg_dump();
        command
            .env("PGAPPNAME", "Heroku Postgres Backups")
            .args(arguments);
        let dump = SlowReader::spawn(command, bytes_per_second).unwrap();
        let mut pid = 0;
        let copying = "query LIKE 'COPY %' AND state = 'active' AND wait_event = 'ClientWrite'";
        wait_until("the backup is held up in its COPY", SOON, || {
            // One that is not read is so for good once its program is, too.
            let is_stuck = bytes_per_second > 0 || is_asleep(dump.pid());
            let found = Self::sessions(database, copying);
            pid = found.into_iter().find(|p| !known.contains(p)).unwrap_or(0);
            pid != 0 && is_stuck
        });
        if bytes_per_second == 0 {
            fill_up(pid);
        }
        Backup { dump, pid }
    }

    fn sessions(database: &Database, which: &str) -> Vec<i32> {
        let rows = database.ask(&format!(
            "SELECT pid FROM pg_stat_activity WHERE datname = '{}' \
             AND application_name = 'Heroku Postgres Backups' AND {which}",
            database.name()
        ));
        let pid = |row: &Row| row.text("pid").parse().unwrap();
        rows.iter().map(pid).collect()
    }

    pub fn is_running(&mut self) -> bool {
        self.dump.status().is_none()
    }

    /// Reads on at full speed, and tells how the program ends and what it says.
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

/// Whether a process waits for something.
fn is_asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may contain anything.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}

/// Has a server process that cannot write fill its socket to the brim.
///
/// It sleeps until the socket is a quarter full at most, and awake writes as long as it is not quite
/// full (`unix_writable` in the kernel): whatever wakes it, such as a cancel, would let it write a
/// little more, and then answer. A few times, because the program may have read meanwhile.
fn fill_up(pid: i32) {
    let server = pid.unsigned_abs();
    let naps = || {
        let status = std::fs::read_to_string(format!("/proc/{server}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find(|l| l.starts_with("voluntary_ctxt_switches"));
        line.map(str::to_owned)
    };
    for _ in 0..3 {
        let before = naps();
        // It reads its configuration with its next statement.
        kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
        wait_until("the server has woken and sleeps again", SOON, || {
            naps() != before && is_asleep(server)
        });
    }
}

/// A session that holds locks in a transaction.
pub struct Holder {
    pub session: Session,
    busy: Option<Running>,
}

impl Holder {
    /// Holds what `sql` locks, and waits for its client.
    pub fn idle(database: &Database, name: &str, sql: &str) -> Holder {
        let session = database.session(name);
        session.run(&format!("BEGIN; {sql}"));
        Holder {
            session,
            busy: None,
        }
    }

    /// The same in the middle of a long statement.
    pub fn busy(database: &Database, name: &str, sql: &str) -> Holder {
        let holder = Self::idle(database, name, sql);
        let busy = holder.session.spawn("SELECT pg_sleep(50)");
        wait_until("the holder is in its statement", SOON, || {
            busy.wait_event()
                .is_some_and(|(_, event)| event == "PgSleep")
        });
        Holder {
            busy: Some(busy),
            ..holder
        }
    }

    pub fn pid(&self) -> i32 {
        self.session.pid()
    }

    /// Whether its transaction goes on, untouched.
    pub fn goes_on(&self) -> bool {
        match &self.busy {
            Some(busy) => !busy.is_finished(),
            None => self.session.try_run("SELECT 1").is_ok(),
        }
    }

    /// Sees that its statement was cancelled.
    #[track_caller]
    pub fn was_cancelled(self, why: &str) {
        let outcome = self.busy.map(|busy| busy.wait(SOON));
        let code = match &outcome {
            Some(Err(error)) => error.code().map(|code| code.code()),
            _ => None,
        };
        assert_eq!(code, Some("57014"), "{why}: {outcome:?}");
    }
}

/// A signal as the server log tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signalled {
    pub pid: i32,
    pub terminate: bool,
    /// The time of day.
    pub at: Duration,
}

/// The server log from some moment on.
pub struct Trail<'a> {
    cluster: &'a Cluster,
    from: usize,
}

impl<'a> Trail<'a> {
    pub fn from_now(cluster: &'a Cluster) -> Trail<'a> {
        Trail {
            cluster,
            from: cluster.log().len(),
        }
    }

    pub fn text(&self) -> String {
        self.cluster.log().split_off(self.from)
    }

    /// Every signal that lockguard says it sends, in order.
    pub fn signals(&self) -> Vec<Signalled> {
        self.text().lines().filter_map(signal_in).collect()
    }

    /// Sees that lockguard signalled nobody.
    #[track_caller]
    pub fn has_no_victim(&self) {
        let signals = self.signals();
        assert!(signals.is_empty(), "{signals:?}");
    }

    /// Whom lockguard signalled, each as often as it did.
    pub fn victims(&self) -> Vec<i32> {
        self.signals().iter().map(|s| s.pid).collect()
    }
}

/// `2026-11-23 06:40:32.123 UTC [7] … LOG:  lockguard cancels pid 24484 for …`
fn signal_in(line: &str) -> Option<Signalled> {
    let (before, after) = line.split_once("LOG:  lockguard ")?;
    let mut words = after.split(' ');
    let terminate = match words.next()? {
        "cancels" => false,
        "terminates" => true,
        _ => return None,
    };
    let pid = words.nth(1)?.parse().ok()?;
    let mut clock = before.split(' ').nth(1)?.split(':');
    let mut part = || clock.next()?.parse::<f64>().ok();
    let (hours, minutes, seconds) = (part()?, part()?, part()?);
    Some(Signalled {
        pid,
        terminate,
        at: Duration::from_secs_f64(hours * 3600.0 + minutes * 60.0 + seconds),
    })
}

/// Looks on until `moment`, and sees to it that `state` holds all the while.
#[track_caller]
pub fn stays_true(what: &str, moment: Instant, mut state: impl FnMut() -> bool) {
    while Instant::now() < moment {
        assert!(state(), "no longer: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
