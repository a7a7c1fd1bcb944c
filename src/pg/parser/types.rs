//! What a type's name means at a point of a script: types that earlier statements have renamed, moved or
//! made count, and schemas that they have renamed.

use super::node;
use crate::pg::{settings, types};
use crate::server_text::ServerText;
use crate::undo::{Map, Undo};
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
#[derive(Default)]
pub struct Types {
    /// By schema and name.
    types: Map<(ServerText, ServerText), Meaning>,
    /// What a schema is called by now, and in the catalogs.
    schemas: Map<ServerText, ServerText>,
}

impl Types {
    /// What a rollback brings back.
    pub fn kept(&mut self) -> [&mut dyn Undo; 2] {
        [&mut self.types, &mut self.schemas]
    }

    /// Lends it to what reads a statement meanwhile, which changes it where the statement does. It comes back
    /// when an error unwinds, too.
    pub fn lend<R>(&mut self, reading: impl FnOnce() -> R) -> R {
        struct Lent<'a>(&'a mut Types);
        impl Lent<'_> {
            fn swap(&mut self) {
                LENT.with_borrow_mut(|lent| std::mem::swap(lent, self.0));
            }
        }
        impl Drop for Lent<'_> {
            fn drop(&mut self) {
                self.swap();
            }
        }
        let mut lent = Lent(self);
        lent.swap();
        reading()
    }
}

thread_local! {
    /// Empty but for the time that a statement is read.
    static LENT: RefCell<Types> = RefCell::default();
}

/// Where something is known to have changed by that name, and what it means there now.
fn look(names: &[ServerText]) -> Option<(ServerText, Meaning)> {
    let (name, schemas) = match names {
        [name] => (name, settings::search_path_entries()),
        [.., schema, name] => (name, vec![schema.clone()]),
        [] => return None,
    };
    LENT.with_borrow(|changes| {
        schemas.into_iter().find_map(|schema| {
            let place = (schema, name.clone());
            let meaning = match changes.types.get(&place) {
                Some(meaning) => *meaning,
                None => {
                    let first = changes.schemas.get(&place.0)?;
                    Meaning::Existing(types::type_in(first, name)?)
                }
            };
            Some((place.0, meaning))
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
pub unsafe fn rename(list: *mut pg_sys::List, to: Option<&ServerText>, into: Option<&ServerText>) {
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
    let place = (into.unwrap_or(&schema).clone(), to.unwrap_or(&name).clone());
    LENT.with_borrow_mut(|changes| {
        changes.types.insert((schema, name), Meaning::Gone);
        changes.types.insert(place, meaning);
    });
}

/// A statement makes a type.
pub fn make(names: Vec<ServerText>, is_constrained: bool) {
    let mut names = names.into_iter().rev();
    let Some(name) = names.next() else {
        return;
    };
    let schema = names
        .next()
        .or_else(|| settings::search_path().into_iter().next());
    if let Some(schema) = schema {
        let made = Meaning::Made { is_constrained };
        LENT.with_borrow_mut(|changes| changes.types.insert((schema, name), made));
    }
}

/// A statement gives a schema another name.
pub fn rename_schema(name: &ServerText, to: &ServerText) {
    LENT.with_borrow_mut(|changes| {
        let known = changes.schemas.get(name).cloned();
        let first = known.unwrap_or_else(|| name.clone());
        changes.schemas.insert(to.clone(), first);
    });
}
