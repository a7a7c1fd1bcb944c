//! How real sessions are recognised: what the server itself knows of them first, then their names.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Database, Session, SessionOptions, SlowReader, wait_until};

use super::SOON;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_pg_dump_is_a_backup,
        a_dump_under_heroku_s_name_is_a_backup,
        a_copy_out_of_psql_is_a_copy_out,
        a_session_at_work_is_the_application,
        an_idle_transaction_is_told_as_such,
        a_vacuum_is_a_vacuum_whatever_its_name,
        an_analyze_is_an_analyze,
        an_index_build_is_an_index_build,
        a_concurrent_index_build_is_an_index_build,
        a_reindex_is_an_index_build,
        a_cluster_and_a_full_vacuum_are_clusters,
        a_user_s_rule_gives_its_class,
        a_rule_counts_only_where_all_its_patterns_match,
    ]
}

/// The class of whoever holds a lock on `t`, once somebody under that `application_name` does.
#[track_caller]
fn class_of(database: &Database, application_name: &str) -> String {
    let observer = database.session("observer");
    let mut class = None;
    wait_until(&format!("{application_name} holds the table"), SOON, || {
        let rows = observer.run(&format!(
            "SELECT class FROM lockguard.blockers_of(ARRAY['t'::regclass]) \
             WHERE granted AND relation = 't'::regclass AND application_name = '{application_name}'"
        ));
        class = rows.value().map(str::to_owned);
        class.is_some()
    });
    class.unwrap()
}

/// The same, of a statement that first has to get to where it reports its progress.
#[track_caller]
fn becomes(database: &Database, application_name: &str, class: &str) {
    let mut seen = String::new();
    let what = format!("{application_name} is recognised as {class}");
    wait_until(&what, SOON, || {
        seen = class_of(database, application_name);
        seen == class
    });
}

/// A table whose dump is larger than all the buffers between the server and a reader that does not read.
const BIG: &str = "CREATE TABLE t AS SELECT i AS id, repeat(md5(i::text), 30) AS filler FROM generate_series(1, 20000) i";

/// A table with an index that takes long to build where `test.nap` says so.
const NAPPING: &str = "
    CREATE FUNCTION nap(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN PERFORM pg_sleep(coalesce(nullif(current_setting(''test.nap'', true), '''')::float, 0)); RETURN $1; END';
    CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 1000) i;
    CREATE INDEX t_nap ON t (nap(id));
";

/// A session whose vacuums, analyses and index builds last until they are cancelled.
fn slow(database: &Database, application_name: &str) -> Session {
    let options = SessionOptions::named(application_name)
        .set("vacuum_cost_delay", "100")
        .set("vacuum_cost_limit", "1")
        .set("test.nap", "50");
    database.connect(options).unwrap()
}

fn a_pg_dump_is_a_backup(world: &World) {
    let database = world.database();
    database.session("schema").run(BIG);
    let _dump = SlowReader::spawn(database.pg_dump(), 0).unwrap();
    assert_eq!(class_of(&database, "pg_dump"), "backup");
}

fn a_dump_under_heroku_s_name_is_a_backup(world: &World) {
    let database = world.database();
    database.session("schema").run(BIG);
    let mut dump = database.pg_dump();
    dump.env("PGAPPNAME", "Heroku Postgres Backups");
    let _dump = SlowReader::spawn(dump, 0).unwrap();
    assert_eq!(class_of(&database, "Heroku Postgres Backups"), "backup");
}

fn a_copy_out_of_psql_is_a_copy_out(world: &World) {
    let database = world.database();
    database.session("schema").run(BIG);
    let mut psql = database.psql();
    psql.args(["-c", "COPY t TO STDOUT"]);
    let _copy = SlowReader::spawn(psql, 0).unwrap();
    becomes(&database, "psql", "copy_out");
}

fn a_session_at_work_is_the_application(world: &World) {
    let database = world.database();
    let app = database.session("web");
    app.run("CREATE TABLE t (id int)");
    app.run("BEGIN; INSERT INTO t VALUES (1)");
    let sleep = app.spawn("SELECT pg_sleep(50)");
    wait_until("it sleeps", SOON, || {
        sleep
            .wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    assert_eq!(class_of(&database, "web"), "application");
    let loading = database.session("loading");
    // COPY into a table is work, not maintenance.
    loading.run("CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(50); RETURN NEW; END'");
    database.cancel(app.pid());
    assert!(sleep.wait(SOON).is_err());
    app.run("ROLLBACK");
    loading.run("CREATE TRIGGER slowly BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slowly()");
    let _copy = loading.spawn("COPY t FROM PROGRAM 'echo 1'");
    let reports =
        "SELECT FROM pg_stat_progress_copy WHERE command = 'COPY FROM' AND relid = 't'::regclass";
    wait_until("the load reports its progress", SOON, || {
        !app.run(reports).is_empty()
    });
    assert_eq!(class_of(&database, "loading"), "application");
}

fn an_idle_transaction_is_told_as_such(world: &World) {
    let database = world.database();
    let (idle, failed) = (database.session("idle"), database.session("failed"));
    idle.run("CREATE TABLE t ()");
    idle.run("BEGIN; SELECT * FROM t");
    assert_eq!(class_of(&database, "idle"), "idle_in_transaction");
    failed.run("BEGIN; SELECT * FROM t; SAVEPOINT s");
    failed.error("SELECT 1 / 0");
    assert_eq!(class_of(&database, "failed"), "idle_in_transaction");
}

fn a_vacuum_is_a_vacuum_whatever_its_name(world: &World) {
    let database = world.database();
    database.session("schema").run(NAPPING);
    for name in ["cron", "pg_dump"] {
        let session = slow(&database, name);
        let _vacuum = session.spawn("VACUUM t");
        becomes(&database, name, "vacuum");
    }
}

fn an_analyze_is_an_analyze(world: &World) {
    let database = world.database();
    database.session("schema").run(NAPPING);
    let session = slow(&database, "cron");
    let _analyze = session.spawn("ANALYZE t");
    becomes(&database, "cron", "analyze");
}

fn an_index_build_is_an_index_build(world: &World) {
    let database = world.database();
    database.session("schema").run(NAPPING);
    let session = slow(&database, "migration");
    let _build = session.spawn("CREATE INDEX ON t (nap(id + 1))");
    becomes(&database, "migration", "index_build");
}

fn a_concurrent_index_build_is_an_index_build(world: &World) {
    let database = world.database();
    database.session("schema").run(NAPPING);
    let writer = database.session("writer");
    writer.run("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE");
    let session = database.session("migration");
    let build = session.spawn("CREATE INDEX CONCURRENTLY ON t (id)");
    // It holds the table while it waits for whoever writes.
    build.wait_until_queued();
    becomes(&database, "migration", "index_build");
    writer.run("ROLLBACK");
    build.wait(SOON).unwrap();
}

fn a_reindex_is_an_index_build(world: &World) {
    let database = world.database();
    database.session("schema").run(NAPPING);
    let session = slow(&database, "cron");
    let _reindex = session.spawn("REINDEX TABLE t");
    becomes(&database, "cron", "index_build");
}

fn a_cluster_and_a_full_vacuum_are_clusters(world: &World) {
    let database = world.database();
    database.session("schema").run(NAPPING);
    for (name, statement) in [
        ("clustering", "CLUSTER t USING t_nap"),
        ("full", "VACUUM FULL t"),
    ] {
        let session = slow(&database, name);
        let _rewrite = session.spawn(statement);
        becomes(&database, name, "cluster");
    }
}

fn a_user_s_rule_gives_its_class(world: &World) {
    let database = world.database();
    let schema = database.session("schema");
    schema.run("CREATE TABLE t ()");
    let (export, job) = (
        database.session("nightly-export 7"),
        database.session("job"),
    );
    export.run("BEGIN; SELECT * FROM t");
    job.run("BEGIN; SELECT count(*) FROM t /* batch */");
    assert_eq!(
        class_of(&database, "nightly-export 7"),
        "idle_in_transaction"
    );
    schema.run(
        "INSERT INTO lockguard.maintenance_rules (name, class, application_name, query) VALUES \
         ('nightly', 'backup', 'nightly-export ?', NULL), ('batch', 'copy_out', NULL, '*/* batch */')",
    );
    assert_eq!(class_of(&database, "nightly-export 7"), "backup");
    assert_eq!(class_of(&database, "job"), "copy_out");
    schema.run("UPDATE lockguard.maintenance_rules SET application_name = 'Nightly-*' WHERE name = 'nightly'");
    assert_eq!(
        class_of(&database, "nightly-export 7"),
        "idle_in_transaction",
        "case counts"
    );
    schema.run("DELETE FROM lockguard.maintenance_rules WHERE name = 'batch'");
    assert_eq!(class_of(&database, "job"), "idle_in_transaction");
}

fn a_rule_counts_only_where_all_its_patterns_match(world: &World) {
    let database = world.database();
    let schema = database.session("schema");
    schema.run(
        "CREATE TABLE t (); CREATE ROLE exporter LOGIN; GRANT SELECT ON t TO exporter; \
         INSERT INTO lockguard.maintenance_rules (name, class, application_name, usename) VALUES ('both', 'backup', 'export*', 'exporter')",
    );
    let by_role = database
        .connect(SessionOptions::named("export by role").user("exporter"))
        .unwrap();
    let by_other = database.session("export by other");
    by_role.run("BEGIN; SELECT * FROM t");
    by_other.run("BEGIN; SELECT * FROM t");
    assert_eq!(class_of(&database, "export by role"), "backup");
    assert_eq!(
        class_of(&database, "export by other"),
        "idle_in_transaction"
    );
    drop(by_role);
    schema.run("DROP OWNED BY exporter; DROP ROLE exporter");
}
