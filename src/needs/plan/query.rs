//! Queries: the relations that they name and, where they run, those behind views.

use super::Plan;
use super::names::Found;
use super::reach::{self, VIEW};
use crate::ddl::{Naming, Reference};
use crate::lock::{LockMode, RelationId};
use crate::pg::{depend, wait};
use std::collections::HashSet;

impl Plan {
    pub(super) fn query(&mut self, references: &[Reference], runs: bool) {
        let mut seen = HashSet::new();
        let mut rewritten = HashSet::new();
        for (name, naming) in references {
            let mode = match naming {
                Naming::Relation(mode) => *mode,
                Naming::Constant(Some(mode)) if runs => *mode,
                Naming::Constant(_) => continue,
            };
            let Some(relation) = self.find(name) else {
                if runs {
                    self.behind_view(self.names.find(name), &mut seen);
                }
                continue;
            };
            self.lock(relation, mode, "named in the query");
            if runs && matches!(naming, Naming::Relation(_)) {
                if reach::kind(relation) == VIEW {
                    self.behind_view(Found::Existing(relation), &mut seen);
                }
                let writes = mode == LockMode::RowExclusive;
                if writes {
                    self.rewritten(relation, mode, &mut rewritten);
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
        let mut seen = HashSet::from([view]);
        let mut left = self.read_by_rules(view);
        left.reverse();
        while let Some(read) = left.pop() {
            wait::answer_interrupts();
            match read {
                Found::Existing(relation) => found.push(relation),
                made if seen.insert(made) => {
                    left.extend(self.read_by_rules(made).into_iter().rev());
                }
                _ => (),
            }
        }
        found
    }

    /// The same of what a query names, for when it is read itself.
    pub(super) fn reads(&self, references: &[Reference]) -> Vec<Found> {
        let mut reads = vec![];
        let mut seen = HashSet::new();
        let relations = references
            .iter()
            .filter(|(_, naming)| matches!(naming, Naming::Relation(_)));
        for (name, _) in relations {
            let found = self.names.find(name);
            if found != Found::Missing && seen.insert(found) {
                reads.push(found);
            }
        }
        reads
    }

    /// What a view reads is locked when a query on it is rewritten.
    fn behind_view(&mut self, view: Found, seen: &mut HashSet<Found>) {
        self.each_behind(view, seen, |plan, view, read| {
            let Found::Existing(relation) = read else {
                return true;
            };
            plan.lock(relation, LockMode::AccessShare, read_by_view(view));
            plan.set_off(relation, false);
            reach::kind(relation) == VIEW
        });
    }

    /// Goes through what a view reads, in the order that the server gets to it: `each` is given a view and
    /// what it reads, and tells whether that is looked behind as well. Each view is looked behind once, but
    /// for those seen already: views may read each other, and many the same ones.
    pub(super) fn each_behind(
        &mut self,
        view: Found,
        seen: &mut HashSet<Found>,
        mut each: impl FnMut(&mut Plan, Found, Found) -> bool,
    ) {
        let mut left = vec![];
        let mut next = Some(view);
        while let Some(view) = next.take() {
            if seen.insert(view) {
                let reads = self.read_by_rules(view).into_iter().rev();
                left.extend(reads.map(|read| (view, read)));
            }
            while let Some((view, read)) = left.pop() {
                wait::answer_interrupts();
                if each(self, view, read) {
                    next = Some(read);
                    break;
                }
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
