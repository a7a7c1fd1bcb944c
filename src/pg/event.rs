//! Event triggers: the call of ours, and what others there are.

use super::depend;
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
            statement: parser::alone(tree.cast()),
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
pub fn triggers() -> Vec<EventTrigger> {
    const BY_OID: Index = Index {
        catalog: 3466,
        index: 3468,
    };
    let all = rows(BY_OID, &[], ["oid", "evtfoid", "evtenabled"]).into_iter();
    let mut found: Vec<EventTrigger> = all
        .filter(|[_, function, enabled]| {
            let function = *function as u32;
            depend::is_enabled(*enabled as u8)
                && functions::is_opaque(function)
                && !functions::is_of_extension(function, "guard")
        })
        .filter_map(|[trigger, ..]| of(trigger as u32))
        .collect();
    // As they fire.
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// What `pg_event_trigger` says of one; none if it has gone.
fn of(trigger: u32) -> Option<EventTrigger> {
    let cache = pg_sys::SysCacheIdentifier::EVENTTRIGGEROID as i32;
    // SAFETY: the cached tuple is read before it is released. Tags are an array of texts, or null.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, pg_sys::Oid::from_u32(trigger).into());
        if tuple.is_null() {
            return None;
        }
        let row: *const pg_sys::FormData_pg_event_trigger = pg_sys::GETSTRUCT(tuple).cast();
        let name = |name: &pg_sys::NameData| text::from_server(name.data.as_ptr());
        let mut is_null = true;
        let number = pg_sys::Anum_pg_event_trigger_evttags as pg_sys::AttrNumber;
        let tags = pg_sys::SysCacheGetAttr(cache, tuple, number, &mut is_null);
        let tags: Option<Vec<Option<String>>> = FromDatum::from_datum(tags, is_null);
        let found = EventTrigger {
            name: name(&(*row).evtname).unwrap_or_default(),
            event: name(&(*row).evtevent).unwrap_or_default(),
            tags: tags.map(|tags| tags.into_iter().flatten().collect()),
        };
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}
