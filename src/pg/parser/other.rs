//! Statements that are no DDL on a single object: maintenance, LOCK, COPY, GRANT, COMMENT.

use super::{drop, node, query};
use crate::ddl::{Name, Naming, Part, Reach, Reference, Statement, Transaction};
use crate::lock::LockMode;
use crate::pg::{settings, wait};
use crate::server_text::ServerText;
use pgrx::pg_sys::{self, ObjectType::*};

/// COMMENT and SECURITY LABEL.
///
/// # Safety
/// What the parser names that kind of object by.
pub unsafe fn describe(kind: Type, object: *mut pg_sys::Node) -> Statement {
    // SAFETY: as promised: relations and what is on them are named by a list of strings.
    unsafe {
        if drop::relation_kind(kind).is_some() {
            return match node::name_of_list(object.cast()) {
                Some(name) => Statement::Describe { name },
                None => Statement::Nothing,
            };
        }
        match drop::part(kind) {
            Some(part) => match node::name_and_part(object.cast()) {
                Some((name, _)) if part == Part::Column => Statement::Describe { name },
                Some((table, _)) => Statement::DescribePart { table },
                None => Statement::Nothing,
            },
            None => Statement::Nothing,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn grant(statement: &pg_sys::GrantStmt) -> Statement {
    let is_relation = matches!(statement.objtype, OBJECT_TABLE | OBJECT_SEQUENCE);
    let by_name = statement.targtype == pg_sys::GrantTargetType::ACL_TARGET_OBJECT;
    match is_relation && by_name {
        true => Statement::Grant {
            // SAFETY: relations are range variables.
            names: unsafe { node::names(statement.objects) },
        },
        false => Statement::Nothing,
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn truncate(statement: &pg_sys::TruncateStmt) -> Statement {
    Statement::Truncate {
        // SAFETY: as promised.
        names: unsafe { node::names(statement.relations) },
        cascade: statement.behavior == pg_sys::DropBehavior::DROP_CASCADE,
        restarts: statement.restart_seqs,
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn cluster(statement: &pg_sys::ClusterStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        Statement::Cluster {
            name: (!statement.relation.is_null()).then(|| node::name(statement.relation)),
            index: node::string(statement.indexname),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn vacuum(statement: &pg_sys::VacuumStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let option = |name| node::boolean_option(statement.options, name);
        let tables = node::elements::<pg_sys::VacuumRelation>(statement.rels);
        Statement::Vacuum {
            names: tables
                .filter(|table| !(**table).relation.is_null())
                .map(|table| node::name((*table).relation))
                .collect(),
            full: option(c"full").unwrap_or(false),
            vacuums: statement.is_vacuumcmd,
            analyzes: !statement.is_vacuumcmd || option(c"analyze").unwrap_or(false),
            main: option(c"process_main").unwrap_or(true),
            toast: option(c"process_toast").unwrap_or(true),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn reindex(statement: &pg_sys::ReindexStmt) -> Statement {
    use pg_sys::ReindexObjectType::*;
    // SAFETY: as promised.
    unsafe {
        let reach = match statement.kind {
            REINDEX_OBJECT_INDEX => Reach::Index(node::name(statement.relation)),
            REINDEX_OBJECT_TABLE => Reach::Table(node::name(statement.relation)),
            REINDEX_OBJECT_SCHEMA => {
                Reach::Schema(node::string(statement.name).unwrap_or_default())
            }
            REINDEX_OBJECT_SYSTEM => Reach::System,
            _ => Reach::Database,
        };
        Statement::Reindex {
            reach,
            concurrently: node::boolean_option(statement.params, c"concurrently").unwrap_or(false),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn refresh(statement: &pg_sys::RefreshMatViewStmt) -> Statement {
    Statement::Refresh {
        // SAFETY: as promised.
        name: unsafe { node::name(statement.relation) },
        concurrently: statement.concurrent,
        with_data: !statement.skipData,
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn lock(statement: &pg_sys::LockStmt) -> Statement {
    match LockMode::from_number(statement.mode) {
        Some(mode) => Statement::Lock {
            // SAFETY: as promised.
            names: unsafe { node::names(statement.relations) },
            mode,
        },
        None => Statement::Nothing,
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn copy(statement: &pg_sys::CopyStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        if statement.relation.is_null() {
            return query::query(statement.query, true);
        }
        let mode = match statement.is_from {
            true => LockMode::RowExclusive,
            false => LockMode::AccessShare,
        };
        let mut references: Vec<Reference> =
            vec![(node::name(statement.relation), Naming::Relation(mode))];
        references.extend(query::references(&[statement.whereClause]));
        Statement::Query {
            references,
            runs: true,
        }
    }
}

/// EXPLAIN, of a statement that is planned even where it is not run.
///
/// # Safety
/// A raw parse tree.
pub unsafe fn explain(statement: &pg_sys::ExplainStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let analyzes = node::boolean_option(statement.options, c"analyze").unwrap_or(false);
        explained(super::seen(statement.query), analyzes)
    }
}

/// `analyzes`: it is run as well.
fn explained(statement: Statement, analyzes: bool) -> Statement {
    wait::check_stack();
    match statement {
        Statement::Query { .. } | Statement::Unseen(_) => statement,
        Statement::CreateTableAs { .. } | Statement::Made(_) | Statement::SearchPath(_)
            if analyzes =>
        {
            statement
        }
        Statement::CreateTableAs { references, .. } => Statement::Query {
            references,
            runs: true,
        },
        Statement::Several(all) => {
            let all = all.into_iter().map(|one| explained(one, analyzes));
            Statement::Several(all.collect())
        }
        _ => Statement::Nothing,
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn prepare(statement: &pg_sys::PrepareStmt) -> Statement {
    // SAFETY: as promised. It is analysed at once, and planned when it is executed.
    unsafe { query::query(statement.query, false) }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn declare(statement: &pg_sys::DeclareCursorStmt) -> Statement {
    // SAFETY: as promised.
    unsafe { query::query(statement.query, true) }
}

/// BEGIN, COMMIT, SAVEPOINT and their like.
///
/// # Safety
/// A raw parse tree.
pub unsafe fn transaction(statement: &pg_sys::TransactionStmt) -> Statement {
    use pg_sys::TransactionStmtKind::*;
    // SAFETY: as promised.
    let savepoint = unsafe { node::string(statement.savepoint_name) }.unwrap_or_default();
    Statement::Transaction(match statement.kind {
        TRANS_STMT_BEGIN | TRANS_STMT_START => Transaction::Begin,
        TRANS_STMT_COMMIT | TRANS_STMT_PREPARE => Transaction::Commit {
            chain: statement.chain,
        },
        TRANS_STMT_ROLLBACK => Transaction::Rollback {
            chain: statement.chain,
        },
        TRANS_STMT_SAVEPOINT => Transaction::Savepoint(savepoint),
        TRANS_STMT_RELEASE => Transaction::Release(savepoint),
        TRANS_STMT_ROLLBACK_TO => Transaction::RollbackTo(savepoint),
        _ => return Statement::Nothing,
    })
}

/// What SET and RESET may change of what decides which relations a statement locks.
enum Setting {
    SearchPath,
    Role,
    ChecksOfBodies,
}

/// Which of those it is, and the value that SET gives it; none for what it is after RESET.
///
/// # Safety
/// A raw parse tree.
unsafe fn setting(statement: &pg_sys::VariableSetStmt) -> Option<(Setting, Option<ServerText>)> {
    use pg_sys::VariableSetKind::*;
    // SAFETY: as promised.
    let name = unsafe { node::string(statement.name) }?;
    let setting = match &*name.as_bytes().to_ascii_lowercase() {
        b"search_path" => Setting::SearchPath,
        b"role" | b"session_authorization" => Setting::Role,
        b"check_function_bodies" => Setting::ChecksOfBodies,
        _ => return None,
    };
    let value = match statement.kind {
        // SAFETY: makes a string of the arguments that SET has.
        VAR_SET_VALUE => unsafe {
            let statement = std::ptr::from_ref(statement).cast_mut();
            node::string(pg_sys::ExtractSetVariableArgs(statement))
        },
        VAR_SET_DEFAULT | VAR_RESET => None,
        _ => return None,
    };
    Some((setting, value))
}

/// SET and RESET.
///
/// # Safety
/// A raw parse tree.
pub unsafe fn set(statement: &pg_sys::VariableSetStmt) -> Statement {
    if statement.kind == pg_sys::VariableSetKind::VAR_RESET_ALL {
        return Statement::Several(vec![
            Statement::SearchPath(None),
            Statement::ChecksOfBodies(None),
        ]);
    }
    // SAFETY: as promised.
    match unsafe { setting(statement) } {
        Some((Setting::SearchPath, path)) => Statement::SearchPath(path),
        Some((Setting::Role, role)) => Statement::Role(role.filter(|role| *role != *c"none")),
        Some((Setting::ChecksOfBodies, None)) => Statement::ChecksOfBodies(None),
        Some((Setting::ChecksOfBodies, Some(value))) => match settings::boolean(&value) {
            Some(is_on) => Statement::ChecksOfBodies(Some(is_on)),
            None => Statement::Nothing,
        },
        None => Statement::Nothing,
    }
}

/// DISCARD ALL resets all that there is.
pub fn discard(statement: &pg_sys::DiscardStmt) -> Statement {
    match statement.target {
        pg_sys::DiscardMode::DISCARD_ALL => Statement::Several(vec![
            Statement::SearchPath(None),
            Statement::ChecksOfBodies(None),
            Statement::Role(None),
        ]),
        _ => Statement::Nothing,
    }
}

/// What SET sets the search path to.
///
/// # Safety
/// A raw parse tree.
pub unsafe fn search_path(statement: &pg_sys::VariableSetStmt) -> Option<ServerText> {
    // SAFETY: as promised.
    match unsafe { setting(statement) } {
        Some((Setting::SearchPath, path)) => path,
        _ => None,
    }
}

/// The tables named for a publication.
///
/// # Safety
/// Its objects.
pub unsafe fn published(objects: *mut pg_sys::List) -> Vec<Name> {
    // SAFETY: as promised.
    unsafe {
        node::elements::<pg_sys::PublicationObjSpec>(objects)
            .filter(|object| !(**object).pubtable.is_null())
            .map(|object| node::name((*(*object).pubtable).relation))
            .collect()
    }
}
