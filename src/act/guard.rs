//! Guard mode: before each DDL statement of the session, what `preempt_maintenance` would do for it.

use super::statement::Statement;
use super::target::Aim;
use super::{Manner, carry_out};
use crate::error::Error;
use crate::needs;
use crate::pg::event::Ddl;
use crate::pg::{catalog, extension};
use crate::policy::Policy;

/// Whether DDL is guarded here at all: not that of an extension's script, whose author has not reckoned
/// with it, nor where an upgrade of the server makes the catalogs anew.
pub fn applies() -> bool {
    !extension::is_being_created_or_altered()
        && !extension::is_upgrading_the_server()
        && !catalog::is_in_recovery()
}

/// Clears the way for the statement and takes its locks, as far as policy and rights go.
///
/// # Errors
/// As for [`preempt`](super::preempt).
pub fn before(ddl: Ddl, policy: &Policy) -> Result<(), Error> {
    let Ddl { tag, statement } = ddl;
    let read = move || needs::statement(&statement);
    let statement = Statement::new(tag, Box::new(read))?;
    if statement.plan().is_empty() {
        return Ok(());
    }
    carry_out(
        Aim::Statement(statement.named_by_relation()),
        policy,
        Manner::Guard,
    )
    .map(|_| ())
}
