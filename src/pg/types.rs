//! Types: which one a name means, and which relations are behind it.

use super::columns::column_types;
use super::scan::{Index, rows};
use super::{cached, catalog, text};
use crate::lock::RelationId;
use crate::server_text::ServerText;
use pgrx::pg_sys;

/// The type of that name in a schema.
pub fn type_in(schema: &ServerText, name: &ServerText) -> Option<u32> {
    let schema = pg_sys::Oid::from_u32(catalog::schema(schema)?);
    // SAFETY: a catalog look-up by a name that is copied.
    let oid = unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(name.as_c_str().as_ptr()),
            schema.into(),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// The schema of a type.
pub fn schema_of_type(type_id: u32) -> Option<ServerText> {
    let schema = facts(type_id, |facts| facts.typnamespace)?;
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::kept(pg_sys::get_namespace_name(schema)) }
}

/// Whether values of a domain may not be null.
pub fn is_not_null(domain: u32) -> bool {
    facts(domain, |facts| facts.typnotnull).unwrap_or(false)
}

/// Whether a type is a domain with constraints, its own or those of a domain that it is made of. The server's
/// own answer to that comes with the constraints planned, which calls functions that they name.
pub fn has_constraints(type_id: u32) -> bool {
    /// `pg_constraint`, by the type.
    const CONSTRAINTS: Index = Index {
        catalog: 2606,
        index: 2666,
    };
    let domain = |type_id| {
        let read = |facts: &pg_sys::FormData_pg_type| {
            let is_domain = facts.typtype as u8 == pg_sys::TYPTYPE_DOMAIN;
            is_domain.then_some((facts.typbasetype.to_u32(), facts.typnotnull))
        };
        facts(type_id, read).flatten()
    };
    let mut next = type_id;
    while let Some((base, not_null)) = domain(next) {
        let constraints = rows(CONSTRAINTS, &[("contypid", next)], ["contype"]);
        let mut kinds = constraints.into_iter().map(|[kind]| kind as u8);
        if not_null || kinds.any(|kind| kind == b'c') {
            return true;
        }
        next = base;
    }
    false
}

/// Reads the row of `pg_type` with that OID; none if there is none.
fn facts<R>(id: u32, read: impl FnOnce(&pg_sys::FormData_pg_type) -> R) -> Option<R> {
    // SAFETY: the cache of `pg_type`.
    unsafe {
        cached::row(pg_sys::SysCacheIdentifier::TYPEOID, id, |facts, _| {
            read(facts)
        })
    }
}

/// The relation whose rows a type is of; none for other types.
pub fn relation_of_type(type_id: u32) -> Option<RelationId> {
    // SAFETY: a catalog look-up that answers 0 for other types.
    let relation = unsafe { pg_sys::get_typ_typrelid(pg_sys::Oid::from_u32(type_id)) };
    (relation != pg_sys::InvalidOid).then(|| relation.to_u32())
}

/// The relations of the composite types that a type is made of: itself, its base, its elements, their
/// columns (`CheckAttributeType` in `heap.c`).
pub fn composites_of_type(type_id: u32) -> Vec<RelationId> {
    let mut found = vec![];
    let mut left = vec![type_id];
    while let Some(next) = left.pop() {
        // SAFETY: catalog look-ups that answer 0 for what there is none of.
        let (base, element, range) = unsafe {
            let base = pg_sys::getBaseType(pg_sys::Oid::from_u32(next));
            (
                base.to_u32(),
                pg_sys::get_element_type(base).to_u32(),
                pg_sys::get_range_subtype(base).to_u32(),
            )
        };
        left.extend([element, range].into_iter().filter(|part| *part != 0));
        if let Some(composite) = relation_of_type(base)
            && !found.contains(&composite)
        {
            found.push(composite);
            left.extend(column_types(composite));
        }
    }
    found
}
