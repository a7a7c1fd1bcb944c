//! The event trigger beside others: it fires last, and its function is for its own event alone.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process;

use super::TABLE;
use crate::take::scene::{Holder, Stage, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        ddl_that_another_event_trigger_refuses_lets_nobody_be_killed,
        a_later_event_trigger_is_warned_of_once,
        attached_to_another_event_the_function_refuses,
    ]
}

/// A function for event triggers that allows no DDL about what it is for.
const REFUSES: &str = "CREATE FUNCTION refuses() RETURNS event_trigger LANGUAGE plpgsql \
     AS $$BEGIN RAISE insufficient_privilege USING MESSAGE = 'not in business hours'; END$$";

fn ddl_that_another_event_trigger_refuses_lets_nobody_be_killed(world: &World) {
    let stage = Stage::new(world, TABLE);
    let trail = Trail::from_now(world.cluster());
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM events");
    stage.migration.run(&format!(
        "{REFUSES}; CREATE EVENT TRIGGER no_drops ON ddl_command_start WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION refuses(); \
         CREATE EVENT TRIGGER zz_no_drops ON ddl_command_start WHEN TAG IN ('DROP INDEX') EXECUTE FUNCTION refuses(); \
         SET lockguard.policy = 'on'"
    ));
    for statement in ["DROP TABLE events", "DROP INDEX events_i"] {
        let error = stage.migration.error(statement);
        assert_eq!(error.message(), "not in business hours", "{statement}");
    }
    trail.has_no_victim();
    assert!(backup.goes_on());
    // What nobody refuses is guarded, and nobody is said to be able to refuse it.
    stage.migration.take_notices();
    stage.migration.run("ALTER TABLE events ADD j int");
    backup.was_cancelled("it was in the way");
    let told = stage.migration.take_notices();
    assert!(told.iter().all(|n| n.severity == "NOTICE"), "{told:?}");
}

fn a_later_event_trigger_is_warned_of_once(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run(
        "CREATE FUNCTION looks() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
         CREATE EVENT TRIGGER zzzz ON ddl_command_start WHEN TAG IN ('ALTER TABLE', 'DROP TABLE') EXECUTE FUNCTION looks(); \
         CREATE EVENT TRIGGER zzzz_disabled ON ddl_command_start EXECUTE FUNCTION looks(); \
         ALTER EVENT TRIGGER zzzz_disabled DISABLE; \
         CREATE EVENT TRIGGER zzzz_end ON ddl_command_end EXECUTE FUNCTION looks(); \
         SET lockguard.policy = 'on'",
    );
    for (statement, warnings) in [
        ("DROP INDEX events_i", 0),
        ("ALTER TABLE events ADD j int", 1),
        ("ALTER TABLE events ADD k int", 0),
        ("DROP TABLE events", 0),
    ] {
        stage.migration.run(statement);
        let told = stage.migration.take_notices();
        assert_eq!(told.len(), warnings, "{statement}: {told:?}");
        for warning in told {
            assert_eq!(warning.severity, "WARNING");
            assert_eq!(
                warning.message,
                "lockguard: event triggers that fire after guard mode may still refuse the DDL: zzzz"
            );
        }
    }
}

fn attached_to_another_event_the_function_refuses(world: &World) {
    let stage = Stage::new(world, TABLE);
    for event in ["ddl_command_end", "sql_drop", "table_rewrite"] {
        // DDL about event triggers fires none.
        stage.looker.run(&format!(
            "CREATE EVENT TRIGGER misplaced ON {event} EXECUTE FUNCTION lockguard.guard()"
        ));
        let statement = match event {
            "table_rewrite" => "ALTER TABLE events ALTER i TYPE bigint",
            _ => "DROP INDEX events_i",
        };
        for policy in ["on", "off"] {
            stage
                .migration
                .run(&format!("SET lockguard.policy = '{policy}'"));
            let error = stage.migration.error(statement);
            assert_eq!(error.code().code(), "39P03", "{event}: {error}");
            assert_eq!(
                error.message(),
                format!(
                    "lockguard.guard() is for event triggers on ddl_command_start, not on {event}"
                )
            );
        }
        stage.looker.run("DROP EVENT TRIGGER misplaced");
    }
    if world.installation().major() >= 17 {
        stage.looker.run(
            "CREATE EVENT TRIGGER misplaced ON login EXECUTE FUNCTION lockguard.guard(); \
             ALTER EVENT TRIGGER misplaced ENABLE ALWAYS",
        );
        let mut login = stage.database.psql();
        login.args(["-c", "SELECT 1"]);
        let refused = process::run(login).unwrap();
        assert!(!refused.status.success());
        assert!(
            refused.stderr.contains("not on login"),
            "{}",
            refused.stderr
        );
        stage.looker.run("DROP EVENT TRIGGER misplaced");
    }
}
