//! Whether ALTER TABLE would have to write the table anew.

use super::{node, types};
use crate::ddl::Name;
use crate::pg::{catalog, columns, functions};
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

/// Whether a type is a domain with constraints, for which existing rows are checked by writing them.
pub fn has_constraints(type_id: u32) -> bool {
    // SAFETY: a look-up in the type cache.
    unsafe { pg_sys::DomainHasConstraints(pg_sys::Oid::from_u32(type_id)) }
}

/// Whether a column's values change with its type (`ATColumnChangeRequiresRewrite` in `tablecmds.c`).
///
/// # Safety
/// A type name, and a raw expression or null.
pub unsafe fn by_type(
    table: &Name,
    column: &str,
    type_name: *mut pg_sys::TypeName,
    using: *mut pg_sys::Node,
) -> bool {
    let Some(old) = catalog::resolve_parts(table.schema.as_deref(), &table.name)
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
        let mut new_type = pg_sys::InvalidOid;
        let mut new_modifier = -1;
        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        pg_sys::typenameTypeIdAndMod(state, type_name, &mut new_type, &mut new_modifier);
        debug_assert_eq!(new_type.to_u32(), type_id);
        if !using.is_null() && !is_column(using, column) {
            return true;
        }
        let value = pg_sys::makeVar(1, old.number, old.type_id, old.modifier, old.collation, 0);
        let converted = pg_sys::coerce_to_target_type(
            state,
            value.cast(),
            old.type_id,
            new_type,
            new_modifier,
            pg_sys::CoercionContext::COERCION_ASSIGNMENT,
            pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
            -1,
        );
        if converted.is_null() {
            return true;
        }
        let mut expression: *mut pg_sys::Node = pg_sys::expression_planner(converted.cast()).cast();
        loop {
            match (*expression).type_ {
                T_Var => return false,
                T_RelabelType => {
                    expression = (*expression.cast::<pg_sys::RelabelType>()).arg.cast();
                }
                T_CoerceToDomain => {
                    let domain: *mut pg_sys::CoerceToDomain = expression.cast();
                    if pg_sys::DomainHasConstraints((*domain).resulttype) {
                        return true;
                    }
                    expression = (*domain).arg.cast();
                }
                T_FuncExpr => {
                    let call: *mut pg_sys::FuncExpr = expression.cast();
                    let is_zone = matches!(
                        (*call).funcid.to_u32(),
                        pg_sys::F_TIMESTAMPTZ_TIMESTAMP | pg_sys::F_TIMESTAMP_TIMESTAMPTZ
                    );
                    if !is_zone || pg_sys::TimestampTimestampTzRequiresRewrite() {
                        return true;
                    }
                    expression = (*(*(*call).args).elements).ptr_value.cast();
                }
                _ => return true,
            }
        }
    }
}

/// Whether an expression is that column, and nothing else.
///
/// # Safety
/// A raw expression.
unsafe fn is_column(expression: *mut pg_sys::Node, column: &str) -> bool {
    // SAFETY: as promised.
    unsafe {
        node::is(expression, T_ColumnRef) && {
            let reference: *mut pg_sys::ColumnRef = expression.cast();
            node::strings((*reference).fields)
                .last()
                .map(String::as_str)
                == Some(column)
        }
    }
}
