//! What the names mean, and what belongs to it, when the way is told free without the lock: whoever was
//! waited for may be the very one that has replaced a table or added to it.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Running, Session, wait_until};

use super::scene::{Holder, SOON, Trail, preempt, verdict};
use crate::take::scene::Stage;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_table_replaced_meanwhile_is_not_told_free,
        whoever_holds_a_partition_added_meanwhile_is_cleared_away,
        nobody_is_preempted_while_a_partition_added_meanwhile_is_held,
        a_partition_added_while_nobody_goes_is_seen,
    ]
}

const TABLES: &str = "CREATE TABLE t (i int); CREATE TABLE p (i int) PARTITION BY LIST (i); \
     CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)";

/// Adds a partition, which locks the others in no mode that a reader minds.
const ADD: &str = "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)";

/// The call outside a transaction block, which keeps no lock, or within one that takes none.
fn calls(stage: &Stage, relation: &str, more: &str, is_by_itself: bool) -> Running {
    let more = match is_by_itself {
        true => more.to_owned(),
        false => {
            stage.migration.run("BEGIN");
            format!(r#", "take_lock": false{more}"#)
        }
    };
    let call = preempt(&format!(r#"{{"relations": ["{relation}"]{more}}}"#));
    let running = stage.migration.spawn(call);
    stage.wait_until_it_waits();
    running
}

/// A backup in a long statement, once it has got what `sql` locks.
fn dump(stage: &Stage, sql: &str) -> (Session, Running) {
    let dump = stage.database.session("pg_dump");
    let dumping = dump.spawn(format!("BEGIN; {sql}; SELECT pg_sleep(50)"));
    (dump, dumping)
}

#[track_caller]
fn code_of(running: Running) -> (String, String) {
    let error = running.wait(SOON).unwrap_err();
    let error = error.as_db_error().unwrap();
    (error.code().code().to_owned(), error.message().to_owned())
}

fn a_table_replaced_meanwhile_is_not_told_free(world: &World) {
    for is_by_itself in [true, false] {
        let stage = Stage::new(world, TABLES);
        let trail = Trail::from_now(world.cluster());
        let other = Holder::idle(&stage.database, "web", "DROP TABLE t; CREATE TABLE t ()");
        let (_dump, dumping) = dump(&stage, "SELECT FROM t");
        dumping.wait_until_queued();
        let running = calls(&stage, "t", "", is_by_itself);
        other.session.run("COMMIT");
        let (code, message) = code_of(running);
        assert_eq!(code, "42P01", "{message}");
        let told = "relation t was replaced by another while the call waited";
        assert_eq!(message, told);
        trail.has_no_victim();
        assert!(!dumping.is_finished(), "the backup reads the new table");
        dumping.cancel();
    }
}

fn whoever_holds_a_partition_added_meanwhile_is_cleared_away(world: &World) {
    for is_by_itself in [true, false] {
        let stage = Stage::new(world, TABLES);
        let application = Holder::idle(&stage.database, "web", "SELECT FROM p1");
        let running = calls(&stage, "p", "", is_by_itself);
        stage.looker.run(ADD);
        let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM p2");
        application.session.run("COMMIT");
        let rows = running.rows(SOON);
        assert_eq!(verdict(&rows, backup.pid()), "cancelled");
        backup.was_cancelled("it holds what belongs to the target now");
    }
}

fn nobody_is_preempted_while_a_partition_added_meanwhile_is_held(world: &World) {
    for is_by_itself in [true, false] {
        let stage = Stage::new(world, TABLES);
        let trail = Trail::from_now(world.cluster());
        let first = Holder::idle(&stage.database, "web", "SELECT FROM p1");
        let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM p1");
        let running = calls(&stage, "p", r#", "timeout": "2s""#, is_by_itself);
        stage.looker.run(ADD);
        let second = Holder::idle(&stage.database, "web", "SELECT FROM p2");
        wait_until("it is there to stay", SOON, || {
            let age = "SELECT FROM pg_stat_activity WHERE clock_timestamp() - xact_start > '100ms'";
            let old = format!("{age} AND pid = {}", second.pid());
            !stage.database.ask(&old).is_empty()
        });
        first.session.run("COMMIT");
        let (code, message) = code_of(running);
        assert_eq!(code, "55P03", "{message}");
        trail.has_no_victim();
        assert!(backup.goes_on() && second.goes_on());
    }
}

/// By a dump that holds it: told of at the end, though nothing has woken the call.
fn a_partition_added_while_nobody_goes_is_seen(world: &World) {
    let stage = Stage::new(world, TABLES);
    let application = Holder::idle(&stage.database, "web", "SELECT FROM p1");
    let running = calls(&stage, "p", r#", "timeout": "3s""#, true);
    stage.looker.run(ADD);
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM p2");
    let error = running.wait(SOON).unwrap_err();
    let detail = error
        .as_db_error()
        .unwrap()
        .detail()
        .unwrap_or_default()
        .to_owned();
    for pid in [application.pid(), backup.pid()] {
        assert!(detail.contains(&format!("pid {pid} ")), "{detail}");
    }
    assert!(backup.goes_on() && application.goes_on());
}
