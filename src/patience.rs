//! How long a call may take, and reading for no longer than that what somebody may have locked.

use crate::error::Error;
use crate::lock::{LockMode, LockTag, RelationId};
use crate::pg::{bounded, catalog, changes, locks, wait};
use crate::report;
use crate::session::Identity;
use crate::survey::FIRST_USER_RELATION;
use crate::tables;
use std::time::{Duration, Instant};

/// The longest wait for one lock of a reading, after which it begins again: it may have to wait for several, and
/// comes to its end by so much later for each of them.
const SLICE: Duration = Duration::from_millis(100);

/// How long each step may wait of finding out what a reading could not have: what it needs may be locked as well.
const TO_TELL: Duration = Duration::from_millis(10);

/// How many of those who have locked something are named.
const NAMED: usize = 3;

/// The tables of ours that a call reads.
const TABLES: [&str; 3] = ["maintenance_rules", "policies", "policy_loans"];

/// The time of a call: everything in it counts, what is read before it is known whom to wait for as well.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    timeout: Duration,
}

impl Clock {
    /// From now on.
    pub fn start(timeout: Duration) -> Clock {
        Clock {
            start: Instant::now(),
            timeout,
        }
    }

    /// From the same start, now that the call's own timeout is known.
    pub fn with(self, timeout: Duration) -> Clock {
        Clock { timeout, ..self }
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.elapsed())
    }

    /// Reads the catalogs or tables of ours, and waits for who has locked one of them until the time is up. It is
    /// read again from the start where it had to wait for long, so that it must change nothing.
    ///
    /// # Errors
    /// 55P03 when the time is up; those of the reading; whatever interrupts a wait.
    pub fn read<R>(&self, mut read: impl FnMut() -> Result<R, Error>) -> Result<R, Error> {
        let mut is_first = true;
        loop {
            let limit = self.left().min(SLICE);
            let attempt = bounded::within(limit, || match is_first {
                true => read(),
                false => changes::quietly(&mut read),
            });
            if let Some(result) = attempt {
                return result;
            }
            is_first = false;
            wait::answer_interrupts();
            if self.left().is_zero() {
                return Err(self.unread());
            }
        }
    }

    fn unread(&self) -> Error {
        let mut holders = holders();
        let more = holders.len().saturating_sub(NAMED);
        holders.truncate(NAMED);
        if more > 0 {
            holders.push(format!("So do {more} more."));
        }
        Error::Unread {
            message: format!(
                "could not read the catalogs within {}",
                report::in_words(self.timeout)
            ),
            detail: match holders.is_empty() {
                true => "Somebody had locked one of them.".into(),
                false => holders.join(" "),
            },
            hint: "Try again later, or raise timeout.".into(),
        }
    }
}

/// Who holds what nobody can read meanwhile, a sentence each.
fn holders() -> Vec<String> {
    let ours = || {
        TABLES
            .iter()
            .flat_map(|table| tables::find(table))
            .collect()
    };
    let ours: Vec<RelationId> = bounded::within(TO_TELL, ours).unwrap_or_default();
    let database = catalog::database();
    let is_read = |tag: LockTag| {
        let relation = tag.as_relation();
        let relation = relation.filter(|(db, _)| *db == database || *db == 0);
        relation
            .is_some_and(|(_, relation)| relation < FIRST_USER_RELATION || ours.contains(&relation))
    };
    let all = || locks::everyone_in_way(|tag| is_read(tag).then_some(LockMode::AccessShare));
    let all = bounded::within(TO_TELL, all).unwrap_or_default();
    let all = all.into_iter().filter(|found| found.granted);
    all.map(|found| {
        let who = match found.who {
            Identity::Backend { pid, .. } => format!("pid {pid}"),
            Identity::Prepared { .. } => "A prepared transaction".into(),
        };
        let relation = found.tag.as_relation().map(|(_, relation)| relation);
        let relation = relation.unwrap_or_default();
        let name = bounded::within(TO_TELL, || catalog::name(relation));
        let name = name.unwrap_or_else(|| format!("the relation with OID {relation}"));
        format!("{who} holds {} on {name}.", found.mode)
    })
    .collect()
}
