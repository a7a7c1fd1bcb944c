//! Callers, traffic, backups and Ctrl-C at random: whatever becomes of a call, all of the locks are held
//! afterwards or none, and none after an error. `LOCKGUARD_SEED` repeats the choices, not their timing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use libtest_mimic::Trial;
use pg_test::Session;

use super::scene::{Stage, Trail, policy};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        all_of_the_locks_are_held_or_none,
    ]
}

/// What a call can name, and how many relations that makes.
const TARGETS: [(&str, usize); 6] = [
    ("a", 1),
    ("b", 4),
    ("c", 6),
    ("a b c", 11),
    ("c b a", 11),
    ("c1 b_pkey", 4),
];

/// `attempt` tells how a call ended, and how many relations are held then.
const TABLES: &str = "CREATE TABLE a (i int); CREATE TABLE b (i int PRIMARY KEY, t text); \
     CREATE TABLE c (i int) PARTITION BY LIST (i); CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1); \
     CREATE TABLE c2 PARTITION OF c DEFAULT; CREATE INDEX ON c (i); \
     CREATE FUNCTION attempt(policy jsonb, OUT ended text, OUT held bigint) LANGUAGE plpgsql AS $f$BEGIN \
     BEGIN PERFORM * FROM lockguard.preempt_maintenance(policy); ended := 'well'; \
     EXCEPTION WHEN OTHERS OR query_canceled THEN ended := SQLSTATE; END; \
     SELECT count(DISTINCT relation) INTO held FROM pg_locks WHERE pid = pg_backend_pid() \
     AND mode = 'AccessExclusiveLock' AND granted; END$f$";

const LENGTH: Duration = Duration::from_secs(4);

fn all_of_the_locks_are_held_or_none(world: &World) {
    let seed = std::env::var("LOCKGUARD_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u32(..), |seed| seed.parse().unwrap());
    println!("LOCKGUARD_SEED={seed}");
    let stage = Stage::new(world, TABLES);
    let trail = Trail::from_now(world.cluster());
    let others: Vec<(Session, &str)> = [
        ("web", "SELECT count(*) FROM a, c; INSERT INTO b VALUES (1) ON CONFLICT DO NOTHING"),
        ("web", "BEGIN; INSERT INTO c VALUES (1); SELECT pg_sleep(0.03); INSERT INTO a VALUES (1); COMMIT"),
        ("web", "BEGIN; SELECT FROM b; SELECT pg_sleep(0.3); COMMIT; SELECT pg_sleep(0.3)"),
        ("pg_dump", "BEGIN; SELECT FROM b; SELECT pg_sleep(0.5); COMMIT; SELECT pg_sleep(0.1)"),
    ]
    .map(|(name, sql)| (stage.database.session(name), sql))
    .into();
    let callers = [(); 3].map(|()| stage.database.session("migration"));
    let is_over = AtomicBool::new(false);
    let mut endings: BTreeMap<String, u32> = BTreeMap::new();
    std::thread::scope(|scope| {
        for (session, sql) in &others {
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    // A backup is cancelled now and then.
                    if session.try_run(sql).is_err() {
                        session.run("ROLLBACK");
                    }
                }
            });
        }
        for (session, seed) in callers.iter().zip(u64::from(seed)..) {
            let is_over = &is_over;
            let mut rng = Rng::with_seed(seed);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(rng.u64(1..150)));
                    session.cancel();
                }
            });
        }
        let played: Vec<_> = callers
            .iter()
            .zip(u64::from(seed)..)
            .map(|(session, seed)| scope.spawn(move || play(session, Rng::with_seed(!seed))))
            .collect();
        let outcomes: Vec<_> = played.into_iter().map(|caller| caller.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            for (ending, count) in outcome.expect("what a caller found is printed above") {
                *endings.entry(ending).or_default() += count;
            }
        }
    });
    println!("{endings:?}");
    for ending in ["well", "55P03", "57014"] {
        assert!(endings.contains_key(ending), "no call ended so: {ending}");
    }
    let known = |ending: &&String| ["well", "55P03", "57014"].contains(&ending.as_str());
    assert!(endings.keys().all(|ending| known(&ending)), "{endings:?}");
    assert!(
        !trail.text().contains("deadlock detected"),
        "{}",
        trail.text()
    );
    for session in &callers {
        assert_eq!(stage.held_by(session), []);
    }
}

/// Calls again and again, and counts how the calls end.
fn play(session: &Session, mut rng: Rng) -> BTreeMap<String, u32> {
    let mut endings = BTreeMap::new();
    let start = Instant::now();
    while start.elapsed() < LENGTH {
        let (named, all) = TARGETS[rng.usize(..TARGETS.len())];
        let timeout = [5, 50, 200, 1_000][rng.usize(..4)];
        let (max_stall, grace) = ([1, 20, 100][rng.usize(..3)], [0, 50][rng.usize(..2)]);
        let reports = rng.u8(..4) == 0;
        let on_timeout = if reports { "report" } else { "error" };
        let policy = policy(
            named,
            &format!(
                r#", "signal": "cancel", "timeout": "{timeout}ms", "max_stall": "{max_stall}ms", "grace": "{grace}ms", "on_timeout": "{on_timeout}""#
            ),
        );
        // A Ctrl-C may come at any moment, and end a statement beside the call.
        if session.try_run("BEGIN").is_ok()
            && let Ok(rows) = session.try_run(&format!("SELECT * FROM attempt('{policy}')"))
        {
            let (ended, held) = (rows.only().text("ended"), rows.only().text("held"));
            let held: usize = held.parse().unwrap();
            let is_right = match ended {
                "well" => held == all || reports && held == 0,
                _ => held == 0,
            };
            assert!(is_right, "{policy} ended {ended}, holding {held} of {all}");
            *endings.entry(ended.to_owned()).or_default() += 1;
        }
        while session.try_run("ROLLBACK").is_err() {}
    }
    endings
}
