//! The comparison: what was predicted against what was taken, and the figures of both.

use std::fmt::Write;

use pg_test::{Row, Session};

use super::TOLERATED_EXCESS;
use super::corpus::Entry;
use super::relations::{Locks, OWN_LOCKS, Relations, number};
use crate::truth::mode::Mode;

/// A row of `locks_of` that names a relation and a mode.
pub struct Prediction {
    pub relation: u32,
    pub mode: Mode,
    pub reason: String,
}

/// What the server did with an entry.
#[derive(Default)]
pub struct Observation {
    /// Every lock that was taken.
    pub taken: Locks,
    /// Those of them that must be predicted.
    pub required: Locks,
}

/// The figures, and every difference.
pub struct Tally {
    what: &'static str,
    statements: usize,
    taken: usize,
    predicted: usize,
    failed: Vec<String>,
    missing: Vec<String>,
    excess: Vec<String>,
    /// How many of these nobody was seen to ask for.
    unexplained: usize,
    record: String,
}

/// What `locks_of` says of a script, asked in a transaction of its own; or its error.
///
/// # Panics
/// When it leaves a lock on a relation of the user's.
pub fn predict(
    session: &Session,
    relations: &Relations,
    entry: &Entry,
) -> Result<Vec<Prediction>, String> {
    let question = format!(
        "SELECT relation::oid AS relation, mode, reason FROM lockguard.locks_of($entry${}$entry$)",
        entry.text
    );
    session.run("BEGIN");
    let answer = session.try_run(&question);
    if answer.is_ok() {
        let left = relations.locks(&session.run(OWN_LOCKS));
        assert!(left.is_empty(), "locks_of left {left:?}:\n{}", entry.text);
    }
    session.run("ROLLBACK");
    let answer = answer.map_err(|error| match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => error.to_string(),
    })?;
    let prediction = |row: &Row| {
        let (relation, mode) = (number(row.get("relation")?), Mode::named(row.get("mode")?));
        let reason = row.get("reason").unwrap_or_default().to_owned();
        relations.0.contains_key(&relation).then_some(Prediction {
            relation,
            mode,
            reason,
        })
    };
    Ok(answer.iter().filter_map(prediction).collect())
}

impl Tally {
    /// Nothing yet.
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            statements: 0,
            taken: 0,
            predicted: 0,
            failed: vec![],
            missing: vec![],
            excess: vec![],
            unexplained: 0,
            record: String::new(),
        }
    }

    /// An entry about which there is nothing to compare, and why.
    pub fn fail(&mut self, entry: &Entry, why: &str) {
        self.failed.push(format!("{why}\n{}", indented(entry)));
    }

    /// Counts one entry, and keeps the differences. `afresh`: what a session locked for it that had nothing cached;
    /// `is_asked_for`: whether a lock that was not seen afterwards is asked for all the same.
    pub fn compare(
        &mut self,
        relations: &Relations,
        entry: &Entry,
        predicted: &[Prediction],
        observed: &Observation,
        afresh: Option<&Observation>,
        is_asked_for: &dyn Fn(&Prediction, &[Mode]) -> bool,
    ) {
        self.statements += entry.statements().len();
        self.predicted += predicted.len();
        self.taken += observed
            .taken
            .values()
            .map(|modes| modes.len())
            .sum::<usize>();
        let of_all = [Some(observed), afresh].into_iter().flatten();
        for (relation, modes) in of_all.flat_map(|one| &one.required) {
            for mode in modes {
                let of_it = || {
                    let rows = predicted.iter().filter(|row| row.relation == *relation);
                    rows.map(|row| row.mode)
                };
                if !covers(of_it(), *mode) {
                    let instead: Vec<Mode> = of_it().collect();
                    let name = relations.label(*relation);
                    let text = format!(
                        "{mode:?} on {name}, predicted {instead:?}\n{}",
                        indented(entry)
                    );
                    if !self.missing.contains(&text) {
                        self.missing.push(text);
                    }
                }
            }
        }
        for row in predicted {
            let by = |one: &Observation| -> Vec<Mode> {
                let modes = one.taken.get(&row.relation).into_iter().flatten();
                modes.copied().collect()
            };
            let taken = by(observed);
            if !covers(taken.iter().copied(), row.mode) {
                let is_taken_afresh =
                    afresh.is_some_and(|afresh| covers(by(afresh).into_iter(), row.mode));
                let cause = if is_taken_afresh {
                    "taken by a session that has nothing cached yet"
                } else if is_asked_for(row, &taken) {
                    "asked for, and let go of before the end"
                } else {
                    self.unexplained += 1;
                    known_cause(&row.reason)
                };
                let (mode, name, reason) = (row.mode, relations.label(row.relation), &row.reason);
                let text = format!(
                    "{mode:?} on {name}, taken {taken:?}, predicted because {reason:?}; {cause}\n{}",
                    indented(entry)
                );
                self.excess.push(text);
            }
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.record, "=== {}\n{}", entry.family, entry.text);
        for (relation, modes) in &observed.taken {
            let name = relations.label(*relation);
            let _ = writeln!(self.record, "  {modes:?} {name}");
        }
        self.record.push('\n');
    }

    /// Prints the figures and each difference.
    ///
    /// # Panics
    /// When there is anything missing, or too much in excess.
    pub fn report(&self) {
        if let Ok(path) = std::env::var("LOCKGUARD_DDL_RECORD") {
            let path = format!("{path}.{}", self.what);
            std::fs::write(&path, &self.record).unwrap();
        }
        let (missing, excess) = (self.missing.len(), self.excess.len());
        let part = excess as f64 / self.predicted.max(1) as f64;
        for (what, list) in [
            ("FAILED", &self.failed),
            ("MISSING", &self.missing),
            ("EXCESS", &self.excess),
        ] {
            for text in list {
                println!("  {what} {text}");
            }
        }
        println!(
            "  {}: {} statements, {} locks taken, {} predicted; {missing} missing or too weak, \
             {excess} not taken or too strong ({:.2} %), {} of them never asked for; {} entries failed",
            self.what,
            self.statements,
            self.taken,
            self.predicted,
            part * 100.0,
            self.unexplained,
            self.failed.len(),
        );
        assert!(self.statements > 0, "nothing was compared");
        assert!(self.failed.is_empty(), "entries failed: see above");
        assert!(missing == 0, "{missing} locks were not predicted");
        assert!(
            part < TOLERATED_EXCESS,
            "{excess} locks were predicted and not taken"
        );
    }
}

/// Why a lock is predicted that the server does not ask for, by the reason that is given for it.
fn known_cause(reason: &str) -> &'static str {
    let causes = [
        (
            "in a rule of",
            "the rule is for another event: which change of rows a query makes is not looked at",
        ),
        (
            "read by the view",
            "the view has a trigger that does something else instead",
        ),
        (
            "referenced by a foreign key that is dropped",
            "of a table that the script has made it is not known which of the keys locks so",
        ),
        (
            "type of a column of",
            "looked at for a moment where such a column is made, and let go of at once",
        ),
        (
            "inherits from",
            "the column is as it is to be already, which is found out below the first",
        ),
    ];
    let known = causes.iter().find(|(what, _)| reason.contains(what));
    known.map_or("the cause is not known", |(_, cause)| *cause)
}

/// Whether whoever conflicts with `mode` conflicts with one of `modes` too.
fn covers(modes: impl Iterator<Item = Mode> + Clone, mode: Mode) -> bool {
    Mode::all()
        .filter(|other| mode.conflicts_with(*other))
        .all(|other| modes.clone().any(|one| one.conflicts_with(other)))
}

fn indented(entry: &Entry) -> String {
    let lines = entry.text.lines().map(|line| format!("      {line}"));
    lines.collect::<Vec<_>>().join("\n")
}
