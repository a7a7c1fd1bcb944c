//! Random scripts on random schemas: the corpus's schema with more built on it, and statements drawn from the corpus
//! or made up for whatever relations there are.
//!
//! `LOCKGUARD_DDL_SCRIPTS` sets how many, `LOCKGUARD_SEED` which; without it they are the same each time, for what a
//! new seed finds belongs in a corpus, and not in the way of who has not caused it.

use fastrand::Rng;
use pg_test::{Cluster, Database, Session};

use super::corpus::{self, Entry};
use super::growth::{self, Grown};
use super::inside::observe;
use super::judge::{Tally, predict};
use super::relations::Relations;
use super::released::Probe;
use super::{quiet_session, setting};

const SEED: u64 = 777;
const SCRIPTS: usize = 400;
const SCHEMAS: usize = 4;
/// What is built on a schema before it is asked about.
const ADDITIONS: usize = 40;

/// Compares as many scripts as are wanted; those that fail do not count.
pub fn compare(cluster: &Cluster, original: &Database, tally: &mut Tally) {
    let seed = setting("LOCKGUARD_SEED").unwrap_or(SEED);
    let wanted = setting("LOCKGUARD_DDL_SCRIPTS").map_or(SCRIPTS, |count| count as usize);
    println!("\n  {wanted} scripts, LOCKGUARD_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let entries = corpus::inside(cluster.installation().major());
    for schema in 0..SCHEMAS {
        let name = format!("random_{schema}");
        original.ask(&format!(
            "CREATE DATABASE {name} TEMPLATE {}",
            original.name()
        ));
        let database = cluster.database(&name);
        let session = quiet_session(&database, "random");
        for at in 0..ADDITIONS {
            let addition = growth::addition(&Grown::of(&session), at, &mut rng);
            // What does not fit here is left out.
            let _ = session.try_run(&addition);
        }
        compare_some(
            &database,
            &session,
            &entries,
            wanted.div_ceil(SCHEMAS),
            &mut rng,
            tally,
        );
    }
}

fn compare_some(
    database: &Database,
    session: &Session,
    entries: &[Entry],
    wanted: usize,
    rng: &mut Rng,
    tally: &mut Tally,
) {
    let relations = Relations::existing(session);
    let probe = Probe::new(database, &relations);
    let grown = Grown::of(session);
    let (mut compared, mut tried) = (0, 0);
    while compared < wanted && tried < wanted * 20 {
        tried += 1;
        let script = Entry {
            family: "random",
            text: script(entries, &grown, rng),
        };
        let predicted = predict(session, &relations, &script);
        let Ok(observed) = observe(session, &relations, &script) else {
            continue;
        };
        compared += 1;
        match predicted {
            Ok(predicted) => tally.compare(
                &relations,
                &script,
                &predicted,
                &observed,
                None,
                &|row, taken| probe.is_asked_for(&script, row, taken),
            ),
            Err(error) => tally.fail(&script, &format!("locks_of: {error}")),
        }
    }
    assert!(compared == wanted, "too few scripts succeed");
}

/// One to four statements.
fn script(entries: &[Entry], grown: &Grown, rng: &mut Rng) -> String {
    let statements: Vec<String> = (0..rng.usize(1..=4))
        .map(|_| match rng.bool() {
            true => entries[rng.usize(..entries.len())].text.clone(),
            false => growth::statement(grown, rng),
        })
        .collect();
    statements.join("\n")
}
