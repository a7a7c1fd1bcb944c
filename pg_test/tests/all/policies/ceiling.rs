//! The ceiling: a stored policy that bounds every call of every role, by the same meaning of narrower as a call
//! through a stored policy has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::{POLICY, SOON, Stage, code, preempt, store};
use crate::preempt::scene::Trail;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        one_that_allows_more_holds_nobody_back,
        it_bounds_every_call_of_every_role,
        a_call_that_asks_for_more_is_bounded_and_told_so,
        it_is_held_against_the_full_truth,
        what_it_would_only_cancel_is_not_terminated,
        one_that_only_looks_has_every_call_only_look,
        one_that_is_set_while_a_call_waits_bounds_that_call,
        only_superusers_set_change_and_drop_it,
    ]
}

/// Has the superuser store that as the ceiling.
fn set(stage: &Stage, policy: &str) {
    stage.store("cap", policy);
    stage.admin.run("SELECT lockguard.set_ceiling('cap')");
}

const BY_NAME: &str =
    r#"{"relations": ["t"], "preempt": [{"application_name": "victim"}], "timeout": "300ms"}"#;
const HOLDS: &str = "the ceiling \"cap\" does not preempt it";

fn it_bounds_every_call_of_every_role(world: &World) {
    let stage = Stage::with_loan(world);
    set(&stage, r#"{"preempt": ["backup"]}"#);
    let (_victim, busy) = stage.victim("t");
    let trail = Trail::from_now(world.cluster());
    let through = r#"{"relations": ["t"], "policy": "p", "timeout": "300ms"}"#;
    for (who, call) in [
        (&stage.admin, BY_NAME),
        (&stage.admin, through),
        (&stage.session, through),
    ] {
        let error = who.error(&preempt(call));
        assert_eq!(error.code().code(), "55P03", "{call}");
        let (detail, hint) = (error.detail().unwrap(), error.hint().unwrap());
        assert!(detail.contains(&format!("in the way, {HOLDS}")), "{detail}");
        assert!(hint.contains("lockguard.set_ceiling"), "{hint}");
        let dry = call.replace(r#""timeout": "300ms""#, r#""dry_run": true"#);
        let rows = who.run(&preempt(&dry));
        assert_eq!(rows.only().text("verdict"), "would wait");
        assert_eq!(rows.only().text("reason"), HOLDS);
    }
    for (who, setting) in [
        (
            &stage.admin,
            r#"{"preempt": [{"application_name": "victim"}], "timeout": "300ms"}"#,
        ),
        (&stage.session, r#"{"policy": "p", "timeout": "300ms"}"#),
    ] {
        who.run(&format!("SET lockguard.policy = '{setting}'"));
        assert_eq!(code(who, "ALTER TABLE t ADD j int"), "55P03");
        who.run("SET lockguard.policy = ''");
    }
    trail.has_no_victim();
    assert!(!busy.is_finished());
    // What it preempts is preempted as ever, and nobody else's policy gets wider by it.
    set(&stage, "{\"preempt\": [{\"application_name\": \"*\"}]}");
    let narrow = r#"{"relations": ["t"], "preempt": ["backup"], "timeout": "300ms"}"#;
    assert_eq!(code(&stage.admin, &preempt(narrow)), "55P03");
    assert!(!busy.is_finished());
    stage.session.run(&preempt(through));
    assert!(busy.wait(SOON).is_err());
}

fn a_call_that_asks_for_more_is_bounded_and_told_so(world: &World) {
    let stage = Stage::with_loan(world);
    set(
        &stage,
        r#"{"preempt": [{"application_name": "victim"}], "timeout": "400ms", "max_stall": "20ms", "max_victims": 1}"#,
    );
    let victims = [stage.victim("t"), stage.victim("t")];
    stage.admin.take_notices();
    let many =
        r#"{"relations": ["t"], "preempt": [{"application_name": "victim"}], "timeout": "1 h"}"#;
    let error = stage.admin.error(&preempt(many));
    assert_eq!(error.code().code(), "55P03");
    assert!(error.message().contains("max_victims allows 1"), "{error}");
    let told = format!("{:?}", stage.admin.take_notices());
    let bounds = "the ceiling \\\"cap\\\" bounds this call: timeout is 400 ms, max_stall is 20 ms, max_victims is 1";
    assert!(told.contains(bounds), "{told}");
    assert!(victims.iter().all(|(_, busy)| !busy.is_finished()));
    let other = stage.database.session("somebody");
    other.run("BEGIN; SELECT FROM t");
    let start = Instant::now();
    let error = stage.admin.error(&preempt(many));
    assert!(error.message().contains("within 400 ms"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// The caller sees neither query; of the ceiling they learn that it does not preempt, and no more.
fn it_is_held_against_the_full_truth(world: &World) {
    let stage = Stage::new(world);
    let (_, caller) = stage.role("caller", "IN ROLE pg_signal_backend, pg_write_all_data");
    let (_, other) = stage.role("victim", "");
    let call = BY_NAME.replace("}]", "}], \"take_lock\": false");
    for (pattern, is_preempted) in [("no such*", false), ("SELECT pg_sleep*", true)] {
        set(
            &stage,
            &format!(r#"{{"preempt": [{{"query": "{pattern}"}}]}}"#),
        );
        other.run("BEGIN; SELECT FROM t");
        let busy = other.spawn("SELECT pg_sleep(50)");
        wait_until("it is in its statement", SOON, || {
            busy.wait_event()
                .is_some_and(|(_, event)| event == "PgSleep")
        });
        if is_preempted {
            caller.run(&preempt(&call));
        } else {
            let error = caller.error(&preempt(&call));
            let detail = error.detail().unwrap();
            assert!(detail.contains(HOLDS), "{detail}");
            assert!(!detail.contains("no such"), "{detail}");
            assert!(!busy.is_finished());
            stage
                .admin
                .run(&format!("SELECT pg_cancel_backend({})", other.pid()));
        }
        assert!(busy.wait(SOON).is_err());
        other.run("ROLLBACK");
    }
}

fn what_it_would_only_cancel_is_not_terminated(world: &World) {
    let stage = Stage::new(world);
    set(
        &stage,
        r#"{"preempt": [{"application_name": "victim"}], "signal": "cancel"}"#,
    );
    let (victim, busy) = stage.victim("t");
    let call = BY_NAME.replace("}]", "}], \"signal\": \"terminate\"");
    stage.admin.run(&preempt(&call));
    assert!(busy.wait(SOON).is_err());
    victim.run("ROLLBACK; BEGIN; SELECT FROM t");
    let error = stage.admin.error(&preempt(&call));
    assert!(error.detail().unwrap().contains(HOLDS), "{error:?}");
    victim.run("SELECT FROM t; COMMIT");
}

fn one_that_only_looks_has_every_call_only_look(world: &World) {
    let stage = Stage::new(world);
    set(
        &stage,
        r#"{"preempt": [{"application_name": "victim"}], "dry_run": true}"#,
    );
    let (_victim, busy) = stage.victim("t");
    let error = stage.admin.error(&preempt(BY_NAME));
    assert!(error.detail().unwrap().contains(HOLDS), "{error:?}");
    assert!(!busy.is_finished());
    stage.admin.run("SELECT lockguard.set_ceiling(NULL)");
    stage.admin.run(&preempt(BY_NAME));
    assert!(busy.wait(SOON).is_err());
}

fn one_that_is_set_while_a_call_waits_bounds_that_call(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = stage.victim("t");
    let somebody = stage.database.session("somebody");
    somebody.run("BEGIN; SELECT FROM t");
    let call = stage.session.spawn(preempt(
        r#"{"relations": ["t"], "policy": "p", "timeout": "2s"}"#,
    ));
    wait_until("the call waits", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    set(&stage, r#"{"preempt": ["backup"]}"#);
    somebody.run("COMMIT");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03", "{error}");
    assert!(!busy.is_finished());
}

fn only_superusers_set_change_and_drop_it(world: &World) {
    let stage = Stage::new(world);
    let (owner, session) = stage.owner();
    session.run(&store("cap", POLICY));
    let ceiling = |expected: Option<&str>| {
        let rows = stage
            .session
            .run("SELECT name FROM lockguard.policies WHERE is_ceiling");
        assert_eq!(rows.value(), expected);
    };
    for (who, sql) in [
        (&session, "SELECT lockguard.set_ceiling('cap')"),
        (&stage.session, "SELECT lockguard.set_ceiling(NULL)"),
    ] {
        assert_eq!(code(who, sql), "42501", "{sql}");
        // Not by a grant either.
        stage.admin.run(&format!(
            "GRANT EXECUTE ON FUNCTION lockguard.set_ceiling TO {owner}, {}",
            stage.deployer
        ));
        assert_eq!(code(who, sql), "42501", "{sql}");
    }
    ceiling(None);
    assert_eq!(
        code(&stage.admin, "SELECT lockguard.set_ceiling('no such')"),
        "42704"
    );
    stage.admin.run("SELECT lockguard.set_ceiling('cap')");
    ceiling(Some("cap"));
    assert_eq!(code(&session, &store("cap", "{}")), "42501");
    assert_eq!(
        code(&session, "SELECT lockguard.drop_policy('cap')"),
        "55006"
    );
    session.run(&store("other", "{}"));
    stage.admin.run("SELECT lockguard.set_ceiling('other')");
    ceiling(Some("other"));
    session.run(&store("cap", "{}"));
    session.run("SELECT lockguard.drop_policy('cap')");
    stage.admin.run(&store("other", POLICY));
    ceiling(Some("other"));
    stage.admin.run("SELECT lockguard.set_ceiling(NULL)");
    ceiling(None);
    session.run("SELECT lockguard.drop_policy('other')");
}

/// A session that the call helps on, and that the ceiling would let be preempted, keeps nobody from being preempted.
fn one_that_allows_more_holds_nobody_back(world: &World) {
    let stage = Stage::new(world);
    for has_ceiling in [false, true] {
        if has_ceiling {
            set(
                &stage,
                r#"{"preempt": [{"application_name": "victim"}, {"application_name": "helped"}]}"#,
            );
        }
        let (_victim, busy) = stage.victim("others");
        let helped = stage.database.session("helped");
        helped.run("BEGIN; SELECT FROM t");
        let waits = helped.spawn("LOCK TABLE others; COMMIT");
        waits.wait_until_queued();
        stage.admin.run(&preempt(
            r#"{"relations": ["t"], "preempt": [{"application_name": "victim"}], "timeout": "3s"}"#,
        ));
        assert!(busy.wait(SOON).is_err());
        waits.rows(SOON);
    }
}
