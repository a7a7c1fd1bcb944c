//! The one order in which locks are taken, so that two callers, or a caller and a query, do not take
//! the same locks in opposite orders.

use crate::lock::{Need, RelationId};
use crate::pg::{catalog, inheritance, wait};
use std::collections::{HashMap, HashSet};

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
    /// However deep that is: whoever may make a temporary table makes tens of thousands of generations.
    fn of(&mut self, relation: RelationId) -> usize {
        if let Some(depth) = self.known.get(&relation) {
            return *depth;
        }
        // From the relation upwards: each stays until all of its parents are known. Inheritance has no
        // cycles; should a catalog have one all the same, nobody is entered twice.
        let mut entered = HashSet::from([relation]);
        let mut left = vec![(relation, self.parents_of(relation))];
        while let Some((at, parents)) = left.last() {
            wait::answer_interrupts();
            let is_new = |parent: &&RelationId| {
                !self.known.contains_key(*parent) && !entered.contains(*parent)
            };
            if let Some(parent) = parents.iter().find(is_new).copied() {
                entered.insert(parent);
                left.push((parent, self.parents_of(parent)));
                continue;
            }
            let depths = parents.iter().filter_map(|parent| self.known.get(parent));
            let depth = depths.max().map_or(0, |depth| depth + 1);
            self.known.insert(*at, depth);
            left.pop();
        }
        self.known.get(&relation).copied().unwrap_or(0)
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
