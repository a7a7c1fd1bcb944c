//! Whether ALTER TABLE would have to write the table anew.

use super::{conversion, node, types};
use crate::ddl::Name;
use crate::pg::{catalog, columns, functions, wait};
use crate::server_text::ServerText;
use pgrx::pg_sys::{self, NodeTag::*};
use pgrx::prelude::*;
use std::ffi::c_void;

/// Whether a raw default expression calls a function that may be volatile.
///
/// # Safety
/// A raw expression.
pub unsafe fn is_volatile(expression: *mut pg_sys::Node) -> bool {
    let mut found = false;
    // SAFETY: as promised.
    unsafe {
        look(expression, (&raw mut found).cast());
    }
    found
}

#[pg_guard]
unsafe extern "C-unwind" fn look(tree: *mut pg_sys::Node, found: *mut c_void) -> bool {
    wait::check_stack();
    wait::answer_interrupts();
    // SAFETY: called by the walker with nodes, and what it was given.
    unsafe {
        if tree.is_null() {
            return false;
        }
        if (*tree).type_ == T_FuncCall {
            let call: *mut pg_sys::FuncCall = tree.cast();
            if may_be_volatile((*call).funcname) {
                *found.cast::<bool>() = true;
                return true;
            }
        }
        crate::pg::compat::unbound::raw_expression_tree_walker(tree, look, found)
    }
}

/// # Safety
/// The name of a function.
unsafe fn may_be_volatile(name: *mut pg_sys::List) -> bool {
    // SAFETY: as promised; a catalog look-up for each function of that name.
    unsafe {
        functions::candidates(name).into_iter().any(|function| {
            let volatility = pg_sys::func_volatile(pg_sys::Oid::from_u32(function));
            volatility as u8 == pg_sys::PROVOLATILE_VOLATILE
        })
    }
}

/// Whether a column's values change with its type (`ATColumnChangeRequiresRewrite` in `tablecmds.c`).
///
/// The server plans the conversion to find out, which calls functions and looks into their bodies. Here the
/// catalogs alone tell.
///
/// # Safety
/// A type name, and a raw expression or null.
pub unsafe fn by_type(
    table: &Name,
    column: &ServerText,
    type_name: *mut pg_sys::TypeName,
    using: *mut pg_sys::Node,
) -> bool {
    let Some(old) = catalog::resolve_parts(table.schema.as_ref(), &table.name)
        .and_then(|relation| columns::column(relation, column))
    else {
        // An earlier statement may have given it that name.
        return true;
    };
    // SAFETY: as promised. The new type exists, or it would rewrite nothing that exists now.
    unsafe {
        let (Some(type_id), Some(type_name)) =
            (node::type_id(type_name), types::current(type_name))
        else {
            return true;
        };
        if !using.is_null() && !is_column(using, column) {
            return true;
        }
        match modifier(type_id, type_name) {
            Some(modifier) => !conversion::is_none(&old, type_id, modifier),
            None => true,
        }
    }
}

/// What stands in parentheses after a type's name, as the type keeps it; none where only a function that
/// somebody has made could tell.
///
/// # Safety
/// The name of the type.
unsafe fn modifier(type_id: u32, name: *const pg_sys::TypeName) -> Option<i32> {
    // SAFETY: as promised; it calls a function of the server, that of the type.
    unsafe {
        if (*name).typmods.is_null() {
            return Some((*name).typemod);
        }
        if type_id >= pg_sys::FirstNormalObjectId {
            return None;
        }
        let (mut found, mut modifier) = (pg_sys::InvalidOid, -1);
        pg_sys::typenameTypeIdAndMod(std::ptr::null_mut(), name, &mut found, &mut modifier);
        Some(modifier)
    }
}

/// Whether an expression is that column, and nothing else.
///
/// # Safety
/// A raw expression.
unsafe fn is_column(expression: *mut pg_sys::Node, column: &ServerText) -> bool {
    // SAFETY: as promised.
    unsafe {
        node::is(expression, T_ColumnRef) && {
            let reference: *mut pg_sys::ColumnRef = expression.cast();
            node::strings((*reference).fields).last() == Some(column)
        }
    }
}
