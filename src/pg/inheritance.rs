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

/// Those that inherit directly from a relation.
pub fn children(relation: RelationId) -> Vec<RelationId> {
    let by = Index {
        catalog: unbound::INHERITS.to_u32(),
        index: 2187,
    };
    let found = rows(by, &[("inhparent", relation)], ["inhrelid"]);
    found.into_iter().map(|[id]| id as u32).collect()
}

/// The direct parents of a relation, or of every relation that has any.
pub fn parents(of: Option<RelationId>) -> HashMap<RelationId, Vec<RelationId>> {
    let mut found: HashMap<RelationId, Vec<RelationId>> = HashMap::new();
    // SAFETY: a scan of pg_inherits, by its index on the child's OID where one is given, opened and
    // closed here. The tuple is read before the next is fetched; both columns are of fixed length
    // and never null.
    unsafe {
        let mut key = pg_sys::ScanKeyData::default();
        pg_sys::ScanKeyInit(
            &mut key,
            unbound::INHERITS_CHILD,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from_u32(pg_sys::F_OIDEQ),
            pg_sys::Oid::from_u32(of.unwrap_or_default()).into(),
        );
        let catalog = pg_sys::table_open(
            unbound::INHERITS,
            pg_sys::AccessShareLock as pg_sys::LOCKMODE,
        );
        let scan = pg_sys::systable_beginscan(
            catalog,
            unbound::INHERITS_BY_CHILD,
            of.is_some(),
            std::ptr::null_mut(),
            i32::from(of.is_some()),
            &mut key,
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let row: *const unbound::Inherits = pg_sys::GETSTRUCT(tuple).cast_const().cast();
            found
                .entry((*row).child.to_u32())
                .or_default()
                .push((*row).parent.to_u32());
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    }
    found
}
