//! The application: connections that do one thing over and over, and what they feel of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pg_test::Database;

/// How long each of the steady traffic's transactions takes.
pub const WORK: Duration = Duration::from_millis(20);

/// How long each of them does nothing between two statements: others are to have a processor too.
const PAUSE: Duration = Duration::from_millis(1);

/// Connections that run a statement, and then again.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Felt>>,
}

/// What the application has felt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Felt {
    pub statements: usize,
    pub failures: usize,
    /// The slowest answer.
    pub worst: Duration,
}

impl Traffic {
    pub fn start(database: &Database, connections: u32, sql: &str) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..connections).map(|i| {
            let session = database.session("web");
            let (stop, sql) = (Arc::clone(&stop), sql.to_owned());
            std::thread::spawn(move || {
                // They are not to march in step.
                std::thread::sleep(WORK * i / connections);
                let mut felt = Felt::default();
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let is_well = session.try_run(&sql).is_ok();
                    felt = felt.and(Felt {
                        statements: 1,
                        failures: usize::from(!is_well),
                        worst: start.elapsed(),
                    });
                    std::thread::sleep(PAUSE);
                }
                felt
            })
        });
        let threads = threads.collect();
        Traffic { stop, threads }
    }

    /// Transactions of 20 ms that read a table, so many at once that somebody always does.
    pub fn steady(database: &Database, connections: u32, table: &str) -> Traffic {
        let seconds = WORK.as_secs_f64();
        let sql = format!("BEGIN; SELECT FROM {table} LIMIT 1; SELECT pg_sleep({seconds}); COMMIT");
        Traffic::start(database, connections, &sql)
    }

    pub fn end(mut self) -> Felt {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        let felt = threads.into_iter().map(|thread| thread.join().unwrap());
        felt.fold(Felt::default(), Felt::and)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Felt {
    fn and(self, other: Felt) -> Felt {
        Felt {
            statements: self.statements + other.statements,
            failures: self.failures + other.failures,
            worst: self.worst.max(other.worst),
        }
    }
}
