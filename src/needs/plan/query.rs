//! Queries: the relations that they name and, where they run, those behind views.

use super::Plan;
use super::reach::{self, VIEW};
use crate::ddl::Reference;
use crate::lock::{LockMode, RelationId};
use crate::pg::depend;

impl Plan {
    pub(super) fn query(&mut self, references: &[Reference], runs: bool) {
        for (name, mode) in references {
            let Some(relation) = self.find(name) else {
                continue;
            };
            self.lock(relation, *mode, "named in the query");
            if runs {
                self.behind_view(relation, *mode);
                self.set_off(relation, *mode == LockMode::RowExclusive);
            }
        }
    }

    /// What the rules of a view, or of a materialized view, read: those that it has by then.
    pub(super) fn read_by_rules(&self, view: RelationId) -> Vec<RelationId> {
        match self.replaced_views.get(&view) {
            Some(read) => read.clone(),
            None => depend::read_by_rules(view),
        }
    }

    /// What a view reads is locked when a query on it is rewritten.
    fn behind_view(&mut self, relation: u32, _mode: LockMode) {
        if reach::kind(relation) != VIEW {
            return;
        }
        for read in self.read_by_rules(relation) {
            let why = format!("read by the view {}", reach::name(relation));
            self.lock(read, LockMode::AccessShare, why);
            self.set_off(read, false);
            self.behind_view(read, LockMode::AccessShare);
        }
    }
}
