//! What a session is told about guard mode once, and not at each statement.

use crate::pg::{event, message};
use crate::report;
use std::cell::Cell;

thread_local! {
    static OF_LATER_TRIGGERS: Cell<bool> = const { Cell::new(false) };
}

/// That event triggers which fire after guard mode may refuse a statement of that command tag, for which
/// sessions have been preempted by then.
pub fn of_later_triggers(tag: &str) {
    if OF_LATER_TRIGGERS.get() {
        return;
    }
    let names: Vec<String> = event::triggers_after_guard(tag)
        .into_iter()
        .map(|trigger| trigger.name)
        .collect();
    if names.is_empty() {
        return;
    }
    OF_LATER_TRIGGERS.set(true);
    message::advice(
        &format!(
            "lockguard: event triggers that fire after guard mode may still refuse the DDL: {}",
            report::list(&names)
        ),
        "Sessions are preempted before they are asked. Event triggers on ddl_command_start fire in the order of their names.",
        "Rename them so that they fire before the event trigger zzz_lockguard.",
    );
}
