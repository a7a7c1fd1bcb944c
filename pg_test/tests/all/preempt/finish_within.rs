//! `finish_within`: whoever by his own progress is about to let go is left alone, for that time and once.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Database, Running, Session, SessionOptions, wait_until};

use super::scene::{SOON, Trail, preempt, row_of};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_vacuum_about_to_finish_is_left_alone,
        a_vacuum_that_takes_longer_is_cancelled_at_once,
        with_no_time_to_finish_a_vacuum_is_cancelled_whatever_its_progress,
        whoever_is_slower_than_he_said_is_preempted_when_the_time_is_over,
        a_dry_run_tells_who_would_be_left_alone,
    ]
}

/// A table of a thousand pages.
fn database(world: &World) -> Database {
    let database = world.database();
    let setup = database.session("setup");
    setup.run("CREATE TABLE t (id int, filler text); ALTER TABLE t ALTER filler SET STORAGE PLAIN");
    setup.run("INSERT INTO t SELECT i, repeat('x', 4000) FROM generate_series(1, 2000) i");
    database
}

/// A VACUUM that naps 20 ms after so many points of cost; a page costs at least one.
pub fn vacuum(database: &Database, cost_limit: &str) -> (Session, Running) {
    let options = SessionOptions::named("by hand")
        .set("vacuum_cost_delay", "20ms")
        .set("vacuum_cost_limit", cost_limit);
    let session = database.connect(options).unwrap();
    let vacuum = session.spawn("VACUUM (FREEZE) t");
    (session, vacuum)
}

/// Waits for the moment when the end is foretold so.
pub fn wait_for_eta(database: &Database, which: &str) {
    let looker = database.session("looker");
    wait_until("the vacuum's end is near, or not", SOON, || {
        let found = looker.run(&format!(
            "SELECT 1 FROM lockguard.blockers_of('{{t}}') WHERE class = 'vacuum' AND {which}"
        ));
        !found.is_empty()
    });
}

/// Takes the lock with that time to finish, and tells the row of that pid.
fn row_with(database: &Database, pid: i32, finish_within: &str) -> pg_test::Row {
    let migration = database.session("migration");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(&format!(
        r#"{{"relations": ["t"], "finish_within": "{finish_within}"}}"#
    )));
    migration.run("DROP TABLE t; COMMIT");
    row_of(&rows, pid).clone()
}

fn a_vacuum_about_to_finish_is_left_alone(world: &World) {
    let database = database(world);
    let trail = Trail::from_now(world.cluster());
    let (session, vacuum) = vacuum(&database, "30");
    // What is told of the first few pages says little of the rest.
    wait_for_eta(
        &database,
        "progress > 0.2 AND eta BETWEEN '300ms' AND '10s'",
    );
    let row = row_with(&database, session.pid(), "20s");
    assert_eq!(row.text("verdict"), "finished", "{row:?}");
    assert!(row.text("reason").contains("progress"), "{row:?}");
    trail.has_no_victim();
    vacuum.rows(SOON);
}

fn is_cancelled(world: &World, cost_limit: &str, eta: &str, finish_within: &str) {
    let database = database(world);
    let (session, vacuum) = vacuum(&database, cost_limit);
    wait_for_eta(&database, eta);
    let row = row_with(&database, session.pid(), finish_within);
    assert_eq!(row.text("verdict"), "cancelled");
    let waited = Duration::from_millis(row.text("waited_ms").parse().unwrap());
    assert!(waited < pg_test::slow(Duration::from_secs(1)), "{row:?}");
    assert!(vacuum.wait(SOON).is_err());
}

fn a_vacuum_that_takes_longer_is_cancelled_at_once(world: &World) {
    is_cancelled(world, "1", "eta > '8s'", "2s");
}

fn with_no_time_to_finish_a_vacuum_is_cancelled_whatever_its_progress(world: &World) {
    is_cancelled(world, "50", "eta < '5s'", "0s");
}

/// It waits for a page near the end of the table that a cursor has pinned, and its end, which is always
/// near, does not come.
fn whoever_is_slower_than_he_said_is_preempted_when_the_time_is_over(world: &World) {
    let database = database(world);
    let reader = database.session("web");
    reader.run("BEGIN; DECLARE c CURSOR FOR SELECT id FROM t");
    reader.run("MOVE 1990 IN c; FETCH c");
    let (session, vacuum) = vacuum(&database, "10000");
    wait_until("the vacuum waits for the pinned page", SOON, || {
        vacuum
            .wait_event()
            .is_some_and(|(kind, _)| kind == "BufferPin")
    });
    wait_for_eta(&database, "eta < '500ms'");
    let trail = Trail::from_now(world.cluster());
    // A mode that the reader's lock does not conflict with.
    let rows = database.session("migration").run(&preempt(
        r#"{"relations": ["t"], "mode": "SHARE", "finish_within": "700ms"}"#,
    ));
    let row = row_of(&rows, session.pid());
    assert_eq!(row.text("verdict"), "cancelled");
    let waited: u64 = row.text("waited_ms").parse().unwrap();
    assert!((500..5_000).contains(&waited), "{row:?}");
    assert_eq!(trail.victims(), [session.pid()]);
    assert!(vacuum.wait(SOON).is_err());
}

fn a_dry_run_tells_who_would_be_left_alone(world: &World) {
    let database = database(world);
    let (session, vacuum) = vacuum(&database, "20");
    wait_for_eta(&database, "eta < '1h'");
    let caller = database.session("migration");
    let rows = caller.run(&preempt(
        r#"{"relations": ["t"], "finish_within": "2 h", "timeout": "2 h", "dry_run": true}"#,
    ));
    let row = row_of(&rows, session.pid());
    assert_eq!(row.text("verdict"), "would wait");
    assert!(row.text("reason").contains("progress"), "{row:?}");
    assert!(!vacuum.is_finished());
}
