//! Transactions within a script: with what is rolled back goes what it had made, renamed or dropped.
//!
//! A script may run statement by statement or as one message: outside BEGIN and COMMIT, ROLLBACK is taken
//! for the former, where it undoes nothing.

use super::Plan;
use super::deletion::Handed;
use super::foreign_key::MadeKey;
use super::names::{Found, Names};
use crate::ddl::{Address, Transaction};
use crate::lock::RelationId;
use crate::pg::parser::TypeChanges;
use crate::pg::settings;
use std::collections::{HashMap, HashSet};

/// What a rollback brings back.
#[derive(Clone)]
pub struct Saved {
    /// None for the beginning of the transaction.
    savepoint: Option<String>,
    names: Names,
    made_keys: Vec<MadeKey>,
    parted: Vec<(RelationId, RelationId)>,
    lost_columns: Vec<(RelationId, String)>,
    retyped: Vec<(RelationId, String)>,
    gone: HashSet<Address>,
    renamed_parts: HashMap<(u32, RelationId, String), String>,
    replaced_views: HashMap<RelationId, Vec<Found>>,
    made_triggers: Vec<(RelationId, Option<Address>)>,
    made: Vec<(Address, Address, u8)>,
    handed: Vec<(Handed, u32)>,
    search_path: String,
    types: TypeChanges,
}

impl Plan {
    pub(super) fn transaction(&mut self, step: &Transaction) {
        match step {
            Transaction::Begin if self.saved.is_empty() => self.save(None),
            Transaction::Begin => (),
            Transaction::Commit { chain } => self.end(*chain),
            Transaction::Rollback { chain } => {
                if let Some(beginning) = self.saved.first().cloned() {
                    self.restore(beginning);
                    self.end(*chain);
                }
            }
            Transaction::Savepoint(name) if !self.saved.is_empty() => self.save(Some(name)),
            Transaction::Savepoint(_) => (),
            Transaction::Release(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.saved.truncate(at);
                }
            }
            Transaction::RollbackTo(name) => {
                if let Some(at) = self.savepoint(name) {
                    self.restore(self.saved[at].clone());
                    self.saved.truncate(at + 1);
                }
            }
        }
    }

    fn end(&mut self, chain: bool) {
        let was_open = !self.saved.is_empty();
        self.saved.clear();
        if chain && was_open {
            self.save(None);
        }
    }

    /// The last one of that name.
    fn savepoint(&self, name: &str) -> Option<usize> {
        self.saved
            .iter()
            .rposition(|saved| saved.savepoint.as_deref() == Some(name))
    }

    fn save(&mut self, savepoint: Option<&String>) {
        self.saved.push(Saved {
            savepoint: savepoint.cloned(),
            names: self.names.clone(),
            made_keys: self.made_keys.clone(),
            parted: self.parted.clone(),
            lost_columns: self.lost_columns.clone(),
            retyped: self.retyped.clone(),
            gone: self.gone.clone(),
            renamed_parts: self.renamed_parts.clone(),
            replaced_views: self.replaced_views.clone(),
            made_triggers: self.made_triggers.clone(),
            made: self.made.clone(),
            handed: self.handed.clone(),
            search_path: settings::search_path_setting(),
            types: TypeChanges::so_far(),
        });
    }

    fn restore(&mut self, saved: Saved) {
        self.names = saved.names;
        self.made_keys = saved.made_keys;
        self.parted = saved.parted;
        self.lost_columns = saved.lost_columns;
        self.retyped = saved.retyped;
        self.gone = saved.gone;
        self.renamed_parts = saved.renamed_parts;
        self.replaced_views = saved.replaced_views;
        self.made_triggers = saved.made_triggers;
        self.made = saved.made;
        self.handed = saved.handed;
        settings::set_search_path(&saved.search_path);
        saved.types.restore();
    }
}
