//! Entries that cannot run in a transaction block: each runs in a copy of the database where every relation is held
//! by somebody, so that it waits for each lock in turn, and its requests can be read.
//!
//! Each relation that was predicted is held by a session of its own, which gives way once the request was seen; all
//! the others are held by one more, which nobody should ever have to wait for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pg_test::{Cluster, Database, Rows, Session};

use super::corpus::{self, Entry};
use super::gates::Gate;
use super::holders::Holder;
use super::judge::{Observation, Prediction, Tally, predict};
use super::quiet_session;
use super::relations::{Relations, number};
use crate::truth::mode::Mode;

pub const PATIENCE: Duration = Duration::from_secs(240);

/// Compares every entry, each in a copy of the database.
pub fn compare_all(cluster: &Cluster, original: &Database, tally: &mut Tally) {
    let major = cluster.installation().major();
    for entry in corpus::outside(major) {
        let copy = format!("copy_of_{}", original.name());
        original.ask(&format!(
            "CREATE DATABASE {copy} TEMPLATE {}",
            original.name()
        ));
        // From elsewhere: a statement may lock the catalogs here.
        let observer = quiet_session(original, "observer");
        compare(&cluster.database(&copy), &observer, &entry, tally);
        original.ask(&format!("DROP DATABASE {copy} WITH (FORCE)"));
    }
}

fn compare(database: &Database, observer: &Session, entry: &Entry, tally: &mut Tally) {
    let session = quiet_session(database, "watched");
    let relations = Relations::existing(&session);
    let statements = entry.statements();
    let Some((last, preparation)) = statements.split_last() else {
        return;
    };
    // What prepares for the statement is no part of what is compared, and may not be foreseen by it.
    for statement in preparation {
        session.run(statement);
    }
    let entry = Entry {
        family: entry.family,
        text: last.replace("current_database", database.name()),
    };
    let relations = match preparation.is_empty() {
        true => relations,
        false => Relations::existing(&session),
    };
    match predict(&session, &relations, &entry) {
        Err(error) => tally.fail(&entry, &format!("locks_of: {error}")),
        Ok(predicted) => match watch(
            database,
            observer,
            &session,
            &relations,
            &entry.text,
            &predicted,
        ) {
            Ok(observed) => {
                tally.compare(&relations, &entry, &predicted, &observed, None, &|_, _| {
                    false
                })
            }
            Err(error) => tally.fail(&entry, &format!("the statement: {error}")),
        },
    }
}

/// Runs the statement against the holders, and says what it asked for.
fn watch(
    database: &Database,
    observer: &Session,
    session: &Session,
    relations: &Relations,
    statement: &str,
    predicted: &[Prediction],
) -> Result<Observation, String> {
    let mut holders = BTreeMap::new();
    for row in predicted {
        let relation = &relations.0[&row.relation];
        let of_toast = relations
            .0
            .values()
            .any(|toast| toast.toast_index.as_ref().map(|(index, _)| *index) == Some(row.relation));
        // The index of a TOAST table is held along with the table.
        if !of_toast || !is_predicted_with_its_table(relations, predicted, row.relation) {
            holders
                .entry(row.relation)
                .or_insert_with(|| Holder::of(database, row.relation, relation));
        }
    }
    let rest = relations
        .0
        .iter()
        .filter(|(oid, _)| !predicted.iter().any(|row| row.relation == **oid));
    let rest = Holder::of_all(database, rest.map(|(oid, relation)| (*oid, relation)));
    let mut gates = Gate::all(database);
    let mut all: Vec<Holder> = holders.into_values().chain([rest]).collect();

    let mut observed = Observation::default();
    let running = session.spawn(statement);
    let started = Instant::now();
    while !running.is_finished() {
        let seen = observer.run(&format!(
            "SELECT locktype, relation, mode, granted, virtualxid, pg_blocking_pids({pid})::text AS holders
             FROM pg_locks WHERE pid = {pid} AND (relation >= 16384 OR NOT granted)",
            pid = session.pid()
        ));
        note(&mut observed, relations, &seen);
        make_way(observer, &mut all, &mut gates, &seen);
        assert!(
            started.elapsed() < pg_test::slow(PATIENCE),
            "{statement} hangs: {seen:#?}"
        );
    }
    running
        .wait(PATIENCE)
        .map_err(|error| match error.as_db_error() {
            Some(error) => error.message().to_owned(),
            None => error.to_string(),
        })?;
    observed.required = observed.taken.clone();
    Ok(observed)
}

/// Keeps the locks that were seen, had or asked for.
fn note(observed: &mut Observation, relations: &Relations, seen: &Rows) {
    for row in seen.iter().filter(|row| row.text("locktype") == "relation") {
        let relation = number(row.text("relation"));
        if relations.0.contains_key(&relation) {
            let modes = observed.taken.entry(relation).or_default();
            modes.insert(Mode::named(row.text("mode")));
        }
    }
}

/// Has whoever is waited for give way: in the mode that is asked for, or altogether.
fn make_way(observer: &Session, holders: &mut [Holder], gates: &mut [Gate], seen: &Rows) {
    let Some(wait) = seen.iter().find(|row| row.text("granted") == "f") else {
        return;
    };
    let pids = wait.text("holders").trim_matches(['{', '}']);
    let pids: Vec<i32> = pids.split(',').filter_map(|pid| pid.parse().ok()).collect();
    for gate in gates.iter_mut().filter(|gate| gate.is_kept_by(&pids)) {
        gate.let_through(observer);
    }
    for holder in holders.iter_mut().filter(|one| pids.contains(&one.pid())) {
        match wait.get("relation") {
            Some(relation) if wait.text("locktype") == "relation" => {
                holder.make_way(number(relation), Mode::named(wait.text("mode")));
            }
            _ => holder.end(),
        }
    }
}

fn is_predicted_with_its_table(
    relations: &Relations,
    predicted: &[Prediction],
    index: u32,
) -> bool {
    predicted.iter().any(|row| {
        let toast = &relations.0[&row.relation].toast_index;
        toast.as_ref().map(|(index, _)| *index) == Some(index)
    })
}
