//! The one order in which locks are taken, so that two callers, or a caller and a query, do not take
//! the same locks in opposite orders.

use crate::lock::{Need, RelationId};
use crate::pg::{catalog, inheritance};
use std::collections::HashMap;

/// Above so many relations one scan of the whole of `pg_inherits` costs less than asking for each.
const MANY: usize = 50;

/// Tables before TOAST tables before indexes; of each kind parents before their children, as queries
/// lock them; then by OID. The place of a relation does not depend on the others.
pub fn lock_order(mut needs: Vec<Need>) -> Vec<Need> {
    let mut depths = Depths::default();
    if needs.len() > MANY {
        depths.parents = inheritance::parents(None);
        depths.knows_all = true;
    }
    needs.sort_by_cached_key(|Need { relation, .. }| {
        let kind = catalog::relation(*relation).map(|facts| facts.kind);
        let rank = match kind {
            Some(b'i' | b'I') => 2,
            Some(b't') => 1,
            _ => 0,
        };
        (rank, depths.of(*relation), *relation)
    });
    needs
}

/// How many generations of parents each relation has.
#[derive(Default)]
struct Depths {
    parents: HashMap<RelationId, Vec<RelationId>>,
    knows_all: bool,
    known: HashMap<RelationId, usize>,
}

impl Depths {
    fn of(&mut self, relation: RelationId) -> usize {
        if let Some(depth) = self.known.get(&relation) {
            return *depth;
        }
        // Inheritance has no cycles; should a catalog have one all the same, this is its end.
        self.known.insert(relation, 0);
        let depth = self
            .parents_of(relation)
            .into_iter()
            .map(|parent| self.of(parent) + 1)
            .max()
            .unwrap_or(0);
        self.known.insert(relation, depth);
        depth
    }

    fn parents_of(&mut self, relation: RelationId) -> Vec<RelationId> {
        match self.knows_all {
            true => self.parents.get(&relation).cloned().unwrap_or_default(),
            false => inheritance::parents(Some(relation))
                .remove(&relation)
                .unwrap_or_default(),
        }
    }
}
