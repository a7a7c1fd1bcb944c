//! Statements that run under guard: in a block, by themselves, in functions; CONCURRENTLY forms; and those
//! that are none of its business.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::Backup;

use super::TABLE;
use crate::preempt::scene::{SLOWLY, exists, table};
use crate::take::rights::role;
use crate::take::scene::{Holder, SOON, STRONGEST, Stage, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        dropping_a_table_behind_a_slow_backup_goes_through,
        its_locks_are_those_of_the_statement_and_stay_for_the_transaction,
        indexes_are_built_and_dropped_concurrently_behind_a_backup,
        ddl_in_a_function_and_in_a_do_block_is_guarded_too,
        the_script_of_an_extension_is_not_guarded,
        nobody_in_the_way_is_no_word,
        what_the_role_could_not_lock_is_cleared_all_the_same,
        an_error_of_the_statement_itself_stays_what_it_is,
        the_event_trigger_can_be_disabled,
        should_the_library_be_missing_disabling_the_event_trigger_is_the_way_out,
        the_function_is_for_the_event_trigger_alone,
    ]
}

fn dropping_a_table_behind_a_slow_backup_goes_through(world: &World) {
    for block in [false, true] {
        let stage = Stage::new(world, "");
        table(&stage.database, "users", 20_000);
        stage.migration.run(
            "ALTER TABLE users ADD PRIMARY KEY (i); CREATE TABLE events (user_id int REFERENCES users); \
             SET lockguard.policy = 'on'",
        );
        let backup = Backup::of_table(&stage.database, "users", SLOWLY);
        if block {
            stage.migration.run("BEGIN");
        }
        stage
            .migration
            .spawn("DROP TABLE events")
            .wait(SOON)
            .unwrap();
        if block {
            stage.migration.run("COMMIT");
        }
        assert!(!exists(&stage.database, "events"));
        assert!(!backup.end().0.success());
        let told = stage.migration.take_notices();
        let (first, last) = (&told[0].message, &told[told.len() - 1].message);
        for (message, begins) in [
            (
                first,
                "lockguard: in the way of the locks of DROP TABLE on ",
            ),
            (last, "lockguard: holds the locks of DROP TABLE on "),
        ] {
            assert!(message.starts_with(begins), "{message}");
        }
    }
}

fn its_locks_are_those_of_the_statement_and_stay_for_the_transaction(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage
        .migration
        .run("SET lockguard.policy = 'on'; BEGIN; ALTER TABLE events ALTER i SET STATISTICS 10");
    let held = stage.held();
    assert!(
        held.contains(&("events".into(), "ShareUpdateExclusiveLock".into())),
        "{held:?}"
    );
    assert!(!held.iter().any(|(_, mode)| mode == STRONGEST), "{held:?}");
    stage.migration.run("COMMIT");
    stage.holds_nothing("after the transaction");
}

fn indexes_are_built_and_dropped_concurrently_behind_a_backup(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage
        .migration
        .run("CREATE TABLE other (i int); SET lockguard.policy = 'on'");
    for statement in [
        "CREATE INDEX CONCURRENTLY events_j ON events (i)",
        "DROP INDEX CONCURRENTLY events_j",
    ] {
        let sql = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM events";
        let backup = Holder::busy(&stage.database, "pg_dump", sql);
        stage.migration.spawn(statement).wait(SOON).unwrap();
        backup.was_cancelled(statement);
    }
    // Nobody in the way.
    stage
        .migration
        .run("CREATE INDEX CONCURRENTLY events_j ON events (i)");
    stage.migration.run("DROP INDEX CONCURRENTLY events_j");
    // In a block it is refused by the server, and in its words.
    stage.migration.run("BEGIN");
    let error = stage
        .migration
        .error("CREATE INDEX CONCURRENTLY events_j ON events (i)");
    assert_eq!(error.code().code(), "25001");
}

fn ddl_in_a_function_and_in_a_do_block_is_guarded_too(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run(
        "CREATE TABLE other (i int); SET lockguard.policy = 'on'; \
         CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS 'BEGIN DROP TABLE other; END'",
    );
    for (held, statement) in [
        ("events", "DO 'BEGIN EXECUTE ''DROP TABLE events''; END'"),
        ("other", "SELECT f()"),
    ] {
        let backup = Holder::busy(&stage.database, "pg_dump", &format!("SELECT FROM {held}"));
        stage.migration.spawn(statement).wait(SOON).unwrap();
        backup.was_cancelled(statement);
        assert!(!exists(&stage.database, held));
    }
}

fn the_script_of_an_extension_is_not_guarded(world: &World) {
    let stage = Stage::new(world, TABLE);
    let trail = Trail::from_now(world.cluster());
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM events");
    install(world, "guarded", "ALTER TABLE public.events ADD j int;");
    stage
        .migration
        .run("SET lockguard.policy = 'on'; SET lock_timeout = '100ms'");
    let error = stage.migration.error("CREATE EXTENSION guarded");
    assert_eq!(error.code().code(), "55P03");
    assert!(
        error
            .message()
            .starts_with("canceling statement due to lock timeout")
    );
    trail.has_no_victim();
    assert!(backup.goes_on());
}

/// An extension of that script, in the private installation.
fn install(world: &World, name: &str, script: &str) {
    let control = world.installation().extension_folder();
    let file = |name: String, text: &str| std::fs::write(control.join(name), text).unwrap();
    file(
        format!("{name}.control"),
        "default_version = '1'\nsuperuser = true\n",
    );
    file(format!("{name}--1.sql"), script);
}

fn nobody_in_the_way_is_no_word(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("SET lockguard.policy = 'on'");
    for statement in [
        "CREATE TABLE made (i int)",
        "ALTER TABLE made ADD j int",
        "CREATE INDEX ON made (i)",
        "CREATE INDEX CONCURRENTLY ON made (j)",
        "DROP TABLE made",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COMMENT ON TABLE events IS 'x'",
        "DROP INDEX CONCURRENTLY events_i",
    ] {
        stage.migration.run(statement);
        assert!(stage.migration.take_notices().is_empty(), "{statement}");
    }
}

fn what_the_role_could_not_lock_is_cleared_all_the_same(world: &World) {
    let stage = Stage::new(world, "CREATE TABLE users (id int PRIMARY KEY)");
    let deployer = role(
        &stage,
        "deployer",
        "IN ROLE pg_signal_backend",
        "GRANT REFERENCES ON users TO $role; CREATE SCHEMA own AUTHORIZATION $role",
    );
    let backup = role(&stage, "backup", "", "GRANT SELECT ON users TO $role");
    backup.run("SET application_name = 'pg_dump'");
    deployer
        .run("SET lockguard.policy = 'on'; CREATE TABLE own.events (user_id int REFERENCES users)");
    backup.run("BEGIN; SELECT FROM users");
    deployer.spawn("DROP TABLE own.events").wait(SOON).unwrap();
    assert!(backup.try_run("SELECT 1").is_err());
}

fn an_error_of_the_statement_itself_stays_what_it_is(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("SET lockguard.policy = 'on'");
    for (statement, code) in [
        ("DROP TABLE nothing", "42P01"),
        ("ALTER TABLE nothing ADD i int", "42P01"),
        ("CREATE INDEX ON nothing (i)", "42P01"),
        ("ALTER TABLE events ADD i int", "42701"),
        ("DROP TABLE nowhere.events", "3F000"),
        ("CREATE TABLE events (i int)", "42P07"),
        ("ALTER TABLE events ADD k nothing", "42704"),
        ("DROP INDEX events", "42809"),
    ] {
        let error = stage.migration.error(statement);
        assert_eq!(
            error.code().code(),
            code,
            "{statement}: {}",
            error.message()
        );
    }
    stage
        .migration
        .run("DROP TABLE IF EXISTS nothing, nowhere.nothing");
}

fn the_event_trigger_can_be_disabled(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("SET lockguard.policy = 'nonsense'; ALTER EVENT TRIGGER lockguard DISABLE; CREATE TABLE made (i int)");
    stage.migration.run("ALTER EVENT TRIGGER lockguard ENABLE");
    stage.migration.error("CREATE TABLE made2 (i int)");
}

fn should_the_library_be_missing_disabling_the_event_trigger_is_the_way_out(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage
        .looker
        .run("UPDATE pg_proc SET probin = '$libdir/gone' WHERE oid = 'lockguard.guard'::regproc");
    let session = stage.database.session("migration");
    for statement in ["CREATE TABLE made (i int)", "DROP EXTENSION lockguard"] {
        assert_eq!(session.error(statement).code().code(), "58P01");
    }
    session.run("ALTER EVENT TRIGGER lockguard DISABLE");
    session.run("CREATE TABLE made (i int); DROP EXTENSION lockguard");
}

fn the_function_is_for_the_event_trigger_alone(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("SET lockguard.policy = 'on'");
    let error = stage.migration.error("SELECT lockguard.guard()");
    assert!(
        ["0A000", "42501"].contains(&error.code().code()),
        "{error:?}"
    );
    let nobody = role(&stage, "nobody", "", "");
    let error = nobody.error("SELECT lockguard.guard()");
    assert!(
        ["0A000", "42501"].contains(&error.code().code()),
        "{error:?}"
    );
    // Ordinary roles' DDL needs no right to it.
    nobody.run("CREATE TEMP TABLE made (i int); SET lockguard.policy = 'on'; DROP TABLE made");
}
