//! Requests of others in the queue: those behind a lock that we hold already, and those ahead of us.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{Holder, SOON, STRONGEST, Stage, Trail, call, pairs};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        who_queues_behind_a_weaker_lock_of_ours_is_no_obstacle,
        ddl_that_hangs_already_goes_first_and_the_lock_is_taken_after_it,
        a_request_that_stays_in_the_queue_is_waited_for_outside_of_it,
        what_is_had_without_queueing_is_let_go_where_the_rest_is_not,
    ]
}

const TABLES: &str = "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE u (i int)";

/// A conditional request fails for as long as the other waits for us: for ever.
fn who_queues_behind_a_weaker_lock_of_ours_is_no_obstacle(world: &World) {
    let stage = Stage::new(world, TABLES);
    let other = stage.database.session("other migration");
    for before in [
        "SELECT count(*) FROM t".to_owned(),
        "INSERT INTO t VALUES (1)".into(),
        "LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE".into(),
        call("t", r#", "mode": "SHARE UPDATE EXCLUSIVE""#),
    ] {
        for behind in ["ALTER TABLE t ADD COLUMN j int", "LOCK TABLE t; SELECT 1"] {
            stage.migration.run(&format!("BEGIN; {before}"));
            let queued = other.spawn(behind);
            queued.wait_until_queued();
            let running = stage.migration.spawn(call("t u", ""));
            wait_until("the call is done", SOON, || running.is_finished());
            let elapsed = running.elapsed();
            running.rows(SOON);
            // Granted at once: not after a stay in the queue, let alone after several.
            assert!(
                elapsed < pg_test::slow(Duration::from_secs(2)),
                "{before}: {elapsed:?}"
            );
            let held = stage.held();
            for name in ["t", "t_pkey", "u"] {
                let lock = (name.to_owned(), STRONGEST.to_owned());
                assert!(held.contains(&lock), "{before}: {held:?}");
            }
            assert!(!queued.is_finished());
            stage.migration.run("TRUNCATE t; COMMIT");
            queued.rows(SOON);
            other.run("ALTER TABLE t DROP COLUMN IF EXISTS j");
        }
    }
}

fn ddl_that_hangs_already_goes_first_and_the_lock_is_taken_after_it(world: &World) {
    let stage = Stage::new(world, TABLES);
    let dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM t");
    let other = stage.database.session("other migration");
    let hanging = other.spawn("ALTER TABLE t ADD COLUMN j int");
    hanging.wait_until_queued();
    let reader = stage.database.session("web");
    let reading = reader.spawn("SELECT count(j) FROM t");
    reading.wait_until_queued();
    stage.migration.run("BEGIN");
    stage.migration.run(&call("t", ""));
    stage.holds(STRONGEST, "t t_pkey");
    dump.was_cancelled("the call");
    hanging.rows(SOON);
    stage.migration.run("ALTER TABLE t DROP COLUMN j; COMMIT");
    // It either came through before us or finds the column gone.
    let _ = reading.wait(SOON);
}

fn a_request_that_stays_in_the_queue_is_waited_for_outside_of_it(world: &World) {
    let stage = Stage::new(world, TABLES);
    let application = Holder::busy(&stage.database, "web", "SELECT FROM t");
    let other = stage.database.session("other migration");
    let hanging = other.spawn("BEGIN; ALTER TABLE t ADD COLUMN j int");
    hanging.wait_until_queued();
    let trail = Trail::from_now(world.cluster());
    stage.migration.run("BEGIN");
    let running = stage.migration.spawn(call("u t", ""));
    stage.wait_until_it_waits();
    stage.holds_nothing("waiting");
    stage.database.cancel(application.pid());
    application.was_cancelled("by hand");
    hanging.rows(SOON);
    // Now that one has the lock, in a transaction that stays: no obstacle to clearing, one to taking.
    wait_until("the call waits for it", SOON, || {
        let blocking = format!("SELECT pg_blocking_pids({})", stage.migration.pid());
        stage.looker.run(&blocking).value() == Some(&format!("{{{}}}", other.pid()))
    });
    wait_until("it waits outside the queue", SOON, || {
        stage.awaited().is_empty() && stage.held().is_empty() && stage.waits_for_a_transaction()
    });
    other.run("COMMIT");
    running.rows(SOON);
    stage.holds(STRONGEST, "t t_pkey u");
    trail.has_no_victim();
    stage.migration.run("COMMIT");
}

/// While the queue must not be sat in again yet, an attempt takes what it can have at once: all or none.
fn what_is_had_without_queueing_is_let_go_where_the_rest_is_not(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage
        .migration
        .run("SET deadlock_timeout = '10s'; BEGIN; SELECT FROM u");
    let other = stage.database.session("other migration");
    let behind_us = other.spawn("ALTER TABLE u ADD COLUMN j int");
    behind_us.wait_until_queued();
    let application = Holder::idle(&stage.database, "web", "SELECT FROM t");
    let more = r#", "max_stall": "1s", "timeout": "2500ms", "on_timeout": "report""#;
    let running = stage.migration.spawn(call("t u", more));
    wait_until("it is in the queue", SOON, || {
        stage.awaited() == pairs(STRONGEST, "t")
    });
    stage.wait_until_it_waits();
    application.session.run("COMMIT");
    // t is free now, and who queues for u waits for us: a request in earnest would get both.
    running.rows(SOON);
    let told = stage.migration.take_notices().pop().unwrap().message;
    assert!(told.contains("is not free after"), "{told}");
    stage.holds("AccessShareLock", "u");
    stage.migration.run(&call("t u", ""));
    stage.migration.run("COMMIT");
    behind_us.rows(SOON);
}
