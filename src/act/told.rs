//! What a session is told about guard mode once, and not at each statement.

use super::guard;
use crate::pg::{event, functions, message, roles, transaction};
use crate::policy::quoted;
use crate::report;
use crate::settings;
use std::cell::Cell;

thread_local! {
    static THAT_NOTHING_OBEYS: Cell<bool> = const { Cell::new(false) };
    static OF_LATER_TRIGGERS: Cell<bool> = const { Cell::new(false) };
    static OF_NO_RIGHT: Cell<bool> = const { Cell::new(false) };
}

/// That the session has set a policy and nothing obeys it. Whatever of ours runs in a session says so first.
pub fn that_nothing_obeys() {
    if settings::is_off()
        || THAT_NOTHING_OBEYS.get()
        || settings::is_told()
        || transaction::is_parallel()
        || !guard::applies()
        || event::guard_fires()
    {
        return;
    }
    THAT_NOTHING_OBEYS.set(true);
    settings::set_told();
    message::advice(
        "lockguard.policy is set, but nothing guards the DDL of this session",
        "Guard mode is not enabled in this database, or its event trigger does not fire in this session.",
        "SELECT * FROM lockguard.guarded() tells what is missing; a superuser enables guard mode by SELECT lockguard.enable_guard().",
    );
}

/// Whether these roles may all call `preempt_maintenance`, as guard mode does for them. Where one may not, the
/// session is told so.
pub fn may_be_guarded(roles: &[u32]) -> bool {
    let Some(role) = roles.iter().find(|role| !functions::may_preempt(**role)) else {
        return true;
    };
    if !OF_NO_RIGHT.replace(true) {
        let role = roles::name(*role).unwrap_or_default();
        message::advice(
            &format!(
                "nothing guards the DDL of this session: role {} may not execute lockguard.preempt_maintenance(jsonb)",
                quoted(&role)
            ),
            "Guard mode does what that function does, and for nobody who may not call it.",
            "Grant it EXECUTE on that function, or SET lockguard.policy = 'off'.",
        );
    }
    false
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
