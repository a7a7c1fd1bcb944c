//! Constraints: what `pg_constraint` says of them, and of foreign keys on both sides.

use super::depend::{NORMAL, catalog, dependencies, dependents};
use super::scan::{Index, rows};
use super::{columns, text};
use crate::ddl::Address;
use crate::lock::RelationId;
use crate::server_text::ServerText;
use pgrx::pg_sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraint {
    pub id: u32,
    /// `contype`
    pub kind: u8,
    /// The table that it is on; 0 for a domain's.
    pub table: RelationId,
    /// The table that a foreign key references.
    pub referenced: RelationId,
    /// The index that it needs.
    pub index: RelationId,
    /// The constraint of the partitioned table that it comes from.
    pub parent: u32,
    pub is_valid: bool,
    pub no_inherit: bool,
}

const COLUMNS: [&str; 8] = [
    "oid",
    "contype",
    "conrelid",
    "confrelid",
    "conindid",
    "conparentid",
    "convalidated",
    "connoinherit",
];

fn read(row: [u64; 8]) -> Constraint {
    let [
        id,
        kind,
        table,
        referenced,
        index,
        parent,
        is_valid,
        no_inherit,
    ] = row;
    Constraint {
        id: id as u32,
        kind: kind as u8,
        table: table as u32,
        referenced: referenced as u32,
        index: index as u32,
        parent: parent as u32,
        is_valid: is_valid as u8 != 0,
        no_inherit: no_inherit as u8 != 0,
    }
}

/// The constraints of a table.
pub fn on(table: RelationId) -> Vec<Constraint> {
    find(2665, ("conrelid", table))
}

pub fn constraint(id: u32) -> Option<Constraint> {
    find(2667, ("oid", id)).into_iter().next()
}

/// Those that a constraint of a partitioned table has on its partitions.
pub fn children(parent: u32) -> Vec<Constraint> {
    find(2579, ("conparentid", parent))
}

fn find(index: u32, key: (&'static str, u32)) -> Vec<Constraint> {
    let by = Index {
        catalog: catalog::CONSTRAINT,
        index,
    };
    let found = rows(by, &[key], COLUMNS);
    found.into_iter().map(read).collect()
}

/// The foreign keys that reference a table.
pub fn referencing(table: RelationId) -> Vec<Constraint> {
    let on = Address {
        class: catalog::CLASS,
        object: table,
        part: 0,
    };
    let mut found: Vec<Constraint> = vec![];
    for (by, _) in dependents(on) {
        if by.class != catalog::CONSTRAINT || found.iter().any(|known| known.id == by.object) {
            continue;
        }
        found.extend(constraint(by.object).filter(|c| c.kind == b'f' && c.referenced == table));
    }
    found
}

/// The columns of both sides of a foreign key, by name and in no order, and what else two of them must have in
/// common for one to become part of the other (`tryAttachPartitionForeignKey` in `tablecmds.c`).
pub fn foreign_key_traits(key: &Constraint) -> (Vec<(bool, ServerText)>, [u64; 5]) {
    let by = Index {
        catalog: catalog::CONSTRAINT,
        index: 2667,
    };
    let traits = [
        "condeferrable",
        "condeferred",
        "confupdtype",
        "confdeltype",
        "confmatchtype",
    ];
    let found = rows(by, &[("oid", key.id)], traits);
    let of = Address {
        class: catalog::CONSTRAINT,
        object: key.id,
        part: 0,
    };
    let mut columns: Vec<(bool, ServerText)> = dependencies(of)
        .into_iter()
        .filter(|(on, _)| on.class == catalog::CLASS && on.part != 0)
        .filter_map(|(on, kind)| {
            let name = columns::column_name(on.object, on.part.try_into().ok()?)?;
            // On those that are referenced it depends as one object does on another.
            Some((kind == NORMAL, name))
        })
        .collect();
    columns.sort_unstable();
    (columns, found.into_iter().next().unwrap_or_default())
}

/// A constraint's name, for reasons.
pub fn name(id: u32) -> String {
    server_name(id).for_people()
}

/// A constraint's name.
pub fn server_name(id: u32) -> ServerText {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::kept(pg_sys::get_constraint_name(pg_sys::Oid::from_u32(id))) }
        .unwrap_or_default()
}
