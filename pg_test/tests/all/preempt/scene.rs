//! What the scenarios of preempting are played with: backups, sessions that hold a lock, the trail.

use std::time::{Duration, Instant};

pub use pg_test::Backup;
use pg_test::{Cluster, Database, Notice, Row, Rows, Running, Session, wait_until};

/// How long anything may take that should come soon.
pub const SOON: Duration = Duration::from_secs(20);

/// Bytes a second at which a backup is read that would take minutes, and still reads.
pub const SLOWLY: u64 = 1_000_000;

/// Bytes a second for a backup that is to last: of a table that autovacuum is busy with, while a worker
/// comes and several calls end in their timeout.
pub const VERY_SLOWLY: u64 = 100_000;

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

/// What a session has been told since the last time. On a machine that does other things as well a row of
/// the trail may come late, and then a warning of it comes last: whoever counts what he is told, or takes the
/// last of it, does not mean that.
pub fn told(session: &Session) -> Vec<Notice> {
    let mut notices = session.take_notices();
    notices.retain(|notice| !is_of_a_late_row(notice));
    notices
}

fn is_of_a_late_row(notice: &Notice) -> bool {
    let is_late = "missing in lockguard.preemptions: the background worker has not come to it yet";
    notice.severity == "WARNING" && notice.message.contains(is_late)
}

/// The last message of [`told`].
#[track_caller]
pub fn last_told(session: &Session) -> String {
    match told(session).pop() {
        Some(last) => last.message,
        None => panic!("nothing was told"),
    }
}

/// What `sql` reads of the trail, once that is so many rows: a call does not wait for them for long.
#[track_caller]
pub fn rows_once_written(session: &Session, count: usize, sql: &str) -> Rows {
    let mut rows = session.run(sql);
    wait_until("the rows are written", SOON, || {
        if rows.len() < count {
            rows = session.run(sql);
        }
        rows.len() >= count
    });
    rows
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
