//! Which relations a query or an expression names, and how it locks them.

use super::node;
use crate::ddl::{Name, Reference, Statement};
use crate::lock::LockMode;
use crate::pg::compat::unbound;
use pgrx::pg_sys::{self, NodeTag::*};
use pgrx::prelude::*;
use std::ffi::c_void;

/// # Safety
/// A raw parse tree.
pub unsafe fn query(tree: *mut pg_sys::Node, runs: bool) -> Statement {
    // SAFETY: as promised.
    let references = unsafe { references(&[tree]) };
    Statement::Query { references, runs }
}

/// SELECT, or SELECT INTO.
///
/// # Safety
/// A raw parse tree.
pub unsafe fn select(statement: &mut pg_sys::SelectStmt) -> Statement {
    // SAFETY: as promised. SELECT INTO has its target in the first of a tree of set operations.
    unsafe {
        let mut first: *const pg_sys::SelectStmt = statement;
        while !(*first).larg.is_null() {
            first = (*first).larg;
        }
        let into = (*first).intoClause;
        let tree = std::ptr::from_mut(statement).cast();
        match into.is_null() {
            true => query(tree, true),
            false => Statement::CreateTableAs {
                name: node::name((*into).rel),
                references: references(&[tree]),
                if_not_exists: false,
                runs: true,
            },
        }
    }
}

/// The relations named in raw queries and expressions, each perhaps several times.
///
/// # Safety
/// Raw parse trees, or null.
pub unsafe fn references(trees: &[*mut pg_sys::Node]) -> Vec<Reference> {
    let mut finder = Finder::default();
    for tree in trees {
        // SAFETY: as promised.
        unsafe { finder.visit(*tree) };
    }
    finder.found
}

/// As [`references`], of the statements of a function's body, and of no others.
///
/// # Safety
/// A raw parse tree, or lists of them.
pub unsafe fn references_of_body(body: *mut pg_sys::Node) -> Vec<Reference> {
    // SAFETY: as promised.
    unsafe {
        match (*body).type_ {
            T_List => node::elements::<pg_sys::Node>(body.cast())
                .flat_map(|part| references_of_body(part))
                .collect(),
            T_SelectStmt | T_InsertStmt | T_UpdateStmt | T_DeleteStmt | T_MergeStmt => {
                references(&[body])
            }
            T_ReturnStmt => references(&[(*body.cast::<pg_sys::ReturnStmt>()).returnval]),
            _ => vec![],
        }
    }
}

/// As [`references`], of the elements of a list.
///
/// # Safety
/// A list of raw parse trees, or null.
pub unsafe fn references_of_list(list: *mut pg_sys::List) -> Vec<Reference> {
    // SAFETY: as promised.
    unsafe { references(&node::elements(list).collect::<Vec<_>>()) }
}

#[derive(Default)]
struct Finder {
    found: Vec<Reference>,
    /// Names that WITH gives here.
    with: Vec<String>,
    /// What the relations named here are locked with.
    mode: Option<LockMode>,
}

impl Finder {
    /// # Safety
    /// A raw parse tree, or null.
    unsafe fn visit(&mut self, tree: *mut pg_sys::Node) {
        if tree.is_null() {
            return;
        }
        // SAFETY: a node's tag tells its type.
        unsafe {
            let with_names = self.with.len();
            match (*tree).type_ {
                T_RangeVar => {
                    let name = node::name(tree.cast());
                    self.add(name, self.mode.unwrap_or(LockMode::AccessShare));
                    return;
                }
                T_SelectStmt => {
                    let select: &pg_sys::SelectStmt = &*tree.cast();
                    self.scope(select.withClause);
                    for locking in node::elements::<pg_sys::LockingClause>(select.lockingClause) {
                        self.locking(locking, select.fromClause);
                    }
                    if !select.intoClause.is_null() {
                        // The walker would take its target for a relation that is read.
                        let mut copy = *select;
                        copy.intoClause = std::ptr::null_mut();
                        self.descend((&raw mut copy).cast());
                        self.with.truncate(with_names);
                        return;
                    }
                }
                // A rule may notify.
                T_NotifyStmt => return,
                T_FuncCall => self.sequence(&*tree.cast()),
                T_TypeCast => self.regclass(&*tree.cast()),
                T_InsertStmt => {
                    let insert: &pg_sys::InsertStmt = &*tree.cast();
                    self.target(insert.relation);
                    self.scope(insert.withClause);
                }
                T_UpdateStmt => {
                    let update: &pg_sys::UpdateStmt = &*tree.cast();
                    self.target(update.relation);
                    self.scope(update.withClause);
                }
                T_DeleteStmt => {
                    let delete: &pg_sys::DeleteStmt = &*tree.cast();
                    self.target(delete.relation);
                    self.scope(delete.withClause);
                }
                T_MergeStmt => {
                    let merge: &pg_sys::MergeStmt = &*tree.cast();
                    self.target(merge.relation);
                    self.scope(merge.withClause);
                }
                _ => (),
            }
            self.descend(tree);
            self.with.truncate(with_names);
        }
    }

    /// # Safety
    /// A raw parse tree.
    unsafe fn descend(&mut self, tree: *mut pg_sys::Node) {
        // SAFETY: the walker calls back with parts of the tree and this very finder.
        unsafe {
            unbound::raw_expression_tree_walker(tree, visit, std::ptr::from_mut(self).cast());
        }
    }

    /// # Safety
    /// Null or a WITH clause.
    unsafe fn scope(&mut self, with: *mut pg_sys::WithClause) {
        if with.is_null() {
            return;
        }
        // SAFETY: as promised.
        unsafe {
            let tables = node::elements::<pg_sys::CommonTableExpr>((*with).ctes);
            self.with
                .extend(tables.filter_map(|table| node::string((*table).ctename)));
        }
    }

    /// # Safety
    /// Null or a range variable.
    unsafe fn target(&mut self, relation: *mut pg_sys::RangeVar) {
        if !relation.is_null() {
            // SAFETY: as promised.
            let name = unsafe { node::name(relation) };
            self.found.push((name, LockMode::RowExclusive));
        }
    }

    /// A sequence that `nextval` and its like are given as a constant.
    ///
    /// # Safety
    /// A raw function call.
    unsafe fn sequence(&mut self, call: &pg_sys::FuncCall) {
        // SAFETY: as promised.
        unsafe {
            let name = node::strings(call.funcname).pop();
            if !matches!(name.as_deref(), Some("nextval" | "setval" | "currval")) {
                return;
            }
            let mut argument = node::elements::<pg_sys::Node>(call.args)
                .next()
                .unwrap_or(std::ptr::null_mut());
            if node::is(argument, T_TypeCast) {
                argument = (*argument.cast::<pg_sys::TypeCast>()).arg;
            }
            if let Some(name) = node::name_in_constant(argument) {
                let mode = match name.name.as_str() {
                    "currval" => LockMode::AccessShare,
                    _ => LockMode::RowExclusive,
                };
                self.found.push((name, mode));
            }
        }
    }

    /// A constant cast to `regclass`.
    ///
    /// # Safety
    /// A raw cast.
    unsafe fn regclass(&mut self, cast: &pg_sys::TypeCast) {
        // SAFETY: as promised.
        unsafe {
            let is_regclass =
                node::strings((*cast.typeName).names).pop().as_deref() == Some("regclass");
            if is_regclass && let Some(name) = node::name_in_constant(cast.arg) {
                self.found.push((name, LockMode::AccessShare));
            }
        }
    }

    /// FOR UPDATE and the like.
    ///
    /// # Safety
    /// Parts of one SELECT.
    unsafe fn locking(&mut self, locking: *mut pg_sys::LockingClause, from: *mut pg_sys::List) {
        // SAFETY: as promised.
        unsafe {
            let only: Vec<String> = node::elements::<pg_sys::RangeVar>((*locking).lockedRels)
                .filter_map(|named| node::string((*named).relname))
                .collect();
            for item in node::elements::<pg_sys::Node>(from) {
                self.lock_rows(item, &only);
            }
        }
    }

    /// # Safety
    /// An item of FROM.
    unsafe fn lock_rows(&mut self, item: *mut pg_sys::Node, only: &[String]) {
        // SAFETY: as promised.
        unsafe {
            match (*item).type_ {
                T_RangeVar => {
                    let range: *mut pg_sys::RangeVar = item.cast();
                    let name = node::name(range);
                    let alias = (*range).alias;
                    let called = match alias.is_null() {
                        true => name.name.clone(),
                        false => node::string((*alias).aliasname).unwrap_or_default(),
                    };
                    if only.is_empty() || only.contains(&called) {
                        self.add(name, LockMode::RowShare);
                    }
                }
                T_JoinExpr => {
                    let join: *mut pg_sys::JoinExpr = item.cast();
                    self.lock_rows((*join).larg, only);
                    self.lock_rows((*join).rarg, only);
                }
                T_RangeSubselect if only.is_empty() => {
                    let sub: *mut pg_sys::RangeSubselect = item.cast();
                    let before = self.mode.replace(LockMode::RowShare);
                    self.visit((*sub).subquery);
                    self.mode = before;
                }
                _ => (),
            }
        }
    }

    fn add(&mut self, name: Name, mode: LockMode) {
        let is_with = name.schema.is_none() && self.with.contains(&name.name);
        if !is_with {
            self.found.push((name, mode));
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(tree: *mut pg_sys::Node, finder: *mut c_void) -> bool {
    // SAFETY: called by the walker with what it was given.
    unsafe { (*finder.cast::<Finder>()).visit(tree) };
    false
}
