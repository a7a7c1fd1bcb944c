//! Who inherits from whom, partitions above all.

use super::compat::unbound;
use super::scan::{Index, rows};
use crate::lock::RelationId;
use pgrx::pg_sys;
use std::collections::HashMap;

/// The relation itself and all that inherit from it, partitions above all, at any depth.
pub fn descendants(relation: RelationId) -> Vec<RelationId> {
    // SAFETY: with NoLock it only reads pg_inherits. The list is of OIDs, in the current memory
    // context, and freed: a tree may have thousands.
    unsafe {
        let list = unbound::find_all_inheritors(
            pg_sys::Oid::from_u32(relation),
            pg_sys::NoLock as pg_sys::LOCKMODE,
        );
        if list.is_null() {
            return vec![relation];
        }
        let found = (0..(*list).length)
            .map(|i| (*(*list).elements.add(i as usize)).oid_value.to_u32())
            .collect();
        pg_sys::list_free(list);
        found
    }
}

const INHERITS: u32 = 2611;

/// Those that inherit directly from a relation.
pub fn children(relation: RelationId) -> Vec<RelationId> {
    let by = Index {
        catalog: INHERITS,
        index: 2187,
    };
    let found = rows(by, &[("inhparent", relation)], ["inhrelid"]);
    found.into_iter().map(|[id]| id as u32).collect()
}

/// The direct parents of a relation, or of every relation that has any.
pub fn parents(of: Option<RelationId>) -> HashMap<RelationId, Vec<RelationId>> {
    let by = Index {
        catalog: INHERITS,
        index: 2680,
    };
    let key: Vec<_> = of.iter().map(|child| ("inhrelid", *child)).collect();
    let mut found: HashMap<RelationId, Vec<RelationId>> = HashMap::new();
    for [child, parent] in rows(by, &key, ["inhrelid", "inhparent"]) {
        found.entry(child as u32).or_default().push(parent as u32);
    }
    found
}
