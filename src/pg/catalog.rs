//! Relations: which one a name means, what `pg_class` and `pg_index` say of it, and what belongs to it.
//! Takes no lock on the relations themselves and waits for nobody. Columns and types have files of their
//! own, and so has what depends on what.

use super::depend::{self, catalog as class};
pub use super::scan::Reading;
use super::scan::{Index, rows};
use super::{cached, text};
use crate::ddl::Address;
use crate::lock::RelationId;
use crate::server_text::ServerText;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// What `pg_class` says of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation {
    /// `relkind`
    pub kind: u8,
    pub toast: Option<RelationId>,
    pub has_indexes: bool,
    pub has_triggers: bool,
    pub has_children: bool,
    /// `relispartition`
    pub is_partition: bool,
    pub owner: u32,
    pub tablespace: u32,
    /// `relpersistence`
    pub persistence: u8,
    /// Of a composite type, or of a table's rows.
    pub row_type: u32,
    pub access_method: u32,
    pub schema: u32,
    /// Of the system: in `pg_catalog`, or the TOAST of one that is.
    pub is_catalog: bool,
}

/// Who owns the tables, indexes and so on of users in this database, each once.
pub fn owners_of_user_relations() -> Vec<u32> {
    const BY_OID: Index = Index {
        catalog: 1259,
        index: 2662,
    };
    let all = rows(BY_OID, &[], ["oid", "relowner"]).into_iter();
    let mut owners: Vec<u32> = all
        .filter(|[relation, _]| *relation as u32 >= pg_sys::FirstNormalObjectId)
        .map(|[_, owner]| owner as u32)
        .collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// How large a relation was when it was last vacuumed, analysed or indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// `relpages`
    pub blocks: i64,
    /// `reltuples`; negative if it never was.
    pub rows: i64,
}

/// Why a text names no relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameProblem {
    /// Not a name as SQL spells it.
    Syntax,
    /// A name with that database in front, which is not this one.
    OtherDatabase(ServerText),
    Unknown,
}

/// The database of this session, by its OID.
pub fn database() -> u32 {
    // SAFETY: set when the session starts.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Its name.
pub fn database_name() -> Option<ServerText> {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::kept(pg_sys::get_database_name(pg_sys::MyDatabaseId)) }
}

/// Whether the server is in recovery: a standby.
pub fn is_in_recovery() -> bool {
    // SAFETY: reads shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Whether all databases share the relation, so that locks on it belong to none.
pub fn is_shared(relation: RelationId) -> bool {
    // SAFETY: compares with constants.
    unsafe { pg_sys::IsSharedRelation(pg_sys::Oid::from_u32(relation)) }
}

/// What is known of the relation with that OID; none if there is none.
pub fn relation(id: RelationId) -> Option<Relation> {
    from_class(id, |class| Relation {
        kind: class.relkind as u8,
        toast: (class.reltoastrelid != pg_sys::InvalidOid).then(|| class.reltoastrelid.to_u32()),
        has_indexes: class.relhasindex,
        has_triggers: class.relhastriggers,
        has_children: class.relhassubclass,
        is_partition: class.relispartition,
        owner: class.relowner.to_u32(),
        tablespace: class.reltablespace.to_u32(),
        persistence: class.relpersistence as u8,
        row_type: class.reltype.to_u32(),
        access_method: class.relam.to_u32(),
        schema: class.relnamespace.to_u32(),
        // SAFETY: compares with a constant.
        is_catalog: unsafe { pg_sys::IsCatalogRelationOid(pg_sys::Oid::from_u32(id)) },
    })
}

/// How large `pg_class` says the relation with that OID is; none if there is none.
pub fn size(id: RelationId) -> Option<Size> {
    from_class(id, |class| Size {
        // Block numbers are unsigned, the column is not.
        blocks: (class.relpages as u32).into(),
        rows: class.reltuples as i64,
    })
}

/// Reads the row of `pg_class` with that OID; none if there is none.
fn from_class<R>(id: RelationId, read: impl FnOnce(&pg_sys::FormData_pg_class) -> R) -> Option<R> {
    // SAFETY: the cache of `pg_class`.
    unsafe {
        cached::row(pg_sys::SysCacheIdentifier::RELOID, id, |class, _| {
            read(class)
        })
    }
}

/// The relation's name, with its schema unless it is visible without; as a number if it is gone.
pub fn name(id: RelationId) -> String {
    let oid = pg_sys::Oid::from_u32(id);
    // SAFETY: catalog look-ups that answer null for an unknown OID.
    unsafe {
        let relation = pg_sys::get_rel_name(oid);
        if relation.is_null() {
            return id.to_string();
        }
        let schema = match pg_sys::RelationIsVisible(oid) {
            true => std::ptr::null_mut(),
            false => pg_sys::get_namespace_name_or_temp(pg_sys::get_rel_namespace(oid)),
        };
        text::from_server(pg_sys::quote_qualified_identifier(schema, relation)).unwrap_or_default()
    }
}

/// A relation's name as it is, without its schema.
pub fn bare_name(relation: RelationId) -> Option<ServerText> {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::kept(pg_sys::get_rel_name(pg_sys::Oid::from_u32(relation))) }
}

/// The relation that a name, spelled as in SQL, means in this session.
///
/// # Errors
/// The problem with the name. A schema that this role may not use raises 42501, as it does for
/// `regclass`.
pub fn resolve(name: &ServerText) -> Result<RelationId, NameProblem> {
    // SAFETY: the parts are C strings in the current memory context.
    unsafe {
        let parts = split(name.as_c_str(), b'.').ok_or(NameProblem::Syntax)?;
        let (database, schema, relation) = match parts[..] {
            [relation] => (std::ptr::null_mut(), std::ptr::null_mut(), relation),
            [schema, relation] => (std::ptr::null_mut(), schema, relation),
            [database, schema, relation] => (database, schema, relation),
            _ => return Err(NameProblem::Syntax),
        };
        if !database.is_null() {
            let own = pg_sys::get_database_name(pg_sys::MyDatabaseId);
            if CStr::from_ptr(own) != CStr::from_ptr(database) {
                let other = text::kept(database);
                return Err(NameProblem::OtherDatabase(other.unwrap_or_default()));
            }
        }
        look_up(schema, relation).ok_or(NameProblem::Unknown)
    }
}

/// The relation of that name in this session: in that schema, or along the search path.
///
/// # Errors
/// Raises 42501 for a schema that this role may not use.
pub fn resolve_parts(schema: Option<&ServerText>, name: &ServerText) -> Option<RelationId> {
    let schema = schema.map_or(std::ptr::null(), |schema| schema.as_c_str().as_ptr());
    // SAFETY: the strings outlive the call.
    unsafe { look_up(schema.cast_mut(), name.as_c_str().as_ptr().cast_mut()) }
}

/// The relation of that name, in that schema or, where that is null, along the search path. It is not locked.
///
/// # Safety
/// C strings.
unsafe fn look_up(schema: *mut c_char, relation: *mut c_char) -> Option<RelationId> {
    // SAFETY: as promised; the range variable is in the current memory context, and only read.
    let oid = unsafe {
        pg_sys::RangeVarGetRelidExtended(
            pg_sys::makeRangeVar(schema, relation, -1),
            pg_sys::NoLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// The schema of a relation.
pub fn schema_of(relation: RelationId) -> Option<ServerText> {
    // SAFETY: catalog look-ups that answer null for an unknown OID.
    unsafe {
        let schema = pg_sys::get_rel_namespace(pg_sys::Oid::from_u32(relation));
        text::kept(pg_sys::get_namespace_name(schema))
    }
}

/// The OID of a schema.
pub fn schema(name: &ServerText) -> Option<u32> {
    // SAFETY: a catalog look-up.
    let oid = unsafe { pg_sys::get_namespace_oid(name.as_c_str().as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// What `pg_index` says of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFacts {
    pub is_unique: bool,
    pub is_primary: bool,
    pub is_valid: bool,
    /// It is that of an exclusion constraint.
    pub excludes: bool,
    /// The numbers of its key columns; 0 for an expression.
    pub keys: Vec<i16>,
}

pub fn index(id: RelationId) -> Option<IndexFacts> {
    let read = |index: &pg_sys::FormData_pg_index, _| IndexFacts {
        is_unique: index.indisunique,
        is_primary: index.indisprimary,
        is_valid: index.indisvalid,
        excludes: index.indisexclusion,
        // SAFETY: there are as many keys.
        keys: unsafe { index.indkey.values.as_slice(index.indnkeyatts as usize) }.to_vec(),
    };
    // SAFETY: the cache of `pg_index`.
    unsafe { cached::row(pg_sys::SysCacheIdentifier::INDEXRELID, id, read) }
}

/// The default partition of a partitioned table.
pub fn default_partition(parent: RelationId) -> Option<RelationId> {
    /// `pg_partitioned_table`, by its relation.
    const PARTITIONED: Index = Index {
        catalog: 3350,
        index: 3351,
    };
    let found = rows(PARTITIONED, &[("partrelid", parent)], ["partdefid"]);
    found.first().map(|[id]| *id as u32).filter(|id| *id != 0)
}

pub use super::compat::{
    ADD_CONSTRAINT_LOCKS_HEIRS, GRANT_LOCKS_RELATIONS, PLANNER_LOCKS_PARTITIONED_INDEXES,
    RESTART_LOCK, VACUUM_FOLLOWS_INHERITANCE, locks_dependencies,
};

/// Identifiers parted by dots or commas, as SQL spells them; none where they are not.
pub fn identifiers(text: &ServerText, separator: u8) -> Option<Vec<ServerText>> {
    let parts = split(text.as_c_str(), separator)?;
    // SAFETY: they are C strings.
    let texts = parts.into_iter().map(|part| unsafe { text::kept(part) });
    texts.collect()
}

/// The same as C strings, in the current memory context.
fn split(text: &CStr, separator: u8) -> Option<Vec<*mut c_char>> {
    // SAFETY: they are split in a copy that the list's elements point into.
    unsafe {
        let copy = pg_sys::pstrdup(text.as_ptr());
        let mut list: *mut pg_sys::List = std::ptr::null_mut();
        if !pg_sys::SplitIdentifierString(copy, separator as _, &mut list) {
            return None;
        }
        let length = if list.is_null() { 0 } else { (*list).length };
        let part = |i| (*(*list).elements.add(i as usize)).ptr_value.cast();
        Some((0..length).map(part).collect())
    }
}

/// The table of an index; none if it is no index, or has gone.
pub fn table_of_index(index: RelationId) -> Option<RelationId> {
    // SAFETY: a catalog look-up.
    let table = unsafe { pg_sys::IndexGetRelation(pg_sys::Oid::from_u32(index), true) };
    (table != pg_sys::InvalidOid).then(|| table.to_u32())
}

/// The table whose TOAST table this is; none if it is no TOAST table.
pub fn table_of_toast(toast: RelationId) -> Option<RelationId> {
    // No index of `pg_class` leads there, but the one depends on the other.
    let of = Address {
        class: class::CLASS,
        object: toast,
        part: 0,
    };
    let owners = depend::dependencies(of).into_iter();
    let mut tables = owners
        .filter(|(on, _)| on.class == class::CLASS && on.part == 0)
        .map(|(on, _)| on.object);
    tables.find(|table| relation(*table).is_some_and(|facts| facts.toast == Some(toast)))
}

/// Takes in what other sessions have done to the catalogs and committed.
pub fn catch_up() {
    // SAFETY: as at the start of any command.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// The indexes of a table.
pub fn indexes(table: RelationId) -> Vec<RelationId> {
    const BY_TABLE: Index = Index {
        catalog: 2610,
        index: 2678,
    };
    let found = rows(BY_TABLE, &[("indrelid", table)], ["indexrelid"]);
    found.into_iter().map(|[id]| id as u32).collect()
}
