//! Statements that run under guard: in a block, by themselves, in functions; CONCURRENTLY forms; and those
//! that are none of its business.

use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::Trial;
use pg_test::{Backup, Running, Session, wait_until};

use super::TABLE;
use crate::preempt::scene::{SLOWLY, exists, table, told};
use crate::take::rights::role;
use crate::take::scene::{Holder, SOON, STRONGEST, Stage, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        dropping_a_table_behind_a_slow_backup_goes_through,
        its_locks_are_those_of_the_statement_and_stay_for_the_transaction,
        indexes_are_built_and_dropped_concurrently_behind_a_backup,
        index_builds_of_other_tables_do_not_hold_each_other_up,
        every_kind_of_ddl_runs,
        ddl_in_a_function_and_in_a_do_block_is_guarded_too,
        a_session_that_replays_changes_is_guarded_too,
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
        let told = told(&stage.migration);
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

fn index_builds_of_other_tables_do_not_hold_each_other_up(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("CREATE TABLE other (i int)");
    let snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM events";
    let application = Holder::idle(&stage.database, "web", snapshot);
    let builds: Vec<Session> = ["events", "other"]
        .iter()
        .map(|table| stage.database.session(&format!("build of {table}")))
        .collect();
    let running: Vec<Running> = ["events", "other"]
        .iter()
        .zip(&builds)
        .map(|(table, session)| {
            session.run("SET lockguard.policy = 'on'");
            // With a condition it has to wait for others of its kind.
            session.spawn(format!(
                "CREATE INDEX CONCURRENTLY ON {table} (i) WHERE i > 0"
            ))
        })
        .collect();
    wait_until("both wait", SOON, || {
        running.iter().all(|build| build.wait_event().is_some())
    });
    // For each to look at the other more than once.
    let start = Instant::now();
    wait_until("they have waited for a while", SOON, || {
        start.elapsed().as_millis() > 1_500
    });
    application.session.run("COMMIT");
    for build in running {
        build.wait(SOON).unwrap();
    }
}

/// Statements that fire the trigger, one of each form that the parse tree has.
const OF_EACH_KIND: &str = r#"
    CREATE SCHEMA s CREATE TABLE t (a int) CREATE VIEW v AS SELECT a FROM t;
    CREATE TABLE s.made AS SELECT i FROM events;
    CREATE TABLE IF NOT EXISTS s.made AS SELECT i FROM events;
    CREATE TABLE s.made2 AS SELECT i FROM events WITH NO DATA;
    CREATE UNLOGGED TABLE s.made3 AS VALUES (1), (2);
    CREATE TEMP TABLE made4 AS TABLE events;
    CREATE TABLE s.made5 AS EXECUTE p;
    SELECT 1 AS i INTO s.made6;
    DO 'BEGIN CREATE TABLE s.made7 AS SELECT i FROM events UNION SELECT 1; END';
    CREATE MATERIALIZED VIEW s.kept AS SELECT i FROM events;
    CREATE MATERIALIZED VIEW s.kept2 AS SELECT i FROM events WITH NO DATA;
    CREATE UNIQUE INDEX ON s.kept (i);
    REFRESH MATERIALIZED VIEW s.kept;
    REFRESH MATERIALIZED VIEW CONCURRENTLY s.kept;
    ALTER MATERIALIZED VIEW s.kept RENAME TO kept3;
    CREATE TYPE s.pair AS (a int, b int);
    CREATE TYPE s.mood AS ENUM ('ok');
    CREATE TYPE s.span AS RANGE (subtype = int4);
    ALTER TYPE s.mood ADD VALUE 'sad';
    ALTER TYPE s.pair ADD ATTRIBUTE c int;
    CREATE DOMAIN s.d AS int CHECK (VALUE > 0);
    ALTER DOMAIN s.d SET NOT NULL;
    CREATE FUNCTION s.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION s.g(int, int) RETURNS int LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT $1 + $2; END;
    CREATE PROCEDURE s.p() LANGUAGE sql BEGIN ATOMIC END;
    ALTER FUNCTION s.f() STABLE;
    CREATE AGGREGATE s.a(int) (SFUNC = s.g, STYPE = int);
    CREATE OPERATOR s.<+> (LEFTARG = int, RIGHTARG = int, FUNCTION = s.g);
    CREATE CAST (s.pair AS text) WITH INOUT;
    CREATE COLLATION s.c FROM "C";
    CREATE SEQUENCE s.numbers;
    ALTER SEQUENCE s.numbers OWNED BY s.t.a;
    CREATE TABLE s.keyed (id int PRIMARY KEY, r int REFERENCES s.keyed, n serial);
    ALTER TABLE s.keyed ADD x int, ALTER x SET DEFAULT 1, ENABLE ROW LEVEL SECURITY;
    CREATE POLICY pol ON s.keyed USING (EXISTS (SELECT FROM events));
    ALTER POLICY pol ON s.keyed USING (true);
    CREATE RULE r AS ON INSERT TO s.t DO ALSO NOTIFY somebody;
    CREATE FUNCTION s.fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER trg BEFORE INSERT ON s.keyed FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION s.fired();
    ALTER TRIGGER trg ON s.keyed RENAME TO trg2;
    CREATE STATISTICS s.st ON id, r FROM s.keyed;
    ALTER STATISTICS s.st SET STATISTICS 10;
    CREATE VIEW s.v2 AS WITH RECURSIVE w(a) AS (SELECT 1 UNION SELECT a + 1 FROM w WHERE a < 3) SELECT a FROM w;
    CREATE OR REPLACE VIEW s.v2 AS SELECT 1 AS a;
    ALTER VIEW s.v2 ALTER a SET DEFAULT 1;
    CREATE PUBLICATION pub FOR TABLE s.keyed;
    ALTER PUBLICATION pub SET TABLE s.t;
    CREATE FOREIGN DATA WRAPPER nowhere;
    CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
    CREATE FOREIGN TABLE s.remote (a int) SERVER far;
    CREATE USER MAPPING FOR CURRENT_USER SERVER far;
    CREATE TEXT SEARCH CONFIGURATION s.ts (COPY = simple);
    COMMENT ON COLUMN s.keyed.id IS 'x';
    COMMENT ON FUNCTION s.f() IS 'x';
    GRANT SELECT ON s.keyed TO PUBLIC;
    GRANT SELECT ON ALL TABLES IN SCHEMA s TO PUBLIC;
    REVOKE SELECT ON s.keyed FROM PUBLIC;
    ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC;
    CREATE TABLE s.parts (a int) PARTITION BY LIST (a);
    CREATE TABLE s.part PARTITION OF s.parts FOR VALUES IN (1);
    ALTER TABLE s.parts DETACH PARTITION s.part;
    ALTER TABLE s.parts ATTACH PARTITION s.part FOR VALUES IN (1);
    ALTER TABLE s.keyed ALTER COLUMN x TYPE bigint USING x + 1;
    ALTER SCHEMA s RENAME TO t;
    DROP POLICY pol ON t.keyed;
    DROP OPERATOR t.<+> (int, int);
    DROP TRIGGER trg2 ON t.keyed;
    DROP INDEX events_i;
    DROP SCHEMA t CASCADE;
    DROP PUBLICATION pub;
    DROP FOREIGN DATA WRAPPER nowhere CASCADE"#;

fn every_kind_of_ddl_runs(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage
        .migration
        .run("PREPARE p AS SELECT i FROM events; SET lockguard.policy = 'on'");
    for statement in OF_EACH_KIND.split(";\n") {
        if let Err(error) = stage.migration.try_run(statement) {
            panic!("{statement}: {error:?}");
        }
    }
}

fn a_session_that_replays_changes_is_guarded_too(world: &World) {
    let stage = Stage::new(world, TABLE);
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM events");
    stage.migration.run(
        "SET session_replication_role = replica; SET lockguard.policy = 'on'; SET lock_timeout = '100ms'",
    );
    stage.migration.run("ALTER TABLE events ADD j int");
    backup.was_cancelled("it was in the way");
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
    stage.migration.run("SET lockguard.policy = 'nonsense'; ALTER EVENT TRIGGER zzz_lockguard DISABLE; CREATE TABLE made (i int)");
    stage
        .migration
        .run("ALTER EVENT TRIGGER zzz_lockguard ENABLE");
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
    session.run("ALTER EVENT TRIGGER zzz_lockguard DISABLE");
    session.run("CREATE TABLE made (i int); DROP EXTENSION lockguard");
}

fn the_function_is_for_the_event_trigger_alone(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("SET lockguard.policy = 'on'");
    let error = stage.migration.error("SELECT lockguard.guard()");
    assert_eq!(error.code().code(), "39P03", "{error:?}");
    let nobody = role(&stage, "nobody", "", "");
    let error = nobody.error("SELECT lockguard.guard()");
    assert_eq!(error.code().code(), "42501", "{error:?}");
    // Ordinary roles' DDL needs no right to it.
    nobody.run("CREATE TEMP TABLE made (i int); SET lockguard.policy = 'on'; DROP TABLE made");
}
