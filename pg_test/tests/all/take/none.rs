//! When nothing is held: after an error, after a call that was not to take the lock or could not, and
//! while the call waits for somebody who holds only a part.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{
    Holder, MODES, SOON, STRONGEST, Stage, Trail, call, last_told, pairs, perform, preempt,
    stays_true,
};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        nothing_is_held_after_an_error_that_is_caught,
        nothing_is_held_after_a_deadlock_is_refused,
        a_call_that_is_not_to_take_the_lock_does_not,
        a_call_that_reports_the_end_of_its_time_holds_nothing,
        a_part_is_not_held_while_the_rest_is_waited_for,
        a_part_is_let_go_once_the_rest_proves_to_take_long,
        waiting_alone_assigns_no_transaction_id,
        a_lock_of_before_the_call_outlives_its_failure,
    ]
}

const TABLES: &str = "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE u (i int PRIMARY KEY); CREATE TABLE w (i int); \
     CREATE TABLE locked (i int)";

/// Runs it in the transaction that is open, and tells by which SQLSTATE it failed; caught by an
/// exception block, so that the transaction goes on.
#[track_caller]
fn caught(stage: &Stage, statement: &str) -> String {
    stage.migration.run(&format!(
        "DO $do$BEGIN BEGIN {statement}; RAISE WARNING 'none'; EXCEPTION WHEN OTHERS OR query_canceled THEN \
         RAISE WARNING '%', SQLSTATE; END; END$do$"
    ));
    let last = stage.migration.take_notices().pop().unwrap();
    assert_eq!(last.severity, "WARNING");
    last.message
}

fn nothing_is_held_after_an_error_that_is_caught(world: &World) {
    let stage = Stage::new(world, TABLES);
    let role = format!("{}_reader", stage.database.name());
    stage
        .looker
        .run(&format!("CREATE ROLE {role}; GRANT ALL ON t TO {role}"));
    let _application = Holder::busy(&stage.database, "web", "SELECT FROM u");
    let _dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM w");
    let trail = Trail::from_now(world.cluster());
    for (relations, more, role, state) in [
        ("t u", r#", "timeout": "300ms""#, None, "55P03"),
        ("u t", r#", "timeout": "1ms""#, None, "55P03"),
        ("t w", r#", "max_victims": 0"#, None, "55P03"),
        ("t w no_such", "", None, "42P01"),
        ("t w pg_class", "", None, "42501"),
        ("t w", "", Some(&role), "42501"),
        ("t w", r#", "max_stall": "1s""#, None, "22023"),
        ("t w", r#", "take_lock": "true""#, None, "22023"),
    ] {
        let set = role.map_or(String::new(), |role| format!("SET LOCAL ROLE {role};"));
        stage.migration.run(&format!("BEGIN; {set}"));
        let failed = caught(&stage, &perform(relations, more));
        assert_eq!(failed, state, "{relations}{more}");
        stage.holds_nothing(&failed);
        stage.migration.run("ROLLBACK; BEGIN; SAVEPOINT s");
        let set = role.map_or(String::new(), |role| format!("SET LOCAL ROLE {role};"));
        let error = stage
            .migration
            .error(&format!("{set} {}", call(relations, more)));
        assert_eq!(error.code().code(), state, "{error}");
        stage.holds_nothing("an error in a block that has failed");
        stage.migration.run("ROLLBACK TO s");
        stage.holds_nothing("ROLLBACK TO");
        stage.migration.run("COMMIT");
    }
    trail.has_no_victim();
}

fn nothing_is_held_after_a_deadlock_is_refused(world: &World) {
    let stage = Stage::new(world, TABLES);
    let application = Holder::idle(&stage.database, "web", "LOCK TABLE u IN ROW EXCLUSIVE MODE");
    stage.migration.run("BEGIN; LOCK TABLE w");
    let waiting = application.session.spawn("SELECT FROM w");
    waiting.wait_until_queued();
    assert_eq!(caught(&stage, &perform("t u", "")), "40P01");
    stage.holds(STRONGEST, "w");
    stage.migration.run("COMMIT");
    waiting.rows(SOON);
}

fn a_call_that_is_not_to_take_the_lock_does_not(world: &World) {
    let stage = Stage::new(world, TABLES);
    let in_way = [false, true];
    let dump = || Holder::busy(&stage.database, "pg_dump", "SELECT FROM t");
    for has_dump in in_way {
        for call in [
            call("t", r#", "dry_run": true"#),
            call("t", r#", "take_lock": false"#),
            preempt(r#"{"relations": "all"}"#),
        ] {
            let dump = has_dump.then(dump);
            stage.migration.run(&format!("BEGIN; {call}"));
            stage.holds_nothing(&call);
            let told = last_told(&stage.migration);
            assert!(!told.contains("holds"), "{told}");
            assert!(!told.contains("no lock is kept"), "{told}");
            if let Some(dump) = dump {
                if call.contains("dry_run") {
                    assert!(dump.goes_on(), "{call}");
                } else {
                    dump.was_cancelled(&call);
                }
            }
            stage.migration.run("COMMIT");
        }
    }
    let dump = dump();
    let hanging = stage.database.session("hanging");
    let ddl = hanging.spawn("BEGIN; ALTER TABLE t ADD COLUMN more int");
    ddl.wait_until_queued();
    let for_pid = preempt(&format!(r#"{{"pid": {}}}"#, hanging.pid()));
    stage.migration.run(&format!("BEGIN; {for_pid}"));
    stage.holds_nothing(&for_pid);
    ddl.rows(SOON);
    dump.was_cancelled("the call");
    // Nobody waits any more.
    stage.migration.run(&for_pid);
    stage.holds_nothing(&for_pid);
}

fn a_call_that_reports_the_end_of_its_time_holds_nothing(world: &World) {
    let stage = Stage::new(world, TABLES);
    let _application = Holder::busy(&stage.database, "web", "SELECT FROM u");
    let _dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM w");
    for (relations, more) in [
        ("t u", r#", "timeout": "300ms""#),
        ("t u", r#", "timeout": "1ms""#),
        ("t w", r#", "max_victims": 0"#),
    ] {
        let more = format!(r#"{more}, "on_timeout": "report""#);
        stage
            .migration
            .run(&format!("BEGIN; {}", call(relations, &more)));
        stage.holds_nothing(&more);
        let told = stage.migration.take_notices().pop().unwrap().message;
        assert!(told.contains("is not free after"), "{told}");
        stage.migration.run("COMMIT");
    }
    // In each mode, weak ones too.
    let _ddl = Holder::idle(&stage.database, "other migration", "LOCK TABLE locked");
    for (_, mode) in MODES {
        let more = format!(r#", "mode": "{mode}", "timeout": "200ms", "on_timeout": "report""#);
        stage
            .migration
            .run(&format!("BEGIN; {}", call("t locked", &more)));
        stage.holds_nothing(mode);
        stage.migration.run("COMMIT");
    }
}

fn a_part_is_not_held_while_the_rest_is_waited_for(world: &World) {
    let stage = Stage::new(world, TABLES);
    let application = Holder::idle(&stage.database, "web", "SELECT FROM u");
    wait_until("the application's transaction is long", SOON, || {
        let age = format!(
            "SELECT FROM pg_stat_activity WHERE pid = {} AND clock_timestamp() - xact_start > '200ms'",
            application.pid()
        );
        !stage.looker.run(&age).is_empty()
    });
    stage.migration.run("BEGIN");
    let running = stage.migration.spawn(call("t u w", ""));
    stage.wait_until_it_waits();
    let mut looks = 0;
    stays_true(
        "the call holds nothing and queues for nothing",
        Instant::now() + Duration::from_millis(1_000),
        || {
            looks += 1;
            stage.held().is_empty() && stage.awaited().is_empty() && !running.is_finished()
        },
    );
    assert!(looks > 3, "{looks}");
    // Others use what is free meanwhile, and what is not.
    stage
        .looker
        .run("SET statement_timeout = '1s'; INSERT INTO t VALUES (1); SELECT FROM u; ALTER TABLE w ADD COLUMN more int");
    application.session.run("COMMIT");
    running.rows(SOON);
    stage.holds(STRONGEST, "t t_pkey u u_pkey w");
}

fn a_part_is_let_go_once_the_rest_proves_to_take_long(world: &World) {
    let stage = Stage::new(world, TABLES);
    // Long enough for the young one to be still young at the first look.
    stage.migration.run("SET deadlock_timeout = '20s'; BEGIN");
    let application = Holder::idle(&stage.database, "web", "SELECT FROM u");
    let running = stage
        .migration
        .spawn(call("t u w", r#", "max_stall": "1500ms""#));
    wait_until("it waits in the queue", SOON, || {
        stage.awaited() == pairs(STRONGEST, "u")
    });
    assert_eq!(stage.held(), pairs(STRONGEST, "t"));
    stage.wait_until_it_waits();
    stays_true(
        "the call holds nothing and queues for nothing",
        Instant::now() + Duration::from_millis(300),
        || stage.held().is_empty() && stage.awaited().is_empty(),
    );
    application.session.run("COMMIT");
    running.rows(SOON);
    stage.holds(STRONGEST, "t t_pkey u u_pkey w");
}

fn waiting_alone_assigns_no_transaction_id(world: &World) {
    let stage = Stage::new(world, TABLES);
    let _application = Holder::busy(&stage.database, "web", "SELECT FROM u");
    wait_until("the application's transaction is long", SOON, || {
        let age = "SELECT FROM pg_stat_activity WHERE application_name = 'web' AND datname = current_database() \
                   AND clock_timestamp() - xact_start > '200ms'";
        !stage.looker.run(age).is_empty()
    });
    let xid = "SELECT pg_current_xact_id_if_assigned()";
    stage.migration.run("BEGIN");
    let report = r#", "timeout": "1500ms", "on_timeout": "report""#;
    stage.migration.run(&call("t u", report));
    assert_eq!(stage.migration.run(xid).value(), None);
    stage.migration.run(&call("t", r#", "dry_run": true"#));
    assert_eq!(stage.migration.run(xid).value(), None);
    // Weak locks need none either.
    stage.migration.run(&call("t", r#", "mode": "SHARE""#));
    assert_eq!(stage.migration.run(xid).value(), None);
    stage.migration.run(&call("t", ""));
    assert!(stage.migration.run(xid).value().is_some());
    stage.migration.run("COMMIT");
}

fn a_lock_of_before_the_call_outlives_its_failure(world: &World) {
    let stage = Stage::new(world, TABLES);
    let _application = Holder::busy(&stage.database, "web", "SELECT FROM u");
    stage
        .migration
        .run("BEGIN; LOCK TABLE t IN SHARE MODE; LOCK TABLE w");
    let report = r#", "timeout": "300ms", "on_timeout": "report""#;
    let before = stage.held();
    stage.migration.run(&call("t u w", report));
    assert_eq!(stage.held(), before);
    assert_eq!(
        caught(&stage, &perform("t u w", r#", "timeout": "100ms""#)),
        "55P03"
    );
    assert_eq!(stage.held(), before);
    stage.migration.run("COMMIT");
}
