//! Queries: the relations that they name and, where they run, those behind views.

use super::Plan;
use super::reach::{self, VIEW};
use crate::ddl::Reference;
use crate::lock::LockMode;
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
            }
        }
    }

    /// What a view reads is locked when a query on it is rewritten.
    fn behind_view(&mut self, relation: u32, _mode: LockMode) {
        if reach::kind(relation) != VIEW {
            return;
        }
        for read in depend::read_by_rules(relation) {
            let why = format!("read by the view {}", reach::name(relation));
            self.lock(read, LockMode::AccessShare, why);
            self.behind_view(read, LockMode::AccessShare);
        }
    }
}
