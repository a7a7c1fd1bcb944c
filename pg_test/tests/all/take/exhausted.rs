//! A tree with more relations than the lock table has room for: 53200, nothing left held, and a server
//! that goes on.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::scene::{Holder, SOON, STRONGEST, Stage, call, perform};
use crate::world::{World, scenarios};

/// Far more than fit, the memory that the lock table may borrow included.
const PARTITIONS: usize = 1_500;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_full_lock_table_is_an_error_that_leaves_nothing_held,
    ]
}

fn a_full_lock_table_is_an_error_that_leaves_nothing_held(world: &World) {
    let cluster = world.start_cluster(&[
        ("max_locks_per_transaction", "10"),
        ("max_connections", "12"),
        ("max_prepared_transactions", "0"),
        ("max_wal_senders", "0"),
        ("max_worker_processes", "0"),
        ("autovacuum_max_workers", "1"),
    ]);
    let database = cluster.create_database().unwrap();
    let stage = Stage::of(
        database,
        "CREATE TABLE p (i int) PARTITION BY LIST (i); CREATE TABLE t (i int)",
    );
    stage.migration.run(&format!(
        "DO $do$BEGIN FOR i IN 1..{PARTITIONS} LOOP \
         EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES IN (%s)', i, i); COMMIT; END LOOP; END$do$"
    ));
    let by_core = stage.migration.error("BEGIN; LOCK TABLE p");
    assert_eq!(by_core.code().code(), "53200", "it is not too small");
    stage.migration.run("ROLLBACK");
    // As a statement by itself it takes none, and has no trouble.
    stage.migration.run(&call("p", ""));
    for in_way in [false, true] {
        let application = in_way.then(|| Holder::idle(&stage.database, "web", "SELECT FROM t"));
        stage.migration.run("BEGIN; SAVEPOINT s");
        // Nobody is waited for in vain.
        let error = stage.migration.spawn(call("t p", "")).wait(SOON);
        let error = error.unwrap_err();
        assert_eq!(error.code().map(|c| c.code()), Some("53200"), "{error}");
        drop(application);
        stage.holds_nothing("53200");
        stage.migration.run("ROLLBACK TO s");
        stage.migration.run(&format!(
            "DO $do$BEGIN BEGIN {}; EXCEPTION WHEN out_of_memory THEN RAISE WARNING 'caught'; END; END$do$",
            perform("t p", "")
        ));
        let told = stage.migration.take_notices().pop().unwrap().message;
        assert_eq!(told, "caught");
        stage.holds_nothing("53200");
        stage.migration.run(&call("t p7", ""));
        stage.holds(STRONGEST, "t p7");
        stage.migration.run("COMMIT");
    }
    let mine = "SELECT FROM pg_locks WHERE relation >= 16384";
    assert!(stage.looker.run(mine).is_empty());
    // Whoever needs many finds the room that there was.
    let tables: Vec<String> = (1..=100).map(|i| format!("p{i}")).collect();
    stage
        .looker
        .run(&format!("BEGIN; LOCK TABLE {}; COMMIT", tables.join(", ")));
    assert!(!cluster.log().contains("PANIC"));
}
