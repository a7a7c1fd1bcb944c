//! What a call tells of statements: the pre-flight report, and what there is to say of texts that lock
//! nothing, hide something or are no SQL.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{TABLES, call};
use crate::preempt::scene::row_of;
use crate::take::scene::{Holder, SOON, Stage, Trail, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_dry_run_is_a_report_before_the_flight,
        a_statement_that_locks_nothing_is_no_obstacle,
        what_cannot_be_seen_ahead_is_said,
        what_is_no_sql_is_refused_with_its_position,
        a_long_statement_is_named_by_its_beginning,
        the_parser_s_warnings_are_passed_on_once,
    ]
}

fn a_dry_run_is_a_report_before_the_flight(world: &World) {
    let stage = Stage::new(world, TABLES);
    let trail = Trail::from_now(world.cluster());
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM users");
    let rows = stage
        .migration
        .run(&call("DROP TABLE events", r#", "dry_run": true"#));
    assert_eq!(verdict(&rows, backup.pid()), "would cancel");
    assert_eq!(row_of(&rows, backup.pid()).text("relation"), "users");
    trail.has_no_victim();
    stage.holds_nothing("after a dry run");
    assert!(backup.goes_on());
}

fn a_statement_that_locks_nothing_is_no_obstacle(world: &World) {
    let stage = Stage::new(world, TABLES);
    for statement in ["CREATE TABLE made (i int)", "", "-- a comment"] {
        assert!(stage.migration.run(&call(statement, "")).is_empty());
        let told = stage.migration.take_notices().pop().unwrap().message;
        assert!(told.contains("it locks nothing that exists now"), "{told}");
    }
}

fn what_cannot_be_seen_ahead_is_said(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage
        .migration
        .run(&call("DO 'BEGIN DROP TABLE events; END'", ""));
    let told = stage.migration.take_notices().remove(0).message;
    assert!(
        told.starts_with("lockguard: not all of the locks of DO 'BEGIN DROP TABLE events; END' can be told ahead: "),
        "{told}"
    );
}

fn what_is_no_sql_is_refused_with_its_position(world: &World) {
    let stage = Stage::new(world, TABLES);
    let error = stage.migration.error(&call("DROP TABLEX events", ""));
    assert_eq!(error.code().code(), "42601");
    let position = format!("{:?}", error.position());
    assert!(position.contains("position: 6"), "{position}");
}

fn a_long_statement_is_named_by_its_beginning(world: &World) {
    let stage = Stage::new(world, TABLES);
    let columns: Vec<String> = (0..50).map(|i| format!("ADD c{i} int")).collect();
    let statement = format!("ALTER TABLE   other {};", columns.join(", "));
    stage.migration.run(&call(&statement, ""));
    let told = stage.migration.take_notices().pop().unwrap().message;
    let named = "nobody stands in the way of the locks of ALTER TABLE other ADD c0 int, ADD c1 int, ADD c2 int, ADD c3 …";
    assert!(told.contains(named), "{told}");
}

/// The statements are worked out again while the call waits.
fn the_parser_s_warnings_are_passed_on_once(world: &World) {
    let stage = Stage::new(world, TABLES);
    for more in ["", r#", "take_lock": false"#] {
        let change = "ALTER TABLE events ADD COLUMN more int; DROP TABLE IF EXISTS spare; CREATE TABLE spare ()";
        let application = Holder::idle(&stage.database, "web", change);
        stage.migration.run("BEGIN");
        let statements = "CREATE GLOBAL TEMPORARY TABLE g (i int); DROP TABLE events";
        let running = stage.migration.spawn(call(statements, more));
        stage.wait_until_it_waits();
        application.session.run("COMMIT");
        running.rows(SOON);
        let told = stage.migration.take_notices();
        let warnings = told
            .iter()
            .filter(|notice| notice.message.contains("GLOBAL is deprecated"));
        assert_eq!(warnings.count(), 1, "{told:?}");
        stage.migration.run("ROLLBACK");
        stage.looker.run("ALTER TABLE events DROP COLUMN more");
    }
}
