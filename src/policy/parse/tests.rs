use super::*;
use crate::policy::document::in_utf8;
use proptest::prelude::*;
use serde_json::json;

/// Enough of PostgreSQL's grammar for these tests; the server's own is tested in the server.
fn interval(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or("no unit")?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| "invalid input syntax")?;
    let unit = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "days" => 86_400_000,
        _ => return Err("invalid input syntax".into()),
    };
    Ok(Duration::from_millis(number * unit))
}

const DEADLOCK_TIMEOUT: Duration = Duration::from_secs(1);

fn read(document: Value) -> Result<Policy, Problem> {
    request(document).map(|request| request.policy)
}

fn target_of(document: Value) -> Target {
    request(document).unwrap().target
}

fn request(document: Value) -> Result<Request, Problem> {
    parse(
        &document,
        &in_utf8(&document),
        None,
        &interval,
        DEADLOCK_TIMEOUT,
    )
}

fn refused(document: Value) -> Problem {
    read(document).expect_err("the document should be refused")
}

#[test]
fn the_shortest_policy_has_the_documented_defaults() {
    let policy = read(json!({"relations": ["events"]})).unwrap();
    let events = Target::Relations {
        names: vec![c"events".into()],
        mode: LockMode::AccessExclusive,
    };
    assert_eq!(target_of(json!({"relations": ["events"]})), events);
    assert_eq!(policy.preempt, Selectors::classes(&DEFAULT_PREEMPT));
    assert_eq!(
        policy.spare,
        Selectors::classes(&[Class::AutovacuumWraparound])
    );
    assert_eq!(policy.signal, Signal::Escalate);
    assert_eq!(policy.grace, Duration::from_secs(2));
    assert_eq!(policy.timeout, Duration::from_secs(30));
    assert_eq!(policy.finish_within, Duration::from_secs(5));
    assert!(policy.take_lock);
    assert!(!policy.require_trail);
    assert_eq!(policy.max_stall, Duration::from_millis(100));
    assert_eq!(policy.max_victims, None);
    assert!(!policy.dry_run);
    assert_eq!(policy.on_timeout, OnTimeout::Error);
}

#[test]
fn everything_can_be_given() {
    let policy = read(json!({
        "relations": "all", "mode": "share row exclusive", "preempt": ["copy_out", {"query": "COPY *"}],
        "spare": [{"application_name": "nightly*", "older_than": "10 min"}], "signal": "cancel",
        "grace": "0s", "timeout": "500ms", "max_victims": 3, "dry_run": true, "on_timeout": "report",
        "finish_within": "0s", "take_lock": false, "require_trail": true, "max_stall": "999ms"
    }))
    .unwrap();
    let mode = LockMode::ShareRowExclusive;
    let everything = json!({"relations": "all", "mode": "share row exclusive"});
    assert_eq!(target_of(everything), Target::All { mode });
    assert_eq!(policy.preempt.0.len(), 2);
    assert_eq!(policy.signal, Signal::Cancel);
    assert_eq!(policy.grace, Duration::ZERO);
    assert_eq!(policy.timeout, Duration::from_millis(500));
    assert_eq!(policy.finish_within, Duration::ZERO);
    assert!(!policy.take_lock);
    assert!(policy.require_trail);
    assert_eq!(policy.max_stall, Duration::from_millis(999));
    assert_eq!(policy.max_victims, Some(3));
    assert!(policy.dry_run);
    assert_eq!(policy.on_timeout, OnTimeout::Report);
}

#[test]
fn refusals_name_the_place_and_the_nearest_word() {
    let cases = [
        (json!([]), "$", None),
        (json!({}), "$", None),
        (json!({"relations": ["a"], "pid": 1}), "$", None),
        (json!({"relation": ["a"]}), "$", Some("relations")),
        (
            json!({"relations": ["a"], "preemt": []}),
            "$",
            Some("preempt"),
        ),
        (
            json!({"relations": ["a"], "preempt": ["backups"]}),
            "$.preempt[0]",
            Some("backup"),
        ),
        (
            json!({"relations": ["a"], "preempt": ["application"]}),
            "$.preempt[0]",
            None,
        ),
        (
            json!({"relations": ["a"], "preempt": [{"class": "application"}]}),
            "$.preempt[0]",
            None,
        ),
        (
            json!({"relations": ["a"], "preempt": [{}]}),
            "$.preempt[0]",
            None,
        ),
        (
            json!({"relations": ["a"], "preempt": [{"query": 1}]}),
            "$.preempt[0].query",
            None,
        ),
        (
            json!({"relations": ["a"], "spare": [{"older": "1s"}]}),
            "$.spare[0]",
            Some("older_than"),
        ),
        (
            json!({"relations": ["a"], "spare": [{"older_than": 5}]}),
            "$.spare[0].older_than",
            None,
        ),
        (json!({"relations": ["a"], "grace": "5"}), "$.grace", None),
        (
            json!({"relations": ["a"], "timeout": "0s"}),
            "$.timeout",
            None,
        ),
        (
            json!({"relations": ["a"], "timeout": "8 days"}),
            "$.timeout",
            None,
        ),
        (
            json!({"relations": ["a"], "max_stall": "1s"}),
            "$.max_stall",
            None,
        ),
        (
            json!({"relations": ["a"], "max_stall": "0ms"}),
            "$.max_stall",
            None,
        ),
        (
            json!({"relations": ["a"], "require_trail": "yes"}),
            "$.require_trail",
            None,
        ),
        (
            json!({"relations": ["a"], "take_lock": 1}),
            "$.take_lock",
            None,
        ),
        (
            json!({"relations": ["a"], "finish_within": "8 days"}),
            "$.finish_within",
            None,
        ),
        (
            json!({"relations": ["a"], "mode": "AccessExclusiv"}),
            "$.mode",
            Some("ACCESS EXCLUSIVE"),
        ),
        (
            json!({"relations": ["a"], "signal": "terminat"}),
            "$.signal",
            Some("terminate"),
        ),
        (json!({"relations": ["a", 2]}), "$.relations[1]", None),
        (json!({"relations": []}), "$.relations", None),
        (json!({"relations": "events"}), "$.relations", None),
        (json!({"pid": 0}), "$.pid", None),
        (json!({"pid": 1.5}), "$.pid", None),
        (json!({"pid": 1, "mode": "SHARE"}), "$.mode", None),
        (
            json!({"relations": ["a"], "max_victims": -1}),
            "$.max_victims",
            None,
        ),
        (
            json!({"relations": ["a"], "dry_run": "yes"}),
            "$.dry_run",
            None,
        ),
        (
            json!({"relations": ["a"], "timeout": null}),
            "$.timeout",
            None,
        ),
    ];
    for (document, path, word) in cases {
        let problem = refused(document.clone());
        assert_eq!(problem.path, path, "{document}");
        if let Some(word) = word {
            let hint = problem.hint.unwrap_or_default();
            assert!(hint.contains(&format!("\"{word}\"")), "{document}: {hint}");
        }
    }
}

#[test]
fn the_default_stall_is_below_any_deadlock_timeout() {
    let document = json!({"relations": ["a"]});
    let policy = parse(
        &document,
        &in_utf8(&document),
        None,
        &interval,
        Duration::from_millis(50),
    )
    .unwrap()
    .policy;
    assert_eq!(policy.max_stall, Duration::from_millis(25));
}

#[test]
fn a_target_that_no_server_could_look_up_is_refused() {
    for (document, path) in [
        (json!({"relations": ["a", "\0"]}), "$.relations"),
        (json!({"statement": "DROP TABLE \0"}), "$.statement"),
    ] {
        assert_eq!(refused(document).path, path);
    }
}

#[test]
fn a_statement_is_a_target_that_knows_its_modes() {
    let drop = "DROP TABLE events";
    assert_eq!(
        target_of(json!({"statement": drop})),
        Target::Statement(c"DROP TABLE events".into())
    );
    let refused_at = |document| refused(document).path;
    assert_eq!(refused_at(json!({"statement": drop, "pid": 1})), "$");
    assert_eq!(
        refused_at(json!({"statement": drop, "relations": ["a"]})),
        "$"
    );
    assert_eq!(
        refused_at(json!({"statement": drop, "mode": "SHARE"})),
        "$.mode"
    );
    assert_eq!(refused_at(json!({"statement": 1})), "$.statement");
}

#[test]
fn a_standing_policy_names_no_target_and_does_what_it_says() {
    let standing = |document| parse_standing(&document, None, &interval, DEADLOCK_TIMEOUT);
    let policy = standing(json!({"timeout": "5s", "preempt": ["backup"]})).unwrap();
    assert_eq!(policy.timeout, Duration::from_secs(5));
    assert!(standing(json!({})).is_ok());
    for (key, value) in [
        ("relations", json!(["a"])),
        ("statement", json!("DROP TABLE a")),
        ("pid", json!(1)),
        ("mode", json!("SHARE")),
        ("dry_run", json!(true)),
    ] {
        let problem = standing(json!({key: value})).unwrap_err();
        assert_eq!(problem.path, format!("$.{key}"));
    }
    assert_eq!(standing(json!({"grace": 1})).unwrap_err().path, "$.grace");
    assert_eq!(standing(json!({"graze": "1s"})).unwrap_err().path, "$");
}

#[test]
fn what_would_take_long_to_match_is_refused() {
    let rule = |length| json!({"relations": ["a"], "preempt": [{"query": "*".repeat(length)}]});
    assert!(read(rule(1_000)).is_ok());
    assert_eq!(refused(rule(1_001)).path, "$.preempt[0].query");
    let entries = |count| json!({"relations": ["a"], "spare": vec!["backup"; count]});
    assert!(read(entries(100)).is_ok());
    assert_eq!(refused(entries(101)).path, "$.spare");
}

#[test]
fn long_input_is_not_repeated_whole() {
    let problem = refused(json!({"relations": ["a"], "signal": "x".repeat(1_000_000)}));
    assert!(problem.message.len() < 200);
}

fn json_value() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        Just("relations"),
        Just("pid"),
        Just("preempt"),
        Just("spare"),
        Just("backup"),
        Just("application"),
        Just("class"),
        Just("grace"),
        Just("1s"),
        Just("all"),
        Just("cancel"),
        Just("timeout"),
        Just("query"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(words.clone(), inner, 0..6)
                .prop_map(|m| m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn any_document_is_read_or_refused_with_a_path(document in json_value()) {
        if let Err(problem) = read(document) {
            prop_assert!(problem.path.starts_with('$'));
            prop_assert!(!problem.message.ends_with('.'));
        }
    }

    #[test]
    fn nothing_that_is_read_preempts_the_whole_application(document in json_value()) {
        if let Ok(policy) = read(document) {
            prop_assert!(!policy.preempt.0.contains(&Selector::Class(Class::Application)));
        }
    }
}
