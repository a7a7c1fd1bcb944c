//! Policies in which something is wrong, and where; and documents of any kind. A new key gets a line in [`broken`].

use super::valid::{KEYS, policy_document, selector_entry, word};
use super::*;

/// Changes one to three things, each under another key; the places where that is wrong. What is merely
/// odd has none.
pub(super) fn break_it(
    rng: &mut Rng,
    document: &mut Value,
    deadlock_timeout: Duration,
) -> Vec<String> {
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
        "take_lock" | "dry_run" | "require_trail" => match rng.bool() {
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
        STORED => other_than(rng, Value::is_string),
        "label" if rng.bool() => json!("é".repeat(LONGEST_LABEL + 1)),
        "label" => other_than(rng, Value::is_string),
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
        let known = valid[rng.usize(..valid.len())];
        let mut letters: Vec<char> = known.chars().collect();
        let place = rng.usize(..letters.len());
        match rng.u8(0..7) {
            0 => _ = letters.remove(place),
            1 => letters.insert(place, rng.char('a'..='z')),
            2 => letters[place] = rng.char(..),
            3 => letters.swap(place, 0),
            4 => letters.push('s'),
            5 => letters = word(rng).chars().collect(),
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
pub(super) fn anything(rng: &mut Rng, depth: usize) -> Value {
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
pub(super) fn patchwork(rng: &mut Rng) -> Value {
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
