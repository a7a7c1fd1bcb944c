//! Entries that run in a transaction block: the session reads its own locks after each statement, then rolls back.

use pg_test::{Database, Session};

use super::corpus::{self, Entry, is_opaque, is_planned};
use super::judge::{Observation, Tally, predict};
use super::quiet_session;
use super::relations::{Locks, OWN_LOCKS, Relations};
use super::released::Probe;
use crate::truth::mode::Mode;

/// Compares every entry, in a session that has run all those before it and in one that has run nothing.
///
/// What a session has cached it need not open, and so not lock, once more: of the two, neither may lock what was
/// not predicted.
pub fn compare_all(database: &Database, major: u32, tally: &mut Tally) {
    let session = quiet_session(database, "inside");
    let relations = Relations::existing(&session);
    let probe = Probe::new(database, &relations);
    for entry in corpus::inside(major) {
        let predicted = predict(&session, &relations, &entry);
        let observed = observe(&session, &relations, &entry);
        let afresh = observe(&quiet_session(database, "afresh"), &relations, &entry);
        match (predicted, observed, afresh) {
            (Err(error), _, _) => tally.fail(&entry, &format!("locks_of: {error}")),
            (_, Err(error), _) | (_, _, Err(error)) => {
                tally.fail(&entry, &format!("the statement: {error}"));
            }
            (Ok(predicted), Ok(observed), Ok(afresh)) => {
                tally.compare(
                    &relations,
                    &entry,
                    &predicted,
                    &observed,
                    Some(&afresh),
                    &|row, taken| probe.is_asked_for(&entry, row, taken),
                );
            }
        }
    }
}

/// What the entry locks; or the error of the statement that fails.
pub fn observe(
    session: &Session,
    relations: &Relations,
    entry: &Entry,
) -> Result<Observation, String> {
    session.run("BEGIN");
    let observed = run(session, relations, entry);
    session.run("ROLLBACK");
    observed
}

fn run(session: &Session, relations: &Relations, entry: &Entry) -> Result<Observation, String> {
    let mut observed = Observation::default();
    for statement in entry.statements() {
        session
            .try_run(&statement)
            .map_err(|error| match error.as_db_error() {
                Some(error) => error.message().to_owned(),
                None => error.to_string(),
            })?;
        let after = relations.locks(&session.run(OWN_LOCKS));
        add_required(&mut observed, relations, &statement, &after);
        observed.taken = after;
    }
    Ok(observed)
}

/// Of the locks that the last statement added, those that it could be asked to foresee.
fn add_required(observed: &mut Observation, relations: &Relations, statement: &str, after: &Locks) {
    if is_opaque(statement) {
        return;
    }
    for (relation, modes) in after {
        let named = !is_planned(statement) || relations.is_named(*relation, statement);
        let before = observed.taken.get(relation);
        for mode in modes {
            // A foreign key that is checked locks so what it references, which nobody named for that.
            let checked = is_planned(statement)
                && *mode == Mode::ROW_SHARE
                && !statement.to_uppercase().contains("FOR ");
            if named && !checked && before.is_none_or(|before| !before.contains(mode)) {
                let required = observed.required.entry(*relation).or_default();
                required.insert(*mode);
            }
        }
    }
}
