//! Queries: the relations that they name and, where they run, those behind views.

use super::Plan;
use super::names::Found;
use super::reach::{self, VIEW};
use crate::ddl::{Naming, Reference};
use crate::lock::{LockMode, RelationId};
use crate::pg::depend;

impl Plan {
    pub(super) fn query(&mut self, references: &[Reference], runs: bool) {
        for (name, naming) in references {
            let mode = match naming {
                Naming::Relation(mode) => *mode,
                Naming::Constant(Some(mode)) if runs => *mode,
                Naming::Constant(_) => continue,
            };
            let Some(relation) = self.find(name) else {
                if runs {
                    self.behind(self.names.find(name));
                }
                continue;
            };
            self.lock(relation, mode, "named in the query");
            if runs && matches!(naming, Naming::Relation(_)) {
                self.behind_view(relation);
                let writes = mode == LockMode::RowExclusive;
                if writes {
                    self.rewritten(relation, mode, &mut vec![]);
                }
                self.set_off(relation, writes);
            }
        }
    }

    /// What the rules of a view, or of a materialized view, read: those that it has by then.
    pub(super) fn read_by_rules(&self, view: Found) -> Vec<Found> {
        match view {
            Found::Existing(view) => match self.replaced_views.get(&view) {
                Some(read) => read.clone(),
                None => depend::read_by_rules(view)
                    .into_iter()
                    .map(Found::Existing)
                    .collect(),
            },
            Found::Made(view) => self.names.read_by(view),
            Found::Missing => vec![],
        }
    }

    /// Those of it that exist, behind views that were made before too.
    pub(super) fn existing_read_by(&self, view: Found) -> Vec<RelationId> {
        let mut found = vec![];
        for read in self.read_by_rules(view) {
            match read {
                Found::Existing(relation) => found.push(relation),
                made => found.extend(self.existing_read_by(made)),
            }
        }
        found
    }

    /// The same of what a query names, for when it is read itself.
    pub(super) fn reads(&self, references: &[Reference]) -> Vec<Found> {
        let mut reads = vec![];
        let relations = references
            .iter()
            .filter(|(_, naming)| matches!(naming, Naming::Relation(_)));
        for (name, _) in relations {
            let found = self.names.find(name);
            if found != Found::Missing && !reads.contains(&found) {
                reads.push(found);
            }
        }
        reads
    }

    /// What a view reads is locked when a query on it is rewritten.
    fn behind_view(&mut self, relation: RelationId) {
        if reach::kind(relation) != VIEW {
            return;
        }
        self.behind(Found::Existing(relation));
    }

    fn behind(&mut self, view: Found) {
        for read in self.read_by_rules(view) {
            match read {
                Found::Existing(read) => {
                    self.lock(read, LockMode::AccessShare, read_by_view(view));
                    self.set_off(read, false);
                    self.behind_view(read);
                }
                read => self.behind(read),
            }
        }
    }
}

/// Why something is locked that a view reads.
pub fn read_by_view(view: Found) -> String {
    match view {
        Found::Existing(view) => format!("read by the view {}", reach::name(view)),
        _ => "read by a view that was made before".into(),
    }
}
