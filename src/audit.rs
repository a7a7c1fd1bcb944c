//! The trail: what is written down of each signal, whatever becomes of the transaction.

use crate::decide::Act;
use crate::survey::Sighting;
use pgrx::prelude::*;

/// A line in the server's log, before the signal is sent, so that not even a crash loses the fact.
/// It has the full truth: the log is the administrator's.
pub fn before_signal(victim: &Sighting, act: Act, target: &str) {
    let session = &victim.session;
    let sends = match act {
        Act::Cancel => "cancels",
        Act::Terminate => "terminates",
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    ereport!(
        PgLogLevel::LOG,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!(
            "lockguard {sends} pid {} for {target}",
            session.identity.pid().unwrap_or_default(),
        ),
        format!(
            "Class {}, role {}, application_name \"{}\", holding {}. Query: {}",
            victim.judgement.class,
            text(&session.usename),
            text(&session.application_name),
            victim.mode,
            text(&session.query),
        )
    );
}

/// Takes back the line before: the signal was not sent.
pub fn not_signalled(pid: i32) {
    log!("lockguard did not signal pid {pid}: its transaction had just ended");
}
