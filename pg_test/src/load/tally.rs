//! How statements ended, by SQLSTATE, and which endings are by design.

use std::collections::BTreeMap;
use std::fmt;

use postgres::Error;

/// Whose statement it is: each has its own list of errors that are by design.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    BlockersOf,
    LocksOf,
    Preempt,
    /// DDL and the statements of a transaction, also in guard mode.
    Ddl,
    Application,
    /// Of a session that a policy names: it may be ended at any moment.
    Maintenance,
}

/// What the functions' contract knows, and a cancel. A schema that is not there is the name's own error.
const OF_CALLS: &[&str] = &[
    "22023", "22004", "42P01", "42501", "55P03", "40P01", "42601", "57014", "3F000",
];

/// What DDL on names that come and go ends with, beside the above.
const OF_DDL: &[&str] = &[
    "40001", "42P07", "42704", "42703", "42701", "42710", "2BP01", "42P16", "42P17", "42809",
    "42804", "42830", "23505", "23503", "23514", "55000", "55006",
];

/// A transaction that the application lost to the server's own deadlock detector.
const OF_APPLICATION: &[&str] = &["40P01"];

/// A session that is terminated hears this, if it hears anything.
const TERMINATED: &str = "57P01";

/// PostgreSQL's own words for DDL beside DDL on the same object, all of them with SQLSTATE XX000.
const RACES: &[&str] = &[
    "tuple concurrently updated",
    "tuple concurrently deleted",
    "cache lookup failed for",
    "could not open relation with OID",
    "could not find tuple for",
];

impl Kind {
    fn allows(self, code: &str, message: &str) -> bool {
        let is_of = |lists: &[&[&str]]| lists.iter().any(|list| list.contains(&code));
        match self {
            Kind::BlockersOf | Kind::LocksOf | Kind::Preempt => is_of(&[OF_CALLS]),
            Kind::Application => is_of(&[OF_APPLICATION]),
            Kind::Ddl => is_of(&[OF_CALLS, OF_DDL]) || is_race(code, message),
            Kind::Maintenance => {
                code == TERMINATED || is_of(&[OF_CALLS, OF_DDL]) || is_race(code, message)
            }
        }
    }
}

fn is_race(code: &str, message: &str) -> bool {
    code == "XX000" && RACES.iter().any(|words| message.starts_with(words))
}

/// Whether a line of the server log with this SQLSTATE is by design, whoever's it is.
pub fn is_designed(code: &str, message: &str) -> bool {
    Kind::Maintenance.allows(code, message)
}

/// Counts of endings, and what must not have been.
#[derive(Default)]
pub struct Tally {
    counts: BTreeMap<(Kind, String), u64>,
    complaints: Vec<String>,
}

impl Tally {
    /// Takes in how a statement ended; says whether it ended well.
    pub fn note<T>(&mut self, kind: Kind, sql: &str, outcome: &Result<T, Error>) -> bool {
        let code = match outcome {
            Ok(_) => "well".to_owned(),
            Err(error) => match error.as_db_error() {
                Some(told) => {
                    let code = told.code().code();
                    if !kind.allows(code, told.message()) {
                        self.complain(format!("{kind:?}: {code} {}: {sql}", told.message()));
                    }
                    code.to_owned()
                }
                None => {
                    if kind != Kind::Maintenance {
                        self.complain(format!("{kind:?}: no answer ({error}): {sql}"));
                    }
                    "lost".to_owned()
                }
            },
        };
        *self.counts.entry((kind, code)).or_default() += 1;
        outcome.is_ok()
    }

    /// Something that is not by design.
    pub fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    pub fn add(&mut self, other: Tally) {
        for (key, count) in other.counts {
            *self.counts.entry(key).or_default() += count;
        }
        self.complaints.extend(other.complaints);
    }

    /// What must not have been.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// How often a statement of this kind ended so: `well`, `lost`, or an SQLSTATE.
    pub fn count(&self, kind: Kind, ending: &str) -> u64 {
        let key = (kind, ending.to_owned());
        self.counts.get(&key).copied().unwrap_or_default()
    }

    /// For each kind, its name and its endings: `well 400, 55P03 20`.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
        for ((kind, code), count) in &self.counts {
            lines
                .entry(*kind)
                .or_default()
                .push(format!("{code} {count}"));
        }
        let named = lines.into_iter();
        named
            .map(|(kind, endings)| (kind.to_string(), endings.join(", ")))
            .collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::BlockersOf => "blockers_of",
            Kind::LocksOf => "locks_of",
            Kind::Preempt => "preempt_maintenance",
            Kind::Ddl => "DDL and transactions",
            Kind::Application => "the application",
            Kind::Maintenance => "maintenance",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_is_by_design_of_ddl_alone_and_in_known_words() {
        assert!(Kind::Ddl.allows("XX000", "tuple concurrently updated"));
        assert!(!Kind::Ddl.allows("XX000", "unexpected chunk"));
        assert!(!Kind::Preempt.allows("XX000", "tuple concurrently updated"));
    }

    #[test]
    fn only_maintenance_may_be_ended() {
        assert!(Kind::Maintenance.allows(TERMINATED, ""));
        assert!(!Kind::Ddl.allows(TERMINATED, ""));
    }
}
