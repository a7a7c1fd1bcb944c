use crate::policy::document::in_utf8;
use crate::policy::{Policy, Problem, Selectors, parse, parse_stored, stored_name};
use crate::session::Class;
use serde_json::{Value, json};
use std::time::Duration;

const DEADLOCK_TIMEOUT: Duration = Duration::from_secs(1);

fn interval(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix("ms").ok_or("no unit")?;
    number
        .parse()
        .map(Duration::from_millis)
        .map_err(|_| "no number".into())
}

fn stored(document: Value) -> Policy {
    parse_stored(&document, &interval, DEADLOCK_TIMEOUT).unwrap()
}

/// What a call makes of a stored policy.
fn call(stored: &Policy, document: Value) -> Result<Policy, Problem> {
    let mut document = document;
    document["policy"] = json!("nightly");
    document["relations"] = json!(["a"]);
    parse(
        &document,
        &in_utf8(&document),
        Some(stored),
        &interval,
        DEADLOCK_TIMEOUT,
    )
    .map(|request| request.policy)
}

#[track_caller]
fn too_wide_at(stored: &Policy, document: Value) -> String {
    let problem = call(stored, document).unwrap_err();
    assert!(problem.is_too_wide, "{problem:?}");
    problem.path
}

#[test]
fn what_a_call_leaves_out_is_as_stored() {
    let stored = stored(json!({
        "preempt": ["copy_out"], "spare": ["vacuum"], "signal": "cancel", "grace": "7ms",
        "timeout": "70ms", "finish_within": "9ms", "take_lock": false, "max_stall": "11ms",
        "max_victims": 3, "dry_run": true, "on_timeout": "report", "require_trail": true,
        "label": "night",
    }));
    let policy = call(&stored, json!({})).unwrap();
    assert_eq!(format!("{policy:?}"), format!("{stored:?}"));
}

#[test]
fn times_and_victims_may_only_be_lowered() {
    let stored = stored(json!({
        "grace": "50ms", "timeout": "50ms", "max_stall": "50ms", "max_victims": 3,
    }));
    let policy = call(
        &stored,
        json!({"grace": "0ms", "timeout": "49ms", "max_stall": "1ms", "max_victims": 3}),
    )
    .unwrap();
    assert_eq!(policy.grace, Duration::ZERO);
    assert_eq!(policy.timeout, Duration::from_millis(49));
    assert_eq!(policy.max_stall, Duration::from_millis(1));
    assert_eq!(policy.max_victims, Some(3));
    for key in ["grace", "timeout", "max_stall"] {
        assert_eq!(
            too_wide_at(&stored, json!({key: "51ms"})),
            format!("$.{key}")
        );
    }
    assert_eq!(
        too_wide_at(&stored, json!({"max_victims": 4})),
        "$.max_victims"
    );
}

#[test]
fn a_limit_is_given_where_none_was_stored() {
    let policy = call(&stored(json!({})), json!({"max_victims": 4})).unwrap();
    assert_eq!(policy.max_victims, Some(4));
}

#[test]
fn more_is_spared_and_nothing_less() {
    let stored = stored(json!({"spare": ["vacuum"]}));
    let policy = call(&stored, json!({"spare": ["backup"]})).unwrap();
    assert_eq!(policy.spare, Selectors::classes(&[Class::Vacuum]));
    assert_eq!(policy.spare_too, Selectors::classes(&[Class::Backup]));
    let policy = call(&stored, json!({})).unwrap();
    assert_eq!(policy.spare_too, Selectors::default());
}

#[test]
fn dry_run_and_require_trail_are_only_turned_on() {
    for key in ["dry_run", "require_trail"] {
        let on = stored(json!({key: true}));
        assert_eq!(too_wide_at(&on, json!({key: false})), format!("$.{key}"));
    }
    let given = json!({"dry_run": true, "require_trail": true});
    let policy = call(&stored(json!({})), given).unwrap();
    assert!(policy.dry_run && policy.require_trail);
}

#[test]
fn a_label_is_given_where_none_was_stored() {
    let labelled = stored(json!({"label": "night"}));
    assert_eq!(too_wide_at(&labelled, json!({"label": "day"})), "$.label");
    let policy = call(&stored(json!({})), json!({"label": "day"})).unwrap();
    assert_eq!(policy.label.as_deref(), Some("day"));
}

#[test]
fn everything_else_is_for_the_stored_policy_to_say() {
    let stored = stored(json!({}));
    for (key, value) in [
        ("preempt", json!(["backup"])),
        ("signal", json!("cancel")),
        ("finish_within", json!("1ms")),
        ("take_lock", json!(true)),
        ("on_timeout", json!("error")),
    ] {
        assert_eq!(
            too_wide_at(&stored, json!({key: value})),
            format!("$.{key}")
        );
    }
}

#[test]
fn what_is_no_policy_at_all_is_not_merely_too_wide() {
    let stored = stored(json!({}));
    let problem = call(&stored, json!({"graze": "1ms"})).unwrap_err();
    assert!(!problem.is_too_wide, "{problem:?}");
    let problem = call(&stored, json!({"timeout": 5})).unwrap_err();
    assert_eq!(
        (problem.path.as_str(), problem.is_too_wide),
        ("$.timeout", false)
    );
}

#[test]
fn a_stored_policy_names_neither_a_target_nor_another_policy() {
    for (key, value) in [
        ("relations", json!("all")),
        ("statement", json!("DROP TABLE a")),
        ("pid", json!(1)),
        ("mode", json!("SHARE")),
        ("policy", json!("other")),
    ] {
        let problem = parse_stored(&json!({key: value}), &interval, DEADLOCK_TIMEOUT).unwrap_err();
        assert_eq!(problem.path, format!("$.{key}"));
    }
}

#[test]
fn the_name_is_a_string() {
    let name = |document: Value| stored_name(&document, &in_utf8(&document));
    assert_eq!(name(json!({"policy": "a"})), Ok(Some(c"a".into())));
    assert_eq!(name(json!({})), Ok(None));
    assert_eq!(name(json!({"policy": 1})).unwrap_err().path, "$.policy");
}
