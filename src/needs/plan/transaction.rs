//! Transactions within a script: with what is rolled back goes what it had made, renamed or dropped.
//!
//! A script may run statement by statement or as one message: outside BEGIN and COMMIT, ROLLBACK is taken
//! for the former, where it undoes nothing.

use super::Plan;
use crate::ddl::Transaction;
use crate::pg::settings;
use crate::server_text::ServerText;
use crate::undo::{Point, Undo};
use std::rc::Rc;

/// Where a transaction or a savepoint in it began.
pub struct Saved {
    /// None for the beginning of the transaction.
    savepoint: Option<ServerText>,
    /// Of each of [`Plan::kept`].
    points: Vec<Point>,
    search_path: Rc<ServerText>,
    checks_bodies: bool,
}

impl Plan {
    pub(super) fn transaction(&mut self, step: &Transaction) {
        match step {
            Transaction::Begin if self.saved.is_empty() => self.save(None),
            Transaction::Begin => (),
            Transaction::Commit { chain } => self.end(*chain),
            Transaction::Rollback { chain } => {
                self.restore(0);
                self.end(*chain);
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
                    self.restore(at);
                    self.saved.truncate(at + 1);
                }
            }
        }
    }

    fn end(&mut self, chain: bool) {
        let was_open = !self.saved.is_empty();
        self.saved.clear();
        self.kept().into_iter().for_each(Undo::forget_points);
        if chain && was_open {
            self.save(None);
        }
    }

    /// The last one of that name.
    fn savepoint(&self, name: &ServerText) -> Option<usize> {
        self.saved
            .iter()
            .rposition(|saved| saved.savepoint.as_ref() == Some(name))
    }

    fn save(&mut self, savepoint: Option<&ServerText>) {
        let search_path = settings::search_path_setting();
        let search_path = match self.saved.last() {
            Some(last) if *last.search_path == search_path => Rc::clone(&last.search_path),
            _ => Rc::new(search_path),
        };
        let points = self.kept().into_iter().map(Undo::point).collect();
        self.saved.push(Saved {
            savepoint: savepoint.cloned(),
            points,
            search_path,
            checks_bodies: settings::checks_bodies(),
        });
    }

    /// All is as it was there, if there was something.
    fn restore(&mut self, at: usize) {
        let Some(saved) = self.saved.get(at) else {
            return;
        };
        let points = saved.points.clone();
        settings::set_search_path(&saved.search_path);
        settings::set_checks_of_bodies(Some(saved.checks_bodies));
        for (kept, point) in self.kept().into_iter().zip(points) {
            kept.go_back(point);
        }
    }

    /// What a rollback brings back.
    fn kept(&mut self) -> Vec<&mut dyn Undo> {
        let mut all: Vec<&mut dyn Undo> = vec![
            &mut self.made_keys,
            &mut self.lost_columns,
            &mut self.retyped,
            &mut self.gone,
            &mut self.parted,
            &mut self.renamed_parts,
            &mut self.replaced_views,
            &mut self.made_triggers,
            &mut self.handed,
            &mut self.made,
        ];
        all.extend(self.names.kept());
        all.extend(self.types.kept());
        all
    }
}
