//! Event triggers: the call of ours, and what others there are.

use super::depend;
use super::functions;
use super::scan::{Index, rows};
use super::{parser, text};
use crate::ddl::Statement;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// The event that guard mode is for, in `evtevent`.
const BEFORE_DDL: &str = "ddl_command_start";

/// A DDL statement that is about to run.
pub struct Ddl {
    /// Its command tag: `DROP TABLE`.
    pub tag: String,
    pub statement: Statement,
}

/// What an event trigger's function is called for.
pub enum Called {
    BeforeDdl,
    /// An event of that name.
    OnOther(String),
    /// No event trigger has called it.
    Otherwise,
}

/// What this call is for.
pub fn called(call: pg_sys::FunctionCallInfo) -> Called {
    // SAFETY: the server's own call of this function.
    let Some(event) = (unsafe { event_of(call) }) else {
        return Called::Otherwise;
    };
    // SAFETY: a name of the server's own.
    match unsafe { text::from_server(event.event) } {
        Some(name) if name != BEFORE_DDL => Called::OnOther(name),
        _ => Called::BeforeDdl,
    }
}

/// # Safety
/// The server's own call of a function that may be an event trigger's.
unsafe fn event_of<'a>(call: pg_sys::FunctionCallInfo) -> Option<&'a pg_sys::EventTriggerData> {
    // SAFETY: as promised. The context is a node of the type that its tag tells.
    unsafe {
        let context = (*call).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_EventTriggerData {
            return None;
        }
        Some(&*context.cast())
    }
}

/// The statement that the event trigger is called for; none for what is called without one, such as an
/// event trigger on `login`.
///
/// # Errors
/// Those of looking up what the statement names.
pub fn ddl(call: pg_sys::FunctionCallInfo) -> Option<Ddl> {
    // SAFETY: the server's own call of this function. The tree is the server's, perhaps that of a plan that
    // is kept: a copy of it is read.
    unsafe {
        let event = event_of(call)?;
        if event.parsetree.is_null() {
            return None;
        }
        let tree = pg_sys::copyObjectImpl(event.parsetree.cast_const().cast());
        Some(Ddl {
            tag: text::from_server(pg_sys::GetCommandTagName(event.tag)).unwrap_or_default(),
            statement: parser::alone(tree.cast()),
        })
    }
}

/// An event trigger that is enabled in this session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTrigger {
    pub name: String,
    /// The name as the server has it: those of one event fire in the order of its bytes.
    order: CString,
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

/// Those that may do what nobody can see ahead, as they fire: all but the extension's own.
pub fn triggers() -> Vec<EventTrigger> {
    enabled(|function| functions::is_opaque(function) && !is_own(function))
}

/// Those that fire for a statement of that command tag after guard mode has done its work, and before the
/// statement runs: they may still refuse it.
pub fn triggers_after_guard(tag: &str) -> Vec<EventTrigger> {
    let is_before_ddl = |trigger: &EventTrigger| trigger.event == BEFORE_DDL;
    let guard = enabled(is_guard).into_iter().rfind(is_before_ddl);
    let mut others = enabled(|function| !is_own(function));
    others.retain(|trigger| {
        let is_later = guard.as_ref().is_some_and(|g| trigger.order > g.order);
        is_later && is_before_ddl(trigger) && trigger.fires_for(tag)
    });
    others
}

fn is_guard(function: u32) -> bool {
    functions::is_of_extension(function, "guard")
}

fn is_own(function: u32) -> bool {
    is_guard(function) || functions::is_of_extension(function, "warn_unguarded")
}

/// Whether the event trigger of guard mode fires in this session.
pub fn guard_fires() -> bool {
    // From 17 on event triggers can be turned off as a whole.
    // SAFETY: reads a setting, if there is one of that name; null, or a string.
    let setting = unsafe {
        text::from_server(pg_sys::GetConfigOption(
            c"event_triggers".as_ptr(),
            true,
            false,
        ))
    };
    // None fires in single-user mode.
    // SAFETY: a plain variable of this process.
    let any_fires = unsafe { pg_sys::IsUnderPostmaster } && setting.as_deref() != Some("off");
    any_fires && enabled(is_guard).iter().any(|t| t.event == BEFORE_DDL)
}

/// The event triggers that are enabled in this session, of such functions, as they fire.
fn enabled(is_wanted: impl Fn(u32) -> bool) -> Vec<EventTrigger> {
    const BY_OID: Index = Index {
        catalog: 3466,
        index: 3468,
    };
    let all = rows(BY_OID, &[], ["oid", "evtfoid", "evtenabled"]).into_iter();
    let mut found: Vec<EventTrigger> = all
        .filter(|[_, function, enabled]| {
            depend::is_enabled(*enabled as u8) && is_wanted(*function as u32)
        })
        .filter_map(|[trigger, ..]| of(trigger as u32))
        .collect();
    found.sort_by(|one, other| one.order.cmp(&other.order));
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
            order: CStr::from_ptr((*row).evtname.data.as_ptr()).to_owned(),
            name: name(&(*row).evtname).unwrap_or_default(),
            event: name(&(*row).evtevent).unwrap_or_default(),
            tags: tags.map(|tags| tags.into_iter().flatten().collect()),
        };
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}
