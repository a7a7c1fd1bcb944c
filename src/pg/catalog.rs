//! The catalogs: which relation a name means, and what belongs to a relation. Takes no lock on the
//! relations themselves and waits for nobody.

use super::depend::{self, catalog as class};
pub use super::scan::Reading;
use super::scan::{Index, rows};
use super::text;
use crate::ddl::Address;
use crate::lock::RelationId;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

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
    OtherDatabase(String),
    Unknown,
}

/// The database of this session, by its OID.
pub fn database() -> u32 {
    // SAFETY: set when the session starts.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// Its name.
pub fn database_name() -> Option<String> {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::from_server(pg_sys::get_database_name(pg_sys::MyDatabaseId)) }
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
    let oid = pg_sys::Oid::from_u32(id);
    // SAFETY: the cached tuple is read before it is released, and `read` raises no error.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, oid.into());
        if tuple.is_null() {
            return None;
        }
        let class: pg_sys::Form_pg_class = pg_sys::GETSTRUCT(tuple).cast();
        let found = read(&*class);
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
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

/// The relation's name alone, as it is.
pub fn plain_name(id: RelationId) -> String {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::from_server(pg_sys::get_rel_name(pg_sys::Oid::from_u32(id))) }
        .unwrap_or_default()
}

/// The relation that a name, spelled as in SQL, means in this session.
///
/// # Errors
/// The problem with the name. A schema that this role may not use raises 42501, as it does for
/// `regclass`.
pub fn resolve(name: &str) -> Result<RelationId, NameProblem> {
    let raw = CString::new(text::to_server(name)).map_err(|_| NameProblem::Syntax)?;
    // SAFETY: the identifiers are split in a copy that the list's elements point into; both are in
    // the current memory context, as is the range variable made of them.
    unsafe {
        let copy = pg_sys::pstrdup(raw.as_ptr());
        let mut names: *mut pg_sys::List = std::ptr::null_mut();
        if !pg_sys::SplitIdentifierString(copy, b'.' as _, &mut names) || names.is_null() {
            return Err(NameProblem::Syntax);
        }
        let parts: Vec<*mut core::ffi::c_char> = (0..(*names).length)
            .map(|i| (*(*names).elements.add(i as usize)).ptr_value.cast())
            .collect();
        let (database, schema, relation) = match parts[..] {
            [relation] => (std::ptr::null_mut(), std::ptr::null_mut(), relation),
            [schema, relation] => (std::ptr::null_mut(), schema, relation),
            [database, schema, relation] => (database, schema, relation),
            _ => return Err(NameProblem::Syntax),
        };
        if !database.is_null() {
            let own = pg_sys::get_database_name(pg_sys::MyDatabaseId);
            if CStr::from_ptr(own) != CStr::from_ptr(database) {
                let other = text::from_server(database);
                return Err(NameProblem::OtherDatabase(other.unwrap_or_default()));
            }
        }
        let range = pg_sys::makeRangeVar(schema, relation, -1);
        let oid = pg_sys::RangeVarGetRelidExtended(
            range,
            pg_sys::NoLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        );
        if oid == pg_sys::InvalidOid {
            Err(NameProblem::Unknown)
        } else {
            Ok(oid.to_u32())
        }
    }
}

/// The relation of that name in this session: in that schema, or along the search path.
///
/// # Errors
/// Raises 42501 for a schema that this role may not use.
pub fn resolve_parts(schema: Option<&str>, name: &str) -> Option<RelationId> {
    let c_string = |text: &str| CString::new(text::to_server(text)).ok();
    let relation = c_string(name)?;
    let schema = match schema {
        Some(schema) => Some(c_string(schema)?),
        None => None,
    };
    // SAFETY: the strings outlive the range variable; nothing is locked.
    let oid = unsafe {
        let range = pg_sys::makeRangeVar(
            schema
                .as_ref()
                .map_or(std::ptr::null_mut(), |schema| schema.as_ptr().cast_mut()),
            relation.as_ptr().cast_mut(),
            -1,
        );
        pg_sys::RangeVarGetRelidExtended(
            range,
            pg_sys::NoLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// The schema of a relation.
pub fn schema_of(relation: RelationId) -> Option<String> {
    // SAFETY: catalog look-ups that answer null for an unknown OID.
    unsafe {
        let schema = pg_sys::get_rel_namespace(pg_sys::Oid::from_u32(relation));
        text::from_server(pg_sys::get_namespace_name(schema))
    }
}

/// The OID of a schema.
pub fn schema(name: &str) -> Option<u32> {
    let name = CString::new(text::to_server(name)).ok()?;
    // SAFETY: a catalog look-up.
    let oid = unsafe { pg_sys::get_namespace_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

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
pub fn column(relation: RelationId, name: &str) -> Option<Column> {
    let name = CString::new(text::to_server(name)).ok()?;
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
pub fn column_name(relation: RelationId, number: i16) -> Option<String> {
    // SAFETY: a catalog look-up that answers null for what is not there.
    unsafe {
        text::from_server(pg_sys::get_attname(
            pg_sys::Oid::from_u32(relation),
            number,
            true,
        ))
    }
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
    let oid = pg_sys::Oid::from_u32(id);
    // SAFETY: the cached tuple is read before it is released.
    unsafe {
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::INDEXRELID as i32, oid.into());
        if tuple.is_null() {
            return None;
        }
        let index: pg_sys::Form_pg_index = pg_sys::GETSTRUCT(tuple).cast();
        let facts = IndexFacts {
            is_unique: (*index).indisunique,
            is_primary: (*index).indisprimary,
            is_valid: (*index).indisvalid,
            excludes: (*index).indisexclusion,
            keys: (*index)
                .indkey
                .values
                .as_slice((*index).indnkeyatts as usize)
                .to_vec(),
        };
        pg_sys::ReleaseSysCache(tuple);
        Some(facts)
    }
}

/// What `pg_type` says of a type.
struct Type {
    is_domain: bool,
    /// What a domain is made of.
    base: u32,
    not_null: bool,
    schema: pg_sys::Oid,
}

fn facts_of_type(type_id: u32) -> Option<Type> {
    let oid = pg_sys::Oid::from_u32(type_id);
    // SAFETY: the cached tuple is read before it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::TYPEOID as i32, oid.into());
        if tuple.is_null() {
            return None;
        }
        let facts: pg_sys::Form_pg_type = pg_sys::GETSTRUCT(tuple).cast();
        let found = Type {
            is_domain: (*facts).typtype as u8 == pg_sys::TYPTYPE_DOMAIN,
            base: (*facts).typbasetype.to_u32(),
            not_null: (*facts).typnotnull,
            schema: (*facts).typnamespace,
        };
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}

/// Whether values of a domain may not be null.
pub fn is_not_null(domain: u32) -> bool {
    facts_of_type(domain).is_some_and(|facts| facts.not_null)
}

/// Whether a type is a domain with constraints, its own or those of a domain that it is made of. The server's
/// own answer to that comes with the constraints planned, which calls functions that they name.
pub fn has_constraints(type_id: u32) -> bool {
    /// `pg_constraint`, by the type.
    const CONSTRAINTS: Index = Index {
        catalog: class::CONSTRAINT,
        index: 2666,
    };
    let mut next = type_id;
    while let Some(domain) = facts_of_type(next).filter(|facts| facts.is_domain) {
        let constraints = rows(CONSTRAINTS, &[("contypid", next)], ["contype"]);
        let mut kinds = constraints.into_iter().map(|[kind]| kind as u8);
        if domain.not_null || kinds.any(|kind| kind == b'c') {
            return true;
        }
        next = domain.base;
    }
    false
}

/// The type of that name in a schema.
pub fn type_in(schema: &str, name: &str) -> Option<u32> {
    let schema = pg_sys::Oid::from_u32(self::schema(schema)?);
    let name = CString::new(text::to_server(name)).ok()?;
    // SAFETY: a catalog look-up by a name that is copied.
    let oid = unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(name.as_ptr()),
            schema.into(),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// The schema of a type.
pub fn schema_of_type(type_id: u32) -> Option<String> {
    let schema = facts_of_type(type_id)?.schema;
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::from_server(pg_sys::get_namespace_name(schema)) }
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

/// The schemas that names are looked up in, in their order.
pub fn search_path() -> Vec<String> {
    // SAFETY: reads the search path; the list is of OIDs, in the current memory context.
    unsafe {
        let path = pg_sys::fetch_search_path(false);
        let length = if path.is_null() { 0 } else { (*path).length };
        (0..length)
            .filter_map(|i| {
                let schema = (*(*path).elements.add(i as usize)).oid_value;
                text::from_server(pg_sys::get_namespace_name(schema))
            })
            .collect()
    }
}

pub use super::compat::{
    ADD_CONSTRAINT_LOCKS_HEIRS, GRANT_LOCKS_RELATIONS, PLANNER_LOCKS_PARTITIONED_INDEXES,
    RESTART_LOCK, VACUUM_FOLLOWS_INHERITANCE, locks_dependencies,
};

/// Identifiers parted by dots or commas, as SQL spells them; none where they are not.
pub fn identifiers(text: &str, separator: u8) -> Option<Vec<String>> {
    let text = CString::new(text::to_server(text)).ok()?;
    // SAFETY: they are split in a copy that the list's elements point into.
    unsafe {
        let copy = pg_sys::pstrdup(text.as_ptr());
        let mut list: *mut pg_sys::List = std::ptr::null_mut();
        if !pg_sys::SplitIdentifierString(copy, separator as _, &mut list) {
            return None;
        }
        let length = if list.is_null() { 0 } else { (*list).length };
        (0..length)
            .map(|i| {
                let part = (*(*list).elements.add(i as usize)).ptr_value;
                text::from_server(part.cast())
            })
            .collect()
    }
}

/// A relation's name as it is, without its schema.
pub fn bare_name(relation: RelationId) -> Option<String> {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::from_server(pg_sys::get_rel_name(pg_sys::Oid::from_u32(relation))) }
}

/// The name of the role that statements run as.
pub fn current_user() -> Option<String> {
    // SAFETY: a catalog look-up.
    unsafe { text::from_server(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), true)) }
}

/// The name of the role that they run as once it is reset.
pub fn session_user() -> Option<String> {
    // SAFETY: a catalog look-up.
    unsafe { text::from_server(pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), true)) }
}

/// What the search path lists, whether there are such schemas or not.
pub fn search_path_entries() -> Vec<String> {
    identifiers(&search_path_setting(), b',').unwrap_or_default()
}

/// The setting that the search path comes from, as it is after RESET.
pub fn search_path_at_first() -> String {
    // SAFETY: reads a setting that there always is.
    let setting = unsafe { pg_sys::GetConfigOptionResetString(c"search_path".as_ptr()) };
    // SAFETY: null, or a string.
    unsafe { text::from_server(setting) }.unwrap_or_default()
}

/// The setting that the search path comes from.
pub fn search_path_setting() -> String {
    // SAFETY: reads a setting that there always is.
    let setting = unsafe { pg_sys::GetConfigOption(c"search_path".as_ptr(), false, false) };
    // SAFETY: null, or a string.
    unsafe { text::from_server(setting) }.unwrap_or_default()
}

/// Sets the search path, until the end of [`with_settings_kept`].
pub fn set_search_path(path: &str) {
    if let Ok(path) = CString::new(text::to_server(path)) {
        set(c"search_path", Some(&path));
    }
}

/// Whether functions' bodies are looked into when they are made.
pub fn checks_bodies() -> bool {
    // SAFETY: a setting of this session.
    unsafe { pg_sys::check_function_bodies }
}

/// Sets whether functions' bodies are looked into when they are made, until [`with_settings_kept`] ends; none for
/// what it is after RESET.
pub fn set_checks_of_bodies(is_on: Option<bool>) {
    let value = is_on.map(|is_on| if is_on { c"on" } else { c"off" });
    set(c"check_function_bodies", value);
}

/// What a text means as a boolean; none where it is none.
pub fn boolean(text: &str) -> Option<bool> {
    let text = CString::new(text::to_server(text)).ok()?;
    let mut value = false;
    // SAFETY: reads a C string.
    unsafe { pg_sys::parse_bool(text.as_ptr(), &mut value) }.then_some(value)
}

fn set(name: &CStr, value: Option<&CStr>) {
    // SAFETY: a setting of this session, put back with the nest level that the caller has opened.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.map_or(std::ptr::null(), CStr::as_ptr),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}

/// Does the work, and puts settings back that it has changed. An error puts them back as well.
pub fn with_settings_kept<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the level is closed here, or by the end of the (sub)transaction that an error aborts.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        let result = work();
        pg_sys::AtEOXact_GUC(true, level);
        result
    }
}

/// Takes ACCESS SHARE on a table of ours if that is possible at once, and tells whether it was.
pub fn try_lock_for_reading(table: RelationId) -> bool {
    // SAFETY: an ordinary lock of this transaction.
    unsafe {
        pg_sys::ConditionalLockRelationOid(
            pg_sys::Oid::from_u32(table),
            pg_sys::AccessShareLock as pg_sys::LOCKMODE,
        )
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
