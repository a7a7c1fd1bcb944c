//! `progress` and `eta`: what a session's own report says of when it will let go, and nothing where its
//! locks outlive the report.
//!
//! The oracle is the server: its view of the same moment, and how long the statement then takes.

use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::Trial;
use pg_test::process::{Ending, Process};
use pg_test::{Database, Session, SessionOptions, SlowReader, wait_until};

use super::SOON;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_vacuum_s_progress_grows_and_its_end_is_foretold,
        a_vacuum_s_progress_counts_the_toast_table_that_follows,
        an_autovacuum_worker_has_an_end,
        an_analyze_by_itself_has_an_end,
        an_index_build_has_an_end,
        a_concurrent_index_build_that_waits_for_others_has_none,
        a_full_vacuum_has_an_end,
        a_copy_to_a_client_goes_by_the_statistics,
        a_copy_from_a_file_has_an_end,
        in_a_transaction_block_nothing_is_promised,
        where_more_may_follow_nothing_is_promised,
        with_the_extended_protocol_only_what_commits_by_itself_has_an_end,
        a_pg_dump_s_copy_says_nothing_of_when_the_dump_ends,
        whoever_may_not_see_the_session_sees_no_progress,
    ]
}

/// A table of 1,000 pages whose rows are too large for company and too small for TOAST, and a function
/// that takes `test.nap` seconds.
const TABLE: &str = "
    CREATE TABLE t (id int, filler text);
    ALTER TABLE t ALTER filler SET STORAGE PLAIN;
    INSERT INTO t SELECT i, repeat('x', 4000) FROM generate_series(1, 2000) i;
    CREATE FUNCTION nap(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
        AS $$ BEGIN PERFORM pg_sleep(coalesce(nullif(current_setting('test.nap', true), '')::float, 0)); RETURN $1; END $$;
";

const SCANNED: &str = "heap_blks_scanned::float8 / nullif(heap_blks_total, 0)";
const SAMPLED: &str = "0.9 * sample_blks_scanned::float8 / nullif(sample_blks_total, 0)";
/// At the first block the server counts all of them as done.
const READ: &str = "0.6 * nullif(blocks_done, blocks_total)::float8 / nullif(blocks_total, 0)";

/// A session that has made the table, and then looks on.
fn observer(database: &Database) -> Session {
    let observer = database.session("observer");
    observer.run(TABLE);
    observer.run("VACUUM ANALYZE t");
    observer
}

/// What `blockers_of` says of whoever holds `t`, beside what the server's view says at that moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    progress: Option<f64>,
    /// In seconds.
    eta: Option<f64>,
    reported: Option<f64>,
    at: Instant,
}

/// None while nobody who reports to that view holds `t`.
fn look(observer: &Session, view: &str, reported: &str) -> Option<Look> {
    // The view reads the copy of the activities that blockers_of has made just before.
    let rows = observer.run(&format!(
        "WITH b AS MATERIALIZED (SELECT * FROM lockguard.blockers_of('{{t}}') WHERE relation = 't'::regclass AND granted) \
         SELECT b.progress, extract(epoch FROM b.eta) AS eta, v.reported FROM b, \
         LATERAL (SELECT {reported} AS reported FROM {view} WHERE pid = b.pid OFFSET 0) v"
    ));
    let row = rows.first()?;
    let number = |column| row.get(column).map(|n| n.parse().unwrap());
    Some(Look {
        progress: number("progress"),
        eta: number("eta"),
        reported: number("reported"),
        at: Instant::now(),
    })
}

/// The first look at which `is_right`.
#[track_caller]
fn look_when(
    observer: &Session,
    view: &str,
    reported: &str,
    is_right: impl Fn(&Look) -> bool,
) -> Look {
    let mut seen = None;
    wait_until(&format!("{view} tells what is wanted"), SOON, || {
        seen = look(observer, view, reported).filter(&is_right);
        seen.is_some()
    });
    seen.unwrap()
}

/// Looks once a tenth of the work is done: `progress` is what the server counts, and there is an end.
#[track_caller]
fn has_an_end(observer: &Session, view: &str, reported: &str) -> Look {
    let look = look_when(observer, view, reported, |l| {
        l.reported.is_some_and(|r| r > 0.05)
    });
    is_as_reported(look);
    assert!(look.eta.is_some_and(|eta| eta > 0.0), "{look:?}");
    look
}

#[track_caller]
fn is_as_reported(look: Look) {
    let (Some(progress), Some(reported)) = (look.progress, look.reported) else {
        panic!("{look:?}");
    };
    assert!((progress - reported).abs() < 1e-6, "{look:?}");
}

/// The server counts, but nothing is said of it.
#[track_caller]
fn has_no_end(observer: &Session, view: &str, reported: &str) {
    let look = look_when(observer, view, reported, |l| {
        l.reported.is_some_and(|r| r > 0.0)
    });
    assert_eq!((look.progress, look.eta), (None, None), "{look:?}");
}

/// A session whose maintenance reads so many pages in 10 ms.
fn slow(database: &Database, pages: u32) -> Session {
    let options = SessionOptions::named("slow")
        .set("vacuum_cost_delay", "10ms")
        .set("vacuum_cost_page_hit", "1")
        .set("vacuum_cost_page_miss", "1")
        .set("vacuum_cost_limit", &pages.to_string())
        .set("test.nap", "0.002");
    database.connect(options).unwrap()
}

fn a_vacuum_s_progress_grows_and_its_end_is_foretold(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    let session = slow(&database, 5);
    let vacuum = session.spawn("VACUUM (DISABLE_PAGE_SKIPPING) t");
    let view = "pg_stat_progress_vacuum";
    let first = has_an_end(&observer, view, SCANNED);
    let second = look_when(&observer, view, SCANNED, |l| l.progress > Some(0.3));
    is_as_reported(second);
    assert!(second.progress > first.progress, "{first:?}, {second:?}");
    vacuum.wait(SOON).unwrap();
    let rest = second.at.elapsed().as_secs_f64();
    let eta = second.eta.unwrap();
    println!("{rest:.2} s to go, foretold: {eta:.2} s");
    assert!(
        eta < 2.0 * rest && rest < 2.0 * eta,
        "{rest} s, not {eta} s"
    );
}

/// It keeps its lock on the table until it has been through both.
fn a_vacuum_s_progress_counts_the_toast_table_that_follows(world: &World) {
    let database = world.database();
    let observer = database.session("observer");
    observer.run(
        "CREATE TABLE t (body text); ALTER TABLE t ALTER body SET STORAGE EXTERNAL; \
         INSERT INTO t SELECT repeat('x', 2100) FROM generate_series(1, 20000)",
    );
    observer.run("VACUUM t");
    let sizes = observer.run(
        "SELECT t.relpages::float8 / (t.relpages + o.relpages) FROM pg_class t JOIN pg_class o ON o.oid = t.reltoastrelid \
         WHERE t.oid = 't'::regclass",
    );
    let share: f64 = sizes.value().unwrap().parse().unwrap();
    assert!(share < 0.05, "{share}");
    let session = slow(&database, 1);
    let _vacuum = session.spawn("VACUUM (DISABLE_PAGE_SKIPPING) t");
    let view = "pg_stat_progress_vacuum";
    let in_table = format!("CASE WHEN relid = 't'::regclass THEN {share} * {SCANNED} END");
    is_as_reported(look_when(&observer, view, &in_table, |l| {
        l.reported.is_some_and(|r| r > 0.5 * share)
    }));
    let in_toast =
        format!("CASE WHEN relid <> 't'::regclass THEN {share} + (1 - {share}) * {SCANNED} END");
    let later = look_when(&observer, view, &in_toast, |l| l.reported > Some(0.1));
    is_as_reported(later);
    assert!(later.eta.is_some(), "{later:?}");
}

fn an_autovacuum_worker_has_an_end(world: &World) {
    let cluster = world.start_cluster(&[("autovacuum", "on"), ("autovacuum_naptime", "1s")]);
    let database = cluster.create_database().unwrap();
    let observer = observer(&database);
    observer.run(
        "ALTER TABLE t SET (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, \
         autovacuum_vacuum_cost_delay = 10, autovacuum_vacuum_cost_limit = 50); UPDATE t SET id = id + 1",
    );
    let look = look_when(&observer, "pg_stat_progress_vacuum", SCANNED, |l| {
        l.progress > Some(0.05)
    });
    assert!(look.eta.is_some_and(|eta| eta > 0.0), "{look:?}");
}

fn an_analyze_by_itself_has_an_end(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    let session = slow(&database, 5);
    let analyze = session.spawn("ANALYZE t");
    let look = has_an_end(&observer, "pg_stat_progress_analyze", SAMPLED);
    analyze.wait(SOON).unwrap();
    let rest = look.at.elapsed().as_secs_f64();
    println!("{rest:.2} s to go, foretold: {:.2} s", look.eta.unwrap());
}

fn an_index_build_has_an_end(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    let session = slow(&database, 1000);
    let view = "pg_stat_progress_create_index";
    for statement in [
        "CREATE INDEX i ON t (nap(id))",
        "REINDEX (VERBOSE) INDEX i",
        "ALTER TABLE t ADD EXCLUDE (nap(id) WITH =)",
    ] {
        let build = session.spawn(statement);
        let look = has_an_end(&observer, view, READ);
        println!("{statement}: {look:?}");
        if statement.starts_with("CREATE") {
            build.wait(SOON).unwrap();
        } else {
            database.cancel(build.pid());
            assert!(build.wait(SOON).is_err());
        }
    }
}

fn a_concurrent_index_build_that_waits_for_others_has_none(world: &World) {
    let database = world.database();
    let (observer, other) = (observer(&database), database.session("other"));
    observer.run("CREATE TABLE elsewhere ()");
    other.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM elsewhere");
    let session = slow(&database, 1000);
    let build = session.spawn("CREATE INDEX CONCURRENTLY ON t (nap(id))");
    let view = "pg_stat_progress_create_index";
    // It has committed twice by then, and is in a transaction of its own that started with the statement.
    let building = look_when(&observer, view, READ, |l| l.reported > Some(0.1));
    assert!(building.progress > Some(0.05), "{building:?}");
    assert!(building.eta.is_some(), "{building:?}");
    let waits = "(phase = 'waiting for old snapshots')::int";
    let waiting = look_when(&observer, view, waits, |l| l.reported == Some(1.0));
    assert!(waiting.progress > Some(0.9), "{waiting:?}");
    assert_eq!(waiting.eta, None, "{waiting:?}");
    other.run("ROLLBACK");
    build.wait(SOON).unwrap();
}

fn a_full_vacuum_has_an_end(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    observer.run("CREATE INDEX ON t (nap(id))");
    let session = slow(&database, 1000);
    let _vacuum = session.spawn("VACUUM FULL t");
    // The table is copied quickly; what takes long is its index.
    let rebuilding = "(phase = 'rebuilding index')::int";
    let look = look_when(&observer, "pg_stat_progress_cluster", rebuilding, |l| {
        l.reported == Some(1.0)
    });
    assert_eq!(look.progress, Some(0.7), "{look:?}");
    assert!(look.eta.is_some(), "{look:?}");
}

fn a_copy_to_a_client_goes_by_the_statistics(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    let copy = |what: &str| {
        let mut psql = database.psql();
        psql.args(["-c", &format!("COPY {what} TO STDOUT")]);
        SlowReader::spawn(psql, 2 << 20).unwrap()
    };
    let view = "pg_stat_progress_copy";
    let written = "tuples_processed / 2000.0";
    let whole = copy("t");
    let look = has_an_end(&observer, view, written);
    println!("{look:?}");
    drop(whole);
    wait_until("the first copy has let go", SOON, || {
        observer.run("SELECT FROM pg_stat_progress_copy").is_empty()
    });
    let _query = copy("(SELECT * FROM t)");
    has_no_end(&observer, view, written);
}

fn a_copy_from_a_file_has_an_end(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    observer.run(
        "DO $$ BEGIN EXECUTE format('COPY t TO %L', current_setting('data_directory') || '/rows_of_t'); END $$; \
         CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END'; \
         CREATE TRIGGER slowly BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slowly()",
    );
    let session = slow(&database, 1000);
    let _copy = session.spawn("COPY t FROM 'rows_of_t'");
    let read = "bytes_processed::float8 / nullif(bytes_total, 0)";
    let look = has_an_end(&observer, "pg_stat_progress_copy", read);
    println!("{look:?}");
}

fn in_a_transaction_block_nothing_is_promised(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    let session = slow(&database, 5);
    session.run("BEGIN");
    let _analyze = session.spawn("ANALYZE t");
    has_no_end(&observer, "pg_stat_progress_analyze", SAMPLED);
}

fn where_more_may_follow_nothing_is_promised(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    observer.run("CREATE INDEX ON t (nap(id))");
    let long = format!("ANALYZE t /* {} */", "x".repeat(2000));
    for (statement, view, reported) in [
        (
            "DO 'BEGIN ANALYZE t; END'",
            "pg_stat_progress_analyze",
            SAMPLED,
        ),
        ("ANALYZE t; SELECT 1", "pg_stat_progress_analyze", SAMPLED),
        (&long, "pg_stat_progress_analyze", SAMPLED),
        ("REINDEX TABLE t", "pg_stat_progress_create_index", READ),
    ] {
        let session = slow(&database, 5);
        let running = session.spawn(statement);
        has_no_end(&observer, view, reported);
        database.cancel(running.pid());
        assert!(running.wait(SOON).is_err());
    }
}

/// There the transaction starts when the statement is parsed, before the query does.
fn with_the_extended_protocol_only_what_commits_by_itself_has_an_end(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    let script = world.cluster().folder().join("data/extended.sql");
    let run = |statement: &str| {
        std::fs::write(&script, statement).unwrap();
        let mut pgbench = database.pgbench();
        pgbench.args(["-n", "-M", "extended", "-t", "1", "-f"]);
        pgbench.arg(&script).env(
            "PGOPTIONS",
            "-c vacuum_cost_delay=10ms -c vacuum_cost_limit=5 -c vacuum_cost_page_miss=1",
        );
        Process::spawn(pgbench, Ending::Client).unwrap()
    };
    let analyze = run("ANALYZE t");
    has_no_end(&observer, "pg_stat_progress_analyze", SAMPLED);
    drop(analyze);
    let _vacuum = run("VACUUM (DISABLE_PAGE_SKIPPING) t");
    has_an_end(&observer, "pg_stat_progress_vacuum", SCANNED);
}

fn a_pg_dump_s_copy_says_nothing_of_when_the_dump_ends(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    let _dump = SlowReader::spawn(database.pg_dump(), 2 << 20).unwrap();
    has_no_end(
        &observer,
        "pg_stat_progress_copy",
        "tuples_processed / 2000.0",
    );
}

fn whoever_may_not_see_the_session_sees_no_progress(world: &World) {
    let database = world.database();
    let observer = observer(&database);
    observer.run("CREATE ROLE clerk LOGIN");
    let stranger = database
        .connect(SessionOptions::named("stranger").user("clerk"))
        .unwrap();
    let session = slow(&database, 2);
    let _vacuum = session.spawn("VACUUM (DISABLE_PAGE_SKIPPING) t");
    has_an_end(&observer, "pg_stat_progress_vacuum", SCANNED);
    let rows = stranger.run(
        "SELECT class, progress, eta FROM lockguard.blockers_of('{t}') WHERE relation = 't'::regclass",
    );
    assert_eq!(rows.only().text("class"), "vacuum");
    assert_eq!(rows.only().get("progress"), None);
    assert_eq!(rows.only().get("eta"), None);
    let hidden = stranger.run(&format!("SELECT {SCANNED} FROM pg_stat_progress_vacuum"));
    assert_eq!(hidden.value(), None, "as in the server's own view");
    drop(stranger);
    observer.run("DROP ROLE clerk");
}
