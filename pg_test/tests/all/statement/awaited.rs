//! What CONCURRENTLY forms wait for beside locks: whole transactions, by their snapshots and their locks.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{TABLES, call};
use crate::preempt::scene::row_of;
use crate::take::scene::{Holder, SOON, Stage, Trail, last_told, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        an_old_snapshot_is_in_the_way_of_an_index_build_and_nothing_is_taken,
        an_old_snapshot_is_in_the_way_of_nothing_else,
        snapshots_of_other_databases_are_in_nobodys_way,
        who_lets_its_snapshot_go_is_in_the_way_no_longer,
        whoever_only_reads_the_table_is_in_the_way_of_dropping_its_index_concurrently,
        an_application_s_snapshot_is_waited_for_and_nobody_is_preempted_in_vain,
        the_table_of_an_index_replaced_meanwhile_is_what_is_waited_for,
    ]
}

const BUILD: &str = "CREATE INDEX CONCURRENTLY other_i ON other (i)";

/// As `pg_dump` has it, in the midst of a table that is none of the target's.
const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM events";

/// Of the calling session.
const HAS_TRANSACTION_ID: &str = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL";

fn an_old_snapshot_is_in_the_way_of_an_index_build_and_nothing_is_taken(world: &World) {
    let stage = Stage::new(world, TABLES);
    let backup = Holder::busy(&stage.database, "pg_dump", SNAPSHOT);
    stage.migration.run("BEGIN");
    let rows = stage.migration.run(&call(BUILD, ""));
    assert_eq!(verdict(&rows, backup.pid()), "cancelled");
    assert_eq!(row_of(&rows, backup.pid()).get("relation"), None);
    stage.holds_nothing("before a CONCURRENTLY form");
    let has_id = stage.migration.run(HAS_TRANSACTION_ID);
    assert_eq!(has_id.value(), Some("f"));
    let told = last_told(&stage.migration);
    let none = "; no lock is taken beforehand for a CONCURRENTLY form";
    assert!(told.ends_with(none), "{told}");
    stage.migration.run("COMMIT");
    stage.migration.spawn(BUILD).wait(SOON).unwrap();
    backup.was_cancelled("it was in the way");
}

fn an_old_snapshot_is_in_the_way_of_nothing_else(world: &World) {
    let stage = Stage::new(world, TABLES);
    let trail = Trail::from_now(world.cluster());
    let backup = Holder::busy(&stage.database, "pg_dump", SNAPSHOT);
    for statement in ["CREATE INDEX ON other (i)", "DROP TABLE other"] {
        assert!(stage.migration.run(&call(statement, "")).is_empty());
    }
    trail.has_no_victim();
    assert!(backup.goes_on());
}

fn snapshots_of_other_databases_are_in_nobodys_way(world: &World) {
    let stage = Stage::new(world, TABLES);
    let elsewhere = Stage::new(world, TABLES);
    let backup = Holder::busy(&elsewhere.database, "pg_dump", SNAPSHOT);
    assert!(stage.migration.run(&call(BUILD, "")).is_empty());
    assert!(backup.goes_on());
}

fn who_lets_its_snapshot_go_is_in_the_way_no_longer(world: &World) {
    let stage = Stage::new(world, TABLES);
    // Between two statements in READ COMMITTED there is none.
    let backup = Holder::idle(&stage.database, "pg_dump", "SELECT FROM events");
    assert!(stage.migration.run(&call(BUILD, "")).is_empty());
    assert!(backup.goes_on());
}

fn whoever_only_reads_the_table_is_in_the_way_of_dropping_its_index_concurrently(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.migration.run("CREATE INDEX other_i ON other (i)");
    let backup = Holder::idle(&stage.database, "pg_dump", "SELECT FROM other");
    stage.migration.run("BEGIN");
    let rows = stage
        .migration
        .run(&call("DROP INDEX CONCURRENTLY other_i", ""));
    assert_eq!(verdict(&rows, backup.pid()), "terminated");
    stage.holds_nothing("before a CONCURRENTLY form");
}

fn an_application_s_snapshot_is_waited_for_and_nobody_is_preempted_in_vain(world: &World) {
    let stage = Stage::new(world, TABLES);
    let trail = Trail::from_now(world.cluster());
    let backup = Holder::busy(&stage.database, "pg_dump", SNAPSHOT);
    let report = Holder::busy(&stage.database, "report", SNAPSHOT);
    let error = stage
        .migration
        .error(&call(BUILD, r#", "timeout": "300ms""#));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap();
    let name = format!("pid {}", report.pid());
    assert!(detail.contains(&name), "{detail}");
    let why = "holds up what waits for the end of its transaction";
    assert!(detail.contains(why), "{detail}");
    trail.has_no_victim();
    assert!(backup.goes_on() && report.goes_on());
}

/// Another index has its name by the time that the first one's table is free.
fn the_table_of_an_index_replaced_meanwhile_is_what_is_waited_for(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.migration.run("CREATE INDEX other_i ON other (i)");
    let application = Holder::idle(&stage.database, "web", "SELECT FROM other");
    let running = stage
        .migration
        .spawn(call("DROP INDEX CONCURRENTLY other_i", ""));
    stage.wait_until_it_waits();
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM events");
    stage
        .looker
        .run("ALTER INDEX other_i RENAME TO old_i; CREATE INDEX other_i ON events (i)");
    application.session.run("COMMIT");
    let rows = running.rows(SOON);
    assert_eq!(verdict(&rows, backup.pid()), "cancelled");
    backup.was_cancelled("it reads the table of the index that has the name now");
}
