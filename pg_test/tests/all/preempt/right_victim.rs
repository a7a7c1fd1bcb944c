//! A signal reaches only the very transaction that was judged, however quickly the session goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::flicker::Tally;
use pg_test::{Cluster, Flicker, Interposer};

use super::scene::{Trail, preempt, table};
use crate::world::{World, scenarios};

/// How long the sessions flicker at least, and at most where the machine is slow.
const PLAY: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(60);

/// Long enough for a transaction to end and the next statement to begin.
const PAUSE: Duration = Duration::from_micros(100);

/// Fewer victims than this show nothing.
const ENOUGH: usize = 200;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        no_innocent_statement_is_hit_after_the_judged_transaction,
        no_innocent_statement_is_hit_by_a_signal_that_is_late,
    ]
}

fn no_innocent_statement_is_hit_after_the_judged_transaction(world: &World) {
    no_innocent_is_hit(world.cluster());
}

fn no_innocent_statement_is_hit_by_a_signal_that_is_late(world: &World) {
    let installation = world.installation();
    let interposer = Interposer::new(installation).unwrap();
    let cluster = interposer.start(installation, &[]).unwrap();
    interposer.pause(PAUSE).unwrap();
    no_innocent_is_hit(&cluster);
}

/// Preempts two sessions that are in the way for a moment, again and again.
#[track_caller]
fn no_innocent_is_hit(cluster: &Cluster) {
    let database = cluster.create_database().unwrap();
    table(&database, "t", 10);
    table(&database, "innocent", 10);
    let trail = Trail::from_now(cluster);
    let migration = database.session("migration");
    let flicker = Flicker::start(&database, 2).unwrap();
    let call = preempt(
        r#"{"relations": ["t"], "signal": "cancel", "timeout": "50ms", "on_timeout": "report"}"#,
    );
    let start = Instant::now();
    loop {
        for _ in 0..20 {
            migration.run(&call);
        }
        let (tried, too_late) = tried(&trail);
        let played = start.elapsed();
        if played >= LONG || played >= PLAY && tried - too_late >= ENOUGH {
            break;
        }
    }
    let tallies = flicker.end().unwrap();
    let sum = |count: fn(&Tally) -> usize| tallies.iter().map(count).sum::<usize>();
    let hit = sum(|t| t.guilty_hit);
    let innocents = sum(|t| t.innocents_hit);
    assert_eq!(innocents, 0, "{tallies:?}");
    let (tried, too_late) = tried(&trail);
    println!(
        "{tried} signals tried, {too_late} of them too late, {hit} ended the judged statement, {innocents} an innocent one"
    );
    assert!(
        tried - too_late >= ENOUGH && hit > 0,
        "{tried} signals, {too_late} of them not sent, of which {hit} ended a statement, show nothing: {tallies:?}"
    );
}

/// How many signals the log tells of, and how many of them were not sent after all.
fn tried(trail: &Trail<'_>) -> (usize, usize) {
    let too_late = trail.text().matches("lockguard did not signal").count();
    (trail.signals().len(), too_late)
}
