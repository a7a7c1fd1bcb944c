//! The migration that already hangs: freed from a second session, by its pid or by its relations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, wait_until};

use super::scene::{
    Backup, Holder, SLOWLY, SOON, Trail, exists, preempt, row_of, stays_true, table, verdict,
};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_hanging_migration_is_freed_by_its_relations,
        a_hanging_migration_is_freed_by_its_pid,
        a_migration_that_stays_in_its_transaction_is_no_obstacle,
        a_session_that_waits_for_a_row_is_freed,
        a_session_that_waits_for_an_advisory_lock_is_freed,
        a_reader_behind_the_hanging_migration_is_freed,
        each_wait_of_a_transaction_is_cleared_in_turn,
        two_backups_of_different_pace_are_cleared_for_one_migration,
        nothing_is_signalled_for_a_session_behind_the_application,
        a_migration_that_holds_the_parent_is_freed_from_its_partition,
        a_migration_that_holds_the_parent_is_freed_by_its_relations,
        a_lock_held_outside_any_transaction_is_named,
        a_session_that_waits_for_us_is_a_deadlock,
        a_session_of_another_database_is_freed,
        a_session_that_waits_for_nothing_needs_nothing,
        a_session_that_is_none_or_ourselves_is_refused,
    ]
}

fn is_freed_by(world: &World, target: impl Fn(i32) -> String, stays: bool) {
    let database = world.database();
    table(&database, "t", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let migration = database.session("migration");
    if stays {
        migration.run("BEGIN");
    }
    let drop = migration.spawn("DROP TABLE t");
    drop.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let helper = database.session("helper");
    let rows = helper.run(&preempt(&format!("{{{}}}", target(migration.pid()))));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    assert_eq!(rows.len(), 1, "the migration is no obstacle: {rows:?}");
    drop.rows(SOON);
    if stays {
        migration.run("COMMIT");
    }
    assert!(!exists(&database, "t"));
    assert_eq!(trail.victims(), [backup.pid]);
}

fn a_hanging_migration_is_freed_by_its_relations(world: &World) {
    // The look may fall into the instant in which the backup lets go and the migration goes on.
    for _ in 0..25 {
        is_freed_by(world, |_| r#""relations": ["t"]"#.into(), false);
    }
}

fn a_hanging_migration_is_freed_by_its_pid(world: &World) {
    is_freed_by(world, |pid| format!(r#""pid": {pid}"#), false);
}

/// It holds the lock then, for as long as it likes.
fn a_migration_that_stays_in_its_transaction_is_no_obstacle(world: &World) {
    is_freed_by(world, |_| r#""relations": ["t"]"#.into(), true);
    is_freed_by(world, |pid| format!(r#""pid": {pid}"#), true);
}

/// A session waits by `waits` for what a busy backup holds by `holds`.
fn is_freed_from(world: &World, holds: &str, waits: &str, what: &str) {
    let database = world.database();
    table(&database, "t", 10);
    let holder = Holder::busy(&database, "pg_dump", holds);
    let waiter = database.session("web");
    let wait = waiter.spawn(waits);
    wait.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let helper = database.session("helper");
    let rows = helper.run(&preempt(&format!(r#"{{"pid": {}}}"#, waiter.pid())));
    assert_eq!(verdict(&rows, holder.pid()), "cancelled");
    wait.rows(SOON);
    assert_eq!(trail.victims(), [holder.pid()]);
    assert!(trail.text().contains(what), "{}", trail.text());
}

fn a_session_that_waits_for_a_row_is_freed(world: &World) {
    let update = "UPDATE t SET t = 'x' WHERE i = 1";
    is_freed_from(world, update, update, "ShareLock on a transaction");
}

fn a_session_that_waits_for_an_advisory_lock_is_freed(world: &World) {
    let lock = "SELECT pg_advisory_xact_lock(7, 7)";
    is_freed_from(world, lock, lock, "ExclusiveLock on an advisory key");
}

fn a_reader_behind_the_hanging_migration_is_freed(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let migration = database.session("migration");
    let alter = migration.spawn("ALTER TABLE t ADD COLUMN u int");
    alter.wait_until_queued();
    let reader = database.session("web");
    let read = reader.spawn("SELECT count(*) FROM t");
    read.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let rows = database
        .session("helper")
        .run(&preempt(&format!(r#"{{"pid": {}}}"#, reader.pid())));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    alter.rows(SOON);
    assert_eq!(read.rows(SOON).value(), Some("10000"));
    assert_eq!(trail.victims(), [backup.pid]);
}

fn two_tables_and_their_backups(database: &Database, paces: [u64; 2]) -> [Backup; 2] {
    table(database, "a", 10_000);
    table(database, "b", 10_000);
    [
        Backup::of_table(database, "a", paces[0]),
        Backup::of_table(database, "b", paces[1]),
    ]
}

fn each_wait_of_a_transaction_is_cleared_in_turn(world: &World) {
    let database = world.database();
    let backups = two_tables_and_their_backups(&database, [SLOWLY, SLOWLY]);
    let migration = database.session("migration");
    let drop = migration.spawn("DROP TABLE a, b");
    drop.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let rows = database
        .session("helper")
        .run(&preempt(&format!(r#"{{"pid": {}}}"#, migration.pid())));
    for (backup, relation) in backups.iter().zip(["a", "b"]) {
        assert_eq!(verdict(&rows, backup.pid), "cancelled");
        assert_eq!(row_of(&rows, backup.pid).text("relation"), relation);
    }
    drop.rows(SOON);
    assert_eq!(trail.victims(), [backups[0].pid, backups[1].pid]);
    assert!(!exists(&database, "a") && !exists(&database, "b"));
}

/// The migration gets the first table while the second one's backup is still in its grace: it holds
/// the one and waits for the other, and must not be taken for an obstacle then.
fn two_backups_of_different_pace_are_cleared_for_one_migration(world: &World) {
    for target in ["relations", "pid"] {
        let database = world.database();
        let backups = two_tables_and_their_backups(&database, [SLOWLY, 0]);
        let migration = database.session("migration");
        let drop = migration.spawn("DROP TABLE a, b");
        drop.wait_until_queued();
        let target = match target {
            "pid" => format!(r#""pid": {}"#, migration.pid()),
            _ => r#""relations": ["a", "b"]"#.into(),
        };
        let rows = database.session("helper").run(&preempt(&format!(
            r#"{{{target}, "grace": "2s", "timeout": "20s"}}"#
        )));
        assert_eq!(verdict(&rows, backups[0].pid), "cancelled");
        assert_eq!(verdict(&rows, backups[1].pid), "terminated");
        drop.rows(SOON);
    }
}

fn nothing_is_signalled_for_a_session_behind_the_application(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let mut backup = Backup::start(&database, SLOWLY);
    let application = Holder::busy(&database, "web", "SELECT count(*) FROM t");
    let migration = database.session("migration");
    let drop = migration.spawn("DROP TABLE t");
    drop.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let error = database.session("helper").error(&preempt(&format!(
        r#"{{"pid": {}, "timeout": "500ms"}}"#,
        migration.pid()
    )));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap_or_default();
    for pid in [backup.pid, application.pid()] {
        assert!(detail.contains(&format!("pid {pid} ")), "{detail}");
    }
    trail.has_no_victim();
    assert!(backup.is_running() && !drop.is_finished());
}

fn a_session_that_waits_for_nothing_needs_nothing(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let helper = database.session("helper");
    let idle = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let busy = Holder::busy(&database, "web", "SELECT count(*) FROM t");
    let resting = database.session("resting");
    for pid in [idle.pid(), busy.pid(), resting.pid()] {
        let rows = helper.run(&preempt(&format!(r#"{{"pid": {pid}}}"#)));
        assert!(rows.is_empty(), "{rows:?}");
        let notice = helper.take_notices().pop().unwrap();
        assert!(
            notice
                .message
                .contains(&format!("pid {pid}: it waits for no lock"))
        );
    }
    stays_true(
        "all go on",
        Instant::now() + Duration::from_millis(100),
        || idle.goes_on() && busy.goes_on(),
    );
}

fn a_session_that_is_none_or_ourselves_is_refused(world: &World) {
    let database = world.database();
    let gone = {
        let session = database.session("gone");
        session.pid()
    };
    wait_until("the session has gone", SOON, || {
        !super::scene::is_alive(&database, gone)
    });
    let helper = database.session("helper");
    for (pid, hint) in [
        (helper.pid(), "Name a session that waits"),
        (gone, "It may have got its lock and ended"),
        (i32::MAX, "It may have got its lock and ended"),
    ] {
        let error = helper.error(&preempt(&format!(r#"{{"pid": {pid}}}"#)));
        assert_eq!(error.code().code(), "22023");
        assert_eq!(error.detail(), Some("At $.pid in the policy."));
        assert!(error.hint().unwrap().starts_with(hint), "{error:?}");
    }
}

/// The parent was free, and is the migration's; one partition is not.
fn a_migration_that_holds_the_parent_is_freed_from_its_partition(world: &World) {
    let database = world.database();
    database.session("setup").run(
        "CREATE TABLE events (day int, t text) PARTITION BY RANGE (day); \
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2); \
         INSERT INTO events SELECT 1, repeat(md5(i::text), 30) FROM generate_series(1, 10000) i",
    );
    let backup = Backup::of_table(&database, "events_1", SLOWLY);
    let migration = database.session("migration");
    let drop = migration.spawn("DROP TABLE events");
    drop.wait_until_queued();
    let rows = database
        .session("helper")
        .run(&preempt(&format!(r#"{{"pid": {}}}"#, migration.pid())));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    assert_eq!(row_of(&rows, backup.pid).text("relation"), "events_1");
    drop.rows(SOON);
}

fn a_session_of_another_database_is_freed(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let migration = database.session("migration");
    let drop = migration.spawn("DROP TABLE t");
    drop.wait_until_queued();
    let rows = world
        .database()
        .session("helper")
        .run(&preempt(&format!(r#"{{"pid": {}}}"#, migration.pid())));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    assert_eq!(row_of(&rows, backup.pid).get("relation"), None);
    drop.rows(SOON);
}

/// It holds `events` and waits for a partition that a backup reads: no obstacle, though it holds.
fn a_migration_that_holds_the_parent_is_freed_by_its_relations(world: &World) {
    let database = world.database();
    let setup = database.session("setup");
    setup.run("CREATE TABLE events (i int, t text) PARTITION BY RANGE (i)");
    setup.run("CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (100000)");
    setup.run(
        "INSERT INTO events SELECT i, repeat(md5(i::text), 30) FROM generate_series(0, 9999) i",
    );
    let backup = Backup::of_table(&database, "events_1", SLOWLY);
    let migration = database.session("migration");
    migration.run("BEGIN");
    let drop = migration.spawn("DROP TABLE events");
    drop.wait_until_queued();
    // A reader queued behind the migration holds nothing that would matter.
    let reader = database.session("web");
    let read = reader.spawn("SELECT count(*) FROM events");
    read.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let rows = database
        .session("helper")
        .run(&preempt(r#"{"relations": ["events"]}"#));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    drop.rows(SOON);
    assert_eq!(trail.victims(), [backup.pid]);
    migration.run("ROLLBACK");
    read.rows(SOON);
}

/// An advisory lock of the session: there is no transaction to wait for, nor to cancel.
fn a_lock_held_outside_any_transaction_is_named(world: &World) {
    let database = world.database();
    let holder = database.session("migrations");
    holder.run("SELECT pg_advisory_lock(7)");
    let waiter = database.session("web");
    let wait = waiter.spawn("SELECT pg_advisory_lock(7)");
    wait.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    let error = database.session("helper").error(&preempt(&format!(
        r#"{{"pid": {}, "preempt": [{{"application_name": "migrations"}}], "timeout": "300ms"}}"#,
        waiter.pid()
    )));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap();
    assert!(
        detail.contains(&format!("pid {}", holder.pid()))
            && detail.contains("outside any transaction"),
        "{detail}"
    );
    trail.has_no_victim();
    holder.run("SELECT pg_advisory_unlock(7)");
    wait.rows(SOON);
}

fn a_session_that_waits_for_us_is_a_deadlock(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let helper = database.session("helper");
    helper.run("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE");
    let waiter = database.session("migration");
    let drop = waiter.spawn("DROP TABLE t");
    drop.wait_until_queued();
    let before = Instant::now();
    let error = helper.error(&preempt(&format!(r#"{{"pid": {}}}"#, waiter.pid())));
    assert_eq!(error.code().code(), "40P01", "{error:?}");
    assert!(
        before.elapsed() < pg_test::slow(Duration::from_secs(5)),
        "it waited for itself"
    );
    helper.run("ROLLBACK");
    drop.rows(SOON);
}
