//! Guard mode: before each DDL statement of the session, what `preempt_maintenance` would do for it.

use super::owned::is_own;
use super::statement::Statement;
use super::target::Aim;
use super::{Manner, carry_out, unread};
use crate::ddl;
use crate::error::Error;
use crate::needs;
use crate::patience::Clock;
use crate::pg::event::{self, Ddl};
use crate::pg::principals::{self, Principals};
use crate::pg::{catalog, extension, process, roles};
use crate::settings::Standing;
use pgrx::pg_sys;

/// That the function was called before a DDL statement, as its event trigger does. Other events come when
/// it is too late, or have no statement.
///
/// # Errors
/// 39P03 where it was not.
pub fn is_called_by_its_trigger(call: pg_sys::FunctionCallInfo) -> Result<(), Error> {
    let (message, hint) = match event::called(call) {
        event::Called::BeforeDdl => return Ok(()),
        event::Called::OnOther(event) => (
            format!("lockguard.guard() is for event triggers on ddl_command_start, not on {event}"),
            "The extension brings its own event trigger, zzz_lockguard. Drop the other.",
        ),
        event::Called::Otherwise => (
            "lockguard.guard() can only be called as an event trigger".into(),
            "It comes with the extension, as the event trigger zzz_lockguard.",
        ),
    };
    Err(Error::NotItsTrigger {
        message,
        hint: hint.into(),
    })
}

/// Whether DDL is guarded here at all: not that of an extension's script, whose author has not reckoned
/// with it, nor where an upgrade of the server makes the catalogs anew. Nor where nobody has asked for it: in what
/// the server does by itself, and in code that somebody else's statement has brought about.
pub fn applies() -> bool {
    !process::works_for_the_server()
        && !principals::is_security_restricted()
        && !extension::is_being_created_or_altered()
        && !extension::is_upgrading_the_server()
        && !catalog::is_in_recovery()
}

/// Clears the way for the statement and takes its locks, as far as policy and rights go. `principals`: whose.
/// `clock`: the policy's timeout, running since the statement came.
///
/// # Errors
/// As for [`preempt`](super::preempt).
pub fn before(
    ddl: Ddl,
    standing: &Standing,
    principals: Principals,
    clock: Clock,
) -> Result<(), Error> {
    let Ddl { tag, statement } = ddl;
    let stored = standing.stored.as_ref();
    let lent_to = stored.map(|_| principals.clone());
    let read = || {
        if !may_be_run(&statement) {
            // The server will say so, and nobody is to be preempted for that.
            return Ok(None);
        }
        let (statement, lent_to) = (statement.clone(), lent_to.clone());
        let plan = move || {
            let mut planned = needs::statement(&statement);
            if let Some(principals) = &lent_to {
                // What others own, such as a table that a foreign key references, is left to the statement.
                planned.retain(|planned| planned.relation.is_none_or(|r| is_own(r, principals)));
            }
            planned
        };
        let statement = Statement::new(tag.clone(), Box::new(plan))?;
        match statement.plan().is_empty() {
            true => Ok(None),
            false => Ok(Some(statement.named_by_relation())),
        }
    };
    let statement = match clock.read(read) {
        Ok(Some(statement)) => statement,
        Ok(None) => return Ok(()),
        Err(error) => return unread(error, &standing.policy, vec![]).map(|_| ()),
    };
    carry_out(
        Aim::Statement(statement),
        &standing.policy,
        stored,
        principals,
        Manner::Guard,
        clock,
    )
    .map(|_| ())
}

/// Whether the current role owns what the statement is about, as far as that exists.
fn may_be_run(statement: &ddl::Statement) -> bool {
    let (subjects, schema_will_do) = statement.subjects();
    subjects
        .into_iter()
        .filter_map(|name| catalog::resolve_parts(name.schema.as_ref(), &name.name))
        .all(|relation| match schema_will_do {
            true => roles::may_drop(relation),
            false => roles::owns(relation),
        })
}
