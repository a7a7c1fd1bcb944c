//! A call through a stored policy only narrows it; anything wider is 42501 with the offending path.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{SOON, Stage, preempt};
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        anything_wider_is_refused_with_its_path,
        what_is_narrower_goes_through,
        what_is_stored_holds,
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
