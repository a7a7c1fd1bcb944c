//! What must hold of any document whatever: of anything in JSON, of policies, and of policies in which one
//! to three things were broken, so that it is known where.
//!
//! `LOCKGUARD_POLICY_DOCUMENTS` says how many documents, `LOCKGUARD_POLICY_SEED` repeats a run. A new key
//! gets a line in [`KEYS`], which says what may be given and what that means, and one in [`broken`].

use super::*;
use fastrand::Rng;
use serde_json::json;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

const DOCUMENTS: u64 = 20_000;

/// The settings of `deadlock_timeout` under which documents are read.
const DEADLOCK_TIMEOUTS: [Duration; 4] = [
    Duration::from_millis(2),
    Duration::from_millis(50),
    Duration::from_secs(1),
    Duration::from_secs(3600),
];

// ---- the three tests ----

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

// ---- what holds of all of them ----

/// Reads a document and sees that whatever comes of it is as it must be; none where it is refused.
fn checked(document: &Value, deadlock_timeout: Duration) -> Result<Option<Request>, String> {
    let outcome = read_twice(document, deadlock_timeout)?;
    let standing = parse_standing(document, &interval, deadlock_timeout);
    match &outcome {
        Ok(request) => reads_back(document, request, deadlock_timeout)?,
        Err(problem) => refusal(document, problem, &known_keys())?,
    }
    match (&standing, names_call_key(document)) {
        (Ok(_), true) => return Err("a standing policy names what a call is for".into()),
        (Err(problem), true)
            if !CALL_KEYS
                .iter()
                .any(|key| problem.path == format!("$.{key}")) =>
        {
            return Err(format!(
                "as a standing policy it is refused with {problem:?}"
            ));
        }
        (Err(problem), false) => refusal(document, problem, &STANDING_KEYS)?,
        _ => {}
    }
    // The same without what a call is for means the same.
    if let (Ok(request), Value::Object(map)) = (&outcome, document) {
        let mut map = map.clone();
        CALL_KEYS.iter().for_each(|key| _ = map.remove(*key));
        let standing = parse_standing(&Value::Object(map), &interval, deadlock_timeout)
            .map_err(|problem| format!("not a standing policy: {problem:?}"))?;
        let policy = Policy {
            dry_run: false,
            ..request.policy.clone()
        };
        if format!("{standing:?}") != format!("{policy:?}") {
            return Err(format!(
                "{standing:?} as a standing policy, else {policy:?}"
            ));
        }
    }
    Ok(outcome.ok())
}

fn read_twice(
    document: &Value,
    deadlock_timeout: Duration,
) -> Result<Result<Request, Problem>, String> {
    let mut twice = [(); 2].map(|()| parse(document, &interval, deadlock_timeout));
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

fn said(request: &Request) -> String {
    format!("{request:?}")
}

fn names_call_key(document: &Value) -> bool {
    CALL_KEYS.iter().any(|key| document.get(key).is_some())
}

fn known_keys() -> Vec<&'static str> {
    CALL_KEYS.into_iter().chain(STANDING_KEYS).collect()
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
        Target::Relations { names, mode } => map["relations"] == json!(names) && has_mode(mode),
        Target::All { mode } => map["relations"] == json!("all") && has_mode(mode),
        Target::Statement(text) => map["statement"] == json!(text) && mode.is_none(),
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

// ---- policies ----

/// Makes a valid value of a key, and has the request mean it.
type Give = fn(&mut Rng, &mut Request, Duration) -> Value;

const KEYS: [(&str, Give); 11] = [
    ("preempt", |rng, request, _| {
        let (value, selectors) = selectors(rng);
        request.policy.preempt = selectors;
        value
    }),
    ("spare", |rng, request, _| {
        let (value, selectors) = selectors(rng);
        request.policy.spare = selectors;
        value
    }),
    ("signal", |rng, request, _| {
        let words = [
            ("cancel", Signal::Cancel),
            ("terminate", Signal::Terminate),
            ("escalate", Signal::Escalate),
        ];
        let (word, signal) = words[rng.usize(..3)];
        request.policy.signal = signal;
        json!(word)
    }),
    ("grace", |rng, request, _| {
        length(rng, 0, WEEK, &mut request.policy.grace)
    }),
    ("timeout", |rng, request, _| {
        length(rng, 1, WEEK, &mut request.policy.timeout)
    }),
    ("finish_within", |rng, request, _| {
        length(rng, 0, WEEK, &mut request.policy.finish_within)
    }),
    ("max_stall", |rng, request, deadlock_timeout| {
        let most = deadlock_timeout.as_millis() as u64 - 1;
        length(rng, 1, most, &mut request.policy.max_stall)
    }),
    ("take_lock", |rng, request, _| {
        flag(rng, &mut request.policy.take_lock)
    }),
    ("dry_run", |rng, request, _| {
        flag(rng, &mut request.policy.dry_run)
    }),
    ("max_victims", |rng, request, _| {
        let most = [0, 1, 7, i32::MAX as usize][rng.usize(..4)];
        request.policy.max_victims = Some(most);
        json!(most)
    }),
    ("on_timeout", |rng, request, _| {
        let words = [("error", OnTimeout::Error), ("report", OnTimeout::Report)];
        let (word, on_timeout) = words[rng.usize(..2)];
        request.policy.on_timeout = on_timeout;
        json!(word)
    }),
];

/// In milliseconds.
const WEEK: u64 = 7 * 86_400_000;
const CENTURY: u64 = 36_525 * 86_400_000;

fn policy_document(rng: &mut Rng, deadlock_timeout: Duration) -> (Value, Request) {
    let mut map = serde_json::Map::new();
    // The defaults are what other tests are for.
    let mut request = parse(&json!({"pid": 1}), &interval, deadlock_timeout).unwrap();
    request.target = target(rng, &mut map);
    let eagerness = rng.u8(0..4);
    for (key, give) in KEYS {
        if rng.u8(0..4) < eagerness {
            map.insert(key.into(), give(rng, &mut request, deadlock_timeout));
        }
    }
    (Value::Object(map), request)
}

fn target(rng: &mut Rng, map: &mut serde_json::Map<String, Value>) -> Target {
    let names = |rng: &mut Rng| (0..rng.usize(1..5)).map(|_| word(rng)).collect::<Vec<_>>();
    match rng.u8(0..5) {
        0 => {
            let pid = [1, rng.i32(1..), i32::MAX][rng.usize(..3)];
            map.insert("pid".into(), json!(pid));
            Target::Pid(pid)
        }
        1 => {
            let text = word(rng);
            map.insert("statement".into(), json!(text));
            Target::Statement(text)
        }
        kind => {
            let mut mode = LockMode::AccessExclusive;
            if rng.bool() {
                mode = LockMode::ALL[rng.usize(..LockMode::ALL.len())];
                let spelled = match rng.u8(0..4) {
                    0 => mode.name().to_owned(),
                    1 => mode.name().to_uppercase(),
                    2 => mode.sql().to_lowercase(),
                    _ => format!(" {}\t", mode.sql().replace(' ', "  ")),
                };
                map.insert("mode".into(), json!(spelled));
            }
            match kind {
                2 => {
                    map.insert("relations".into(), json!("all"));
                    Target::All { mode }
                }
                _ => {
                    let names = names(rng);
                    map.insert("relations".into(), json!(names));
                    Target::Relations { names, mode }
                }
            }
        }
    }
}

fn flag(rng: &mut Rng, into: &mut bool) -> Value {
    *into = rng.bool();
    json!(*into)
}

/// A length of so many milliseconds, spelled in one of the ways.
fn length(rng: &mut Rng, least: u64, most: u64, into: &mut Duration) -> Value {
    let milliseconds = match rng.u8(0..4) {
        0 => least,
        1 => most,
        2 => rng.u64(least..=most),
        _ => rng.u64(least..=most.min(least + 3_000)),
    };
    *into = Duration::from_millis(milliseconds);
    let exactly = |unit: u64| {
        milliseconds
            .is_multiple_of(unit)
            .then(|| milliseconds / unit)
    };
    json!(match (rng.u8(0..4), exactly(86_400_000), exactly(1_000)) {
        (0, Some(days), _) => format!("{days} days"),
        (1, _, Some(seconds)) => format!(" {seconds}s "),
        (2, ..) => format!("000{milliseconds} ms"),
        _ => format!("{milliseconds}ms"),
    })
}

fn selectors(rng: &mut Rng) -> (Value, Selectors) {
    let count = match rng.u8(..) {
        0 => MOST_ENTRIES,
        _ => rng.usize(0..5),
    };
    let (values, selectors): (Vec<Value>, _) = (0..count).map(|_| selector_entry(rng)).unzip();
    (Value::Array(values), Selectors(selectors))
}

fn selector_entry(rng: &mut Rng) -> (Value, Selector) {
    let class = Class::ALL[rng.usize(..Class::ALL.len())];
    if rng.bool() && class != Class::Application {
        return (json!(class.name()), Selector::Class(class));
    }
    let mut rule = Rule::default();
    let mut map = serde_json::Map::new();
    // At least one that is not the class.
    let sure = rng.usize(1..RULE_KEYS.len());
    for (number, key) in RULE_KEYS.into_iter().enumerate() {
        if number != sure && rng.u8(0..4) > 0 {
            continue;
        }
        let mut pattern = |into: &mut Option<Pattern>| {
            let text = word(rng);
            *into = Some(Pattern::new(&text));
            json!(text)
        };
        let value = match key {
            "class" => {
                rule.class = Some(class);
                json!(class.name())
            }
            "application_name" => pattern(&mut rule.application_name),
            "usename" => pattern(&mut rule.usename),
            "backend_type" => pattern(&mut rule.backend_type),
            "query" => pattern(&mut rule.query),
            "client_addr" => pattern(&mut rule.client_addr),
            "older_than" => length(rng, 0, CENTURY, rule.older_than.insert(Duration::ZERO)),
            "younger_than" => length(rng, 0, CENTURY, rule.younger_than.insert(Duration::ZERO)),
            _ => panic!("{key} is a criterion that these tests do not know"),
        };
        map.insert(key.into(), value);
    }
    (Value::Object(map), Selector::Rule(Box::new(rule)))
}

/// Any text, and texts that mean something elsewhere.
fn word(rng: &mut Rng) -> String {
    const WORDS: [&str; 18] = [
        "",
        "t",
        "app.events",
        "\"Mixed\"",
        "*",
        "pg_dump*",
        "all",
        "application",
        "backup",
        "1s",
        "5",
        "$policy$",
        "'; DROP TABLE t; --",
        "\u{202e}\u{200b}\u{feff}",
        "\u{0}\u{1}\n\t\\",
        "💥é",
        "%s%n",
        "null",
    ];
    match rng.u8(0..8) {
        0 => (0..rng.usize(0..12)).map(|_| rng.char(..)).collect(),
        1 => "x".repeat(rng.usize(0..=LONGEST_PATTERN)),
        _ => WORDS[rng.usize(..WORDS.len())].to_owned(),
    }
}

// ---- nearly policies ----

/// Changes one to three things, each under another key; the places where that is wrong. What is merely
/// odd has none.
fn break_it(rng: &mut Rng, document: &mut Value, deadlock_timeout: Duration) -> Vec<String> {
    let Value::Object(map) = document else {
        return vec![];
    };
    let mut changes: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    changes.extend(["target", "target", "mode", "a key", "a key", "odd"]);
    rng.shuffle(&mut changes);
    changes.truncate(rng.usize(1..=3));
    changes.sort_unstable();
    changes.dedup();
    changes
        .into_iter()
        .filter_map(|change| match change {
            "target" => Some(break_target(rng, map)),
            "mode" => {
                let wrong = wrong_word(rng, &["AccessExclusiveLock", "SHARE", "ROW EXCLUSIVE"]);
                map.insert("mode".into(), wrong);
                Some("$.mode".into())
            }
            "a key" => {
                map.insert(unknown_key(rng, &known_keys()), anything(rng, 2));
                Some("$".into())
            }
            "odd" => {
                // An entry twice is an entry twice.
                for key in ["preempt", "spare", "relations"] {
                    if let Some(Value::Array(entries)) = map.get_mut(key)
                        && entries.len() < MOST_ENTRIES
                        && let Some(first) = entries.first().cloned()
                    {
                        entries.push(first);
                    }
                }
                None
            }
            key => Some(broken(rng, key, map, deadlock_timeout)),
        })
        .collect()
}

/// Puts a wrong value under a key; where it is wrong.
fn broken(
    rng: &mut Rng,
    key: &str,
    map: &mut serde_json::Map<String, Value>,
    deadlock_timeout: Duration,
) -> String {
    let path = format!("$.{key}");
    let value = match key {
        "signal" => wrong_word(rng, &["cancel", "terminate", "escalate"]),
        "on_timeout" => wrong_word(rng, &["error", "report"]),
        "take_lock" | "dry_run" => match rng.bool() {
            true => json!("true"),
            false => other_than(rng, Value::is_boolean),
        },
        "max_victims" => match rng.u8(0..6) {
            0 => json!(-1),
            1 => json!(i64::from(i32::MAX) + 1),
            2 => json!(u64::MAX),
            3 => json!(1.5),
            4 => json!(-1e300),
            _ => other_than(rng, Value::is_number),
        },
        "grace" | "finish_within" => wrong_interval(rng, &["604800001ms", "8 days"]),
        "timeout" => wrong_interval(rng, &["0s", "604800001 ms", "8 days"]),
        "max_stall" => {
            let too_long = format!("{}ms", deadlock_timeout.as_millis());
            wrong_interval(rng, &["0ms", "8 days", &too_long])
        }
        "preempt" | "spare" => {
            let (value, place) = wrong_selectors(rng);
            map.insert(key.into(), value);
            return format!("{path}{place}");
        }
        _ => panic!("{key} is a key that these tests cannot break"),
    };
    map.insert(key.into(), value);
    path
}

fn break_target(rng: &mut Rng, map: &mut serde_json::Map<String, Value>) -> String {
    let had_mode = map.contains_key("mode");
    let targets = ["relations", "statement", "pid"];
    let given = targets.into_iter().find(|key| map.contains_key(*key));
    let wrong = rng.u8(0..7);
    if wrong > 0 {
        targets.iter().for_each(|key| _ = map.remove(*key));
    }
    match wrong {
        0 => {
            let more = targets.into_iter().filter(|key| given != Some(key));
            let more: Vec<&str> = more.collect();
            map.insert(more[rng.usize(..2)].into(), anything(rng, 2));
            "$".into()
        }
        1 => "$".into(),
        2 if !had_mode => {
            let pid = [
                json!(0),
                json!(-1),
                json!(i64::MIN),
                json!(2_147_483_648u64),
                json!(1.5),
            ];
            map.insert("pid".into(), pid[rng.usize(..pid.len())].clone());
            "$.pid".into()
        }
        3 if !had_mode => {
            map.insert("statement".into(), other_than(rng, Value::is_string));
            "$.statement".into()
        }
        4 if !had_mode => {
            map.insert("pid".into(), json!(1));
            map.insert("mode".into(), anything(rng, 2));
            "$.mode".into()
        }
        5 => {
            let mut names: Vec<Value> = (0..rng.usize(0..5)).map(|_| json!(word(rng))).collect();
            let place = rng.usize(..=names.len());
            names.insert(place, other_than(rng, Value::is_string));
            map.insert("relations".into(), Value::Array(names));
            format!("$.relations[{place}]")
        }
        _ => {
            let wrong = [
                json!("All"),
                json!("t"),
                json!([]),
                json!(null),
                json!({}),
                json!(5),
            ];
            map.insert("relations".into(), wrong[rng.usize(..wrong.len())].clone());
            "$.relations".into()
        }
    }
}

/// Entries with one that is wrong, and where.
fn wrong_selectors(rng: &mut Rng) -> (Value, String) {
    match rng.u8(0..8) {
        0 => return (other_than(rng, Value::is_array), String::new()),
        1 => return (json!(vec!["backup"; MOST_ENTRIES + 1]), String::new()),
        _ => {}
    }
    let mut entries: Vec<Value> = (0..rng.usize(0..4))
        .map(|_| selector_entry(rng).0)
        .collect();
    let place = rng.usize(..=entries.len());
    let (entry, inner) = match rng.u8(0..7) {
        0 => (
            other_than(rng, |v| v.is_string() || v.is_object()),
            String::new(),
        ),
        1 => (json!("application"), String::new()),
        2 => (json!({"class": "application"}), String::new()),
        3 => (json!({}), String::new()),
        4 => (
            json!(misspelt(rng, &Class::ALL.map(Class::name))),
            String::new(),
        ),
        5 => {
            let mut entry = json!({"usename": "etl"});
            entry[unknown_key(rng, &RULE_KEYS)] = anything(rng, 2);
            (entry, String::new())
        }
        _ => {
            let key = RULE_KEYS[rng.usize(..RULE_KEYS.len())];
            let value = match key {
                "class" => wrong_word(rng, &Class::ALL.map(Class::name)),
                "older_than" | "younger_than" => wrong_interval(rng, &["36526 days"]),
                _ if rng.bool() => json!("é".repeat(LONGEST_PATTERN + 1)),
                _ => other_than(rng, Value::is_string),
            };
            (json!({key: value}), format!(".{key}"))
        }
    };
    entries.insert(place, entry);
    (Value::Array(entries), format!("[{place}]{inner}"))
}

fn wrong_interval(rng: &mut Rng, out_of_range: &[&str]) -> Value {
    const NONE: [&str; 13] = [
        "",
        " ",
        "5",
        " 5 ",
        "-1.5e3",
        "abc",
        "-1s",
        "1 month 2 bananas",
        "99999999999999999999 s",
        "9999999999999999999 days",
        "5\u{1}s",
        "５ s",
        "s",
    ];
    match rng.u8(0..3) {
        0 => json!(out_of_range[rng.usize(..out_of_range.len())]),
        1 => json!(NONE[rng.usize(..NONE.len())]),
        _ => other_than(rng, Value::is_string),
    }
}

fn wrong_word(rng: &mut Rng, valid: &[&str]) -> Value {
    match rng.bool() {
        true => json!(misspelt(rng, valid)),
        false => other_than(rng, Value::is_string),
    }
}

/// A key that is none, mostly almost one.
fn unknown_key(rng: &mut Rng, valid: &[&str]) -> String {
    misspelt(rng, valid)
}

/// One of those words with a typing error, or another word: none of them, nor one of another place.
fn misspelt(rng: &mut Rng, valid: &[&str]) -> String {
    loop {
        let word: String = valid[rng.usize(..valid.len())].into();
        let mut letters: Vec<char> = word.chars().collect();
        let place = rng.usize(..letters.len());
        match rng.u8(0..7) {
            0 => _ = letters.remove(place),
            1 => letters.insert(place, rng.char('a'..='z')),
            2 => letters[place] = rng.char(..),
            3 => letters.swap(place, 0),
            4 => letters.push('s'),
            5 => letters = self::word(rng).chars().collect(),
            _ => {
                letters = "x"
                    .repeat(rng.usize(0..100_000).pow(2) / 100_000)
                    .chars()
                    .collect()
            }
        }
        let word: String = letters.into_iter().collect();
        let is_mode = LockMode::parse(&word).is_ok();
        if !valid.contains(&word.as_str()) && !is_mode {
            return word;
        }
    }
}

// ---- anything ----

/// JSON of any kind save that one.
fn other_than(rng: &mut Rng, is_of_kind: impl Fn(&Value) -> bool) -> Value {
    loop {
        let value = anything(rng, 3);
        if !is_of_kind(&value) {
            return value;
        }
    }
}

/// Any JSON; now and then nested a thousand times.
fn anything(rng: &mut Rng, depth: usize) -> Value {
    let kinds = if depth == 0 { 7 } else { 9 };
    match rng.u8(0..kinds) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!(rng.i64(-3..10)),
        4 => json!([u64::MAX as f64, f64::MAX, -0.0, 5e-324, 1.5][rng.usize(..5)]),
        5 => json!(word(rng)),
        6 if rng.u8(..) == 0 => {
            let key = any_key(rng);
            (0..rng.usize(0..1_000)).fold(Value::Null, |inner, level| match level % 2 {
                0 => json!([inner]),
                _ => json!({key.clone(): inner}),
            })
        }
        6 => json!(u64::MAX - rng.u64(..9)),
        7 => (0..rng.usize(0..4))
            .map(|_| anything(rng, depth - 1))
            .collect(),
        _ => (0..rng.usize(0..4))
            .map(|_| (any_key(rng), anything(rng, depth - 1)))
            .collect(),
    }
}

/// Keys of any place, and words that are none.
fn any_key(rng: &mut Rng) -> String {
    let keys = [known_keys().as_slice(), &RULE_KEYS].concat();
    match rng.u8(0..8) {
        0 => word(rng),
        _ => keys[rng.usize(..keys.len())].to_owned(),
    }
}

/// Keys that there are, with values of other keys and of none: a policy by chance.
fn patchwork(rng: &mut Rng) -> Value {
    let deadlock_timeout = DEADLOCK_TIMEOUTS[0];
    let mut map = serde_json::Map::new();
    for _ in 0..rng.usize(0..4) {
        let (from, _) = policy_document(rng, deadlock_timeout);
        let Some(from) = from.as_object() else {
            continue;
        };
        let entries: Vec<(&String, &Value)> = from.iter().collect();
        let (key, value) = entries[rng.usize(..entries.len())];
        let key = match rng.u8(0..6) {
            0 => any_key(rng),
            _ => key.clone(),
        };
        map.insert(key, value.clone());
    }
    Value::Object(map)
}
