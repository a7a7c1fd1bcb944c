//! Which relations a query or an expression names, and how it locks them.

use super::node;
use crate::ddl::{Name, Naming, Reference, Statement};
use crate::lock::LockMode;
use crate::pg::compat::unbound;
use crate::pg::{catalog, columns, depend, wait};
use crate::server_text::ServerText;
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
        let mut finder = Finder::default();
        finder.visit(tree);
        let query = Statement::Query {
            references: finder.found,
            runs: true,
        };
        match into.is_null() {
            true => match finder.search_path {
                Some(path) => Statement::Several(vec![query, Statement::SearchPath(Some(path))]),
                None => query,
            },
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
/// A raw parse tree, or lists of them; or null.
pub unsafe fn references_of_body(body: *mut pg_sys::Node) -> Vec<Reference> {
    wait::check_stack();
    if body.is_null() {
        return vec![];
    }
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
    with: Vec<ServerText>,
    /// The next SELECT is in the FROM of one whose FOR UPDATE, or the like, reaches into it.
    is_locked: bool,
    /// What `set_config` makes the search path.
    search_path: Option<ServerText>,
}

impl Finder {
    /// # Safety
    /// A raw parse tree, or null.
    unsafe fn visit(&mut self, tree: *mut pg_sys::Node) {
        wait::check_stack();
        wait::answer_interrupts();
        if tree.is_null() {
            return;
        }
        // SAFETY: a node's tag tells its type.
        unsafe {
            let with_names = self.with.len();
            match (*tree).type_ {
                T_RangeVar => {
                    let name = node::name(tree.cast());
                    self.add(name, LockMode::AccessShare);
                    return;
                }
                T_TypeCast => self.regclass(&*tree.cast()),
                // Looked into by what they belong to.
                T_WithClause | T_LockingClause => return,
                T_SelectStmt => {
                    let select: &pg_sys::SelectStmt = &*tree.cast();
                    let is_locked = std::mem::take(&mut self.is_locked);
                    self.scope(select.withClause);
                    self.locking(select, is_locked);
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
                T_FuncCall => {
                    self.argument(&*tree.cast());
                    self.setting(&*tree.cast());
                }
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

    /// The queries of WITH, and their names from here on. Without RECURSIVE each knows only those before it:
    /// its own name means a relation there.
    ///
    /// # Safety
    /// Null or a WITH clause.
    unsafe fn scope(&mut self, with: *mut pg_sys::WithClause) {
        if with.is_null() {
            return;
        }
        // SAFETY: as promised.
        unsafe {
            let tables: Vec<*mut pg_sys::CommonTableExpr> = node::elements((*with).ctes).collect();
            let names = tables.iter().map(|table| node::string((**table).ctename));
            let names: Vec<ServerText> = names.map(Option::unwrap_or_default).collect();
            if (*with).recursive {
                self.with.extend(names.iter().cloned());
            }
            for (table, name) in tables.into_iter().zip(names) {
                self.visit((*table).ctequery);
                if !(*with).recursive {
                    self.with.push(name);
                }
            }
        }
    }

    /// # Safety
    /// Null or a range variable.
    unsafe fn target(&mut self, relation: *mut pg_sys::RangeVar) {
        if !relation.is_null() {
            // SAFETY: as promised.
            let name = unsafe { node::name(relation) };
            self.found
                .push((name, Naming::Relation(LockMode::RowExclusive)));
        }
    }

    /// A relation that `nextval` and its like are given as a constant, or as the sequence of a column.
    ///
    /// # Safety
    /// A raw function call.
    unsafe fn argument(&mut self, call: &pg_sys::FuncCall) {
        // SAFETY: as promised.
        unsafe {
            let name = node::strings(call.funcname).pop();
            let mode = match name.as_ref().map(ServerText::as_bytes) {
                Some(b"nextval" | b"setval" | b"currval") => LockMode::RowExclusive,
                // It keeps the lock that it reads the view's query with.
                Some(b"pg_get_viewdef") => LockMode::AccessShare,
                _ => return,
            };
            let mut argument = node::elements::<pg_sys::Node>(call.args)
                .next()
                .unwrap_or(std::ptr::null_mut());
            while node::is(argument, T_TypeCast) {
                argument = (*argument.cast::<pg_sys::TypeCast>()).arg;
            }
            let name = match node::is(argument, T_FuncCall) {
                true => sequence_of_column(&*argument.cast()),
                false => node::name_in_constant(argument),
            };
            self.found
                .extend(name.map(|name| (name, Naming::Constant(Some(mode)))));
        }
    }

    /// A constant cast to `regclass`.
    ///
    /// # Safety
    /// A raw cast.
    unsafe fn regclass(&mut self, cast: &pg_sys::TypeCast) {
        // SAFETY: as promised.
        unsafe {
            let type_name = node::strings((*cast.typeName).names).pop();
            if type_name.is_some_and(|name| name == *c"regclass")
                && let Some(name) = node::name_in_constant(cast.arg)
            {
                self.found.push((name, Naming::Constant(None)));
            }
        }
    }

    /// A search path that `set_config` is given as a constant.
    ///
    /// # Safety
    /// A raw function call.
    unsafe fn setting(&mut self, call: &pg_sys::FuncCall) {
        // SAFETY: as promised.
        unsafe {
            let function = node::strings(call.funcname).pop();
            if function.is_none_or(|name| name != *c"set_config") {
                return;
            }
            let mut arguments = node::elements::<pg_sys::Node>(call.args);
            let setting = arguments.next().and_then(|one| node::constant(one));
            if setting.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"search_path")) {
                self.search_path = arguments.next().and_then(|one| node::constant(one));
            }
        }
    }

    /// FOR UPDATE and the like: what FROM names is locked so, subqueries of it included.
    ///
    /// # Safety
    /// A raw parse tree.
    unsafe fn locking(&mut self, select: &pg_sys::SelectStmt, is_locked: bool) {
        // SAFETY: as promised.
        unsafe {
            let mut all = is_locked;
            let mut named = vec![];
            for locking in node::elements::<pg_sys::LockingClause>(select.lockingClause) {
                let only: Vec<ServerText> =
                    node::elements::<pg_sys::RangeVar>((*locking).lockedRels)
                        .filter_map(|named| node::string((*named).relname))
                        .collect();
                all |= only.is_empty();
                named.extend(only);
            }
            if all || !named.is_empty() {
                for item in node::elements::<pg_sys::Node>(select.fromClause) {
                    self.lock_rows(item, (!all).then_some(&named));
                }
            }
        }
    }

    /// # Safety
    /// An item of FROM.
    unsafe fn lock_rows(&mut self, item: *mut pg_sys::Node, only: Option<&Vec<ServerText>>) {
        wait::check_stack();
        // SAFETY: as promised.
        unsafe {
            let is_meant = |alias: *mut pg_sys::Alias, name: &ServerText| {
                let alias = alias.as_ref();
                let called = alias.and_then(|alias| node::string(alias.aliasname));
                let called = called.unwrap_or_else(|| name.clone());
                only.is_none_or(|only| only.contains(&called))
            };
            match (*item).type_ {
                T_RangeVar => {
                    let range: *mut pg_sys::RangeVar = item.cast();
                    let name = node::name(range);
                    if is_meant((*range).alias, &name.name) {
                        self.add(name, LockMode::RowShare);
                    }
                }
                T_RangeTableSample => {
                    let sample: *mut pg_sys::RangeTableSample = item.cast();
                    self.lock_rows((*sample).relation, only);
                }
                T_JoinExpr => {
                    let join: *mut pg_sys::JoinExpr = item.cast();
                    self.lock_rows((*join).larg, only);
                    self.lock_rows((*join).rarg, only);
                }
                T_RangeSubselect => {
                    let sub: *mut pg_sys::RangeSubselect = item.cast();
                    if is_meant((*sub).alias, &ServerText::default()) {
                        self.is_locked = true;
                        self.visit((*sub).subquery);
                        self.is_locked = false;
                    }
                }
                _ => (),
            }
        }
    }

    fn add(&mut self, name: Name, mode: LockMode) {
        let is_with = name.schema.is_none() && self.with.contains(&name.name);
        if !is_with {
            self.found.push((name, Naming::Relation(mode)));
        }
    }
}

/// The sequence of a column that `pg_get_serial_sequence` is given as constants, if it has one now.
///
/// # Safety
/// A raw function call.
unsafe fn sequence_of_column(call: &pg_sys::FuncCall) -> Option<Name> {
    // SAFETY: as promised.
    unsafe {
        let name = node::strings(call.funcname).pop();
        if name.is_none_or(|name| name != *c"pg_get_serial_sequence") {
            return None;
        }
        let mut arguments = node::elements::<pg_sys::Node>(call.args);
        let table = node::name_in_constant(arguments.next()?)
            .filter(|table| table.other_database.is_none())?;
        let column = node::constant(arguments.next()?)?;
        let table = catalog::resolve_parts(table.schema.as_ref(), &table.name)?;
        let column = columns::column(table, &column)?;
        let sequence = *depend::owned_sequences(table, Some(column.number)).first()?;
        Some(Name {
            other_database: None,
            schema: catalog::schema_of(sequence),
            name: catalog::bare_name(sequence)?,
            only: false,
            temporary: false,
        })
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(tree: *mut pg_sys::Node, finder: *mut c_void) -> bool {
    // SAFETY: called by the walker with what it was given.
    unsafe { (*finder.cast::<Finder>()).visit(tree) };
    false
}
