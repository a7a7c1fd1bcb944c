//! What the server itself says of its lock queues, looked at as often as possible: who waited in
//! which, since when, for how long, and how old the oldest holder was when he began to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pg_test::{Database, Row, wait_until};

use crate::preempt::scene::SOON;

/// Everybody who waits for a relation of this database. Times are the server's, in seconds; the look
/// is as old as its statement, so that a length is never told too long.
const QUEUES: &str = "
    WITH locks AS MATERIALIZED (
        SELECT * FROM pg_locks
        WHERE locktype = 'relation'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    )
    SELECT w.pid, extract(epoch FROM w.waitstart) AS since,
        extract(epoch FROM statement_timestamp()) AS now,
        (SELECT extract(epoch FROM w.waitstart - min(a.xact_start))
         FROM locks h JOIN pg_stat_activity a ON a.pid = h.pid
         WHERE h.relation = w.relation AND h.granted AND h.pid <> w.pid) AS oldest
    FROM locks w WHERE NOT w.granted AND w.waitstart IS NOT NULL";

/// The clock that [`Stay::since`] is told by.
pub fn clock(database: &Database) -> f64 {
    let rows = database.ask("SELECT extract(epoch FROM clock_timestamp()) AS now");
    number(rows.only(), "now").unwrap_or_default()
}

/// The mode in which a process holds a table, if it does.
pub fn mode_held(database: &Database, pid: i32, table: &str) -> Option<String> {
    let rows = database.session("looker").run(&format!(
        "SELECT mode FROM pg_locks WHERE pid = {pid} AND relation = '{table}'::regclass AND granted"
    ));
    rows.value().map(str::to_owned)
}

/// Looks at the queues of a database until it is told to stop.
pub struct Oracle {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Seen>>,
}

impl Oracle {
    pub fn start(database: &Database) -> Oracle {
        let session = database.session("oracle");
        let stop = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicUsize::new(0));
        let (is_over, count) = (Arc::clone(&stop), Arc::clone(&looks));
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !is_over.load(Ordering::Relaxed) {
                session.run(QUEUES).iter().for_each(|row| seen.take(row));
                count.fetch_add(1, Ordering::Relaxed);
                // Some thousand looks a second are enough, and leave the others a processor.
                std::thread::sleep(Duration::from_micros(300));
            }
            seen.looks = count.load(Ordering::Relaxed);
            seen
        });
        let oracle = Oracle {
            stop,
            looks,
            thread: Some(thread),
        };
        wait_until("the oracle looks", SOON, || {
            oracle.looks.load(Ordering::Relaxed) > 0
        });
        oracle
    }

    /// What it has seen.
    pub fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().unwrap(),
            None => Seen::default(),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One wait of one process in one queue.
#[derive(Clone, Debug)]
pub struct Stay {
    pub pid: i32,
    pub since: f64,
    /// When it was last seen.
    pub until: f64,
    /// The age of the oldest transaction that held the relation, when this one began to wait.
    pub oldest: f64,
}

impl Stay {
    pub fn length(&self) -> Duration {
        Duration::from_secs_f64((self.until - self.since).max(0.0))
    }
}

#[derive(Default)]
pub struct Seen {
    pub looks: usize,
    stays: HashMap<(String, String), Stay>,
}

impl Seen {
    fn take(&mut self, row: &Row) {
        let (Some(since), Some(now)) = (number(row, "since"), number(row, "now")) else {
            return;
        };
        let key = (row.text("pid").to_owned(), row.text("since").to_owned());
        let oldest = number(row, "oldest").unwrap_or_default();
        let stay = self.stays.entry(key).or_insert_with(|| Stay {
            pid: row.text("pid").parse().unwrap(),
            since,
            until: now,
            oldest,
        });
        stay.until = stay.until.max(now);
        stay.oldest = stay.oldest.max(oldest);
    }

    /// The stays of that process, in order.
    pub fn of(&self, pid: i32) -> Vec<Stay> {
        self.which(|stay| stay.pid == pid)
    }

    /// The longest stay of anybody else: what the application felt.
    pub fn longest_but_of(&self, pid: i32) -> Duration {
        let others = self.which(|stay| stay.pid != pid);
        others.iter().map(Stay::length).max().unwrap_or_default()
    }

    fn which(&self, which: impl Fn(&Stay) -> bool) -> Vec<Stay> {
        let mut stays: Vec<Stay> = self.stays.values().filter(|s| which(s)).cloned().collect();
        stays.sort_by(|a, b| a.since.total_cmp(&b.since));
        stays
    }
}

fn number(row: &Row, column: &str) -> Option<f64> {
    row.get(column).map(|text| text.parse().unwrap())
}
