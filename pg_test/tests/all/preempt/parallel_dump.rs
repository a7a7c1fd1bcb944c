//! `pg_dump -j`: its workers copy, its leader idles and holds every lock. Who is signalled when.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::{Database, ParallelDump, wait_until};

use super::scene::{SOON, Trail, is_alive, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        the_leader_of_a_parallel_dump_goes_with_its_workers,
        the_leader_of_a_parallel_dump_that_stays_is_terminated_after_grace,
    ]
}

fn two_tables(database: &Database) {
    table(database, "a", 20_000);
    table(database, "b", 20_000);
}

fn the_leader_of_a_parallel_dump_goes_with_its_workers(world: &World) {
    let database = world.database();
    two_tables(&database);
    let mut parallel = ParallelDump::start(&database);
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
    let parallel = ParallelDump::start(&database);
    kill(
        Pid::from_raw(parallel.dump.pid().cast_signed()),
        Signal::SIGSTOP,
    )
    .unwrap();
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(r#"{"relations": ["a", "b"], "grace": "3s"}"#));
    migration.run("DROP TABLE a, b; COMMIT");
    assert_eq!(verdict(&rows, parallel.leader), "terminated");
    // It lets go of its locks before its session has gone.
    wait_until("its session has gone", SOON, || {
        !is_alive(&database, parallel.leader)
    });
    let signals = trail.signals();
    let (last, first) = signals.split_last().unwrap();
    assert_eq!((last.pid, last.terminate), (parallel.leader, true));
    assert!(first.iter().all(|s| parallel.workers.contains(&s.pid)));
    for worker in &parallel.workers {
        assert_eq!(verdict(&rows, *worker), "cancelled");
        let cancel = first.iter().find(|s| s.pid == *worker).unwrap();
        let between = last.at - cancel.at;
        // The log tells milliseconds.
        assert!(between >= Duration::from_millis(2_999), "{between:?}");
    }
}
