//! What DDL on a relation locks with it: indexes, the TOAST table, partitions and children.

use crate::lock::RelationId;
use crate::pg::{catalog, inheritance, wait};
use std::collections::HashSet;

const INDEX: u8 = b'i';
const PARTITIONED_INDEX: u8 = b'I';

/// The relations and all that belongs to them, each once, a parent before its children, and a table
/// before its TOAST table and indexes. Of an index also its table, which DROP INDEX locks.
///
/// Those that have gone meanwhile are left out.
pub fn closure(relations: &[RelationId]) -> Vec<RelationId> {
    let mut found = Ordered::default();
    // Named again, or below one that was named, a relation is not looked at again.
    let mut expanded = HashSet::new();
    for relation in relations {
        if !expanded.insert(*relation) {
            continue;
        }
        let Some(facts) = catalog::relation(*relation) else {
            continue;
        };
        let family = match facts.has_children {
            true => inheritance::descendants(*relation),
            false => vec![*relation],
        };
        if facts.kind == INDEX || facts.kind == PARTITIONED_INDEX {
            let tables = family
                .iter()
                .filter_map(|index| catalog::table_of_index(*index));
            tables.for_each(|table| found.add(table));
            family.into_iter().for_each(|index| found.add(index));
            continue;
        }
        for member in family {
            wait::answer_interrupts();
            if member == *relation || expanded.insert(member) {
                with_own_storage(member, &mut found);
            }
        }
    }
    found.relations
}

/// Relations in the order in which they were first added.
#[derive(Default)]
struct Ordered {
    relations: Vec<RelationId>,
    seen: HashSet<RelationId>,
}

impl Ordered {
    fn add(&mut self, relation: RelationId) {
        if self.seen.insert(relation) {
            self.relations.push(relation);
        }
    }
}

/// A relation, its indexes, its TOAST table and that one's indexes.
fn with_own_storage(relation: RelationId, found: &mut Ordered) {
    let Some(facts) = catalog::relation(relation) else {
        return;
    };
    found.add(relation);
    if facts.has_indexes {
        catalog::indexes(relation)
            .into_iter()
            .for_each(|index| found.add(index));
    }
    if let Some(toast) = facts.toast {
        found.add(toast);
        catalog::indexes(toast)
            .into_iter()
            .for_each(|index| found.add(index));
    }
}
