//! Ctrl-C, `statement_timeout` and `pg_terminate_backend`, while the call waits outside the queue and
//! while it sits in it with a part of the locks in hand: nothing is held afterwards.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{Holder, SOON, STRONGEST, Stage, Trail, call, pairs, perform};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        nothing_is_held_after_an_interrupt_that_is_caught,
        nothing_is_held_after_an_interrupt_that_is_not_caught,
        a_terminated_call_takes_its_locks_with_it,
        an_interrupted_call_leaves_the_settings_as_they_were,
        a_statement_timeout_is_told_once_whenever_it_comes,
    ]
}

const TABLES: &str = "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE u (i int PRIMARY KEY)";

/// Where the call is when it is interrupted.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Waiting for the transaction of somebody who stays.
    Outside,
    /// In the queue for u, holding t.
    InQueue,
}

const PLACES: [Place; 2] = [Place::Outside, Place::InQueue];

impl Place {
    fn stage(self, world: &World) -> Stage {
        let stage = Stage::new(world, TABLES);
        stage.migration.run("SET deadlock_timeout = '60s'");
        stage
    }

    /// Whoever holds u is long with the one, and young with the other for as long as this takes.
    fn more(self) -> &'static str {
        match self {
            Place::Outside => r#", "max_stall": "1ms""#,
            Place::InQueue => r#", "max_stall": "50s""#,
        }
    }

    #[track_caller]
    fn wait_until_there(self, stage: &Stage) {
        match self {
            Place::Outside => {
                stage.wait_until_it_waits();
                stage.holds_nothing("waiting outside");
            }
            Place::InQueue => {
                wait_until("it waits in the queue", SOON, || {
                    stage.awaited() == pairs(STRONGEST, "u")
                });
                assert_eq!(stage.held(), pairs(STRONGEST, "t"));
            }
        }
    }
}

fn nothing_is_held_after_an_interrupt_that_is_caught(world: &World) {
    for place in PLACES {
        let stage = place.stage(world);
        let application = Holder::idle(&stage.database, "web", "SELECT FROM u");
        for (by_timeout, in_block) in [(false, false), (false, true), (true, false), (true, true)] {
            let begin = if in_block { "BEGIN" } else { "SELECT" };
            let transaction = stage
                .migration
                .run(&format!("{begin}; SELECT pg_current_xact_id()"));
            if by_timeout {
                stage.migration.run("SET statement_timeout = '1s'");
            }
            let running = stage.migration.spawn(format!(
                "DO $do$BEGIN BEGIN {}; EXCEPTION WHEN query_canceled THEN RAISE WARNING '%', SQLERRM; END; END$do$",
                perform("t u", place.more())
            ));
            if !by_timeout {
                place.wait_until_there(&stage);
                stage.database.cancel(stage.migration.pid());
            }
            running.rows(SOON);
            let why = stage.migration.take_notices().pop().unwrap().message;
            assert_eq!(why.contains("statement timeout"), by_timeout, "{why}");
            stage.holds_nothing(&format!("{place:?}"));
            stage.migration.run("SET statement_timeout = '60s'");
            // The block goes on, and can still take the locks; without one nothing has been left open.
            let now = stage.migration.run("SELECT pg_current_xact_id()");
            assert_eq!(now.value() == transaction.value(), in_block);
            stage.migration.run(&call("t", ""));
            stage.holds(STRONGEST, if in_block { "t t_pkey" } else { "" });
            stage.migration.run("COMMIT");
            stage.holds_nothing("COMMIT");
        }
        assert!(application.goes_on());
    }
}

fn nothing_is_held_after_an_interrupt_that_is_not_caught(world: &World) {
    for place in PLACES {
        let stage = place.stage(world);
        let application = Holder::idle(&stage.database, "web", "SELECT FROM u");
        stage.migration.run("BEGIN; SAVEPOINT s");
        let running = stage.migration.spawn(call("t u", place.more()));
        place.wait_until_there(&stage);
        // Somebody comes behind the request, and goes on once it is gone.
        let newcomer = stage.database.session("newcomer");
        let write = newcomer.spawn("LOCK TABLE t; SELECT FROM u");
        if let Place::InQueue = place {
            write.wait_until_queued();
        }
        stage.database.cancel(stage.migration.pid());
        let error = running.wait(SOON).unwrap_err();
        assert_eq!(error.code().map(|c| c.code()), Some("57014"), "{error}");
        stage.holds_nothing("an error");
        write.rows(SOON);
        stage.migration.run("ROLLBACK TO s");
        stage.holds_nothing("ROLLBACK TO");
        stage.migration.run("COMMIT");
        assert!(application.goes_on());
    }
}

fn a_terminated_call_takes_its_locks_with_it(world: &World) {
    for place in PLACES {
        let stage = place.stage(world);
        let application = Holder::idle(&stage.database, "web", "SELECT FROM u");
        let trail = Trail::from_now(world.cluster());
        stage.migration.run("BEGIN");
        let running = stage.migration.spawn(call("t u", place.more()));
        place.wait_until_there(&stage);
        let pid = stage.migration.pid();
        stage
            .looker
            .run(&format!("SELECT pg_terminate_backend({pid})"));
        assert!(running.wait(SOON).is_err());
        wait_until("the session is gone", SOON, || {
            let rows = stage
                .looker
                .run(&format!("SELECT FROM pg_stat_activity WHERE pid = {pid}"));
            rows.is_empty()
        });
        stage.holds_nothing("its end");
        assert!(application.goes_on());
        let text = trail.text();
        assert!(!text.contains("was terminated by signal"), "{text}");
        stage.looker.run("LOCK TABLE t; SELECT FROM u");
    }
}

fn an_interrupted_call_leaves_the_settings_as_they_were(world: &World) {
    for place in PLACES {
        let stage = place.stage(world);
        let settings = "SELECT string_agg(name || '=' || setting || '/' || source, ' ' ORDER BY name) FROM pg_settings \
                        WHERE name NOT LIKE 'transaction%'";
        stage.migration.run("SET lock_timeout = '77ms'");
        let _application = Holder::idle(&stage.database, "web", "SELECT FROM u");
        stage.migration.run("BEGIN; SAVEPOINT s");
        let before = stage.migration.run(settings);
        let running = stage.migration.spawn(call("t u", place.more()));
        place.wait_until_there(&stage);
        stage.database.cancel(stage.migration.pid());
        assert!(running.wait(SOON).is_err());
        stage.migration.run("ROLLBACK TO s");
        assert_eq!(stage.migration.run(settings).value(), before.value());
        let shown = stage.looker.run(&format!(
            "SELECT query FROM pg_stat_activity WHERE pid = {}",
            stage.migration.pid()
        ));
        assert!(!shown.value().unwrap().contains("/* lockguard"), "{shown}");
        stage.migration.run("COMMIT");
    }
}

/// It comes at any moment between one wait and the next, and whoever catches it is not hit again.
fn a_statement_timeout_is_told_once_whenever_it_comes(world: &World) {
    let stage = Place::Outside.stage(world);
    let _application = Holder::idle(&stage.database, "web", "SELECT FROM u");
    // A wait lasts for half of it.
    stage.migration.run("SET deadlock_timeout = '8ms'");
    let call = format!(
        "DO $do$BEGIN BEGIN {}; EXCEPTION WHEN query_canceled THEN RAISE WARNING '%', SQLERRM; END; \
         PERFORM count(*) FROM pg_class; END$do$",
        perform("t u", r#", "max_stall": "1ms""#)
    );
    // The first call of a session takes longer to come to its wait.
    let first = call.replace(
        r#""max_stall": "1ms""#,
        r#""max_stall": "1ms", "dry_run": true"#,
    );
    stage.migration.run(&first);
    stage.migration.take_notices();
    for round in 0..120 {
        let timeout = 60 + round % 10;
        let set = format!("BEGIN; SET LOCAL statement_timeout = {timeout}");
        stage.migration.run(&set);
        stage.migration.run(&call);
        let why = stage.migration.take_notices().pop().unwrap().message;
        assert!(why.contains("statement timeout"), "{why}");
        stage.migration.run("COMMIT");
    }
    stage.holds_nothing("COMMIT");
}
