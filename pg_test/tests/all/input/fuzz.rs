//! Random documents, one after the other over one connection: whatever they are, the answer is one of those
//! that are designed.
//!
//! `LOCKGUARD_FUZZ_SEED` repeats a run, `LOCKGUARD_FUZZ_DOCUMENTS` makes it longer.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use libtest_mimic::Trial;
use pg_test::SessionOptions;
use serde_json::{Map, Value, json};

use super::{Ground, call};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![world; random_documents_get_designed_answers]
}

const DESIGNED: [&str; 6] = ["22004", "22023", "42501", "42601", "42P01", "55P03"];

fn random_documents_get_designed_answers(world: &World) {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let seed = from_environment("LOCKGUARD_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let documents = from_environment("LOCKGUARD_FUZZ_DOCUMENTS").unwrap_or(2_000);
    println!("{documents} documents, LOCKGUARD_FUZZ_SEED={seed}");

    let ground = Ground::new(world);
    let role = format!("{}_fuzzer", ground.database.name());
    ground.caller.run(&format!(
        "CREATE ROLE {role} LOGIN; CREATE SCHEMA private; CREATE TABLE private.p (); \
         CREATE TABLE parted (i int) PARTITION BY LIST (i); CREATE TABLE part PARTITION OF parted DEFAULT; \
         CREATE INDEX ON parted (i); CREATE VIEW v AS SELECT * FROM t"
    ));
    // It may signal nobody: the same people stay in the way for all documents.
    let fuzzer = ground
        .database
        .connect(SessionOptions::named("fuzzer").user(&role))
        .unwrap();
    let migration = ground.database.session("migrate");
    let drop = migration.spawn("DROP TABLE t CASCADE");
    drop.wait_until_queued();
    let pids = [ground.backup.pid(), drop.pid(), fuzzer.pid()];

    let mut rng = Rng::with_seed(seed);
    let mut answers: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..documents {
        let document = document(&mut rng, &pids).to_string();
        let answer = match fuzzer.try_run(&call(&document)) {
            Ok(_) => "works".to_owned(),
            Err(error) => {
                let state = error.code().map(|code| code.code().to_owned());
                let is_designed = state.as_deref().is_some_and(|s| DESIGNED.contains(&s));
                assert!(
                    is_designed,
                    "seed {seed}, document {number}: {document}\n{error:?}"
                );
                state.unwrap_or_default()
            }
        };
        *answers.entry(answer).or_default() += 1;
        if number % 100 == 0 {
            fuzzer.take_notices();
        }
    }
    println!("{answers:?}");
    assert_eq!(
        fuzzer.run("SELECT pg_backend_pid()").value(),
        Some(fuzzer.pid().to_string().as_str())
    );
    for expected in ["works", "22023", "42501", "42P01", "55P03"] {
        assert!(
            documents < 1_000 || answers.contains_key(expected),
            "no document gave {expected}: seed {seed}"
        );
    }
    ground.backup.run("SELECT count(*) FROM t; COMMIT");
    drop.rows(super::SOON);
}

const KEYS: [&str; 13] = [
    "mode",
    "preempt",
    "spare",
    "signal",
    "grace",
    "max_victims",
    "dry_run",
    "on_timeout",
    "pid",
    "label",
    "statement",
    "Mode",
    "",
];
const CRITERIA: [&str; 9] = [
    "class",
    "application_name",
    "usename",
    "backend_type",
    "query",
    "client_addr",
    "older_than",
    "younger_than",
    "age",
];
const NAMES: [&str; 18] = [
    "t",
    "free",
    "free",
    "v",
    "parted",
    "part",
    "parted_i_idx",
    "public.free",
    "no_such",
    "private.p",
    "pg_class",
    "other.public.t",
    "a..b",
    "",
    "\"t",
    "\"free\"",
    "pg_toast.pg_toast_1255",
    "FREE",
];
const WORDS: [&str; 30] = [
    "backup",
    "vacuum",
    "autovacuum",
    "autovacuum_wraparound",
    "analyze",
    "index_build",
    "cluster",
    "repack",
    "logical_sync",
    "copy_out",
    "idle_in_transaction",
    "application",
    "cancel",
    "terminate",
    "escalate",
    "error",
    "report",
    "AccessExclusiveLock",
    "share",
    "ROW EXCLUSIVE",
    "all",
    "*",
    "pg_dump*",
    "?",
    "500ms",
    "1 day",
    "-1s",
    "💥\u{1}\u{202e}\\\"'$",
    "5",
    "1 month 2 bananas",
];

/// One of them.
fn of<'a>(rng: &mut Rng, choice: &[&'a str]) -> &'a str {
    rng.choice(choice.iter().copied()).unwrap_or_default()
}

/// Rather one of the first, where the valid ones are.
fn early_of<'a>(rng: &mut Rng, choice: &[&'a str]) -> &'a str {
    let end = rng.usize(1..=choice.len());
    of(rng, &choice[..end])
}

/// Mostly something like a policy, else anything.
fn document(rng: &mut Rng, pids: &[i32]) -> Value {
    if rng.u8(..) < 32 {
        return anything(rng, 4);
    }
    let mut policy = Map::new();
    let target = match rng.u8(0..8) {
        0 => ("pid", pid(rng, pids)),
        1 => ("relations", json!("all")),
        _ => {
            let count = rng.usize(0..20).min(4);
            let names: Vec<&str> = (0..count).map(|_| early_of(rng, &NAMES)).collect();
            ("relations", json!(names))
        }
    };
    policy.insert(target.0.to_owned(), target.1);
    for _ in 0..rng.usize(0..4) {
        let key = early_of(rng, &KEYS);
        policy.insert(key.to_owned(), value(rng, key, pids));
    }
    // It decides how long a run takes: a document that waits must not wait long.
    let timeout = match rng.u8(0..60) {
        0 => json!("0s"),
        1 => json!(1),
        2 => json!("1 month 2 bananas"),
        _ => json!(of(rng, &["1ms", "2 ms", "00:00:00.005", "0.004 s"])),
    };
    policy.insert("timeout".to_owned(), timeout);
    Value::Object(policy)
}

fn pid(rng: &mut Rng, pids: &[i32]) -> Value {
    match rng.u8(0..4) {
        0 => json!(rng.i64(-2..5_000_000_000)),
        _ => json!(rng.choice(pids)),
    }
}

/// Mostly of the right type for the key.
fn value(rng: &mut Rng, key: &str, pids: &[i32]) -> Value {
    if rng.u8(0..15) == 0 {
        return anything(rng, 3);
    }
    match key {
        "mode" => json!(of(
            rng,
            &["AccessExclusiveLock", "share", "ROW EXCLUSIVE", "purple"]
        )),
        "signal" => json!(of(rng, &["cancel", "terminate", "escalate", "kill"])),
        "grace" => json!(of(rng, &["0s", "1ms", "500ms", "PT5S", "5", "-1s"])),
        "max_victims" => json!(rng.i64(-1..5)),
        "dry_run" => json!(rng.bool()),
        "on_timeout" => json!(of(rng, &["error", "report"])),
        "pid" => pid(rng, pids),
        "preempt" | "spare" => {
            let count = rng.usize(0..4);
            Value::Array((0..count).map(|_| selector(rng)).collect())
        }
        _ => anything(rng, 2),
    }
}

fn selector(rng: &mut Rng) -> Value {
    if rng.bool() {
        return json!(of(rng, &WORDS[..12]));
    }
    let mut rule = Map::new();
    for _ in 0..rng.usize(0..20).min(3) {
        let criterion = early_of(rng, &CRITERIA);
        let value = match criterion {
            "class" => json!(of(rng, &WORDS[..12])),
            "older_than" | "younger_than" => json!(of(rng, &["0s", "500ms", "1 day", "5"])),
            _ => json!(of(rng, &["*", "pg_dump*", "?", "", "*t*"])),
        };
        rule.insert(criterion.to_owned(), value);
    }
    Value::Object(rule)
}

/// Any JSON, nested at most that deep.
fn anything(rng: &mut Rng, depth: usize) -> Value {
    let kinds = if depth == 0 { 6 } else { 8 };
    match rng.u8(0..kinds) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!(rng.i64(-3..10)),
        4 => json!((rng.f64() - 0.5) * 1e9),
        5 => json!(of(rng, &WORDS)),
        6 => {
            let count = rng.usize(0..4);
            Value::Array((0..count).map(|_| anything(rng, depth - 1)).collect())
        }
        _ => {
            let count = rng.usize(0..4);
            let keys = [KEYS.as_slice(), &CRITERIA, &["relations", "timeout"]].concat();
            let entries = (0..count).map(|_| (of(rng, &keys).to_owned(), anything(rng, depth - 1)));
            Value::Object(entries.collect())
        }
    }
}
