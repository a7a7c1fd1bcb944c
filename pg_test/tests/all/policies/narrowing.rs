//! A call through a stored policy only narrows it; anything wider is 42501 with the offending path.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;

use pg_test::wait_until;

use super::{SOON, Stage, code, preempt};
use crate::preempt::finish_within;
use crate::preempt::scene::{Trail, rows_once_written};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        anything_wider_is_refused_with_its_path,
        what_is_narrower_goes_through,
        what_is_stored_holds,
        a_lower_max_stall_makes_no_busy_transaction_idle,
        a_lower_grace_turns_no_cancel_into_a_terminate,
        a_lower_timeout_cuts_nobody_s_time_to_finish_off,
    ]
}

const STORED: &str = r#"{"preempt": [{"application_name": "victim"}], "spare": ["vacuum"], "timeout": "5s", "grace": "1s", "max_stall": "50ms", "max_victims": 2}"#;

fn with(more: &str) -> String {
    preempt(&format!(r#"{{"relations": ["t"], "policy": "p", {more}}}"#))
}

fn anything_wider_is_refused_with_its_path(world: &World) {
    let stage = Stage::new(world);
    stage.store("p", STORED);
    stage.lend("p");
    let (_victim, busy) = stage.victim("t");
    for (more, path) in [
        (r#""timeout": "6s""#, "$.timeout"),
        (r#""grace": "1001ms""#, "$.grace"),
        (r#""max_stall": "51ms""#, "$.max_stall"),
        (r#""max_victims": 3"#, "$.max_victims"),
        (r#""preempt": []"#, "$.preempt"),
        (r#""signal": "cancel""#, "$.signal"),
        (r#""take_lock": false"#, "$.take_lock"),
        (r#""finish_within": "1s""#, "$.finish_within"),
        (r#""on_timeout": "report""#, "$.on_timeout"),
    ] {
        for session in [&stage.session, &stage.admin] {
            let error = session.error(&with(more));
            assert_eq!(error.code().code(), "42501", "{more}");
            let detail = error.detail().unwrap();
            assert_eq!(detail, format!("At {path} in the policy."), "{more}");
        }
    }
    assert!(!busy.is_finished());
}

fn what_is_narrower_goes_through(world: &World) {
    let stage = Stage::new(world);
    stage.store("p", STORED);
    stage.lend("p");
    let (_victim, busy) = stage.victim("t");
    let narrower = r#""timeout": "4s", "grace": "0s", "max_stall": "5ms", "max_victims": 1,
        "spare": ["analyze"], "label": "mine", "mode": "SHARE ROW EXCLUSIVE", "dry_run": true"#;
    assert_eq!(
        stage.session.run(&with(narrower)).len(),
        0,
        "that mode is free"
    );
    let rows = stage.session.run(&with(
        &narrower.replace("SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"),
    ));
    assert_eq!(rows.only().text("verdict"), "would cancel");
    assert!(!busy.is_finished());
    stage.session.run(&with(r#""label": "mine""#));
    assert!(busy.wait(SOON).is_err());
    let rows = rows_once_written(&stage.session, 1, "SELECT label FROM lockguard.preemptions");
    assert_eq!(rows.value(), Some("mine"));
}

fn what_is_stored_holds(world: &World) {
    let stage = Stage::new(world);
    stage.store(
        "p",
        r#"{"preempt": [{"application_name": "victim"}], "max_victims": 1, "timeout": "300ms"}"#,
    );
    stage.lend("p");
    let victims = [stage.victim("t"), stage.victim("t")];
    let error = stage.session.error(&with(r#""label": "x""#));
    assert_eq!(error.code().code(), "55P03");
    assert!(error.message().contains("max_victims allows 1"), "{error}");
    assert!(victims.iter().all(|(_, busy)| !busy.is_finished()));
}

fn a_lower_max_stall_makes_no_busy_transaction_idle(world: &World) {
    let stage = Stage::new(world);
    stage.store(
        "p",
        r#"{"preempt": ["idle_in_transaction"], "max_stall": "900ms", "signal": "terminate"}"#,
    );
    stage.lend("p");
    let busy = stage.database.session("busy");
    busy.run("BEGIN; SELECT FROM t");
    let trail = Trail::from_now(world.cluster());
    let call = stage
        .session
        .spawn(with(r#""max_stall": "1ms", "timeout": "1s""#));
    // Idle between its statements, each time for longer than the call says, and for less than what is stored.
    while !call.is_finished() {
        busy.run("SELECT FROM t");
        std::thread::sleep(Duration::from_millis(20));
    }
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03", "{error}");
    trail.has_no_victim();
    busy.run("COMMIT");
}

fn a_lower_grace_turns_no_cancel_into_a_terminate(world: &World) {
    let stage = Stage::new(world);
    stage.store(
        "p",
        r#"{"preempt": [{"application_name": "victim"}], "grace": "1 min", "timeout": "5 min"}"#,
    );
    stage.lend("p");
    let deaf = stage.database.session("victim");
    deaf.run("BEGIN; SELECT FROM t");
    let busy = deaf.spawn(
        "DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(30); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$",
    );
    wait_until("the victim is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    let trail = Trail::from_now(world.cluster());
    let short = with(r#""grace": "0s", "timeout": "1s""#);
    assert_eq!(code(&stage.session, &short), "55P03");
    let signals = trail.signals();
    assert!(
        !signals.is_empty() && signals.iter().all(|s| !s.terminate),
        "{signals:?}"
    );
    assert!(!busy.is_finished());
    stage
        .admin
        .run(&format!("SELECT pg_terminate_backend({})", deaf.pid()));
}

fn a_lower_timeout_cuts_nobody_s_time_to_finish_off(world: &World) {
    let stage = Stage::new(world);
    stage.store("p", r#"{"finish_within": "20s", "timeout": "30s"}"#);
    stage.lend("p");
    // A thousand pages.
    stage
        .admin
        .run("ALTER TABLE t ADD filler text; ALTER TABLE t ALTER filler SET STORAGE PLAIN");
    stage
        .admin
        .run("INSERT INTO t SELECT i, repeat('x', 4000) FROM generate_series(1, 2000) i");
    let (_session, vacuum) = finish_within::vacuum(&stage.database, "2");
    finish_within::wait_for_eta(
        &stage.database,
        "progress > 0.1 AND eta BETWEEN '3s' AND '18s'",
    );
    let trail = Trail::from_now(world.cluster());
    let error = stage.session.error(&with(r#""timeout": "1s""#));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap();
    assert!(detail.contains("left alone"), "{detail}");
    trail.has_no_victim();
    assert!(!vacuum.is_finished());
}
