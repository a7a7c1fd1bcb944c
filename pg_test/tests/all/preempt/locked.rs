//! Somebody has locked a catalog, or a table of the extension: the call waits for that as for anything else, and no
//! longer than for `timeout`.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Database, Session, SessionOptions};

use super::scene::{Holder, Trail, preempt, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_locked_catalog_is_waited_for_until_timeout,
        with_report_a_locked_catalog_is_no_error,
        once_the_catalog_is_free_the_call_goes_on,
        in_guard_mode_a_locked_catalog_is_waited_for_until_timeout,
        locked_tables_of_the_extension_are_waited_for_until_timeout,
        once_the_rules_are_free_the_call_goes_on,
        who_is_only_queued_for_a_table_of_the_extension_is_not_waited_for,
    ]
}

/// How much longer than `timeout` a call may take on a machine that does other things as well.
const LATE: Duration = Duration::from_secs(3);

/// A session that has locked this, so that nobody can read it.
fn locker(database: &Database, table: &str) -> Session {
    let admin = database.session("admin");
    admin.run(&format!(
        "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
    ));
    admin
}

/// Sees that the statement fails at its `timeout` of half a second, and names who has locked what.
#[track_caller]
fn is_not_had_in_time(session: &Session, sql: &str, locker: &Session, table: &str) {
    let call = session.spawn(sql);
    let error = match call.wait(Duration::from_secs(1) + LATE) {
        Ok(rows) => panic!("{sql}: {rows:?}"),
        Err(error) => error,
    };
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "55P03", "{sql}: {error:?}");
    assert_eq!(
        error.message(),
        "could not read the catalogs within 500 ms",
        "{sql}"
    );
    let pid = locker.pid();
    assert_eq!(
        error.detail(),
        Some(&*format!("pid {pid} holds AccessExclusiveLock on {table}.")),
        "{sql}"
    );
}

/// Calls for a table t, each of which needs the catalogs.
const CALLS: [&str; 4] = [
    r#"{"relations": ["t"], "timeout": "500ms""#,
    r#"{"relations": ["t"], "timeout": "500ms", "take_lock": false"#,
    r#"{"relations": ["t"], "timeout": "500ms", "dry_run": true"#,
    r#"{"statement": "DROP TABLE t", "timeout": "500ms""#,
];

fn a_locked_catalog_is_waited_for_until_timeout(world: &World) {
    let database = world.database();
    database
        .session("setup")
        .run("CREATE TABLE t (i int PRIMARY KEY)");
    // Each looks at the table for the first time.
    let sessions = CALLS.map(|call| (call, database.session("migration")));
    let admin = locker(&database, "pg_index");
    for (call, session) in &sessions {
        session.run("BEGIN");
        is_not_had_in_time(session, &preempt(&format!("{call}}}")), &admin, "pg_index");
    }
}

fn with_report_a_locked_catalog_is_no_error(world: &World) {
    let database = world.database();
    database
        .session("setup")
        .run("CREATE TABLE t (i int PRIMARY KEY)");
    let sessions = CALLS.map(|call| (call, database.session("migration")));
    let admin = locker(&database, "pg_index");
    for (call, session) in &sessions {
        let call = session.spawn(preempt(&format!(r#"{call}, "on_timeout": "report"}}"#)));
        let rows = call.rows(Duration::from_secs(1) + LATE);
        assert!(rows.is_empty(), "{rows:?}");
        let told = session.take_notices().pop().unwrap().message;
        let pid = admin.pid();
        assert_eq!(
            told,
            format!(
                "lockguard: could not read the catalogs within 500 ms: pid {pid} holds AccessExclusiveLock on pg_index."
            )
        );
    }
}

fn once_the_catalog_is_free_the_call_goes_on(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    let backup = Holder::busy(&database, "pg_dump", "SELECT FROM t");
    let admin = locker(&database, "pg_index");
    let call = migration.spawn(preempt(r#"{"relations": ["t"]}"#));
    call.wait_until_queued();
    admin.run("COMMIT");
    let rows = call.rows(super::scene::SOON);
    assert_eq!(super::scene::verdict(&rows, backup.pid()), "cancelled");
    backup.was_cancelled("it was in the way");
}

fn in_guard_mode_a_locked_catalog_is_waited_for_until_timeout(world: &World) {
    let database = world.database();
    database
        .session("setup")
        .run("CREATE TABLE t (i int PRIMARY KEY)");
    let policy = r#"{"timeout":"500ms"}"#;
    let options = SessionOptions::named("migration").set("lockguard.policy", policy);
    let session = database.connect(options).unwrap();
    let admin = locker(&database, "pg_index");
    is_not_had_in_time(&session, "DROP TABLE t", &admin, "pg_index");
    admin.run("COMMIT");
    session.run("DROP TABLE t");
}

fn locked_tables_of_the_extension_are_waited_for_until_timeout(world: &World) {
    let database = world.database();
    let setup = database.session("setup");
    setup.run("CREATE TABLE t (i int); SELECT lockguard.store_policy('p', '{}')");
    let migration = database.session("migration");
    let application = Holder::idle(&database, "web", "SELECT FROM t");
    for (call, table) in [
        (
            r#"{"relations": ["t"], "timeout": "500ms""#,
            "maintenance_rules",
        ),
        (
            r#"{"relations": ["t"], "policy": "p", "timeout": "500ms""#,
            "policies",
        ),
        (
            r#"{"relations": ["t"], "policy": "p", "timeout": "500ms""#,
            "policy_loans",
        ),
    ] {
        let table = format!("lockguard.{table}");
        let admin = locker(&database, &table);
        is_not_had_in_time(&migration, &preempt(&format!("{call}}}")), &admin, &table);
        if !call.contains("policy") {
            let report = format!(r#"{call}, "on_timeout": "report"}}"#);
            assert!(migration.run(&preempt(&report)).is_empty());
        }
    }
    assert!(application.goes_on());
}

fn once_the_rules_are_free_the_call_goes_on(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    let trail = Trail::from_now(world.cluster());
    let backup = Holder::busy(&database, "pg_dump", "SELECT FROM t");
    let admin = locker(&database, "lockguard.maintenance_rules");
    let call = migration.spawn(preempt(r#"{"relations": ["t"]}"#));
    call.wait_until_queued();
    trail.has_no_victim();
    admin.run("COMMIT");
    let rows = call.rows(super::scene::SOON);
    assert_eq!(super::scene::verdict(&rows, backup.pid()), "cancelled");
    backup.was_cancelled("it was in the way");
}

/// A backup reads the tables of the extension as well, and somebody's ALTER EXTENSION waits for it: the call that is to
/// end the backup has to read them too.
fn who_is_only_queued_for_a_table_of_the_extension_is_not_waited_for(world: &World) {
    let database = world.database();
    let setup = database.session("setup");
    setup.run("CREATE TABLE t (i int); SELECT lockguard.store_policy('p', '{}')");
    let migration = database.session("migration");
    for table in ["maintenance_rules", "policies", "policy_loans"] {
        let table = format!("lockguard.{table}");
        let reads = format!("SELECT FROM t; SELECT FROM {table}");
        let backup = Holder::busy(&database, "pg_dump", &reads);
        let admin = database.session("admin");
        let queued = admin.spawn(format!(
            "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
        ));
        queued.wait_until_queued();
        let rows = migration.run("SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass])");
        assert_eq!(rows.only().text("class"), "backup", "{table}");
        let call = r#"{"relations": ["t"], "policy": "p", "timeout": "10s"}"#;
        let rows = migration.run(&preempt(call));
        assert_eq!(
            super::scene::verdict(&rows, backup.pid()),
            "cancelled",
            "{table}"
        );
        backup.was_cancelled("it was in the way");
        // The one that was queued has it now.
        let _ = queued.wait(super::scene::SOON);
    }
}
