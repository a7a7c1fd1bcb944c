//! Calls of the three functions, made up at random: most of them sound, some of them not.

use fastrand::Rng;

use super::changes::change;
use super::schema;
use super::tally::Kind;

const MODES: [&str; 6] = [
    "AccessExclusiveLock",
    "ACCESS EXCLUSIVE",
    "ShareLock",
    "SHARE ROW EXCLUSIVE",
    "RowExclusiveLock",
    "share update exclusive",
];

fn pick<'a>(of: &[&'a str], rng: &mut Rng) -> &'a str {
    of[rng.usize(..of.len())]
}

/// A call, as a query.
pub fn any(rng: &mut Rng) -> (Kind, String) {
    match rng.u8(..20) {
        0..7 => (Kind::BlockersOf, blockers_of(rng)),
        7..12 => (Kind::LocksOf, locks_of(rng)),
        _ => (Kind::Preempt, preempt(rng)),
    }
}

fn names(rng: &mut Rng) -> Vec<String> {
    let count = rng.usize(1..4);
    (0..count).map(|_| schema::relation(rng)).collect()
}

fn blockers_of(rng: &mut Rng) -> String {
    let mode = pick(&MODES, rng);
    match rng.u8(..20) {
        0 => "SELECT * FROM lockguard.blockers_of(NULL)".to_owned(),
        1 => format!(
            "SELECT * FROM lockguard.blockers_of('{{{}}}', 'ShareLuck')",
            schema::table(rng)
        ),
        // Some of them may be gone by the time the function has them.
        2..6 => format!(
            "SELECT * FROM lockguard.blockers_of(ARRAY(SELECT oid::regclass FROM pg_class \
             WHERE relname LIKE '{}%'), '{mode}')",
            pick(&["made", "p0", "t", "p"], rng)
        ),
        6 => format!(
            "SELECT * FROM lockguard.blockers_of('{{{}}}') LIMIT 1",
            schema::table(rng)
        ),
        _ => format!(
            "SELECT * FROM lockguard.blockers_of('{{{}}}', '{mode}')",
            names(rng).join(",")
        ),
    }
}

fn locks_of(rng: &mut Rng) -> String {
    let text = match rng.u8(..20) {
        0 => "ALTER TABLE t0 ADDD COLUMN x int".to_owned(),
        1 => "SELECT count(*) FROM t0 JOIN t1 USING (id)".to_owned(),
        _ => changes(rng),
    };
    format!("SELECT * FROM lockguard.locks_of($s${text}$s$)")
}

/// A call with a target and some of the other keys.
fn preempt(rng: &mut Rng) -> String {
    let (mut keys, mut is_by_pid) = (vec![], false);
    match rng.u8(..20) {
        0..10 => {
            let names = names(rng).join("\", \"");
            keys.push(format!("\"relations\": [\"{names}\"]"));
            if rng.bool() {
                keys.push(format!("\"mode\": \"{}\"", pick(&MODES, rng)));
            }
        }
        10..15 => keys.push(for_statement(&changes(rng))),
        15 | 16 => is_by_pid = true,
        17 | 18 => keys.push("\"relations\": \"all\", \"take_lock\": false".to_owned()),
        _ => return call(unsound(rng)),
    }
    let timeout = pick(&["1", "20", "100", "300", "1000"], rng);
    let stall = pick(&["1", "10", "20", "50"], rng);
    keys.push(format!(
        "\"timeout\": \"{timeout}ms\", \"max_stall\": \"{stall}ms\""
    ));
    if !is_by_pid && !keys[0].contains("take_lock") && rng.u8(..3) == 0 {
        keys.push("\"take_lock\": false".to_owned());
    }
    if rng.u8(..5) == 0 {
        keys.push("\"dry_run\": true".to_owned());
    }
    if rng.u8(..3) == 0 {
        keys.push("\"on_timeout\": \"report\"".to_owned());
    }
    keys.extend(who(rng));
    let policy = format!("{{{}}}", keys.join(", "));
    if !is_by_pid {
        return call(&policy);
    }
    format!(
        "SELECT * FROM lockguard.preempt_maintenance($p${policy}$p$::jsonb || jsonb_build_object('pid', \
         (SELECT coalesce(min(pid), pg_backend_pid()) FROM pg_stat_activity WHERE wait_event_type = 'Lock')))"
    )
}

/// A call with that policy.
fn call(policy: &str) -> String {
    format!("SELECT * FROM lockguard.preempt_maintenance($p${policy}$p$)")
}

/// A call before this very DDL, as at the head of a migration.
pub fn preempt_before(ddl: &str) -> String {
    call(&format!(
        "{{{}, \"timeout\": \"300ms\", \"max_stall\": \"20ms\"}}",
        for_statement(ddl)
    ))
}

fn for_statement(ddl: &str) -> String {
    format!("\"statement\": \"{ddl}\"")
}

/// Some statements of DDL.
fn changes(rng: &mut Rng) -> String {
    let count = [1, 1, 1, 2, 5][rng.usize(..5)];
    let changes: Vec<String> = (0..count).map(|_| change(rng)).collect();
    changes.join("; ")
}

/// Whom, and how. Only sessions that come back may be named: a caller that loses its connection is an error.
fn who(rng: &mut Rng) -> Vec<String> {
    let some = [
        "\"signal\": \"cancel\"",
        "\"signal\": \"terminate\"",
        "\"grace\": \"0s\"",
        "\"grace\": \"50ms\"",
        "\"finish_within\": \"0s\"",
        "\"max_victims\": 0",
        "\"max_victims\": 1",
        "\"spare\": [\"backup\", {\"usename\": \"nobody*\"}]",
        "\"preempt\": [\"backup\", {\"class\": \"idle_in_transaction\", \"application_name\": \"forgotten*\"}]",
        "\"preempt\": [{\"class\": \"application\", \"application_name\": \"forgotten*\", \"older_than\": \"100ms\"}, \"backup\"]",
    ];
    let key = |entry: &str| entry.split(':').next().unwrap_or_default().to_owned();
    let mut chosen: Vec<String> = vec![];
    for _ in 0..rng.usize(..3) {
        let entry = pick(&some, rng);
        if !chosen.iter().any(|other| key(other) == key(entry)) {
            chosen.push(entry.to_owned());
        }
    }
    chosen
}

fn unsound(rng: &mut Rng) -> &'static str {
    pick(
        &[
            "{}",
            "{\"relations\": [\"t0\"], \"timout\": \"1s\"}",
            "{\"relations\": [\"t0\"], \"timeout\": 5}",
            "{\"relations\": [\"t0\"], \"preempt\": [\"backups\"]}",
            "{\"relations\": [\"t0\"], \"statement\": \"DROP TABLE t0\"}",
            "{\"relations\": [\"pg_class\"]}",
            "{\"relations\": [\"nowhere.t0\"]}",
            "{\"relations\": [\"t0\"], \"mode\": \"ShareLuck\"}",
            "{\"statement\": \"DROP TABEL t0\"}",
            "{\"pid\": 1}",
            "[1, 2]",
        ],
        rng,
    )
}
