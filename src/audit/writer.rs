//! The background worker that writes rows of the trail, in a transaction of its own, and tells whoever
//! listens.

use super::entry::{Came, Entry};
use crate::pg::datum::{self, Text};
use crate::pg::handover::Received;
use crate::pg::{catalog, message, settings, transaction};
use crate::session::Timestamp;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use serde_json::json;
use std::time::Duration;

/// What applies to this worker, whatever the database or the server sets.
const SETTINGS: [(&str, &str); 10] = [
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("search_path", "pg_catalog, pg_temp"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // Somebody may hold the table for long.
    ("lock_timeout", "10s"),
    // Whoever waits for the row, perhaps with the lock held, does not wait for the disk: it comes after.
    ("synchronous_commit", "off"),
    ("session_replication_role", "origin"),
    ("row_security", "off"),
    ("lockguard.policy", ""),
];

const INSERT: &str = "INSERT INTO lockguard.trail (signalled_at, label, policy, policy_owner, role, rolname, \
     caller_pid, caller_application_name, target, relation, pid, backend_start, usename, application_name, \
     client_addr, class, class_is_public, transaction_age, query, caller_sees, signal, outcome, freed_after) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::pg_catalog.inet, $16, $17, $18, \
     $19, $20, $21, $22, $23) RETURNING id";

/// All that the worker does.
pub fn write(received: Received) {
    for (name, value) in SETTINGS {
        settings::set_for_process(name, value);
    }
    received.wait_until_over();
    let entries: Vec<Entry> = serde_json::from_str(&received.text()).unwrap_or_default();
    let entries: Vec<(Entry, Came, Option<Duration>)> = (0..)
        .zip(entries)
        .map(|(i, entry)| {
            let (came, time) = received.word(i);
            (entry, Came::from_number(came), time)
        })
        .filter(|(_, came, _)| *came != Came::NotSent)
        .collect();
    if entries.is_empty() {
        received.finish(true);
        return;
    }
    let is_written = BackgroundWorker::transaction(std::panic::AssertUnwindSafe(|| {
        if catalog::resolve_parts(Some("lockguard"), "trail").is_none() {
            return Ok(false);
        }
        insert(&entries).map(|()| true)
    }));
    match is_written {
        Ok(true) => {
            received.finish(true);
            transaction::flush();
        }
        Ok(false) => {
            log("there is no table lockguard.trail".into());
            received.finish(false);
        }
        Err(error) => {
            log(error.to_string());
            received.finish(false);
        }
    }
}

fn insert(entries: &[(Entry, Came, Option<Duration>)]) -> Result<(), spi::Error> {
    for (entry, came, freed_after) in entries {
        let outcome = came.outcome(&entry.signal);
        let freed_after = *freed_after;
        let id = Spi::get_one_with_args::<i64>(INSERT, &arguments(entry, outcome, freed_after))?;
        // Everybody in the database can listen: what pg_stat_activity hides from strangers is left out.
        let notice = json!({
            "id": id,
            "label": entry.label,
            "target": entry.target,
            "relation": entry.relation,
            "pid": entry.pid,
            "usename": entry.usename,
            "application_name": entry.application_name,
            "class": entry.class.as_ref().filter(|_| entry.class_is_public),
            "signal": entry.signal,
            "outcome": outcome,
        });
        Spi::run_with_args(
            "SELECT pg_catalog.pg_notify('lockguard', $1)",
            &[Text(notice.to_string()).into()],
        )?;
    }
    Ok(())
}

fn arguments(
    entry: &Entry,
    outcome: &str,
    freed_after: Option<Duration>,
) -> Vec<DatumWithOid<'static>> {
    let text = |value: &Option<String>| value.clone().map(Text).into();
    let plain = |value: &str| Text(value.to_owned()).into();
    let stamp = |at: Option<i64>| at.map(Timestamp).and_then(datum::timestamp).into();
    let role = |role: u32| pg_sys::Oid::from_u32(role).into();
    let age = entry.transaction_age;
    let age = age
        .and_then(|age| u64::try_from(age).ok())
        .map(Duration::from_micros);
    vec![
        stamp(Some(entry.signalled_at)),
        text(&entry.label),
        text(&entry.policy),
        role(entry.policy_owner),
        role(entry.role),
        text(&entry.rolname),
        entry.caller_pid.into(),
        text(&entry.caller_application_name),
        plain(&entry.target),
        text(&entry.relation),
        entry.pid.into(),
        stamp(entry.backend_start),
        text(&entry.usename),
        text(&entry.application_name),
        text(&entry.client_addr),
        text(&entry.class),
        entry.class_is_public.into(),
        age.and_then(datum::interval).into(),
        text(&entry.query),
        entry.caller_sees.into(),
        plain(&entry.signal),
        plain(outcome),
        freed_after.and_then(datum::interval).into(),
    ]
}

fn log(why: String) {
    message::log(
        &format!("lockguard could not write to lockguard.preemptions: {why}"),
        None,
    );
}
