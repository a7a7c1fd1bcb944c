//! Where the call may stand: any isolation level, DO, functions, savepoints; and that it leaves the
//! session as it was.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Database, Session, SessionOptions, wait_until};

use super::scene::{Backup, Holder, SLOWLY, SOON, exists, preempt, table, told, verdict};
use crate::world::{World, scenarios};

const POLICY: &str = r#"{"relations": ["t"]}"#;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        it_works_at_every_isolation_level_and_read_only,
        it_works_in_a_do_block_a_function_and_a_savepoint,
        it_works_twice_in_one_transaction,
        a_lock_timeout_neither_ends_the_wait_nor_is_changed_by_it,
        without_the_lock_it_assigns_no_transaction_id,
        an_interrupted_call_that_is_caught_leaves_no_subtransaction,
        who_lets_go_and_stays_in_his_transaction_has_finished,
    ]
}

/// The maintenance that is preempted here: a session under pg_dump's name, for speed.
fn dump(database: &Database) -> Holder {
    Holder::busy(database, "pg_dump", "LOCK TABLE t IN ACCESS SHARE MODE")
}

/// Runs `call` with a backup in the way, and sees it gone.
fn frees(database: &Database, session: &Session, call: &str) {
    let backup = dump(database);
    session.run(call);
    backup.was_cancelled(call);
}

fn it_works_at_every_isolation_level_and_read_only(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let session = database.session("migration");
    for mode in [
        "ISOLATION LEVEL READ COMMITTED",
        "ISOLATION LEVEL REPEATABLE READ",
        "ISOLATION LEVEL SERIALIZABLE",
        "ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "READ ONLY",
    ] {
        session.run(&format!("BEGIN {mode}; SELECT count(*) FROM t; COMMIT"));
        session.run(&format!("BEGIN {mode}"));
        frees(&database, &session, &preempt(POLICY));
        assert_eq!(session.run("SELECT count(*) FROM t").value(), Some("10"));
        session.run("COMMIT");
        // A snapshot older than the backup changes nothing.
        session.run(&format!("BEGIN {mode}; SELECT count(*) FROM pg_class"));
        frees(&database, &session, &preempt(POLICY));
        session.run("COMMIT");
    }
}

fn it_works_in_a_do_block_a_function_and_a_savepoint(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let session = database.session("migration");
    let perform = format!("PERFORM * FROM lockguard.preempt_maintenance('{POLICY}')");
    frees(&database, &session, &format!("DO $$BEGIN {perform}; END$$"));
    frees(
        &database,
        &session,
        &format!(
            "DO $$BEGIN BEGIN {perform}; EXCEPTION WHEN division_by_zero THEN NULL; END; END$$"
        ),
    );
    session.run(&format!(
        "CREATE FUNCTION clear_way() RETURNS bigint LANGUAGE sql \
         AS $$SELECT count(*) FROM lockguard.preempt_maintenance('{POLICY}')$$; \
         CREATE PROCEDURE clear_and_commit() LANGUAGE plpgsql AS $$BEGIN {perform}; COMMIT; END$$"
    ));
    frees(&database, &session, "SELECT clear_way()");
    frees(&database, &session, "CALL clear_and_commit()");
    frees(
        &database,
        &session,
        &format!("BEGIN; SAVEPOINT s; {}; RELEASE s; COMMIT", preempt(POLICY)),
    );

    session.run("BEGIN; CREATE TABLE kept (); SAVEPOINT s; CREATE TABLE undone ()");
    frees(&database, &session, &preempt(POLICY));
    session.run("ROLLBACK TO s");
    frees(&database, &session, &preempt(POLICY));
    session.run("COMMIT");
    assert!(exists(&database, "kept") && !exists(&database, "undone"));
    assert!(told(&session).iter().all(|n| n.severity == "NOTICE"));
}

fn it_works_twice_in_one_transaction(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    table(&database, "u", 10_000);
    let backups = [
        Backup::of_table(&database, "t", SLOWLY),
        Backup::of_table(&database, "u", SLOWLY),
    ];
    let migration = database.session("migration");
    migration.run("BEGIN");
    for (backup, name) in backups.iter().zip(["t", "u"]) {
        let rows = migration.run(&preempt(&format!(r#"{{"relations": ["{name}"]}}"#)));
        assert_eq!(verdict(&rows, backup.pid), "cancelled");
        migration.run(&format!("DROP TABLE {name}"));
    }
    // We hold the lock ourselves now: nobody is in the way, ourselves least of all.
    migration.run("CREATE TABLE mine ()");
    let rows = migration.run(&preempt(r#"{"relations": ["mine"]}"#));
    assert!(rows.is_empty(), "{rows:?}");
    migration.run("COMMIT");
}

fn a_lock_timeout_neither_ends_the_wait_nor_is_changed_by_it(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database
        .connect(SessionOptions::named("migration").set("lock_timeout", "40ms"))
        .unwrap();
    let settings = "SELECT string_agg(name || '=' || setting || '/' || source, ' ' ORDER BY name) FROM pg_settings";
    // The library brings settings of its own when it is first called.
    migration.run("SELECT FROM lockguard.blockers_of('{}')");
    let before = migration.run(settings);
    for (begin, set, shown) in [
        ("BEGIN", "SELECT 1", "40ms"),
        ("BEGIN", "SET LOCAL lock_timeout = '30ms'", "30ms"),
        (
            "BEGIN; SAVEPOINT s",
            "SET LOCAL lock_timeout = '20ms'",
            "20ms",
        ),
    ] {
        let application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
        migration.run(begin);
        migration.run(set);
        let call = migration.spawn(preempt(POLICY));
        wait_until("the call waits far longer than lock_timeout", SOON, || {
            call.elapsed().as_millis() > 400
        });
        assert!(!call.is_finished());
        application.session.run("COMMIT");
        assert_eq!(verdict(&call.rows(SOON), application.pid()), "finished");
        assert_eq!(migration.run("SHOW lock_timeout").value(), Some(shown));
        migration.run("COMMIT");
        assert_eq!(migration.run("SHOW lock_timeout").value(), Some("40ms"));
    }
    assert_eq!(migration.run(settings).value(), before.value());
}

fn without_the_lock_it_assigns_no_transaction_id(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    migration.run("BEGIN");
    let policy = POLICY.replace('{', r#"{"take_lock": false, "#);
    frees(&database, &migration, &preempt(&policy));
    let xid = migration.run("SELECT pg_current_xact_id_if_assigned()");
    assert_eq!(xid.value(), None);
    migration.run("COMMIT");
}

/// Whoever catches the error ends one subtransaction, his own: ours must be gone by then.
fn an_interrupted_call_that_is_caught_leaves_no_subtransaction(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::busy(&database, "web", "SELECT count(*) FROM t");
    let migration = database.session("migration");
    let caught = format!(
        "DO $$BEGIN BEGIN PERFORM * FROM lockguard.preempt_maintenance('{POLICY}'); \
         EXCEPTION WHEN query_canceled THEN RAISE WARNING 'caught'; END; END$$"
    );
    for in_block in [false, true] {
        if in_block {
            migration.run("BEGIN; CREATE TABLE kept ()");
        }
        let call = migration.spawn(caught.as_str());
        wait_until("the call waits", SOON, || {
            call.wait_event()
                .is_some_and(|(_, event)| event == "virtualxid")
        });
        database.cancel(migration.pid());
        call.rows(SOON);
        let last = migration.take_notices().pop().unwrap();
        assert_eq!(last.message, "caught");
        let state = database.ask(&format!(
            "SELECT state FROM pg_stat_activity WHERE pid = {}",
            migration.pid()
        ));
        if in_block {
            assert_eq!(state.value(), Some("idle in transaction"));
            migration.run("SAVEPOINT s; ROLLBACK TO s; COMMIT");
            assert!(exists(&database, "kept"));
        } else {
            assert_eq!(state.value(), Some("idle"), "the transaction was left open");
        }
        assert_eq!(migration.take_notices().len(), 0);
    }
    assert!(application.goes_on());
}

fn who_lets_go_and_stays_in_his_transaction_has_finished(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    migration.run("BEGIN");
    let other = database.session("web");
    other.run("BEGIN; SAVEPOINT s; SELECT FROM t");
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "max_stall": "900ms"}"#));
    call.wait_until_queued();
    other.run("ROLLBACK TO s");
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, other.pid()), "finished", "{rows:?}");
    other.run("COMMIT");
}
