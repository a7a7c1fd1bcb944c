//! What DDL on a relation locks with it: indexes, the TOAST table, partitions and children.

use crate::lock::RelationId;
use crate::pg::catalog;
use std::collections::HashSet;

const INDEX: u8 = b'i';
const PARTITIONED_INDEX: u8 = b'I';

/// The relations and all that belongs to them, each once, a parent before its children, and a table
/// before its TOAST table and indexes. Of an index also its table, which DROP INDEX locks.
///
/// Those that have gone meanwhile are left out.
pub fn closure(relations: &[RelationId]) -> Vec<RelationId> {
    let mut seen = HashSet::new();
    let mut found = vec![];
    for relation in relations {
        let Some(kind) = catalog::relation(*relation).map(|r| r.kind) else {
            continue;
        };
        let is_index = kind == INDEX || kind == PARTITIONED_INDEX;
        let family = match catalog::relation(*relation) {
            Some(r) if r.has_children => catalog::descendants(*relation),
            _ => vec![*relation],
        };
        if is_index {
            let tables: Vec<RelationId> = family
                .iter()
                .filter_map(|index| catalog::table_of_index(*index))
                .collect();
            found.extend(tables.into_iter().chain(family).filter(|r| seen.insert(*r)));
            continue;
        }
        for member in family {
            with_own_storage(member, &mut |r| {
                if seen.insert(r) {
                    found.push(r);
                }
            });
        }
    }
    found
}

/// A relation, its indexes, its TOAST table and that one's indexes.
fn with_own_storage(relation: RelationId, add: &mut impl FnMut(RelationId)) {
    let Some(facts) = catalog::relation(relation) else {
        return;
    };
    add(relation);
    if facts.has_indexes {
        catalog::indexes(relation).into_iter().for_each(&mut *add);
    }
    if let Some(toast) = facts.toast {
        add(toast);
        catalog::indexes(toast).into_iter().for_each(&mut *add);
    }
}
