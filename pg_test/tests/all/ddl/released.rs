//! Locks that a statement asks for and lets go of before it ends: nobody sees them afterwards, but whoever holds the
//! relation holds up the statement.

use pg_test::{Database, Session, SessionOptions};

use super::corpus::Entry;
use super::holders::Holder;
use super::inside::observe;
use super::judge::Prediction;
use super::relations::Relations;
use crate::truth::mode::Mode;

/// How long a statement waits before it counts as held up.
const PATIENCE: &str = "150ms";

/// Holds relations that were predicted and not seen to be locked, and tries the statements again.
pub struct Probe<'a> {
    database: &'a Database,
    relations: &'a Relations,
}

impl<'a> Probe<'a> {
    pub fn new(database: &'a Database, relations: &'a Relations) -> Self {
        Self {
            database,
            relations,
        }
    }

    /// Whether the entry asks for that lock. `taken`: the modes that it was seen to hold the relation in.
    pub fn is_asked_for(&self, entry: &Entry, row: &Prediction, taken: &[Mode]) -> bool {
        let Some(relation) = self.relations.0.get(&row.relation) else {
            return false;
        };
        let tells = |mode: &Mode| {
            mode.conflicts_with(row.mode) && !taken.iter().any(|taken| mode.conflicts_with(*taken))
        };
        let Some(mode) = Mode::all().find(tells) else {
            return false;
        };
        let Some(_holder) = Holder::of_mode(self.database, row.relation, relation, mode) else {
            return false;
        };
        match observe(&self.impatient_session(), self.relations, entry) {
            Ok(_) => false,
            Err(error) => error == "canceling statement due to lock timeout",
        }
    }

    fn impatient_session(&self) -> Session {
        let options = SessionOptions::named("impatient")
            .set("client_min_messages", "error")
            .set("lock_timeout", PATIENCE);
        self.database.connect(options).unwrap()
    }
}
