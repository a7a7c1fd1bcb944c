//! What a type's name means at a point of a script: types that earlier statements have renamed, moved or
//! made count, and schemas that they have renamed.

use super::node;
use crate::pg::{settings, types};
use pgrx::pg_sys;
use std::cell::RefCell;

#[derive(Clone, Copy)]
enum Meaning {
    /// The type with that OID.
    Existing(u32),
    /// One that will have been made by then, and whether it is a domain with constraints.
    Made { is_constrained: bool },
    /// Nothing any more.
    Gone,
}

/// What earlier statements have changed.
#[derive(Clone, Default)]
pub struct Changes {
    /// By schema and name; the last one counts.
    types: Vec<(String, String, Meaning)>,
    /// What a schema is called by now, and in the catalogs.
    schemas: Vec<(String, String)>,
}

thread_local! {
    static CHANGES: RefCell<Changes> = RefCell::default();
}

/// A script, before which nothing has changed.
pub struct Script;

impl Script {
    pub fn begin() -> Script {
        CHANGES.take();
        Script
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        CHANGES.take();
    }
}

impl Changes {
    /// Those until now.
    pub fn so_far() -> Changes {
        CHANGES.with_borrow(Clone::clone)
    }

    /// What came after them is rolled back.
    pub fn restore(self) {
        CHANGES.set(self);
    }
}

/// Where something is known to have changed by that name, and what it means there now.
fn look(names: &[String]) -> Option<(String, Meaning)> {
    let (name, schemas) = match names {
        [name] => (name, settings::search_path_entries()),
        [.., schema, name] => (name, vec![schema.clone()]),
        [] => return None,
    };
    CHANGES.with_borrow(|changes| {
        schemas.into_iter().find_map(|schema| {
            let mut last = changes.types.iter().rev();
            if let Some((.., meaning)) = last.find(|(of, own, _)| *of == schema && own == name) {
                return Some((schema, *meaning));
            }
            let mut last = changes.schemas.iter().rev();
            let (_, first) = last.find(|(now, _)| *now == schema)?;
            let found = types::type_in(first, name)?;
            Some((schema, Meaning::Existing(found)))
        })
    })
}

/// A type's name as it is to be looked up in the catalogs; none where it means none that exists now.
///
/// # Safety
/// A type name.
pub unsafe fn current(name: *const pg_sys::TypeName) -> Option<*const pg_sys::TypeName> {
    // SAFETY: as promised.
    let names = unsafe { node::strings((*name).names) };
    match look(&names) {
        None => Some(name),
        Some((_, Meaning::Existing(oid))) => {
            let oid = pg_sys::Oid::from_u32(oid);
            // SAFETY: a copy in the current memory context, which names the type by its OID.
            unsafe {
                let by_oid = pg_sys::makeTypeNameFromOid(oid, -1);
                (*by_oid).typmods = (*name).typmods;
                if !(*name).arrayBounds.is_null() {
                    (*by_oid).typeOid = pg_sys::get_array_type(oid);
                }
                Some(by_oid.cast_const())
            }
        }
        Some(_) => None,
    }
}

/// Whether it means a domain with constraints that an earlier statement has made.
///
/// # Safety
/// Null, or a type name.
pub unsafe fn is_made_with_constraints(name: *const pg_sys::TypeName) -> bool {
    // SAFETY: as promised.
    let names = match unsafe { name.as_ref() } {
        // SAFETY: as promised.
        Some(name) => unsafe { node::strings(name.names) },
        None => return false,
    };
    let found = look(&names).map(|(_, meaning)| meaning);
    matches!(found, Some(Meaning::Made { is_constrained }) if is_constrained)
}

/// A statement gives a type another name, or moves it into another schema.
///
/// # Safety
/// A list of `String` nodes.
pub unsafe fn rename(list: *mut pg_sys::List, to: Option<&str>, into: Option<&str>) {
    // SAFETY: as promised.
    let (names, found) = unsafe {
        let type_name = pg_sys::makeTypeNameFromNameList(list);
        (node::strings(list), node::type_id(type_name))
    };
    let (schema, meaning) = match (look(&names), found) {
        (Some(known), _) => known,
        (None, Some(oid)) => match types::schema_of_type(oid) {
            Some(schema) => (schema, Meaning::Existing(oid)),
            None => return,
        },
        (None, None) => return,
    };
    let Some(name) = names.into_iter().next_back() else {
        return;
    };
    let place = (
        into.map_or_else(|| schema.clone(), str::to_owned),
        to.map_or_else(|| name.clone(), str::to_owned),
    );
    CHANGES.with_borrow_mut(|changes| {
        changes.types.push((schema, name, Meaning::Gone));
        changes.types.push((place.0, place.1, meaning));
    });
}

/// A statement makes a type.
pub fn make(names: Vec<String>, is_constrained: bool) {
    let mut names = names.into_iter().rev();
    let Some(name) = names.next() else {
        return;
    };
    let schema = names
        .next()
        .or_else(|| settings::search_path().into_iter().next());
    if let Some(schema) = schema {
        let made = Meaning::Made { is_constrained };
        CHANGES.with_borrow_mut(|changes| changes.types.push((schema, name, made)));
    }
}

/// A statement gives a schema another name.
pub fn rename_schema(name: &str, to: &str) {
    CHANGES.with_borrow_mut(|changes| {
        let mut last = changes.schemas.iter().rev();
        let known = last.find(|(now, _)| now == name);
        let first = known.map_or_else(|| name.to_owned(), |(_, first)| first.clone());
        changes.schemas.push((to.to_owned(), first));
    });
}
