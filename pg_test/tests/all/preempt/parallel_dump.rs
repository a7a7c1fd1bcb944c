//! `pg_dump -j`: its workers copy, its leader idles and holds every lock. Who is signalled when.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::{Database, SlowReader, wait_until};

use super::scene::{SOON, Trail, is_alive, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        the_leader_of_a_parallel_dump_goes_with_its_workers,
        the_leader_of_a_parallel_dump_that_stays_is_terminated_after_grace,
    ]
}

/// A `pg_dump -j 2` in the directory format, each of its workers in the middle of a COPY.
struct ParallelDump {
    // Dropped in this order: a stopped process must run again in order to end.
    _drip: Drip,
    dump: SlowReader,
    folder: PathBuf,
    leader: i32,
    workers: Vec<i32>,
}

impl ParallelDump {
    fn start(world: &World, database: &Database) -> ParallelDump {
        let folder = world.installation().new_folder("dump").unwrap();
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

fn two_tables(database: &Database) {
    table(database, "a", 20_000);
    table(database, "b", 20_000);
}

fn the_leader_of_a_parallel_dump_goes_with_its_workers(world: &World) {
    let database = world.database();
    two_tables(&database);
    let mut parallel = ParallelDump::start(world, &database);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(r#"{"relations": ["a", "b"], "grace": "15s"}"#));
    migration.run("DROP TABLE a, b; COMMIT");
    let mut cancelled = trail.victims();
    cancelled.sort();
    let mut workers = parallel.workers.clone();
    workers.sort();
    assert_eq!(cancelled, workers, "each worker once, the leader never");
    assert!(trail.signals().iter().all(|s| !s.terminate));
    for worker in &parallel.workers {
        assert_eq!(row_of(&rows, *worker).text("class"), "backup");
        assert_eq!(verdict(&rows, *worker), "cancelled");
    }
    assert_eq!(verdict(&rows, parallel.leader), "finished");
    let status = parallel.dump.wait(SOON).expect("the dump comes down");
    assert!(!status.success());
}

fn the_leader_of_a_parallel_dump_that_stays_is_terminated_after_grace(world: &World) {
    let database = world.database();
    two_tables(&database);
    let parallel = ParallelDump::start(world, &database);
    kill(pid(parallel.dump.pid()), Signal::SIGSTOP).unwrap();
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(r#"{"relations": ["a", "b"], "grace": "700ms"}"#));
    migration.run("DROP TABLE a, b; COMMIT");
    assert_eq!(verdict(&rows, parallel.leader), "terminated");
    assert!(!is_alive(&database, parallel.leader));
    let signals = trail.signals();
    let (last, first) = signals.split_last().unwrap();
    assert_eq!((last.pid, last.terminate), (parallel.leader, true));
    assert!(first.iter().all(|s| parallel.workers.contains(&s.pid)));
    for worker in &parallel.workers {
        assert_eq!(verdict(&rows, *worker), "cancelled");
        let cancel = first.iter().find(|s| s.pid == *worker).unwrap();
        let between = last.at - cancel.at;
        // The log tells milliseconds.
        assert!(between >= Duration::from_millis(699), "{between:?}");
    }
}
