//! The background worker that writes rows of the trail, in a transaction of its own, and tells whoever
//! listens.

use super::entry::{Came, Entry};
use crate::lock::LockMode;
use crate::pg::datum::{self, Text};
use crate::pg::handover::Received;
use crate::pg::{activity, message, raised, settings, take, transaction, wait};
use crate::session::Timestamp;
use crate::tables;
use pgrx::bgworkers::BackgroundWorker;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};

/// What applies to this worker, whatever the database or the server sets.
const SETTINGS: [(&str, &str); 10] = [
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("search_path", "pg_catalog, pg_temp"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // Since PostgreSQL 17.
    ("transaction_timeout", "0"),
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

/// How long the worker waits for what came of the signals, lest calls that wait use up all workers; and
/// then for the table, should somebody have locked it.
const FOR_NEWS: Duration = Duration::from_secs(10);
const FOR_TABLE: Duration = Duration::from_secs(10);
/// How long it tries again where the server raises an error.
const FOR_ROOM: Duration = Duration::from_secs(2);

/// One signal, with what came of it.
type Told = (Entry, Came, Option<Duration>);

/// All that the worker does.
pub fn write(received: Received) {
    for (name, value) in SETTINGS {
        settings::set_for_process(name, value);
    }
    let mut is_over = received.wait_until_over(FOR_NEWS);
    let entries: Vec<Entry> = match serde_json::from_str(&received.text()) {
        Ok(entries) => entries,
        Err(error) => return fail(&received, &error.to_string()),
    };
    // An autovacuum worker is made to yield only after deadlock_timeout, which may be long: until then there is
    // nothing to write, and it is not known that there will not be.
    let is_undecided = || {
        (0..)
            .zip(&entries)
            .all(|(i, _)| received.word(i).0 == Came::NotSent.number())
    };
    while !is_over && is_undecided() && !BackgroundWorker::sigterm_received() {
        is_over = received.wait_until_over(FOR_NEWS);
    }
    let now = activity::now();
    let told: Vec<Told> = (0..)
        .zip(entries)
        .map(|(i, entry)| {
            let (came, time) = received.word(i);
            match Came::from_number(came).at(time, now) {
                // The caller is there, and still waits.
                (Came::Unknown, _) if !is_over => (entry, Came::StillHolds, None),
                (came, time) => (entry, came, time),
            }
        })
        .filter(|(_, came, _)| *came != Came::NotSent)
        .collect();
    if told.is_empty() {
        return received.finish(true);
    }
    let ids = match persistently(|| insert(&told)) {
        Ok(ids) => ids,
        Err(why) => return fail(&received, &why),
    };
    received.finish(true);
    transaction::flush();
    // Apart, for a queue of notifications that is full, or held by somebody, must not cost the rows.
    let notified = transaction::of_worker(|| {
        let mut rows = ids.iter().zip(&told);
        let notified = rows.try_for_each(|(id, told)| notify(*id, told));
        notified.map_err(|error| error.to_string())
    });
    if let Err(why) = notified.flatten() {
        log(&format!("could not notify: {why}"));
    }
}

/// Does it in a transaction of its own, and again where the server raises an error: the caller may have
/// just used up what it takes, such as the room for locks, and lets go of it when he fails for that.
fn persistently<R>(work: impl Fn() -> Result<R, String>) -> Result<R, String> {
    let start = Instant::now();
    loop {
        match transaction::of_worker(&work) {
            Err(_) if start.elapsed() < FOR_ROOM && !BackgroundWorker::sigterm_received() => {
                wait::sleep(Duration::from_millis(50));
            }
            done => return done.flatten(),
        }
    }
}

/// Writes the rows, and answers with their numbers.
fn insert(told: &[Told]) -> Result<Vec<i64>, String> {
    let table = tables::find("trail").map_err(|error| error.to_string())?;
    let start = Instant::now();
    while !take::try_lock(table, LockMode::RowExclusive) {
        if start.elapsed() >= FOR_TABLE || BackgroundWorker::sigterm_received() {
            return Err("lockguard.trail is locked".into());
        }
        wait::sleep(Duration::from_millis(20));
    }
    // As its owner: whatever it has in triggers and defaults is not to run as a superuser.
    raised::changing_as_owner_of(table, || {
        let mut ids = vec![];
        for (entry, came, freed_after) in told {
            let outcome = came.outcome(&entry.signal);
            let arguments = arguments(entry, outcome, *freed_after);
            ids.extend(Spi::get_one_with_args::<i64>(INSERT, &arguments)?);
        }
        Ok(ids)
    })
    .map_err(|error: spi::Error| error.to_string())
}

/// Tells whoever listens. Everybody in the database can: what `pg_stat_activity` and the trail hide from
/// strangers is left out.
fn notify(id: i64, (entry, came, _): &Told) -> Result<(), spi::Error> {
    let notice = json!({
        "id": id,
        "pid": entry.pid,
        "usename": entry.usename,
        "application_name": entry.application_name,
        "class": entry.class.as_ref().filter(|_| entry.class_is_public),
        "signal": entry.signal,
        "outcome": came.outcome(&entry.signal),
    });
    Spi::run_with_args(
        "SELECT pg_catalog.pg_notify('lockguard', $1)",
        &[Text(notice.to_string()).into()],
    )
}

fn fail(received: &Received, why: &str) {
    log(&format!("could not write to lockguard.preemptions: {why}"));
    received.finish(false);
}

fn log(what: &str) {
    message::log(&format!("lockguard {what}"), None);
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
