//! The background worker that writes rows of the trail, those of each call in a transaction of its own, and tells
//! whoever listens.

use super::entry::{Came, Entry};
use crate::lock::LockMode;
use crate::pg::datum::{self, Text};
use crate::pg::handover::{Received, Word, Worker};
use crate::pg::{activity, message, raised, reserve, settings, take, transaction};
use crate::session::Timestamp;
use crate::tables;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};

/// What applies to this worker, whatever the database or the server sets.
const SETTINGS: [(&str, &str); 11] = [
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
    ("search_path", "pg_catalog, pg_temp"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // One call's rows do not keep those of others waiting.
    ("lock_timeout", "100ms"),
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

/// How long the worker waits for what came of the signals, and then for the table, should somebody have locked
/// it.
const FOR_NEWS: Duration = Duration::from_secs(10);
const FOR_TABLE: Duration = Duration::from_secs(10);
/// How long it tries again where the server raises an error: the caller may have just used up what it takes, such
/// as the room for locks, and releases it when it fails for that.
const FOR_ROOM: Duration = Duration::from_secs(2);
/// How long it tries to tell those who listen: it is gone two seconds after the last row.
const FOR_LISTENERS: Duration = Duration::from_millis(1_500);

/// How long it sleeps: while it waits for news, and while something has to be tried again.
const NAP: Duration = Duration::from_millis(100);
const SHORT_NAP: Duration = Duration::from_millis(20);

/// One signal, with what came of it.
type Told = (Entry, Came, Option<Duration>);

/// What one call has handed over, and for how long something has kept it from being written.
struct Work {
    received: Received,
    entries: Vec<Entry>,
    /// When the worker waits no longer for what came of the signals.
    news_until: Instant,
    is_locked_since: Option<Instant>,
    fails_since: Option<Instant>,
}

/// What became of it for now.
enum Step {
    Finished,
    Goes(Work),
    /// It is due, and must be tried again.
    TryAgain(Work),
}

/// What the listeners are still to be told.
struct News {
    rows: Vec<(i64, Told)>,
    since: Instant,
}

/// All that the worker does. No call keeps those of others waiting: whatever is locked, full or not yet known is
/// tried again in the next round.
pub fn write(mut worker: Worker) {
    reserve::set_aside();
    for (name, value) in SETTINGS {
        settings::set_for_process(name, value);
    }
    let mut works: Vec<Work> = vec![];
    let mut news: Vec<News> = vec![];
    loop {
        let is_told_to_end = worker.is_told_to_end();
        works.extend(worker.received().into_iter().filter_map(Work::new));
        let mut is_to_try_again = false;
        for work in std::mem::take(&mut works) {
            let step = work.step(is_told_to_end, &mut news);
            is_to_try_again |= matches!(step, Step::TryAgain(_));
            match step {
                Step::Finished => worker.does_its_work(),
                Step::Goes(work) | Step::TryAgain(work) => works.push(work),
            }
        }
        news.retain(|news| !news.is_told() && !is_told_to_end && !news.is_too_late());
        if works.is_empty() && news.is_empty() && worker.may_end() {
            return;
        }
        if !is_told_to_end {
            worker.sleep(match is_to_try_again || !news.is_empty() {
                true => SHORT_NAP,
                false => NAP,
            });
        }
    }
}

impl Work {
    /// None where it cannot be read.
    fn new(received: Received) -> Option<Work> {
        match serde_json::from_str(&received.text()) {
            Ok(entries) => Some(Work {
                received,
                entries,
                news_until: Instant::now() + FOR_NEWS,
                is_locked_since: None,
                fails_since: None,
            }),
            Err(error) => {
                fail(received, &error.to_string());
                None
            }
        }
    }

    /// Writes the rows if it is time to, and tells the caller. `is_told_to_end`: this is the last chance.
    fn step(mut self, is_told_to_end: bool, news: &mut Vec<News>) -> Step {
        if self.received.asks() && !self.received.is_over() {
            let word = try_out(&self.entries);
            self.received.answer(word);
            if !matches!(word, Word::Can) && !is_told_to_end {
                return Step::TryAgain(self);
            }
        }
        let is_over = self.received.is_over();
        if !is_over && !is_told_to_end {
            if Instant::now() < self.news_until {
                return Step::Goes(self);
            }
            // An autovacuum worker is made to yield only after deadlock_timeout, which may be long: until then there
            // is nothing to write, and it is not known that there will not be.
            if self.is_undecided() {
                self.news_until = Instant::now() + FOR_NEWS;
                return Step::Goes(self);
            }
        }
        let told = self.told(is_over);
        if told.is_empty() {
            self.received.finish(true);
            return Step::Finished;
        }
        let (why, is_over_with) = match insert(&told) {
            Ok(ids) => {
                self.received.finish(true);
                transaction::flush();
                news.push(News {
                    rows: ids.into_iter().zip(told).collect(),
                    since: Instant::now(),
                });
                return Step::Finished;
            }
            Err(Obstacle::Missing(why)) => (why, true),
            Err(Obstacle::Locked) => {
                let since = self.is_locked_since.get_or_insert_with(Instant::now);
                let why = "lockguard.trail is locked".into();
                (why, since.elapsed() >= FOR_TABLE)
            }
            Err(Obstacle::Error(why)) => {
                let since = self.fails_since.get_or_insert_with(Instant::now);
                (why, since.elapsed() >= FOR_ROOM)
            }
        };
        if is_over_with || is_told_to_end {
            fail(self.received, &why);
            return Step::Finished;
        }
        Step::TryAgain(self)
    }

    /// Whether nothing has been sent yet.
    fn is_undecided(&self) -> bool {
        let mut words = (0..)
            .zip(&self.entries)
            .map(|(i, _)| self.received.word(i).0);
        words.all(|word| word == Came::NotSent.number())
    }

    /// What there is to write, as far as it is known now.
    fn told(&self, is_over: bool) -> Vec<Told> {
        let now = activity::now();
        (0..)
            .zip(&self.entries)
            .map(|(i, entry)| {
                let entry = entry.clone();
                let (came, time) = self.received.word(i);
                match Came::from_number(came).at(time, now) {
                    // The caller is there, and still waits.
                    (Came::Unknown, _) if !is_over => (entry, Came::StillHolds, None),
                    (came, time) => (entry, came, time),
                }
            })
            .filter(|(_, came, _)| *came != Came::NotSent)
            .collect()
    }
}

/// Why rows are not written.
enum Obstacle {
    Locked,
    /// The table, or a function of the server's in it, is not there.
    Missing(String),
    Error(String),
}

/// Writes the rows, and answers with their numbers.
fn insert(told: &[Told]) -> Result<Vec<i64>, Obstacle> {
    inserted(told, true)
}

/// Whether rows for these could be written now: writes them, and takes them back.
fn try_out(entries: &[Entry]) -> Word {
    let told: Vec<Told> = entries
        .iter()
        .map(|entry| (entry.clone(), Came::Unknown, None))
        .collect();
    match inserted(&told, false) {
        Ok(_) => Word::Can,
        Err(Obstacle::Locked) => Word::Locked,
        Err(Obstacle::Missing(why)) => {
            log(&format!("could not write to lockguard.preemptions: {why}"));
            Word::Missing
        }
        Err(Obstacle::Error(why)) => {
            log(&format!("could not write to lockguard.preemptions: {why}"));
            Word::Cannot
        }
    }
}

fn inserted(told: &[Told], is_kept: bool) -> Result<Vec<i64>, Obstacle> {
    let done = transaction::of_worker(
        || {
            let table = tables::find("trail").map_err(|e| Obstacle::Missing(e.to_string()))?;
            if !take::try_lock(table, LockMode::RowExclusive) {
                return Err(Obstacle::Locked);
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
            .map_err(|error: spi::Error| Obstacle::Missing(error.to_string()))
        },
        |done| is_kept && done.is_ok(),
    );
    done.unwrap_or_else(|failure| {
        Err(match failure.is_locked_out {
            true => Obstacle::Locked,
            false => Obstacle::Error(failure.message),
        })
    })
}

impl News {
    /// Tells those who listen, in a transaction of its own: a queue of notifications that is full, or held by
    /// somebody, must not cost the rows, nor keep others' waiting.
    fn is_told(&self) -> bool {
        let told = transaction::of_worker(
            || {
                let mut rows = self.rows.iter();
                rows.try_for_each(|(id, told)| notify(*id, told))
            },
            Result::is_ok,
        );
        match told {
            Ok(Ok(())) => true,
            Err(failure) if failure.is_locked_out && !self.is_too_late() => false,
            Err(failure) => could_not_notify(&failure.message),
            Ok(Err(error)) => could_not_notify(&error.to_string()),
        }
    }

    fn is_too_late(&self) -> bool {
        self.since.elapsed() >= FOR_LISTENERS
    }
}

/// Says so; there is nothing more to do.
fn could_not_notify(why: &str) -> bool {
    log(&format!("could not notify: {why}"));
    true
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

fn fail(received: Received, why: &str) {
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
