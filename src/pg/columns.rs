//! Columns: what `pg_attribute` says of one, by its name or its number.

use super::scan::{Index, rows};
use super::text;
use crate::lock::RelationId;
use crate::server_text::ServerText;
use pgrx::pg_sys;

/// What `pg_attribute` says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub number: i16,
    pub type_id: pg_sys::Oid,
    pub modifier: i32,
    pub collation: pg_sys::Oid,
    pub not_null: bool,
    pub generated: bool,
    pub identity: bool,
    /// From how many parents it is inherited, and whether it is the relation's own as well.
    pub inherited: i32,
    pub is_local: bool,
}

/// The column of that name; none if there is none.
pub fn column(relation: RelationId, name: &ServerText) -> Option<Column> {
    let name = name.as_c_str();
    // SAFETY: the copied tuple is ours.
    unsafe {
        let tuple =
            pg_sys::SearchSysCacheCopyAttName(pg_sys::Oid::from_u32(relation), name.as_ptr());
        if tuple.is_null() {
            return None;
        }
        let column: pg_sys::Form_pg_attribute = pg_sys::GETSTRUCT(tuple).cast();
        let found = Column {
            number: (*column).attnum,
            type_id: (*column).atttypid,
            modifier: (*column).atttypmod,
            collation: (*column).attcollation,
            not_null: (*column).attnotnull,
            generated: (*column).attgenerated != 0,
            identity: (*column).attidentity != 0,
            #[allow(clippy::useless_conversion)] // The type differs between majors.
            inherited: (*column).attinhcount.into(),
            is_local: (*column).attislocal,
        };
        pg_sys::heap_freetuple(tuple);
        Some(found)
    }
}

/// The name of a relation's column.
pub fn column_name(relation: RelationId, number: i16) -> Option<ServerText> {
    // SAFETY: a catalog look-up that answers null for what is not there.
    unsafe {
        text::kept(pg_sys::get_attname(
            pg_sys::Oid::from_u32(relation),
            number,
            true,
        ))
    }
}

/// The types of a relation's columns.
pub fn column_types(relation: RelationId) -> Vec<u32> {
    /// `pg_attribute`, by relation and number.
    const COLUMNS: Index = Index {
        catalog: 1249,
        index: 2659,
    };
    rows(COLUMNS, &[("attrelid", relation)], ["atttypid", "attnum"])
        .into_iter()
        .filter(|[type_id, number]| *type_id as u32 != 0 && *number as i16 > 0)
        .map(|[type_id, _]| type_id as u32)
        .collect()
}
