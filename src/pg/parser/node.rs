//! Parts of parse trees as owned values.

use super::types;
use crate::ddl::Name;
use crate::pg::{catalog, text, wait};
use crate::server_text::ServerText;
use pgrx::pg_sys;
use std::ffi::{CStr, c_char};

/// The elements of a list of pointers to nodes of that type; where it has a null for one (an empty statement in the
/// body of a function), that is none. It answers interrupts: a list may have a million.
///
/// # Safety
/// `list` is null or such a list, which outlives the iterator.
pub unsafe fn elements<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as promised.
    let length = unsafe { list.as_ref() }.map_or(0, |list| list.length);
    let cell = move |i: i32| {
        wait::answer_interrupts();
        // SAFETY: a list has as many cells as it says.
        unsafe { (*(*list).elements.add(i as usize)).ptr_value }
    };
    (0..length)
        .map(cell)
        .filter(|element| !element.is_null())
        .map(|element| element.cast())
}

/// # Safety
/// Null or a C string.
pub unsafe fn string(value: *const c_char) -> Option<ServerText> {
    // SAFETY: as promised.
    unsafe { text::kept(value) }
}

/// A database in front of a relation's name, unless it is this one.
fn other_database(given: Option<ServerText>) -> Option<ServerText> {
    given.filter(|given| catalog::database_name().as_ref() != Some(given))
}

/// A relation named by the parts of its name.
fn name_of_parts(mut parts: Vec<ServerText>) -> Option<Name> {
    let name = parts.pop()?;
    let schema = parts.pop();
    let database = (!parts.is_empty()).then(|| ServerText::join(&parts, c"."));
    Some(Name {
        other_database: other_database(database),
        schema,
        name,
        only: false,
        temporary: false,
    })
}

/// # Safety
/// A range variable.
pub unsafe fn name(range: *const pg_sys::RangeVar) -> Name {
    // SAFETY: as promised.
    unsafe {
        let range = &*range;
        Name {
            other_database: other_database(string(range.catalogname)),
            schema: string(range.schemaname),
            name: string(range.relname).unwrap_or_default(),
            only: !range.inh,
            temporary: range.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP,
        }
    }
}

/// # Safety
/// A list of range variables.
pub unsafe fn names(list: *mut pg_sys::List) -> Vec<Name> {
    // SAFETY: as promised.
    unsafe {
        elements(list)
            .map(|range: *mut pg_sys::RangeVar| name(range))
            .collect()
    }
}

/// The strings of a list of `String` nodes.
///
/// # Safety
/// Such a list; elements of other types are passed over.
pub unsafe fn strings(list: *mut pg_sys::List) -> Vec<ServerText> {
    // SAFETY: as promised.
    unsafe {
        elements(list)
            .filter(|node: &*mut pg_sys::String| (**node).type_ == pg_sys::NodeTag::T_String)
            .filter_map(|node| string((*node).sval))
            .collect()
    }
}

/// A relation named by a list of `String` nodes.
///
/// # Safety
/// Such a list.
pub unsafe fn name_of_list(list: *mut pg_sys::List) -> Option<Name> {
    // SAFETY: as promised.
    name_of_parts(unsafe { strings(list) })
}

/// A relation and the last of the names, that of something on it.
///
/// # Safety
/// A list of `String` nodes.
pub unsafe fn name_and_part(list: *mut pg_sys::List) -> Option<(Name, ServerText)> {
    // SAFETY: as promised.
    let mut parts = unsafe { strings(list) };
    let part = parts.pop()?;
    Some((name_of_parts(parts)?, part))
}

/// The text of a constant in quotes.
///
/// # Safety
/// Null or a raw expression.
pub unsafe fn constant(constant: *mut pg_sys::Node) -> Option<ServerText> {
    // SAFETY: a constant's value is tagged as what it is.
    unsafe {
        if !is(constant, pg_sys::NodeTag::T_A_Const) {
            return None;
        }
        let constant: *mut pg_sys::A_Const = constant.cast();
        let value: *mut pg_sys::Node = (&raw mut (*constant).val).cast();
        if (*constant).isnull || !is(value, pg_sys::NodeTag::T_String) {
            return None;
        }
        string((*value.cast::<pg_sys::String>()).sval)
    }
}

/// A relation named by a constant, as `regclass` reads it.
///
/// # Safety
/// Null or a raw expression.
pub unsafe fn name_in_constant(constant: *mut pg_sys::Node) -> Option<Name> {
    // SAFETY: as promised.
    let constant = unsafe { self::constant(constant) }?;
    name_of_parts(catalog::identifiers(&constant, b'.')?)
}

/// Whether a node is of that type.
///
/// # Safety
/// Null or a node.
pub unsafe fn is(node: *mut pg_sys::Node, tag: pg_sys::NodeTag) -> bool {
    // SAFETY: as promised.
    !node.is_null() && unsafe { (*node).type_ } == tag
}

/// The type with that name, if it exists.
///
/// # Safety
/// Null or a type name.
pub unsafe fn type_id(name: *const pg_sys::TypeName) -> Option<u32> {
    if name.is_null() {
        return None;
    }
    // SAFETY: as promised; looks it up, which takes no lock on relations. Without what stands in parentheses
    // after it: a function that belongs to the type would be called with that.
    let oid = unsafe {
        let mut name = *types::current(name)?;
        name.typmods = std::ptr::null_mut();
        pg_sys::LookupTypeNameOid(std::ptr::null_mut(), &name, true)
    };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// The role meant, if it exists.
///
/// # Safety
/// Null or a role.
pub unsafe fn role(role: *const pg_sys::RoleSpec) -> Option<u32> {
    if role.is_null() {
        return None;
    }
    // SAFETY: a catalog look-up.
    let oid = unsafe { pg_sys::get_rolespec_oid(role, true) };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// The name of the role meant, if it exists.
///
/// # Safety
/// Null or a role.
pub unsafe fn role_name(role: *const pg_sys::RoleSpec) -> Option<ServerText> {
    // SAFETY: as promised; a catalog look-up that answers null for an unknown OID.
    unsafe {
        let role = self::role(role)?;
        string(pg_sys::GetUserNameFromId(pg_sys::Oid::from_u32(role), true))
    }
}

/// The option of that name: none if it is not there; on if it has no value.
///
/// # Safety
/// A list of `DefElem`s.
pub unsafe fn boolean_option(list: *mut pg_sys::List, name: &CStr) -> Option<bool> {
    // SAFETY: as promised.
    unsafe { option(list, name).map(|option| pg_sys::defGetBoolean(option)) }
}

/// # Safety
/// A list of `DefElem`s.
pub unsafe fn option(list: *mut pg_sys::List, name: &CStr) -> Option<*mut pg_sys::DefElem> {
    // SAFETY: as promised.
    unsafe {
        elements(list)
            .filter(|option: &*mut pg_sys::DefElem| {
                string((**option).defname).is_some_and(|given| given == *name)
            })
            .last()
    }
}
