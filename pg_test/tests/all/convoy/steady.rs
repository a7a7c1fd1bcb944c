//! Where all that is in the way is short, the lock is taken from the queue: for little time at a
//! stretch, and little in all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, wait_until};

use super::oracle::{Oracle, Stay, mode_held};
use super::traffic::{Traffic, WORK};
use super::{LOCK, MAX_STALL, TOLERANCE};
use crate::preempt::scene::{SOON, Trail, preempt, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        from_steady_traffic_the_lock_is_had_within_two_seconds,
        less_than_a_tenth_of_the_time_is_spent_in_the_queue,
        max_stall_bounds_the_stays_in_the_queues_of_all_tables_together,
    ]
}

fn from_steady_traffic_the_lock_is_had_within_two_seconds(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let trail = Trail::from_now(world.cluster());
    let traffic = Traffic::steady(&database, 12, "t");
    let looker = database.session("looker");
    wait_until("the traffic flows", SOON, || {
        let holders = looker.run(
            "SELECT count(DISTINCT pid) FROM pg_locks WHERE relation = 't'::regclass AND granted",
        );
        holders.value().unwrap().parse::<u32>().unwrap() >= 6
    });
    let oracle = Oracle::start(&database);
    let migration = database.session("migration");
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let before = Instant::now();
        migration.run("BEGIN");
        migration.run(&preempt(r#"{"relations": ["t"]}"#));
        slowest = slowest.max(before.elapsed());
        let held = looker.run(&format!(
            "SELECT mode FROM pg_locks WHERE pid = {} AND relation = 't'::regclass AND granted",
            migration.pid()
        ));
        assert_eq!(held.value(), Some(LOCK));
        migration.run("COMMIT");
    }
    let felt = traffic.end();
    let seen = oracle.end();
    let stays = seen.of(migration.pid());
    let beyond = felt.worst.saturating_sub(WORK);
    println!(
        "steady traffic: lock within {slowest:?}, {felt:?}, {beyond:?} beyond its own work, longest queued {:?}, own stays {:?}",
        seen.longest_but_of(migration.pid()),
        stays.iter().map(Stay::length).collect::<Vec<_>>()
    );
    assert!(
        slowest < pg_test::slow(Duration::from_secs(2)),
        "{slowest:?}"
    );
    assert_eq!(felt.failures, 0);
    assert!(beyond <= (MAX_STALL + TOLERANCE) * 3, "{beyond:?}");
    for stay in &stays {
        assert!(stay.length() <= MAX_STALL + TOLERANCE, "{stay:?}");
        assert!(
            stay.oldest <= (MAX_STALL + TOLERANCE).as_secs_f64(),
            "{stay:?}"
        );
    }
    trail.has_no_victim();
}

/// Readers of t, one of whom is always there, and at times only a young one. Each goes on until the
/// next one has begun, so that the table is never free.
fn relay(database: &Database, stop: &AtomicBool) {
    const OVERLAP: Duration = Duration::from_millis(10);
    const ALONE: Duration = Duration::from_millis(30);
    let runners = [0; 2].map(|_| database.session("web"));
    runners[0].run("BEGIN; SELECT FROM t LIMIT 1");
    for next in (0..2).cycle().skip(1) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(ALONE);
        runners[next].run("BEGIN; SELECT FROM t LIMIT 1");
        std::thread::sleep(OVERLAP);
        runners[1 - next].run("COMMIT");
    }
}

fn less_than_a_tenth_of_the_time_is_spent_in_the_queue(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    migration.run("BEGIN");
    let stop = Arc::new(AtomicBool::new(false));
    let runners = {
        let (database, stop) = (database.clone(), Arc::clone(&stop));
        std::thread::spawn(move || relay(&database, &stop))
    };
    let looker = database.session("looker");
    wait_until("somebody reads the table", SOON, || {
        let holders = looker.run("SELECT FROM pg_locks WHERE relation = 't'::regclass");
        !holders.is_empty()
    });
    let oracle = Oracle::start(&database);
    let before = Instant::now();
    migration.run(&preempt(
        r#"{"relations": ["t"], "max_stall": "20ms", "timeout": "5s", "on_timeout": "report"}"#,
    ));
    let whole = before.elapsed();
    let seen = oracle.end();
    stop.store(true, Ordering::Relaxed);
    runners.join().unwrap();
    let stays = seen.of(migration.pid());
    let queued: Duration = stays.iter().map(Stay::length).sum();
    let share = queued.as_secs_f64() / whole.as_secs_f64();
    let longest = stays.iter().map(Stay::length).max().unwrap_or_default();
    println!(
        "against readers that are never all gone: {} stays, {queued:?} of {whole:?}: {:.1} %; the longest {longest:?}",
        stays.len(),
        share * 100.0
    );
    assert!(whole >= Duration::from_secs(5), "{whole:?}");
    assert!(stays.len() >= 5, "it was drawn into the queue: {stays:?}");
    assert!(share < 0.11, "{share}");
    assert!(longest <= pg_test::slow(Duration::from_millis(20) + TOLERANCE));
}

/// Each of the tables comes free within `max_stall` of the one before: one after the other they would
/// all be had, in several times that.
fn max_stall_bounds_the_stays_in_the_queues_of_all_tables_together(world: &World) {
    // So long that none of the holders is long at the first look, however late that comes.
    const STALL: Duration = Duration::from_millis(300);
    let database = world.database();
    let holders = ["a", "b", "c"].map(|name| {
        table(&database, name, 10);
        (name, database.session("web"))
    });
    let migration = database.session("migration");
    // The library is loaded before anybody is in the way.
    migration.run("SELECT FROM lockguard.blockers_of('{}'); BEGIN");
    let oracle = Oracle::start(&database);
    let mut busy = vec![];
    for ((name, session), seconds) in holders.iter().zip([0.24, 0.45, 0.66]) {
        session.run(&format!("BEGIN; SELECT FROM {name} LIMIT 1"));
        busy.push(session.spawn(format!("SELECT pg_sleep({seconds}); COMMIT")));
    }
    let rows = migration.run(&preempt(
        r#"{"relations": ["a", "b", "c"], "timeout": "10s", "max_stall": "300ms"}"#,
    ));
    let stays = oracle.end().of(migration.pid());
    for busy in busy {
        busy.rows(SOON);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(
            mode_held(&database, migration.pid(), name).as_deref(),
            Some(LOCK)
        );
    }
    assert_eq!(verdict(&rows, holders[2].1.pid()), "finished");
    let attempts = attempts(&stays);
    println!("three tables: {attempts:?}");
    let first = attempts.first().unwrap();
    assert!(first.0 >= 2, "several queues in one attempt: {stays:?}");
    for (_, length) in &attempts {
        assert!(*length <= STALL + TOLERANCE, "{stays:?}");
    }
}

/// The stays that follow one on the other: how many, and how long they were together. The pause after an
/// attempt is ten times as long as that; a shorter one is a look of the oracle's that came late.
fn attempts(stays: &[Stay]) -> Vec<(usize, Duration)> {
    let mut attempts: Vec<(usize, f64, f64)> = vec![];
    for stay in stays {
        match attempts.last_mut() {
            Some((count, _, until)) if stay.since - *until < 0.045 => {
                *count += 1;
                *until = stay.until;
            }
            _ => attempts.push((1, stay.since, stay.until)),
        }
    }
    let lengths = attempts
        .iter()
        .map(|(count, since, until)| (*count, Duration::from_secs_f64((until - since).max(0.0))));
    lengths.collect()
}
