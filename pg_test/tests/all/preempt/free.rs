//! Free means free: what is told to be so can be had at once, and what is ours is in nobody's way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, SessionOptions};

use super::scene::{Backup, Holder, SLOWLY, SOON, Trail, preempt, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_lock_that_is_told_free_can_be_had_at_once,
        a_victim_that_is_letting_go_has_one_row,
        a_request_queued_behind_our_own_lock_is_no_obstacle,
        a_migration_queued_behind_us_and_a_backup_is_no_obstacle,
        a_holder_that_waits_for_us_is_a_deadlock,
        the_application_is_not_ended_for_waiting_on_us,
        one_behind_the_queue_that_waits_for_us_is_a_deadlock,
        a_parallel_query_whose_worker_waits_for_us_is_a_deadlock,
    ]
}

/// So many tables that letting go of them all takes several looks.
fn many_tables(database: &Database) {
    let options = SessionOptions::named("setup").set("statement_timeout", "10min");
    let setup = database.connect(options).unwrap();
    setup.run("DO $$BEGIN FOR i IN 1..3000 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END$$");
}

const LOCK_THEM: &str = "DO $$BEGIN FOR i IN 1..3000 LOOP EXECUTE format('LOCK TABLE t%s IN ACCESS SHARE MODE', i); END LOOP; END$$";

/// A transaction that ends lets go of its locks one by one, after it has ended for all who ask.
fn a_lock_that_is_told_free_can_be_had_at_once(world: &World) {
    let database = world.database();
    many_tables(&database);
    let migration = database.session("migration");
    for _ in 0..6 {
        let holder = Holder::idle(&database, "pg_dump", LOCK_THEM);
        let call =
            r#"SELECT lockguard.preempt_maintenance('{"relations": ["t2999", "t3000", "t1"]}')"#;
        migration.run(&format!("{call}; LOCK TABLE t1, t2999, t3000 NOWAIT"));
        drop(holder);
    }
}

fn a_victim_that_is_letting_go_has_one_row(world: &World) {
    let database = world.database();
    many_tables(&database);
    let helper = database.session("helper");
    let waiter = database.session("migration");
    for round in 0..16 {
        let holder = Holder::busy(&database, "pg_dump", LOCK_THEM);
        waiter.run("BEGIN");
        let wait = waiter.spawn("LOCK TABLE t3000");
        wait.wait_until_queued();
        let target = match round % 2 {
            0 => format!(r#""pid": {}"#, waiter.pid()),
            _ => r#""relations": ["t3000"]"#.to_owned(),
        };
        let rows = helper.run(&preempt(&format!("{{{target}}}")));
        assert_eq!(rows.len(), 1, "round {round}: {rows:?}");
        assert_eq!(verdict(&rows, holder.pid()), "cancelled", "{rows:?}");
        wait.rows(SOON);
        waiter.run("ROLLBACK");
    }
}

fn a_request_queued_behind_our_own_lock_is_no_obstacle(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    migration.run("BEGIN; ALTER TABLE t ADD COLUMN first int");
    let reader = database.session("web");
    let read = reader.spawn("SELECT count(*) FROM t");
    read.wait_until_queued();
    let rows = migration.run(&preempt(r#"{"relations": ["t"], "timeout": "5s"}"#));
    assert!(rows.is_empty(), "{rows:?}");
    migration.run("COMMIT");
    read.rows(SOON);
}

fn a_migration_queued_behind_us_and_a_backup_is_no_obstacle(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let migration = database.session("migration");
    migration.run("BEGIN; SELECT count(*) FROM t");
    let backup = Backup::start(&database, SLOWLY);
    let other = database.session("other migration");
    let alter = other.spawn("ALTER TABLE t ADD COLUMN other int");
    alter.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let rows = migration.run(&preempt(r#"{"relations": ["t"], "timeout": "5s"}"#));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    assert_eq!(trail.victims(), [backup.pid]);
    migration.run("ROLLBACK");
    alter.rows(SOON);
}

fn a_holder_that_waits_for_us_is_a_deadlock(world: &World) {
    let database = world.database();
    table(&database, "ours", 10);
    table(&database, "theirs", 10);
    let migration = database.session("migration");
    migration.run("BEGIN; LOCK TABLE ours");
    let other = database.session("web");
    other.run("BEGIN; SELECT FROM theirs");
    let read = other.spawn("SELECT count(*) FROM ours");
    read.wait_until_queued();
    let before = Instant::now();
    let error = migration.error(&preempt(r#"{"relations": ["theirs"]}"#));
    assert_eq!(error.code().code(), "40P01", "{error:?}");
    assert!(
        error.message().contains(&format!("pid {}", other.pid())),
        "{error:?}"
    );
    // Core would need deadlock_timeout, a second, for it.
    let elapsed = before.elapsed();
    assert!(
        elapsed < pg_test::slow(Duration::from_millis(500)),
        "{elapsed:?}"
    );
    migration.run("ROLLBACK");
    read.rows(SOON);
}

/// The one that comes to wait last finds the deadlock, and would be ended for it.
fn the_application_is_not_ended_for_waiting_on_us(world: &World) {
    let database = world.database();
    table(&database, "ours", 10);
    table(&database, "theirs", 10);
    let migration = database.session("migration");
    migration.run("BEGIN; LOCK TABLE ours");
    let other = database.session("web");
    other.run("BEGIN; SELECT FROM theirs");
    let call = migration.spawn(preempt(r#"{"relations": ["theirs"], "timeout": "20s"}"#));
    pg_test::wait_until("the call waits for the application", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    // A wait that lasts is checked for deadlocks once, at its deadlock_timeout: from then on the
    // other's check would be the first.
    pg_test::wait_until("such a check would be over", SOON, || {
        call.elapsed() > Duration::from_millis(1_200)
    });
    let read = other.spawn("SELECT count(*) FROM ours");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "40P01", "{error:?}");
    migration.run("ROLLBACK");
    assert_eq!(read.rows(SOON).value(), Some("10"));
}

/// It holds nothing that conflicts with our lock, but keeps somebody in the queue whose request does.
fn one_behind_the_queue_that_waits_for_us_is_a_deadlock(world: &World) {
    let database = world.database();
    table(&database, "ours", 10);
    table(&database, "theirs", 10);
    let migration = database.session("migration");
    migration.run("BEGIN; LOCK TABLE ours");
    let other = database.session("other migration");
    other.run("BEGIN; LOCK TABLE theirs IN SHARE MODE");
    let writer = database.session("web");
    let write = writer.spawn("INSERT INTO theirs VALUES (0, '')");
    write.wait_until_queued();
    let call = migration.spawn(preempt(
        r#"{"relations": ["theirs"], "mode": "SHARE", "timeout": "10s"}"#,
    ));
    pg_test::wait_until("the call waits for it", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    let read = other.spawn("SELECT count(*) FROM ours");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "40P01", "{error:?}");
    migration.run("ROLLBACK");
    assert_eq!(read.rows(SOON).value(), Some("10"), "it was not ended");
    other.run("COMMIT");
    write.rows(SOON);
}

/// Its leader waits for its workers, and for no lock.
fn a_parallel_query_whose_worker_waits_for_us_is_a_deadlock(world: &World) {
    let database = world.database();
    table(&database, "ours", 10);
    table(&database, "theirs", 10_000);
    database.session("setup").run(
        "CREATE FUNCTION peek(int) RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS \
         $$ BEGIN PERFORM count(*) FROM ours; RETURN 1; END $$; ANALYZE theirs",
    );
    let migration = database.session("migration");
    migration.run("BEGIN; LOCK TABLE ours");
    let settings = [
        ("parallel_setup_cost", "0"),
        ("parallel_tuple_cost", "0"),
        ("min_parallel_table_scan_size", "0"),
        ("parallel_leader_participation", "off"),
    ];
    let options = settings
        .iter()
        .fold(SessionOptions::named("web"), |options, (name, value)| {
            options.set(name, value)
        });
    let other = database.connect(options).unwrap();
    let read = other.spawn("SELECT count(peek(i)) FROM theirs");
    pg_test::wait_until("a worker waits, and its leader for it", SOON, || {
        let waits = database.ask(&format!(
            "SELECT 1 FROM pg_stat_activity WHERE leader_pid = {} AND wait_event_type = 'Lock'",
            other.pid()
        ));
        !waits.is_empty() && read.wait_event().is_some_and(|(kind, _)| kind == "IPC")
    });
    let error = migration.error(&preempt(r#"{"relations": ["theirs"], "timeout": "5s"}"#));
    assert_eq!(error.code().code(), "40P01", "{error:?}");
    migration.run("ROLLBACK");
    assert_eq!(read.rows(SOON).value(), Some("10000"));
}
