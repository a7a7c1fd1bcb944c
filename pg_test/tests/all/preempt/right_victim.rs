//! A signal reaches only the very transaction that was judged, however quickly the session goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, SessionOptions};

use super::scene::{Trail, preempt, table};
use crate::world::{World, scenarios};

/// How long the sessions flicker.
const PLAY: Duration = Duration::from_secs(4);

/// Fewer victims than this show nothing.
const ENOUGH: usize = 200;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![world; no_innocent_statement_is_hit_after_the_judged_transaction]
}

/// Statements of one session, and how many of them a cancel ended.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    rounds: usize,
    guilty_hit: usize,
    innocents_hit: usize,
}

/// Turns about: a transaction that is in the way for a moment, and two innocent statements, one of
/// them in a transaction.
fn flicker(database: &Database, stop: &AtomicBool) -> Tally {
    let session = database.connect(SessionOptions::named("pg_dump")).unwrap();
    let mut tally = Tally::default();
    let is_hit = |sql: &str| match session.try_run(sql) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(
                error.code().map(|code| code.code()),
                Some("57014"),
                "{error}"
            );
            true
        }
    };
    while !stop.load(Ordering::Relaxed) {
        tally.rounds += 1;
        // In one message, so that it is never idle in between.
        let pause = (tally.rounds % 7) as f64 * 0.000_3;
        if is_hit(&format!(
            "BEGIN; LOCK TABLE t IN ACCESS SHARE MODE; SELECT pg_sleep({pause}); COMMIT"
        )) {
            tally.guilty_hit += 1;
            session.run("ROLLBACK");
        }
        for innocent in [
            "SELECT pg_sleep(0.0005)",
            "BEGIN; SELECT count(*) FROM innocent; SELECT pg_sleep(0.0005); COMMIT",
        ] {
            if is_hit(innocent) {
                tally.innocents_hit += 1;
                session.run("ROLLBACK");
            }
        }
    }
    tally
}

fn no_innocent_statement_is_hit_after_the_judged_transaction(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    table(&database, "innocent", 10);
    let trail = Trail::from_now(world.cluster());
    let stop = AtomicBool::new(false);
    let migration = database.session("migration");
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| flicker(&database, &stop)))
            .collect();
        let end = Instant::now() + PLAY;
        while Instant::now() < end {
            let call = preempt(
                r#"{"relations": ["t"], "signal": "cancel", "timeout": "50ms", "on_timeout": "report"}"#,
            );
            migration.run(&call);
        }
        stop.store(true, Ordering::Relaxed);
        sessions.into_iter().map(|s| s.join().unwrap()).collect()
    });
    let hit: usize = tallies.iter().map(|t| t.guilty_hit).sum();
    let innocents: usize = tallies.iter().map(|t| t.innocents_hit).sum();
    assert_eq!(innocents, 0, "{tallies:?}");
    let tried = trail.signals().len();
    println!(
        "{tried} signals tried, {hit} ended the judged statement, {innocents} an innocent one"
    );
    assert!(
        tried >= ENOUGH && hit > 0,
        "{tried} signals, of which {hit} ended a statement, show nothing: {tallies:?}"
    );
}
