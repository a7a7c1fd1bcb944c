//! Relations by what all of them share: a tablespace, a schema, the whole database.

use super::catalog::relation;
use super::depend::catalog::CLASS;
use super::scan::{Index, rows};
use crate::ddl::Kind;
use crate::lock::RelationId;
use crate::server_text::ServerText;
use pgrx::pg_sys;

/// `pg_toast`
const TOAST_SCHEMA: u32 = 99;

const BY_OID: Index = Index {
    catalog: CLASS,
    index: 2662,
};

/// `pg_index` by the index.
const BY_INDEX: Index = Index {
    catalog: 2610,
    index: 2679,
};

/// A tablespace as `pg_class` has it: 0 for the database's own.
fn number(name: &ServerText) -> Option<u32> {
    let name = name.as_c_str();
    // SAFETY: a catalog look-up.
    let oid = unsafe { pg_sys::get_tablespace_oid(name.as_ptr(), true) };
    // SAFETY: set when the session starts.
    let own = unsafe { pg_sys::MyDatabaseTableSpace };
    match oid {
        pg_sys::InvalidOid => None,
        oid if oid == own => Some(0),
        oid => Some(oid.to_u32()),
    }
}

/// Whether a relation would have to move to get to that tablespace.
pub fn is_other(id: RelationId, name: &ServerText) -> bool {
    let now = relation(id).map(|facts| facts.tablespace);
    number(name) != now
}

/// Whether a table has another access method than that, or, with none, than the default.
pub fn is_other_access_method(id: RelationId, name: Option<&ServerText>) -> bool {
    // SAFETY: the setting is a C string; the rest is a catalog look-up.
    let method = unsafe {
        let name = match name {
            Some(name) => name.as_c_str().as_ptr(),
            None => pg_sys::default_table_access_method.cast_const(),
        };
        pg_sys::get_table_am_oid(name, true).to_u32()
    };
    relation(id).map(|facts| facts.access_method) != Some(method)
}

/// What ALTER … ALL IN TABLESPACE moves.
pub fn relations(
    from: &ServerText,
    to: &ServerText,
    kind: Kind,
    owners: &[u32],
) -> Vec<RelationId> {
    let (Some(from), Some(to)) = (number(from), number(to)) else {
        return vec![];
    };
    if from == to {
        return vec![];
    }
    let kinds: &[u8] = match kind {
        Kind::Index => b"iI",
        Kind::MaterializedView => b"m",
        _ => b"rp",
    };
    all()
        .into_iter()
        .filter(|id| {
            relation(*id).is_some_and(|facts| {
                facts.tablespace == from
                    && !facts.is_catalog
                    && facts.schema != TOAST_SCHEMA
                    && kinds.contains(&facts.kind)
                    && (owners.is_empty() || owners.contains(&facts.owner))
            })
        })
        .collect()
}

/// What VACUUM and ANALYZE without a table work through.
pub fn vacuumed() -> Vec<RelationId> {
    of_kinds(b"rmp")
}

/// What REINDEX of a schema, or of the database, works through.
pub fn reindexed(schema: Option<u32>) -> Vec<RelationId> {
    of_kinds(b"rm")
        .into_iter()
        .filter(|id| schema.is_none() || relation(*id).map(|facts| facts.schema) == schema)
        .collect()
}

/// What CLUSTER without a table works through.
pub fn clustered() -> Vec<RelationId> {
    let found = rows(BY_INDEX, &[], ["indrelid", "indisclustered"]);
    let marked = found.into_iter().filter(|[_, marked]| *marked != 0);
    marked.map(|[table, _]| table as u32).collect()
}

fn of_kinds(kinds: &[u8]) -> Vec<RelationId> {
    let is_one = |id: &RelationId| {
        relation(*id).is_some_and(|facts| !facts.is_catalog && kinds.contains(&facts.kind))
    };
    all().into_iter().filter(is_one).collect()
}

fn all() -> Vec<RelationId> {
    let found = rows(BY_OID, &[], ["oid"]);
    found.into_iter().map(|[id]| id as u32).collect()
}
