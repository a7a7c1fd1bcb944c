//! The server's own parser: from text, or from the parse tree that an event trigger is handed, to
//! [`Statement`]s. Nothing is analysed, locked or run; types, functions and the like that a statement
//! names are looked up.

mod alter;
mod calls;
mod conversion;
mod create;
mod drop;
mod node;
mod other;
mod query;
mod rewrite;
mod types;

pub use types::Types;

use crate::ddl::Statement;
use crate::pg::{text, wait};
use crate::server_text::ServerText;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// A statement of a text.
pub struct Parsed {
    pub statement: Statement,
    /// Its command tag, where event triggers fire for it.
    pub tag_of_ddl: Option<String>,
}

/// The statements of a text that are still to be read.
pub struct Script(std::vec::IntoIter<*mut pg_sys::Node>);

/// The statements of a text, in their order.
///
/// # Errors
/// Raises 42601 and what else the parser does, with the position in that text.
pub fn parse(source: &ServerText) -> Script {
    Script(raw(source).into_iter())
}

impl Script {
    /// The next one. What it names besides relations is looked up now: with the search path as it is, and with
    /// `types` as those before have left it.
    pub fn next(&mut self, types: &mut Types) -> Option<Parsed> {
        let tree = self.0.next()?;
        // SAFETY: fresh from the parser.
        unsafe {
            let tag = pg_sys::CreateCommandTag(tree);
            let fires = pg_sys::command_tag_event_trigger_ok(tag);
            Some(Parsed {
                statement: types.lend(|| statement(tree)),
                tag_of_ddl: text::from_server(pg_sys::GetCommandTagName(tag)).filter(|_| fires),
            })
        }
    }
}

/// The parse trees of a text.
fn raw(source: &ServerText) -> Vec<*mut pg_sys::Node> {
    let source = source.as_c_str();
    // SAFETY: the trees live in the current memory context, as does the place, which an error may need
    // once more when it has unwound to the server's own handler: that one puts the stack back.
    unsafe {
        let place: *mut Place = pg_sys::palloc0(size_of::<Place>()).cast();
        (*place).source = pg_sys::pstrdup(source.as_ptr());
        (*place).callback.callback = Some(say_where);
        (*place).callback.arg = place.cast();
        (*place).callback.previous = pg_sys::error_context_stack;
        pg_sys::error_context_stack = &raw mut (*place).callback;
        let list = pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        pg_sys::error_context_stack = (*place).callback.previous;
        node::elements::<pg_sys::RawStmt>(list)
            .map(|raw| (*raw).stmt)
            .collect()
    }
}

/// Where in which text the parser has found an error.
#[repr(C)]
struct Place {
    callback: pg_sys::ErrorContextCallback,
    source: *mut core::ffi::c_char,
    position: core::ffi::c_int,
}

/// The position that the parser gives is one in the text that it was given, not in the client's query.
/// On its way through Rust the error loses it, and is reported anew: it is kept for that time.
#[pg_guard]
unsafe extern "C-unwind" fn say_where(place: *mut core::ffi::c_void) {
    // SAFETY: called while an error is reported; the place is there until the transaction is rolled back.
    unsafe {
        let place: *mut Place = place.cast();
        let position = pg_sys::geterrposition();
        if position > 0 {
            (*place).position = position;
        }
        if (*place).position > 0 {
            pg_sys::errposition(0);
            pg_sys::internalerrposition((*place).position);
            pg_sys::internalerrquery((*place).source);
        }
    }
}

/// What a statement by itself says, and what of it cannot be seen.
///
/// # Safety
/// `tree` is a raw parse tree of one statement, without its `RawStmt`.
pub(super) unsafe fn alone(tree: *mut pg_sys::Node) -> Statement {
    // SAFETY: as promised.
    Types::default().lend(|| unsafe { statement(tree) })
}

/// The same of one among others.
///
/// # Safety
/// As for [`alone`].
unsafe fn statement(tree: *mut pg_sys::Node) -> Statement {
    // SAFETY: as promised.
    let (seen, calls) = unsafe { (seen(tree), calls::opaque(tree)) };
    if calls.is_empty() {
        return seen;
    }
    let unseen = calls.into_iter().map(|name| {
        Statement::Unseen(format!(
            "function {name}(): what it runs cannot be seen ahead"
        ))
    });
    Statement::Several(std::iter::once(seen).chain(unseen).collect())
}

/// What a parse tree says of relations.
///
/// # Safety
/// As for [`statement`].
unsafe fn seen(tree: *mut pg_sys::Node) -> Statement {
    use pg_sys::NodeTag::*;
    wait::check_stack();
    // SAFETY: a node's tag tells its type; each function is given the node that it reads.
    unsafe {
        match (*tree).type_ {
            T_DropStmt => drop::drop(&*tree.cast()),
            T_DropOwnedStmt => drop::owned(&*tree.cast()),
            T_ReassignOwnedStmt => drop::reassign(&*tree.cast()),
            T_AlterTableStmt => alter::table(&*tree.cast()),
            T_RenameStmt => alter::rename(&*tree.cast()),
            T_AlterObjectSchemaStmt => alter::schema(&*tree.cast()),
            T_AlterOwnerStmt => alter::owner(&*tree.cast()),
            T_AlterTableMoveAllStmt => alter::move_all(&*tree.cast()),
            T_AlterObjectDependsStmt => alter::depends(&*tree.cast()),
            T_AlterSeqStmt => alter::sequence(&*tree.cast()),
            T_AlterDomainStmt => alter::domain(&*tree.cast()),
            T_AlterPolicyStmt => alter::policy(&*tree.cast()),
            T_AlterPublicationStmt => alter::publication(&*tree.cast()),
            T_IndexStmt => create::index(&*tree.cast()),
            T_CreateTrigStmt => create::trigger(&*tree.cast()),
            T_RuleStmt => create::rule(&*tree.cast()),
            T_CreatePolicyStmt => create::policy(&*tree.cast()),
            T_CreateStatsStmt => create::statistics(&*tree.cast()),
            T_ViewStmt => create::view(&*tree.cast()),
            T_CreateTableAsStmt => create::table_as(&*tree.cast()),
            T_CreateStmt => create::table(&*tree.cast()),
            T_CreateForeignTableStmt => {
                let foreign: *mut pg_sys::CreateForeignTableStmt = tree.cast();
                create::table(&(*foreign).base)
            }
            T_CreateSeqStmt => create::sequence(&*tree.cast()),
            T_CreateFunctionStmt => create::function(&*tree.cast()),
            T_AlterExtensionContentsStmt => {
                let contents: &pg_sys::AlterExtensionContentsStmt = &*tree.cast();
                other::describe(contents.objtype, contents.object)
            }
            T_CreateDomainStmt => create::domain(&*tree.cast()),
            T_CreateEnumStmt => {
                let made: &pg_sys::CreateEnumStmt = &*tree.cast();
                types::make(node::strings(made.typeName), false);
                Statement::Nothing
            }
            T_CreateRangeStmt => {
                let made: &pg_sys::CreateRangeStmt = &*tree.cast();
                types::make(node::strings(made.typeName), false);
                Statement::Nothing
            }
            T_CompositeTypeStmt => create::composite(&*tree.cast()),
            T_CreateSchemaStmt => create::schema(&*tree.cast()),
            T_CreatePublicationStmt => create::publication(&*tree.cast()),
            T_CommentStmt => {
                let comment: &pg_sys::CommentStmt = &*tree.cast();
                other::describe(comment.objtype, comment.object)
            }
            T_SecLabelStmt => {
                let label: &pg_sys::SecLabelStmt = &*tree.cast();
                other::describe(label.objtype, label.object)
            }
            T_GrantStmt => other::grant(&*tree.cast()),
            T_TruncateStmt => other::truncate(&*tree.cast()),
            T_ClusterStmt => other::cluster(&*tree.cast()),
            T_VacuumStmt => other::vacuum(&*tree.cast()),
            T_ReindexStmt => other::reindex(&*tree.cast()),
            T_RefreshMatViewStmt => other::refresh(&*tree.cast()),
            T_LockStmt => other::lock(&*tree.cast()),
            T_CopyStmt => other::copy(&*tree.cast()),
            T_ExplainStmt => other::explain(&*tree.cast()),
            T_VariableSetStmt => other::set(&*tree.cast()),
            T_DiscardStmt => other::discard(&*tree.cast()),
            T_PrepareStmt => other::prepare(&*tree.cast()),
            T_DeclareCursorStmt => other::declare(&*tree.cast()),
            T_SelectStmt => query::select(&mut *tree.cast()),
            T_InsertStmt | T_UpdateStmt | T_DeleteStmt | T_MergeStmt => query::query(tree, true),
            T_DoStmt => Statement::Unseen("a DO block: what it runs cannot be seen ahead".into()),
            T_CallStmt => {
                Statement::Unseen("a procedure: what it runs cannot be seen ahead".into())
            }
            T_ExecuteStmt => {
                Statement::Unseen("a prepared statement: what it runs cannot be seen ahead".into())
            }
            T_CreateExtensionStmt | T_AlterExtensionStmt => Statement::Unseen(
                "the extension's script: what it runs cannot be seen ahead".into(),
            ),
            T_ImportForeignSchemaStmt => {
                Statement::Unseen("what is imported cannot be seen ahead".into())
            }
            T_TransactionStmt => other::transaction(&*tree.cast()),
            _ => Statement::Nothing,
        }
    }
}
