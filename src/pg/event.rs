//! The call of an event trigger.

use super::{parser, text};
use crate::ddl::Statement;
use pgrx::pg_sys;

/// A DDL statement that is about to run.
pub struct Ddl {
    /// Its command tag: `DROP TABLE`.
    pub tag: String,
    pub statement: Statement,
}

/// The statement that the event trigger is called for; none if the function was called otherwise.
///
/// # Errors
/// Those of looking up what the statement names.
pub fn ddl(call: pg_sys::FunctionCallInfo) -> Option<Ddl> {
    // SAFETY: the server's own call of this function. The context is a node of the type that its tag
    // tells. The tree is the server's, perhaps that of a plan that is kept: a copy of it is read.
    unsafe {
        let context = (*call).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            return None;
        }
        let event: *mut pg_sys::EventTriggerData = context.cast();
        let tree = pg_sys::copyObjectImpl((*event).parsetree.cast_const().cast());
        Some(Ddl {
            tag: text::from_server(pg_sys::GetCommandTagName((*event).tag)).unwrap_or_default(),
            statement: parser::statement(tree.cast()),
        })
    }
}
