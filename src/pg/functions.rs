//! Functions: which of them may do what no catalog tells of.

use super::scan::{Index, rows};
use super::{cached, compat, text};
use pgrx::pg_sys;

/// `pg_language.dat`: functions of the server itself, and of libraries.
const INTERNAL_LANGUAGE: u32 = 12;
const C_LANGUAGE: u32 = 13;

/// Functions of the server that run a query, or read tables, that they are given as a value
/// (`pg_proc.dat`).
const RUN_A_QUERY: [u32; 17] = [
    pg_sys::F_TABLE_TO_XML,
    pg_sys::F_TABLE_TO_XMLSCHEMA,
    pg_sys::F_TABLE_TO_XML_AND_XMLSCHEMA,
    pg_sys::F_QUERY_TO_XML,
    pg_sys::F_QUERY_TO_XMLSCHEMA,
    pg_sys::F_QUERY_TO_XML_AND_XMLSCHEMA,
    pg_sys::F_CURSOR_TO_XML,
    pg_sys::F_CURSOR_TO_XMLSCHEMA,
    pg_sys::F_SCHEMA_TO_XML,
    pg_sys::F_SCHEMA_TO_XMLSCHEMA,
    pg_sys::F_SCHEMA_TO_XML_AND_XMLSCHEMA,
    pg_sys::F_DATABASE_TO_XML,
    pg_sys::F_DATABASE_TO_XMLSCHEMA,
    pg_sys::F_DATABASE_TO_XML_AND_XMLSCHEMA,
    pg_sys::F_TS_REWRITE_TSQUERY_TEXT,
    pg_sys::F_TS_STAT_TEXT,
    pg_sys::F_TS_STAT_TEXT_TEXT,
];

/// Whether a function may lock relations of which nothing tells: one in SQL or a procedural language, a
/// volatile one of a library, and an aggregate made of such. What is declared immutable has no business
/// with tables.
pub fn is_opaque(function: u32) -> bool {
    match opacity(function) {
        Opacity::OfParts => parts_of_aggregate(function)
            .into_iter()
            .any(|part| opacity(part) == Opacity::Opaque),
        itself => itself == Opacity::Opaque,
    }
}

#[derive(PartialEq, Eq)]
enum Opacity {
    Opaque,
    Seen,
    /// An aggregate's is that of its parts, none of which is an aggregate.
    OfParts,
}

fn opacity(function: u32) -> Opacity {
    if RUN_A_QUERY.contains(&function) {
        return Opacity::Opaque;
    }
    let read = |facts: &pg_sys::FormData_pg_proc, _| {
        let language = facts.prolang.to_u32();
        (language, facts.provolatile as u8, facts.prokind as u8)
    };
    // SAFETY: the cache of `pg_proc`.
    let found = unsafe { cached::row(pg_sys::SysCacheIdentifier::PROCOID, function, read) };
    match found {
        None => Opacity::Seen,
        Some((_, _, pg_sys::PROKIND_AGGREGATE)) => Opacity::OfParts,
        Some((INTERNAL_LANGUAGE, ..) | (_, pg_sys::PROVOLATILE_IMMUTABLE, _)) => Opacity::Seen,
        Some((C_LANGUAGE, volatility, _)) if volatility != pg_sys::PROVOLATILE_VOLATILE => {
            Opacity::Seen
        }
        Some(_) => Opacity::Opaque,
    }
}

/// What is called for each row, and at the end.
fn parts_of_aggregate(aggregate: u32) -> Vec<u32> {
    let by = Index {
        catalog: 2600,
        index: 2650,
    };
    rows(by, &[("aggfnoid", aggregate)], ["aggtransfn", "aggfinalfn"])
        .into_iter()
        .flatten()
        .map(|function| function as u32)
        .collect()
}

/// Whether it is this extension's function of that name.
pub fn is_of_extension(function: u32, name: &str) -> bool {
    // SAFETY: catalog look-ups that answer null for an unknown OID.
    let schema = unsafe {
        let schema = pg_sys::get_func_namespace(pg_sys::Oid::from_u32(function));
        text::from_server(pg_sys::get_namespace_name(schema))
    };
    self::name(function) == name && schema.as_deref() == Some("lockguard")
}

/// Whether a role may call `lockguard.preempt_maintenance(jsonb)`, as far as the server's rights go.
pub fn may_preempt(role: u32) -> bool {
    let cache = pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32;
    let role = pg_sys::Oid::from_u32(role);
    // SAFETY: catalog look-ups, which answer zero for what is not there.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"lockguard".as_ptr(), true);
        let function = pg_sys::GetSysCacheOid(
            cache,
            pg_sys::Anum_pg_proc_oid as pg_sys::AttrNumber,
            c"preempt_maintenance".as_ptr().into(),
            pg_sys::Datum::from(pg_sys::buildoidvector(&pg_sys::JSONBOID, 1)),
            schema.into(),
            pg_sys::Datum::null(),
        );
        function != pg_sys::InvalidOid
            && compat::may_use_schema(schema, role)
            && compat::may_execute(function, role)
    }
}

/// A function's name, without its schema.
pub fn name(function: u32) -> String {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    unsafe { text::from_server(pg_sys::get_func_name(pg_sys::Oid::from_u32(function))) }
        .unwrap_or_default()
}

/// All functions that a name, as a raw parse tree has it, may mean, whatever their arguments.
///
/// # Safety
/// A list of `String` nodes.
pub unsafe fn candidates(name: *mut pg_sys::List) -> Vec<u32> {
    let mut found = vec![];
    // SAFETY: as promised; the candidates are a linked list in the current memory context.
    unsafe {
        let mut candidate = pg_sys::FuncnameGetCandidates(
            name,
            -1,
            std::ptr::null_mut(),
            false,
            false,
            false,
            true,
        );
        while !candidate.is_null() {
            found.push((*candidate).oid.to_u32());
            candidate = (*candidate).next;
        }
    }
    found
}
