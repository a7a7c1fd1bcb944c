//! Whether an index that a partition has will do where its parent gets one.

use super::{cached, catalog, columns, text};
use crate::ddl::IndexShape;
use crate::lock::RelationId;
use crate::server_text::ServerText;
use pgrx::pg_sys;
use std::collections::BTreeSet;
use std::str::FromStr;

/// What `pg_index` and `pg_class` say of an index.
struct Facts {
    method: u32,
    is_unique: bool,
    excludes: bool,
    /// The numbers of its columns, those of INCLUDE last; 0 for an expression.
    columns: Vec<i16>,
    /// Of its keys alone.
    collations: Vec<u32>,
    families: Vec<u32>,
    /// Its expressions and its condition, as the server keeps them.
    expressions: Option<String>,
    condition: Option<String>,
}

/// Whether the index, which is one of that table, is such a one (`CompareIndexInfo` in `index.c`). Of
/// expressions only the columns that they name and the functions that they call are compared.
pub fn will_do(index: RelationId, table: RelationId, shape: &IndexShape) -> bool {
    let Some(facts) = facts(index) else {
        return false;
    };
    let number = |name: &ServerText| columns::column(table, name).map_or(0, |column| column.number);
    let keys = shape.keys.iter().map(|key| key.column.as_ref());
    let columns: Vec<i16> = keys
        .chain(shape.included.iter().map(Some))
        .map(|column| column.map_or(0, number))
        .collect();
    let is_alike = facts.method == shape.method
        && facts.is_unique == shape.unique
        && !facts.excludes
        && facts.columns == columns
        && facts.collations.len() == shape.keys.len()
        && facts.condition.is_some() == shape.is_partial;
    if !is_alike {
        return false;
    }
    for (at, key) in shape.keys.iter().enumerate() {
        let column = key.column.as_ref();
        let column = column.and_then(|name| columns::column(table, name));
        let collation = key
            .collation
            .or(column.map(|column| column.collation.to_u32()));
        let family = key
            .family
            .or_else(|| default_family(column?.type_id, shape.method));
        if collation.is_some_and(|collation| Some(&collation) != facts.collations.get(at))
            || family.is_some_and(|family| Some(&family) != facts.families.get(at))
        {
            return false;
        }
    }
    let kept = [facts.expressions, facts.condition];
    let kept: String = kept.into_iter().flatten().collect();
    let named: BTreeSet<i16> = shape.columns.iter().map(number).collect();
    let called: BTreeSet<&ServerText> = shape.functions.iter().collect();
    numbers(&kept, ":varattno ").collect::<BTreeSet<i16>>() == named
        && functions(&kept).iter().collect::<BTreeSet<_>>() == called
}

fn facts(index: RelationId) -> Option<Facts> {
    let method = catalog::relation(index)?.access_method;
    let cache = pg_sys::SysCacheIdentifier::INDEXRELID;
    let read = |row: &pg_sys::FormData_pg_index, tuple| {
        let attribute = |number: u32| {
            let mut is_null = true;
            let number = number as pg_sys::AttrNumber;
            // SAFETY: a column of that catalog.
            let datum =
                unsafe { pg_sys::SysCacheGetAttr(cache as i32, tuple, number, &mut is_null) };
            (!is_null).then_some(datum)
        };
        let keys = row.indnkeyatts as usize;
        let oids = |number: u32| -> Vec<pg_sys::Oid> {
            let vector = attribute(number).map(|datum| datum.cast_mut_ptr::<pg_sys::oidvector>());
            // SAFETY: collations and classes are never null, and have as many elements as there are keys.
            vector.map_or(vec![], |vector| unsafe {
                (*vector).values.as_slice(keys).to_vec()
            })
        };
        let tree = |number: u32| {
            let datum = attribute(number)?;
            // SAFETY: it is of that type, and read before the row is released.
            unsafe { text::from_server(pg_sys::text_to_cstring(datum.cast_mut_ptr())) }
        };
        let classes = oids(pg_sys::Anum_pg_index_indclass).into_iter();
        Facts {
            method,
            is_unique: row.indisunique,
            excludes: row.indisexclusion,
            // SAFETY: there are as many columns.
            columns: unsafe { row.indkey.values.as_slice(row.indnatts as usize) }.to_vec(),
            collations: oids(pg_sys::Anum_pg_index_indcollation)
                .into_iter()
                .map(pg_sys::Oid::to_u32)
                .collect(),
            families: classes
                // SAFETY: a catalog look-up.
                .map(|class| unsafe { pg_sys::get_opclass_family(class) }.to_u32())
                .collect(),
            expressions: tree(pg_sys::Anum_pg_index_indexprs),
            condition: tree(pg_sys::Anum_pg_index_indpred),
        }
    };
    // SAFETY: the cache of `pg_index`.
    unsafe { cached::row(cache, index, read) }
}

/// The operator family that an access method has for a type, where no operator class is given.
fn default_family(type_id: pg_sys::Oid, method: u32) -> Option<u32> {
    // SAFETY: catalog look-ups; there is no class where none is found.
    unsafe {
        let class = pg_sys::GetDefaultOpClass(type_id, pg_sys::Oid::from_u32(method));
        (class != pg_sys::InvalidOid).then(|| pg_sys::get_opclass_family(class).to_u32())
    }
}

/// The numbers that follow a label in an expression as the server keeps it.
fn numbers<T: FromStr>(kept: &str, label: &str) -> impl Iterator<Item = T> {
    let parts = kept.split(label).skip(1);
    parts.filter_map(|part| part.split([' ', '}']).next()?.parse().ok())
}

/// The names of the functions that such an expression calls, but for casts.
fn functions(kept: &str) -> Vec<ServerText> {
    let mut called = vec![];
    for part in kept.split(":funcid ").skip(1) {
        let function: Option<u32> = part.split(' ').next().and_then(|oid| oid.parse().ok());
        let form: Option<u32> = numbers(part, ":funcformat ").next();
        let is_cast = form.is_some_and(|form| {
            form == pg_sys::CoercionForm::COERCE_EXPLICIT_CAST
                || form == pg_sys::CoercionForm::COERCE_IMPLICIT_CAST
        });
        if let (Some(function), false) = (function, is_cast) {
            // SAFETY: a catalog look-up that answers null for an unknown OID.
            let name =
                unsafe { text::kept(pg_sys::get_func_name(pg_sys::Oid::from_u32(function))) };
            called.extend(name);
        }
    }
    called
}
