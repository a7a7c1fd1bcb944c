//! Policies, each with the request that it is. A new key gets a line in [`KEYS`].

use super::*;

/// Makes a valid value of a key, and has the request mean it.
pub(super) type Give = fn(&mut Rng, &mut Request, Duration) -> Value;

pub(super) const KEYS: [(&str, Give); 14] = [
    // What is stored under that name is another matter.
    (STORED, |rng, _, _| json!(word(rng))),
    ("label", |rng, request, _| {
        let label: String = word(rng).chars().take(LONGEST_LABEL).collect();
        request.policy.label = Some(label.clone());
        json!(label)
    }),
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
    ("require_trail", |rng, request, _| {
        flag(rng, &mut request.policy.require_trail)
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

pub(super) fn policy_document(rng: &mut Rng, deadlock_timeout: Duration) -> (Value, Request) {
    let mut map = serde_json::Map::new();
    // The defaults are what other tests are for.
    let mut request = read(&json!({"pid": 1}), deadlock_timeout).unwrap();
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
            Target::Statement(in_utf8(&text))
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
                    let names = names.iter().map(|name| in_utf8(name)).collect();
                    Target::Relations { names, mode }
                }
            }
        }
    }
}

/// As the server has it.
fn in_utf8(text: &str) -> ServerText {
    ServerText::of_bytes(text).unwrap_or_default()
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

pub(super) fn selector_entry(rng: &mut Rng) -> (Value, Selector) {
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
pub(super) fn word(rng: &mut Rng) -> String {
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
        // No document that a server has read has a zero in it.
        "\u{1}\n\t\\",
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
