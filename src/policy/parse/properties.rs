//! What must hold of any document whatever: of anything in JSON, of policies, and of policies in which one
//! to three things were broken, so that it is known where.
//!
//! `LOCKGUARD_POLICY_DOCUMENTS` says how many documents, `LOCKGUARD_POLICY_SEED` repeats a run. The documents
//! are made in `valid` and `broken`; a new key is also read back in [`reads_back`].

mod broken;
mod valid;

use super::*;
use crate::policy::document::in_utf8;
use crate::policy::stored_name;
use broken::{anything, break_it, patchwork};
use fastrand::Rng;
use serde_json::json;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use valid::policy_document;

const DOCUMENTS: u64 = 20_000;

/// The settings of `deadlock_timeout` under which documents are read.
const DEADLOCK_TIMEOUTS: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(50),
    Duration::from_secs(1),
    Duration::from_secs(3600),
];

#[test]
fn any_document_is_read_as_it_says_or_refused_at_a_place_that_exists() {
    for_share(4, "of any kind", |rng, deadlock_timeout| {
        let document = match rng.u8(0..4) {
            0 => anything(rng, 5),
            _ => patchwork(rng),
        };
        let checked = checked(&document, deadlock_timeout);
        (document, checked.map(|request| request.is_some()))
    });
}

#[test]
fn a_policy_is_read_as_what_it_says() {
    for_share(4, "that are policies", |rng, deadlock_timeout| {
        let (document, expected) = policy_document(rng, deadlock_timeout);
        let as_expected = checked(&document, deadlock_timeout).and_then(|request| match request {
            None => Err("a policy is refused".into()),
            Some(request) if said(&request) != said(&expected) => {
                Err(format!("read as {request:?}, not as {expected:?}"))
            }
            Some(_) => Ok(true),
        });
        (document, as_expected)
    });
}

#[test]
fn a_broken_policy_is_refused_where_it_is_broken() {
    for_share(2, "that are nearly policies", |rng, deadlock_timeout| {
        let (mut document, _) = policy_document(rng, deadlock_timeout);
        let places = break_it(rng, &mut document, deadlock_timeout);
        let outcome = checked(&document, deadlock_timeout).and_then(|request| {
            match (request, places.is_empty()) {
                (Some(_), true) => Ok(true),
                (Some(_), false) => Err(format!("read, though broken at {places:?}")),
                (None, true) => Err("refused, though only odd".into()),
                (None, false) => {
                    let problem = read_twice(&document, deadlock_timeout)?.unwrap_err();
                    match places.contains(&problem.path) {
                        true => Ok(false),
                        false => Err(format!("{problem:?}, though broken at {places:?}")),
                    }
                }
            }
        });
        (document, outcome)
    });
}

/// Checks one part in so many of all documents, and tells how many were read and how many refused.
fn for_share(
    part: u64,
    of_kind: &str,
    mut next: impl FnMut(&mut Rng, Duration) -> (Value, Result<bool, String>),
) {
    static CHECKED: AtomicU64 = AtomicU64::new(0);
    let from_environment = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let documents = from_environment("LOCKGUARD_POLICY_DOCUMENTS").unwrap_or(DOCUMENTS);
    let seed = from_environment("LOCKGUARD_POLICY_SEED").unwrap_or_else(|| fastrand::u64(..));
    let (mut read, mut refused) = (0, 0);
    let share = documents / part;
    for number in 0..share {
        // Each document from a seed of its own: a failure is repeated by itself.
        let seed = seed.wrapping_add(number);
        let mut rng = Rng::with_seed(seed);
        let deadlock_timeout = DEADLOCK_TIMEOUTS[rng.usize(..DEADLOCK_TIMEOUTS.len())];
        let outcome = catch_unwind(AssertUnwindSafe(|| next(&mut rng, deadlock_timeout)));
        match outcome {
            Ok((_, Ok(true))) => read += 1,
            Ok((_, Ok(false))) => refused += 1,
            Ok((document, Err(why))) => panic!(
                "{why}\nLOCKGUARD_POLICY_SEED={seed} LOCKGUARD_POLICY_DOCUMENTS={part}\n\
                 deadlock_timeout {deadlock_timeout:?}, document {document}"
            ),
            Err(_) => {
                panic!("a panic: LOCKGUARD_POLICY_SEED={seed} LOCKGUARD_POLICY_DOCUMENTS={part}")
            }
        }
    }
    // Written past the test runner, which shows what is printed only of tests that fail.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "policy documents {of_kind}: {share} checked, {read} read, {refused} refused, seed {seed}"
    );
    let all = CHECKED.fetch_add(share, Ordering::Relaxed) + share;
    if all == documents / 4 * 2 + documents / 2 {
        let _ = writeln!(out, "policy documents: {all} checked in all");
    }
}

/// Reads a document and sees that whatever comes of it is as it must be; none where it is refused.
fn checked(document: &Value, deadlock_timeout: Duration) -> Result<Option<Request>, String> {
    let outcome = read_twice(document, deadlock_timeout)?;
    let standing = parse_standing(document, None, &interval, deadlock_timeout);
    match &outcome {
        Ok(request) => reads_back(document, request, deadlock_timeout)?,
        Err(problem) => refusal(document, problem, &known_keys())?,
    }
    match (&standing, names_call_key(document)) {
        (Ok(_), true) => return Err("a standing policy names what a call is for".into()),
        (Err(problem), true)
            if !call_keys()
                .iter()
                .any(|key| problem.path == format!("$.{key}")) =>
        {
            return Err(format!(
                "as a standing policy it is refused with {problem:?}"
            ));
        }
        (Err(problem), false) => refusal(
            document,
            problem,
            &[[STORED].as_slice(), &STANDING_KEYS].concat(),
        )?,
        _ => {}
    }
    // The same without what a call is for means the same.
    if let (Ok(request), Value::Object(map)) = (&outcome, document) {
        let without = |keys: &[&str]| {
            let mut map = map.clone();
            keys.iter().for_each(|key| _ = map.remove(*key));
            Value::Object(map)
        };
        let policy = Policy {
            dry_run: false,
            ..request.policy.clone()
        };
        let standing = without(&call_keys());
        let standing = parse_standing(&standing, None, &interval, deadlock_timeout);
        let stored = without(&[TARGET_KEYS.as_slice(), &[STORED]].concat());
        let stored = parse_stored(&stored, &interval, deadlock_timeout);
        for (what, outcome, policy) in [
            ("standing", standing, &policy),
            ("stored", stored, &request.policy),
        ] {
            let other = outcome.map_err(|problem| format!("as a {what} policy: {problem:?}"))?;
            if format!("{other:?}") != format!("{policy:?}") {
                return Err(format!("{other:?} as a {what} policy, else {policy:?}"));
            }
        }
    }
    Ok(outcome.ok())
}

fn read_twice(
    document: &Value,
    deadlock_timeout: Duration,
) -> Result<Result<Request, Problem>, String> {
    let mut twice = [(); 2].map(|()| read(document, deadlock_timeout));
    let is_same = match &twice {
        [Ok(one), Ok(other)] => said(one) == said(other),
        [Err(one), Err(other)] => one == other,
        _ => false,
    };
    match is_same {
        true => Ok(std::mem::replace(&mut twice[0], Err(Problem::new("", "")))),
        false => Err(format!("read twice: {twice:?}")),
    }
}

/// As a call does, that finds no stored policy to narrow.
fn read(document: &Value, deadlock_timeout: Duration) -> Result<Request, Problem> {
    stored_name(document, &in_utf8(document))?;
    parse(
        document,
        &in_utf8(document),
        None,
        &interval,
        deadlock_timeout,
    )
}

fn said(request: &Request) -> String {
    format!("{request:?}")
}

fn names_call_key(document: &Value) -> bool {
    call_keys().iter().any(|key| document.get(key).is_some())
}

/// What belongs to a single call.
fn call_keys() -> Vec<&'static str> {
    [TARGET_KEYS.as_slice(), &[DRY_RUN]].concat()
}

fn known_keys() -> Vec<&'static str> {
    [call_keys().as_slice(), &[STORED], &STANDING_KEYS].concat()
}

/// What was read is what is written there, and nothing that must be refused was read.
fn reads_back(
    document: &Value,
    request: &Request,
    deadlock_timeout: Duration,
) -> Result<(), String> {
    let map = document.as_object().ok_or("read what is no object")?;
    let known = known_keys();
    if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!("read with the unknown key {key:?}"));
    }
    let targets = ["relations", "statement", "pid"];
    if targets.iter().filter(|key| map.contains_key(**key)).count() != 1 {
        return Err("read with another number of targets than one".into());
    }
    let policy = &request.policy;
    let text = |key: &str| map.get(key).map(|v| v.as_str().map(str::to_owned));
    let length = |key: &str| text(key).map(|t| t.and_then(|t| interval(&t).ok()));
    let is = |key: &str, is_as_given: bool| match is_as_given || !map.contains_key(key) {
        true => Ok(()),
        false => Err(format!("{key} is read as something else: {request:?}")),
    };
    let mode = text("mode").flatten();
    let has_mode = |mode_read: &LockMode| match &mode {
        None => *mode_read == LockMode::AccessExclusive && !map.contains_key("mode"),
        Some(given) => LockMode::parse(given) == Ok(*mode_read),
    };
    let is_target = match &request.target {
        Target::Relations { names, mode } => {
            in_utf8(document)("relations") == *names && has_mode(mode)
        }
        Target::All { mode } => map["relations"] == json!("all") && has_mode(mode),
        Target::Statement(text) => {
            in_utf8(document)("statement") == [text.clone()] && mode.is_none()
        }
        Target::Pid(pid) => map["pid"] == json!(pid) && *pid > 0 && mode.is_none(),
    };
    if !is_target {
        return Err(format!("the target is read as {:?}", request.target));
    }
    is("grace", length("grace") == Some(Some(policy.grace)))?;
    is("timeout", length("timeout") == Some(Some(policy.timeout)))?;
    is(
        "finish_within",
        length("finish_within") == Some(Some(policy.finish_within)),
    )?;
    is(
        "max_stall",
        length("max_stall") == Some(Some(policy.max_stall)),
    )?;
    is(
        "take_lock",
        map.get("take_lock") == Some(&json!(policy.take_lock)),
    )?;
    is(
        "require_trail",
        map.get("require_trail") == Some(&json!(policy.require_trail)),
    )?;
    is(
        "dry_run",
        map.get("dry_run") == Some(&json!(policy.dry_run)),
    )?;
    is(
        "max_victims",
        map.get("max_victims") == Some(&json!(policy.max_victims)),
    )?;
    let signal = format!("{:?}", policy.signal).to_lowercase();
    is("signal", text("signal") == Some(Some(signal)))?;
    let on_timeout = format!("{:?}", policy.on_timeout).to_lowercase();
    is("on_timeout", text("on_timeout") == Some(Some(on_timeout)))?;
    is("label", text("label") == Some(policy.label.clone()))?;
    let stored =
        stored_name(document, &in_utf8(document)).map_err(|problem| format!("{problem:?}"))?;
    is(
        STORED,
        stored.into_iter().collect::<Vec<_>>() == in_utf8(document)(STORED),
    )?;
    if !policy.spare_too.0.is_empty() || policy.label.is_some() != map.contains_key("label") {
        return Err(format!("nobody has said that: {policy:?}"));
    }
    for (key, selectors) in [("preempt", &policy.preempt), ("spare", &policy.spare)] {
        if let Some(given) = map.get(key) {
            let given = given
                .as_array()
                .ok_or(format!("{key} is read, and no array"))?;
            let is_each = given.len() == selectors.0.len()
                && given
                    .iter()
                    .zip(&selectors.0)
                    .all(|(g, s)| is_selector(g, s));
            is(key, is_each)?;
        }
        if selectors.0.contains(&Selector::Class(Class::Application)) {
            return Err(format!("{key} names the whole application"));
        }
    }
    let week = Duration::from_secs(7 * 86_400);
    let in_bounds = policy.grace <= week
        && policy.finish_within <= week
        && (Duration::from_millis(1)..=week).contains(&policy.timeout)
        && policy.max_stall < deadlock_timeout
        && !policy.max_stall.is_zero();
    match in_bounds {
        true => Ok(()),
        false => Err(format!("out of bounds: {policy:?}")),
    }
}

fn is_selector(given: &Value, selector: &Selector) -> bool {
    let rule = match selector {
        Selector::Class(class) => return *given == json!(class.name()),
        Selector::Rule(rule) => rule,
    };
    let Some(map) = given.as_object() else {
        return false;
    };
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    let pattern = |key| text(key).map(Pattern::new);
    let age = |key| text(key).and_then(|t| interval(t).ok());
    let expected = Rule {
        class: text("class").and_then(Class::from_name),
        application_name: pattern("application_name"),
        usename: pattern("usename"),
        backend_type: pattern("backend_type"),
        query: pattern("query"),
        client_addr: pattern("client_addr"),
        older_than: age("older_than"),
        younger_than: age("younger_than"),
    };
    let alone = [None, Some(Class::Application)].map(|class| Rule {
        class,
        ..Rule::default()
    });
    **rule == expected && !alone.contains(rule) && map.keys().all(|k| RULE_KEYS.contains(&&**k))
}

/// A refusal tells a place that is there, is short, and for an unknown word knows a valid one.
fn refusal(document: &Value, problem: &Problem, keys: &[&str]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {problem:?}"));
    let Some(place) = at(document, &problem.path) else {
        return wrong("no such place in the document");
    };
    let hint = problem.hint.as_deref();
    if problem.message.is_empty() || problem.message.ends_with('.') {
        return wrong("the message is no primary message");
    }
    if hint.is_some_and(|hint| !hint.ends_with('.')) {
        return wrong("the hint is no sentence");
    }
    if problem.message.len() + hint.unwrap_or_default().len() > 900 {
        return wrong("it is long");
    }
    if problem.message == "no target is given" {
        let names_all = ["relations", "statement", "pid"]
            .iter()
            .all(|key| hint.is_some_and(|hint| hint.contains(&format!("\"{key}\""))));
        return if names_all {
            Ok(())
        } else {
            wrong("it names no target")
        };
    }
    let modes: Vec<&str> = LockMode::ALL
        .iter()
        .flat_map(|m| [m.name(), m.sql()])
        .collect();
    let classes: Vec<&str> = Class::ALL.into_iter().map(Class::name).collect();
    let message = problem.message.as_str();
    let valid: &[&str] = match () {
        () if message.starts_with("unknown key") && problem.path == "$" => keys,
        () if message.starts_with("unknown key") => &RULE_KEYS,
        () if message.starts_with("unknown class") => &classes,
        () if message.starts_with("unknown lock mode") => &modes,
        () if message.starts_with("unknown value") => match problem.path.as_str() {
            "$.signal" => &["cancel", "terminate", "escalate"],
            "$.on_timeout" => &["error", "report"],
            _ => return wrong("a value of a key that has no words"),
        },
        () => return Ok(()),
    };
    let given: Vec<&str> = match place {
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        Value::String(text) => vec![text],
        _ => vec![],
    };
    let is_there = |word: &&&str| !valid.contains(*word) && message.ends_with(&quoted(word));
    if !given.iter().any(|word| is_there(&word)) {
        return wrong("the word that it calls unknown is not there, or is valid");
    }
    let hinted: Vec<&str> = match hint.and_then(|h| h.strip_suffix('.')) {
        None => vec![],
        Some(hint) => match hint.strip_prefix("Valid are: ") {
            Some(words) => words.split(", ").collect(),
            None => hint
                .strip_prefix("Perhaps you meant \"")
                .and_then(|rest| rest.strip_suffix('"'))
                .into_iter()
                .collect(),
        },
    };
    match !hinted.is_empty() && hinted.iter().all(|word| valid.contains(word)) {
        true => Ok(()),
        false => wrong("the hint is no valid word"),
    }
}

/// What is at such a path: `$.preempt[2].older_than`.
fn at<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let steps = path.strip_prefix('$')?.replace('[', ".[");
    steps.split('.').skip(1).try_fold(document, |value, step| {
        match step.strip_prefix('[').and_then(|s| s.strip_suffix(']')) {
            Some(place) => value.as_array()?.get(place.parse::<usize>().ok()?),
            None => value.as_object()?.get(step),
        }
    })
}

/// Enough of PostgreSQL's grammar for these tests, and no overflow.
fn interval(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or("no unit")?;
    let (number, unit) = text.split_at(split);
    let unit = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "days" => 86_400_000,
        _ => return Err("invalid input syntax".into()),
    };
    let number: u64 = number.parse().map_err(|_| "out of range")?;
    let length = number.checked_mul(unit).map(Duration::from_millis);
    length.ok_or_else(|| "out of range".into())
}
