//! Functions that run with a statement and of which nobody can see ahead what they do.

use super::node;
use crate::pg::compat::unbound;
use crate::pg::{functions, wait};
use pgrx::pg_sys::{self, AlterTableType as at, NodeTag::*};
use pgrx::prelude::*;
use std::ffi::c_void;

/// The names of those that a statement calls in its own text while it runs, each once.
///
/// # Safety
/// A raw parse tree of one statement.
pub unsafe fn opaque(tree: *mut pg_sys::Node) -> Vec<String> {
    let mut found = vec![];
    // SAFETY: as promised.
    unsafe { run_by(tree, &mut found) };
    found
}

/// # Safety
/// Null, or a raw parse tree of one statement.
unsafe fn run_by(tree: *mut pg_sys::Node, found: &mut Vec<String>) {
    wait::check_stack();
    if tree.is_null() {
        return;
    }
    // SAFETY: a node's tag tells its type.
    unsafe {
        match (*tree).type_ {
            T_SelectStmt | T_InsertStmt | T_UpdateStmt | T_DeleteStmt | T_MergeStmt => {
                look_into(tree, found);
            }
            T_CreateTableAsStmt => {
                let statement: &pg_sys::CreateTableAsStmt = &*tree.cast();
                if !(*statement.into).skipData {
                    run_by(statement.query, found);
                }
            }
            T_DeclareCursorStmt => {
                run_by((*tree.cast::<pg_sys::DeclareCursorStmt>()).query, found);
            }
            T_CopyStmt => {
                let statement: &pg_sys::CopyStmt = &*tree.cast();
                run_by(statement.query, found);
                look_into(statement.whereClause, found);
            }
            T_ExplainStmt => {
                let statement: &pg_sys::ExplainStmt = &*tree.cast();
                if node::boolean_option(statement.options, c"analyze") == Some(true) {
                    run_by(statement.query, found);
                }
            }
            T_AlterTableStmt => {
                let statement: &pg_sys::AlterTableStmt = &*tree.cast();
                for command in node::elements::<pg_sys::AlterTableCmd>(statement.cmds) {
                    run_by_subcommand(&*command, found);
                }
            }
            _ => (),
        }
    }
}

/// What the rows that exist are checked with, or written anew.
///
/// # Safety
/// A subcommand of ALTER TABLE.
unsafe fn run_by_subcommand(command: &pg_sys::AlterTableCmd, found: &mut Vec<String>) {
    // SAFETY: the definition is of the type that the subcommand has.
    unsafe {
        match command.subtype {
            at::AT_AddColumn | at::AT_AlterColumnType => {
                let column: &pg_sys::ColumnDef = &*command.def.cast();
                look_into(column.raw_default, found);
                for part in node::elements::<pg_sys::Constraint>(column.constraints) {
                    look_into((*part).raw_expr, found);
                }
            }
            at::AT_AddConstraint => {
                let constraint: &pg_sys::Constraint = &*command.def.cast();
                if !constraint.skip_validation {
                    look_into(constraint.raw_expr, found);
                }
            }
            _ => (),
        }
    }
}

/// # Safety
/// Null, or a raw query or expression.
unsafe fn look_into(tree: *mut pg_sys::Node, found: &mut Vec<String>) {
    // SAFETY: as promised.
    unsafe { look(tree, std::ptr::from_mut(found).cast()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn look(tree: *mut pg_sys::Node, found: *mut c_void) -> bool {
    wait::check_stack();
    wait::answer_interrupts();
    // SAFETY: called by the walker with nodes, and what it was given.
    unsafe {
        // What NOTIFY, in a rule, consists of is nothing to walk through.
        if tree.is_null() || node::is(tree, T_NotifyStmt) {
            return false;
        }
        if (*tree).type_ == T_FuncCall {
            let call: *mut pg_sys::FuncCall = tree.cast();
            let names: &mut Vec<String> = &mut *found.cast();
            let opaque = functions::candidates((*call).funcname)
                .into_iter()
                .find(|function| functions::is_opaque(*function));
            if let Some(name) = opaque.map(functions::name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        unbound::raw_expression_tree_walker(tree, look, found)
    }
}
