//! The locks are the (sub)transaction's that the call was made in, as those of LOCK TABLE are: they go
//! when it is rolled back, and stay when it is released, at every isolation level.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::scene::{Holder, MODES, SOON, STRONGEST, Stage, call, perform};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_rollback_to_before_the_call_lets_go_and_a_release_keeps,
        an_exception_block_that_fails_lets_go_and_one_that_ends_keeps,
        each_isolation_level_keeps_them,
        a_read_only_transaction_holds_what_lock_table_would,
        a_prepared_transaction_takes_them_over,
        a_second_call_adds_to_the_first,
    ]
}

const TABLES: &str = "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE u (i int)";

fn a_rollback_to_before_the_call_lets_go_and_a_release_keeps(world: &World) {
    let stage = Stage::new(world, TABLES);
    for (with_dump, with_traffic) in [(false, false), (true, false), (false, true)] {
        let dump = with_dump.then(|| Holder::busy(&stage.database, "pg_dump", "SELECT FROM t"));
        let traffic = with_traffic.then(|| Holder::idle(&stage.database, "web", "SELECT FROM t"));
        stage.migration.run("BEGIN; SAVEPOINT before");
        let running = stage.migration.spawn(call("t", ""));
        if let Some(traffic) = traffic {
            stage.wait_until_it_waits();
            traffic.session.run("COMMIT");
        }
        running.rows(SOON);
        stage
            .migration
            .run("SAVEPOINT after; CREATE TABLE undone (); ROLLBACK TO after");
        stage.holds(STRONGEST, "t t_pkey");
        stage.migration.run("ROLLBACK TO before");
        stage.holds_nothing("ROLLBACK TO before");
        stage.migration.run(&call("u", ""));
        stage.migration.run("RELEASE before");
        stage.holds(STRONGEST, "u");
        stage.migration.run("COMMIT");
        stage.holds_nothing("COMMIT");
        if let Some(dump) = dump {
            dump.was_cancelled("the call");
        }
    }
}

fn an_exception_block_that_fails_lets_go_and_one_that_ends_keeps(world: &World) {
    let stage = Stage::new(world, TABLES);
    let (t, u) = (perform("t", ""), perform("u", ""));
    for (begin, savepoint) in [("BEGIN", "SELECT 1"), ("BEGIN", "SAVEPOINT s")] {
        let dumps = ["t", "u"]
            .map(|table| Holder::busy(&stage.database, "pg_dump", &format!("SELECT FROM {table}")));
        stage.migration.run(begin);
        stage.migration.run(savepoint);
        stage.migration.run(&format!(
            "DO $do$BEGIN \
             BEGIN {t}; PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END; \
             BEGIN {u}; EXCEPTION WHEN division_by_zero THEN NULL; END; END$do$"
        ));
        stage.holds(STRONGEST, "u");
        stage.migration.run("COMMIT");
        stage.holds_nothing("COMMIT");
        for dump in dumps {
            dump.was_cancelled("the call");
        }
    }
    // The one inside the other.
    stage.migration.run(&format!(
        "BEGIN; DO $do$BEGIN {t}; BEGIN BEGIN {u}; EXCEPTION WHEN division_by_zero THEN NULL; END; PERFORM 1 / 0; \
         EXCEPTION WHEN division_by_zero THEN NULL; END; END$do$"
    ));
    stage.holds(STRONGEST, "t t_pkey");
    stage.migration.run("COMMIT");
}

fn each_isolation_level_keeps_them(world: &World) {
    let stage = Stage::new(world, TABLES);
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for before in ["SELECT 1", "SELECT count(*) FROM pg_class", "SAVEPOINT s"] {
            let application = Holder::idle(&stage.database, "web", "INSERT INTO u VALUES (1)");
            stage
                .migration
                .run(&format!("BEGIN ISOLATION LEVEL {level}; {before}"));
            let running = stage.migration.spawn(call("t u", ""));
            stage.wait_until_it_waits();
            application.session.run("COMMIT");
            let rows = running.rows(SOON);
            assert_eq!(rows.only().text("verdict"), "finished", "{level}");
            stage.holds(STRONGEST, "t t_pkey u");
            // The call is a query, and above READ COMMITTED the first one fixes what all of them see.
            let seen = stage.migration.run("SELECT count(*) FROM u");
            let expected = if level == "READ COMMITTED" { "1" } else { "0" };
            assert_eq!(seen.value(), Some(expected), "{level}");
            stage.migration.run(
                "TRUNCATE u; ALTER TABLE t ADD COLUMN j int; ALTER TABLE t DROP COLUMN j; COMMIT",
            );
            stage.holds_nothing("COMMIT");
        }
    }
}

fn a_read_only_transaction_holds_what_lock_table_would(world: &World) {
    let stage = Stage::new(world, TABLES);
    for begin in [
        "BEGIN READ ONLY",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    ] {
        for (spelled, mode) in MODES {
            stage
                .migration
                .run(&format!("{begin}; LOCK TABLE u IN {spelled} MODE"));
            stage.holds(mode, "u");
            stage.migration.run("ROLLBACK");
            let dump = (mode == STRONGEST)
                .then(|| Holder::busy(&stage.database, "pg_dump", "SELECT FROM u"));
            let more = format!(r#", "mode": "{mode}""#);
            stage
                .migration
                .run(&format!("{begin}; {}", call("u", &more)));
            stage.holds(mode, "u");
            stage.migration.run("COMMIT");
            if let Some(dump) = dump {
                dump.was_cancelled("the call");
            }
        }
    }
}

fn a_prepared_transaction_takes_them_over(world: &World) {
    let stage = Stage::new(world, TABLES);
    let gid = stage.database.name();
    stage.migration.run(&format!(
        "BEGIN; {}; PREPARE TRANSACTION '{gid}'",
        call("t", "")
    ));
    stage.holds_nothing("PREPARE TRANSACTION");
    let prepared = "SELECT FROM pg_locks WHERE pid IS NULL AND relation IN ('t'::regclass, 't_pkey'::regclass) \
                    AND mode = 'AccessExclusiveLock' AND granted";
    assert_eq!(stage.looker.run(prepared).len(), 2);
    let newcomer = stage.database.session("newcomer");
    let waiting = newcomer.spawn("SELECT FROM t");
    waiting.wait_until_queued();
    stage.migration.run(&format!("COMMIT PREPARED '{gid}'"));
    waiting.rows(SOON);
}

fn a_second_call_adds_to_the_first(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.migration.run("BEGIN");
    for named in ["u", "t u", "t_pkey u"] {
        stage.migration.run(&call(named, ""));
    }
    stage.holds(STRONGEST, "t t_pkey u");
    // What the second cannot have does not cost what the first has.
    let third = "CREATE TABLE w (); ";
    stage.looker.run(third);
    let _application = Holder::busy(&stage.database, "web", "SELECT FROM w");
    let report = r#", "timeout": "300ms", "on_timeout": "report""#;
    stage.migration.run(&call("t w u", report));
    stage.holds(STRONGEST, "t t_pkey u");
    stage.migration.run("COMMIT");
}
