//! Event triggers: the call of ours, and what others there are.

use super::functions;
use super::scan::{Index, rows};
use super::{parser, text};
use crate::ddl::Statement;
use pgrx::pg_sys;
use pgrx::prelude::*;

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

/// An event trigger that is enabled in this session and may do what nobody can see ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrigger {
    pub name: String,
    /// `evtevent`
    event: String,
    /// The command tags that it is for; none for all.
    tags: Option<Vec<String>>,
}

impl EventTrigger {
    /// Whether it fires, or may, for a statement of that command tag for which event triggers fire.
    pub fn fires_for(&self, tag: &str) -> bool {
        let is_for = match &self.tags {
            Some(tags) => tags.iter().any(|one| one == tag),
            None => true,
        };
        is_for
            && match &*self.event {
                "ddl_command_start" | "ddl_command_end" => true,
                "sql_drop" => tag.starts_with("DROP ") || tag.starts_with("ALTER "),
                "table_rewrite" => tag.starts_with("ALTER "),
                _ => false,
            }
    }
}

/// Those event triggers, but for the one that guard mode consists of.
///
/// # Errors
/// Those of reading the catalog.
pub fn triggers() -> Vec<EventTrigger> {
    const BY_OID: Index = Index {
        catalog: 3466,
        index: 3468,
    };
    // Where there is none but ours, which is nearly everywhere, this is all.
    let others: Vec<pg_sys::Oid> = rows(BY_OID, &[], ["oid", "evtfoid"])
        .into_iter()
        .filter(|[_, function]| {
            let function = *function as u32;
            functions::is_opaque(function) && !functions::is_of_extension(function, "guard")
        })
        .map(|[trigger, _]| pg_sys::Oid::from_u32(trigger as u32))
        .collect();
    if others.is_empty() {
        return vec![];
    }
    let query = "SELECT evtname::pg_catalog.text, evtevent::pg_catalog.text, evttags \
         FROM pg_catalog.pg_event_trigger \
         WHERE oid OPERATOR(pg_catalog.=) ANY ($1) AND evtenabled OPERATOR(pg_catalog.=) ANY ( \
             CASE pg_catalog.current_setting('session_replication_role') \
                 WHEN 'replica' THEN '{A,R}' ELSE '{A,O}' END::pg_catalog.\"char\"[]) \
         ORDER BY evtname";
    let read = Spi::connect(|client| {
        let found = client.select(query, None, &[others.into()])?;
        found
            .map(|row| {
                Ok(EventTrigger {
                    name: row.get::<String>(1)?.unwrap_or_default(),
                    event: row.get::<String>(2)?.unwrap_or_default(),
                    tags: row.get::<Vec<String>>(3)?,
                })
            })
            .collect::<Result<Vec<_>, spi::Error>>()
    });
    read.unwrap_or_else(|error| error!("{error}"))
}
