//! The trail: what is written down of each signal, whatever becomes of the transaction.

use crate::decide::Act;
use crate::pg::text;
use crate::survey::Sighting;
use pgrx::prelude::*;

/// A line in the server's log, before the signal is sent, so that not even a crash loses the fact.
/// It has the full truth: the log is the administrator's.
pub fn before_signal(victim: &Sighting, act: Act, target: &str) {
    let session = &victim.session;
    let sends = match act {
        Act::Cancel => "cancels",
        Act::Terminate => "terminates",
        Act::Yield => "has the server cancel",
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    let pid = session.identity.pid().unwrap_or_default();
    write(
        format!("lockguard {sends} pid {pid} for {target}"),
        format!(
            "Class {}, role {}, application_name \"{}\", holding {}. Query: {}",
            victim.judgement.class,
            text(&session.usename),
            text(&session.application_name),
            victim.mode,
            text(&session.query),
        ),
    );
}

/// Takes back the line before: the signal was not sent.
pub fn not_signalled(pid: i32, why: &str) {
    write(
        format!("lockguard did not signal pid {pid}"),
        format!("{why}."),
    );
}

/// To the log and nowhere else: with `client_min_messages` a caller could read an ordinary LOG
/// message, and learn what `pg_stat_activity` hides from him.
fn write(message: String, detail: String) {
    ereport!(
        PgLogLevel::LOG_SERVER_ONLY,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        text::for_message(&message),
        text::for_message(&detail)
    );
}
