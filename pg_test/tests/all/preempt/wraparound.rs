//! The vacuum that keeps a database from shutting down: never preempted, unless policy asks twice.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Database, wait_until};

use super::autovacuum::{server, worker_now, worker_on};
use super::scene::{Backup, SLOWLY, SOON, Trail, VERY_SLOWLY, preempt, row_of, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_wraparound_vacuum_is_never_preempted_unless_unspared_and_named,
    ]
}

/// Tables so old that autovacuum must freeze them, whatever else is asked of it: 100,000
/// transactions is the least that the server lets a table be old before.
pub fn aged_table(database: &Database, name: &str) {
    let setup = database.session("setup");
    setup.run(&format!(
        "CREATE TABLE {name} (i int, t text) WITH (autovacuum_freeze_max_age = 100000, \
         autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1); \
         INSERT INTO {name} SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 10000) i"
    ));
    setup.run("SET synchronous_commit = off");
    setup.run(
        "DO $$BEGIN FOR i IN 1..100100 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END$$",
    );
}

fn a_wraparound_vacuum_is_never_preempted_unless_unspared_and_named(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    aged_table(&database, "t");
    let worker = worker_on(&database, "t");
    let looker = database.session("looker");
    let query = looker.run(&format!(
        "SELECT query FROM pg_stat_activity WHERE pid = {worker}"
    ));
    assert!(query.value().unwrap().contains("to prevent wraparound"));
    let mut backup = Backup::start(&database, VERY_SLOWLY);
    let trail = Trail::from_now(&cluster);
    let migration = database.session("migration");
    let policy = |more: &str| preempt(&format!(r#"{{"relations": ["t"], "timeout": "1s"{more}}}"#));

    // Longer than deadlock_timeout, each time.
    let rows = migration.run(&policy(r#", "on_timeout": "report""#));
    assert_eq!(row_of(&rows, worker).text("class"), "autovacuum_wraparound");
    assert_eq!(verdict(&rows, worker), "spared");
    assert_eq!(migration.error(&policy("")).code().code(), "55P03");
    // To name it is not enough while it is spared, nor to unspare it while it is not named.
    for more in [
        r#", "preempt": ["backup", "autovacuum", "autovacuum_wraparound"]"#,
        r#", "spare": []"#,
    ] {
        assert_eq!(migration.error(&policy(more)).code().code(), "55P03");
    }
    assert_eq!(worker_now(&looker, "t"), Some(worker), "it runs on");
    trail.has_no_victim();
    assert!(backup.is_running());

    // Who hardly reads does not hear of a cancel soon.
    backup.set_rate(SLOWLY);
    let call = policy(r#", "preempt": ["backup", "autovacuum_wraparound"], "spare": []"#);
    let rows = migration.run(&call);
    assert_eq!(verdict(&rows, worker), "cancelled");
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    // It comes back at once, and may come in between.
    wait_until("the table is dropped", SOON, || {
        let drop = "SET lock_timeout = '200ms'; DROP TABLE t";
        migration.try_run(&call).is_ok() && migration.try_run(drop).is_ok()
    });
    wait_until("the worker has gone from it", SOON, || {
        worker_now(&looker, "t").is_none()
    });
}
