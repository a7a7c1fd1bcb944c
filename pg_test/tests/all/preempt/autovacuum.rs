//! Autovacuum workers at work: cancelled by default, left in peace when policy spares them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, SessionOptions, wait_until};

use super::scene::{Backup, SOON, Trail, VERY_SLOWLY, preempt, row_of, stays_true, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        an_autovacuum_worker_gives_way,
        a_spared_autovacuum_worker_is_not_made_to_yield_by_our_waiting,
        a_cancelled_worker_that_goes_on_elsewhere_is_left_in_peace,
        the_server_ends_a_worker_only_for_who_could_queue_for_its_lock,
        a_worker_that_is_spared_by_what_is_hidden_is_not_made_to_yield,
    ]
}

/// A server whose autovacuum looks for work all the time.
pub fn server(world: &World) -> Cluster {
    world.start_cluster(&[
        ("autovacuum", "on"),
        ("autovacuum_naptime", "1s"),
        // After this long core makes a worker yield to whoever waits for it.
        ("deadlock_timeout", "200ms"),
    ])
}

/// A table that autovacuum finds in need, and needs minutes for.
pub fn needy_table(database: &Database, name: &str) {
    database.session("setup").run(&format!(
        "CREATE TABLE {name} (i int, t text) WITH (autovacuum_vacuum_threshold = 1, \
         autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1); \
         INSERT INTO {name} SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 10000) i; \
         DELETE FROM {name} WHERE i % 2 = 0"
    ));
}

/// The worker at work on that table, once there is one.
pub fn worker_on(database: &Database, table: &str) -> i32 {
    let looker = database.session("looker");
    let mut pid = 0;
    wait_until("a worker is at work on the table", SOON, || {
        pid = worker_now(&looker, table).unwrap_or(0);
        pid != 0
    });
    pid
}

pub fn worker_now(looker: &pg_test::Session, table: &str) -> Option<i32> {
    let rows = looker.run(&format!(
        "SELECT a.pid FROM pg_stat_progress_vacuum p JOIN pg_stat_activity a USING (pid) \
         JOIN pg_class c ON c.oid = p.relid \
         WHERE a.backend_type = 'autovacuum worker' AND p.datname = current_database() AND c.relname = '{table}'"
    ));
    rows.value().map(|pid| pid.parse().unwrap())
}

fn an_autovacuum_worker_gives_way(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let worker = worker_on(&database, "t");
    let trail = Trail::from_now(&cluster);
    let migration = database.session("migration");
    let start = Instant::now();
    let rows = migration.run(&format!(
        "BEGIN; {}; DROP TABLE t; COMMIT",
        preempt(r#"{"relations": ["t"]}"#)
    ));
    let elapsed = start.elapsed();
    let row = row_of(&rows, worker);
    assert_eq!(row.text("verdict"), "cancelled");
    assert_eq!(row.text("class"), "autovacuum");
    // A second worker may come to the table once the first has let go.
    assert_eq!(trail.victims().first(), Some(&worker));
    assert!(trail.text().contains("canceling autovacuum task"));
    // Not because of our waiting, which takes longer.
    assert!(
        elapsed < pg_test::slow(Duration::from_secs(2)),
        "{elapsed:?}"
    );
}

fn a_spared_autovacuum_worker_is_not_made_to_yield_by_our_waiting(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let mut backup = Backup::start(&database, VERY_SLOWLY);
    let worker = worker_on(&database, "t");
    let trail = Trail::from_now(&cluster);
    let migration = database.session("migration");
    let policy = |more: &str| {
        preempt(&format!(
            r#"{{"relations": ["t"], "spare": ["autovacuum"], "timeout": "1s"{more}}}"#
        ))
    };
    let rows = migration.run(&policy(r#", "on_timeout": "report""#));
    assert_eq!(verdict(&rows, worker), "spared");
    assert_eq!(verdict(&rows, backup.pid), "in the way");
    let error = migration.error(&policy(""));
    assert_eq!(error.code().code(), "55P03");
    let looker = database.session("looker");
    assert_eq!(
        worker_now(&looker, "t"),
        Some(worker),
        "the worker lives on"
    );
    trail.has_no_victim();
    assert!(!trail.text().contains("canceling"), "{}", trail.text());
    assert!(backup.is_running());
}

fn a_cancelled_worker_that_goes_on_elsewhere_is_left_in_peace(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    // Two tables in need, of which a worker does one after the other.
    cluster.set(&[("autovacuum", "off")]).unwrap();
    let looker = database.session("looker");
    wait_until("no new worker starts", SOON, || {
        looker.run("SHOW autovacuum").value() == Some("off")
    });
    needy_table(&database, "a");
    needy_table(&database, "b");
    cluster
        .set(&[("autovacuum", "on"), ("autovacuum_max_workers", "1")])
        .unwrap();
    cluster.restart().unwrap();
    let looker = database.session("looker");
    let mut first = ("a", 0);
    wait_until("a worker is at work on one of them", SOON, || {
        for name in ["a", "b"] {
            if let Some(pid) = worker_now(&looker, name) {
                first = (name, pid);
            }
        }
        first.1 != 0
    });
    let (table, worker) = first;
    let other = if table == "a" { "b" } else { "a" };
    let trail = Trail::from_now(&cluster);
    let migration = database.session("migration");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(&format!(
        r#"{{"relations": ["{table}"], "grace": "100ms"}}"#
    )));
    migration.run(&format!("DROP TABLE {table}; COMMIT"));
    assert_eq!(verdict(&rows, worker), "cancelled");
    wait_until("the same worker goes on with the other table", SOON, || {
        worker_now(&looker, other) == Some(worker)
    });
    stays_true(
        "the worker is at work on the other table",
        Instant::now() + Duration::from_millis(500),
        || worker_now(&looker, other) == Some(worker),
    );
    assert_eq!(trail.victims(), [worker], "hit once");
}

/// Who has no right on the table could not have a worker ended by LOCK TABLE either.
fn the_server_ends_a_worker_only_for_who_could_queue_for_its_lock(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    database
        .session("setup")
        .run("CREATE ROLE stranger LOGIN; CREATE ROLE writer LOGIN; GRANT UPDATE ON t TO writer");
    let worker = worker_on(&database, "t");
    let trail = Trail::from_now(&cluster);
    let policy = |target: &str| {
        preempt(&format!(
            r#"{{{target}, "take_lock": false, "timeout": "500ms", "on_timeout": "report"}}"#
        ))
    };
    let call = |role: &str, target: &str| {
        let session = database.connect(SessionOptions::named("web").user(role));
        let rows = session.unwrap().run(&policy(target));
        verdict(&rows, worker).to_owned()
    };
    for target in [r#""relations": ["t"]"#, r#""relations": "all""#] {
        assert_eq!(call("stranger", target), "not permitted", "{target}");
    }
    assert!(!trail.text().contains("cancel"), "{}", trail.text());
    assert_eq!(call("writer", r#""relations": "all""#), "cancelled");
    assert!(trail.text().contains("canceling autovacuum task"));
}

fn a_worker_that_is_spared_by_what_is_hidden_is_not_made_to_yield(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    database
        .session("setup")
        .run("CREATE ROLE deployer LOGIN; ALTER TABLE t OWNER TO deployer");
    let worker = worker_on(&database, "t");
    let trail = Trail::from_now(&cluster);
    let session = database.connect(SessionOptions::named("migration").user("deployer"));
    let rows = session.unwrap().run(&preempt(
        r#"{"relations": ["t"], "spare": [{"query": "*VACUUM*"}], "timeout": "500ms", "on_timeout": "report"}"#,
    ));
    assert_eq!(verdict(&rows, worker), "spared");
    assert!(!trail.text().contains("cancel"), "{}", trail.text());
}
