//! A `pg_dump -j 2` that is at work when a scenario begins, and stays so.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Database, SlowReader};
use crate::wait::wait_until;

/// How long its workers may take to come to their COPY.
const SOON: Duration = Duration::from_secs(20);

/// A `pg_dump -j 2` in the directory format, each of its workers in the middle of a COPY.
pub struct ParallelDump {
    // Dropped in this order: a stopped process must run again in order to end.
    _drip: Drip,
    /// The program, of which the workers are children.
    pub dump: SlowReader,
    folder: PathBuf,
    /// The server process of the leader: it idles in its transaction.
    pub leader: i32,
    /// The server processes of the workers: they copy.
    pub workers: Vec<i32>,
}

impl ParallelDump {
    /// Of the whole database, which must have two tables that are worth a while.
    ///
    /// # Panics
    /// When its workers do not come to copy them.
    pub fn start(database: &Database) -> ParallelDump {
        let folder = database.installation().new_folder("dump").unwrap();
        let mut command = database.pg_dump();
        command
            .args(["-j", "2", "-F", "d", "-f"])
            .arg(folder.join("out"));
        let dump = SlowReader::spawn(command, 0).unwrap();
        let drip = Drip::on_children_of(dump.pid());
        let of = |state: &str| -> Vec<i32> {
            let rows = database.ask(&format!(
                "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'pg_dump' AND {state}",
                database.name()
            ));
            rows.iter()
                .map(|row| row.text("pid").parse().unwrap())
                .collect()
        };
        let mut workers = vec![];
        wait_until("both workers copy", SOON, || {
            workers = of("query LIKE 'COPY %' AND wait_event = 'ClientWrite'");
            workers.len() == 2
        });
        let leaders = of("state = 'idle in transaction'");
        assert_eq!(leaders.len(), 1, "{leaders:?}");
        ParallelDump {
            _drip: drip,
            dump,
            folder,
            leader: leaders[0],
            workers,
        }
    }
}

impl Drop for ParallelDump {
    fn drop(&mut self) {
        let _ = kill(pid(self.dump.pid()), Signal::SIGCONT);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Lets the children of a process run for a moment at a time only: a worker writes into files, whose
/// reader cannot be slow.
struct Drip {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drip {
    fn on_children_of(parent: u32) -> Drip {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let signal = |signal| {
                for child in children(parent) {
                    let _ = kill(pid(child), signal);
                }
            };
            while !stopped.load(Ordering::Relaxed) {
                signal(Signal::SIGSTOP);
                std::thread::sleep(Duration::from_millis(20));
                signal(Signal::SIGCONT);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Drip {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Drip {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.cast_signed())
}
