//! Truth before the fact: `blockers_of` names exactly the sessions that the server then makes a request wait for.
//!
//! The oracle is the server itself: a probe session requests the lock, and `pg_blocking_pids` tells whom it waits for.
//! `LOCKGUARD_SEED` repeats a run, `LOCKGUARD_TRUTH_SCENARIOS` sets its length.

mod arrangement;
mod many;
pub mod mode;
mod probe;
mod relations;
mod standby;
mod steps;

use std::sync::Arc;

use fastrand::Rng;
use libtest_mimic::Trial;

use crate::world::{World, scenarios};
use arrangement::{Arrangement, SETTINGS};
use mode::Mode;
use probe::{ProbeCounts, Prober};
use relations::Relation;
use steps::StepCounts;

/// Sessions that hold and queue at a time.
const PLAYERS: usize = 10;
/// How many questions an arrangement is good for, each of another relation or mode.
const QUESTIONS: usize = 2;
const SCENARIOS: usize = 1_000;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = scenarios![
        world;
        blockers_of_names_whom_the_server_then_waits_for,
    ];
    trials.extend(many::trials(world));
    trials.extend(standby::trials(world));
    trials
}

fn blockers_of_names_whom_the_server_then_waits_for(world: &World) {
    let seed = setting("LOCKGUARD_SEED").unwrap_or_else(|| fastrand::u64(..));
    let scenarios = setting("LOCKGUARD_TRUTH_SCENARIOS").map_or(SCENARIOS, |count| count as usize);
    println!("\n  {scenarios} scenarios, LOCKGUARD_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let cluster = world.start_cluster(SETTINGS);
    let mut arrangement = Arrangement::new(&cluster, PLAYERS);
    let mut prober = Prober::new(&arrangement);
    let (mut steps, mut probes) = (StepCounts::default(), ProbeCounts::default());
    let between_restarts = (scenarios / 3).min(1_000);
    let mut next_restart = between_restarts;
    while probes.scenarios < scenarios {
        let mut questions = vec![];
        if probes.scenarios >= next_restart {
            next_restart += between_restarts;
            drop(prober);
            steps::restart(&mut arrangement, &mut rng, &mut steps);
            prober = Prober::new(&arrangement);
            // Nothing but prepared transactions is left now.
            for relation in arrangement.locked_relations("pid IS NULL") {
                questions.push((relation, Mode::ACCESS_EXCLUSIVE));
            }
        } else {
            for _ in 0..rng.usize(1..=4) {
                steps::step(&mut arrangement, &mut rng, &mut steps);
            }
            questions.resize_with(QUESTIONS, || question(&arrangement, &mut rng));
            questions.dedup_by_key(|(relation, mode)| (relation.oid, *mode));
        }
        for (relation, mode) in questions {
            if let Err(mismatch) =
                prober.compare(&arrangement, &mut rng, relation, mode, &mut probes)
            {
                panic!(
                    "LOCKGUARD_SEED={seed}, scenario {}: {mismatch}\nthe last steps:\n{}\nall of pg_locks:\n{}",
                    probes.scenarios,
                    last_steps(&arrangement.trail),
                    all_locks(&arrangement),
                );
            }
        }
    }
    println!("  {steps:?}\n  {probes:?}");
    if scenarios >= SCENARIOS {
        saw_every_kind(&steps, &probes);
    }
}

/// What to ask next: often of a relation that is locked, now and then about a parallel query's lock.
fn question<'a>(on: &'a Arrangement<'_>, rng: &mut Rng) -> (&'a Relation, Mode) {
    let modes: Vec<Mode> = Mode::all().collect();
    let mode = modes[rng.usize(..modes.len())];
    let (among, mode) = match rng.u8(..10) {
        0..2 => (
            on.locked_relations("leader_pid IS NOT NULL"),
            Mode::ACCESS_EXCLUSIVE,
        ),
        2..5 => (on.locked_relations("true"), mode),
        _ => (vec![], mode),
    };
    let among = match among.is_empty() {
        true => on.relations.all.iter().collect(),
        false => among,
    };
    (among[rng.usize(..among.len())], mode)
}

/// A run that met none of these would prove less than it says.
fn saw_every_kind(steps: &StepCounts, probes: &ProbeCounts) {
    let met = [
        ("savepoints rolled back", steps.rolled_back_to_savepoint),
        ("restarts", steps.restarts),
        ("questions with nobody in the way", probes.nobody_in_the_way),
        ("holders", probes.holders),
        ("queued requests", probes.queued),
        (
            "holders that queue for more",
            probes.holders_that_queue_for_more,
        ),
        ("parallel queries", probes.parallel),
        ("prepared transactions", probes.prepared),
        (
            "prepared transactions whose slot was taken",
            probes.prepared_in_a_slot_since_taken,
        ),
        (
            "transactions prepared before a restart",
            probes.prepared_before_a_restart,
        ),
        (
            "questions from one who holds it himself",
            probes.asked_by_a_holder,
        ),
        (
            "questions through a copy of the lock table",
            probes.asked_in_bulk,
        ),
        (
            "questions about an index or TOAST table",
            probes.on_an_index_or_toast_table,
        ),
    ];
    for (what, count) in met {
        assert!(count > 0, "the run met no {what}");
    }
}

fn last_steps(trail: &[String]) -> String {
    trail[trail.len().saturating_sub(150)..].join("\n")
}

/// `pg_locks`, a line each.
fn all_locks(on: &Arrangement<'_>) -> String {
    let rows = on
        .database
        .ask("SELECT format('%s', l) AS l FROM pg_locks l ORDER BY pid, relation, mode");
    rows.column("l")
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} must be a number, not {value:?}"),
    }
}
