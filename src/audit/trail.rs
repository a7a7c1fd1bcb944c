//! The rows of the trail, from the session that signals: handed over before each signal, completed when
//! it is known what came of it.

use super::entry::{Came, Entry, name_of};
use crate::decide::Act;
use crate::pg::handover::{Ending, Handover};
use crate::pg::{activity, catalog, message, process, roles, settings};
use crate::session::Timestamp;
use crate::stored::Stored;
use crate::survey::Sighting;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long the end of a call waits for its rows: some milliseconds, unless the trail's table is locked.
/// With locks held the application waits as well, which it is to do for `max_stall` at most.
const TO_WRITE: Duration = Duration::from_secs(1);
const TO_WRITE_WITH_LOCKS: Duration = Duration::from_millis(250);

/// The longest target and query kept, in characters.
const LONGEST_TARGET: usize = 300;
const LONGEST_QUERY: usize = 10_000;

/// Which entry of which batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    batch: usize,
    entry: u32,
}

/// Those who were signalled together, and their rows.
struct Batch {
    handover: Handover,
    /// Of which it is not known what came.
    open: HashSet<u32>,
    /// How many rows there will be.
    rows: usize,
}

/// All that one call writes down.
#[derive(Default)]
pub struct Trail {
    batches: Vec<Option<Batch>>,
    /// How many rows are missing, and why.
    missing: usize,
    why: Option<String>,
}

impl Trail {
    /// Hands over what is known of these signals, which are about to be sent for `target`, and counts
    /// none as sent yet. Where that cannot be, the call goes on, and says so in the end.
    pub fn begin(
        &mut self,
        victims: &[(&Sighting, Act)],
        label: Option<&str>,
        stored: Option<&Stored>,
        target: &str,
    ) -> Vec<Record> {
        let count = victims.len() as u32;
        let handover = Handover::begin(&document(victims, label, stored, target), count);
        let batch = self.batches.len();
        self.batches.push(match handover {
            Ok(handover) => Some(Batch {
                handover,
                open: (0..count).collect(),
                rows: victims.len(),
            }),
            Err(why) => {
                self.missing += victims.len();
                self.why = Some(why);
                None
            }
        });
        let records: Vec<Record> = (0..count).map(|entry| Record { batch, entry }).collect();
        records.iter().for_each(|record| self.stays(*record));
        records
    }

    /// Whether it has been handed over.
    pub fn has(&self, record: Record) -> bool {
        matches!(self.batches.get(record.batch), Some(Some(_)))
    }

    /// Says that the signal goes out now: should the caller go before more is known, there is a row.
    pub fn goes_out(&self, record: Record) {
        self.tell(record, Came::Unknown, None);
    }

    /// Says that the server sends it at that moment, if the caller still waits then. The writer goes by
    /// that should the caller's session end without another word.
    pub fn goes_out_at(&self, record: Record, due: Timestamp) {
        self.tell(record, Came::NotSent, Some(Came::since_epoch(due)));
    }

    /// Says that it does not go out after all, or not yet.
    pub fn stays(&self, record: Record) {
        self.tell(record, Came::NotSent, None);
    }

    fn tell(&self, record: Record, came: Came, time: Option<Duration>) {
        if let Some(Some(batch)) = self.batches.get(record.batch) {
            batch.handover.tell(record.entry, came.number(), time);
        }
    }

    /// Says what came of one. Once that is known of all that were signalled together, their rows are
    /// written.
    pub fn came(&mut self, record: Record, came: Came, freed_after: Option<Duration>) {
        match self.batches.get_mut(record.batch) {
            Some(Some(batch)) => {
                if !batch.open.remove(&record.entry) {
                    return;
                }
                batch
                    .handover
                    .tell(record.entry, came.number(), freed_after);
                if came == Came::NotSent {
                    batch.rows -= 1;
                }
                if batch.open.is_empty() {
                    batch.handover.is_complete();
                }
            }
            _ if came == Came::NotSent => self.missing = self.missing.saturating_sub(1),
            _ => (),
        }
    }

    /// Has the rest written, sees that all of it is, and warns of what is not. `max_stall`: how long
    /// others may wait for the locks that the caller holds meanwhile, if it does.
    ///
    /// # Errors
    /// Whatever interrupts a wait. The rows are written all the same.
    pub fn finish(&mut self, max_stall: Option<Duration>) {
        let limit = max_stall.map_or(TO_WRITE, |most| most.min(TO_WRITE_WITH_LOCKS));
        let start = Instant::now();
        for batch in std::mem::take(&mut self.batches).into_iter().flatten() {
            let Batch {
                handover,
                open,
                rows,
            } = batch;
            for entry in open {
                handover.tell(entry, Came::StillHolds.number(), None);
            }
            let why = match handover.end(limit.saturating_sub(start.elapsed())) {
                Ending::Done => continue,
                Ending::Failed => "the background worker failed; the server log tells why",
                Ending::NoSlot => "no background worker slot is free",
                Ending::NotStarted => {
                    "the background worker has not started yet, and writes them once it does"
                }
                Ending::Late => {
                    "the background worker has not come to it yet, and writes what it can within ten seconds (is lockguard.trail locked?)"
                }
            };
            self.missing += rows;
            self.why = Some(why.into());
        }
        let missing = std::mem::take(&mut self.missing);
        if let Some(why) = self.why.take().filter(|_| missing > 0) {
            let rows = crate::report::count(missing, "row");
            message::warning(
                &format!("lockguard: {rows} of this call missing in lockguard.preemptions: {why}"),
                "The signals themselves are in the server log, a line each.",
            );
        }
    }
}

/// What is known of these signals, for the worker.
pub(super) fn document(
    victims: &[(&Sighting, Act)],
    label: Option<&str>,
    stored: Option<&Stored>,
    target: &str,
) -> String {
    let entries = victims
        .iter()
        .map(|(victim, act)| entry(victim, *act, label, stored, target));
    let entries: Vec<Entry> = entries.collect();
    serde_json::to_string(&entries).unwrap_or_default()
}

fn entry(
    victim: &Sighting,
    act: Act,
    label: Option<&str>,
    stored: Option<&Stored>,
    target: &str,
) -> Entry {
    let session = &*victim.session;
    let judgement = victim.judgement;
    let seen = session.rights.judge.then_some(session);
    let now = activity::now();
    let age = seen.and_then(|s| s.transaction_age(now));
    let role = roles::current_id();
    Entry {
        signalled_at: now.0,
        label: label.map(str::to_owned),
        policy: stored.map(|stored| stored.name.for_people()),
        policy_owner: stored.map_or(role, |stored| stored.owner),
        role,
        rolname: roles::name(role),
        caller_pid: process::own_pid(),
        caller_application_name: settings::application_name(),
        target: cut(target, LONGEST_TARGET),
        relation: victim.relation.map(catalog::name),
        pid: session.identity.pid().unwrap_or_default(),
        backend_start: seen.and_then(|s| s.backend_start).map(|stamp| stamp.0),
        usename: session.usename.clone(),
        application_name: session.application_name.clone(),
        client_addr: seen.and_then(|s| s.client_addr.clone()),
        class: (session.rights.judge || judgement.is_public)
            .then(|| judgement.class.name().to_owned()),
        class_is_public: judgement.is_public,
        transaction_age: age.and_then(|age| i64::try_from(age.as_micros()).ok()),
        query: seen
            .and_then(|s| s.query.as_deref())
            .map(|query| cut(query, LONGEST_QUERY)),
        caller_sees: session.rights.see,
        signal: name_of(act).into(),
    }
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
