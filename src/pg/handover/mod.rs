//! Handing text over to a background worker, whose transaction is its own: it stays whatever becomes of
//! the caller's.
//!
//! The text, and one word for each part of it that the caller adds later, lie in a [`segment`] of dynamic
//! shared memory, which is put into a [`queue`]. One [`worker`] for each database sees to all that is in it, for
//! all sessions, and ends as soon as nothing is left. It does the work once the caller has said that nothing more
//! will come, or is gone: an ERROR, a FATAL and the end of the session all detach the segment, and that says so.
//!
//! Nobody waits for anybody to attach. The caller pins the segment, and the worker unpins it; where there can be
//! no worker, the caller does.

mod board;
mod queue;
mod segment;
mod starter;
mod worker;

pub use segment::Word;
pub use worker::{Received, Worker};

use super::subtransaction::tried;
use super::{catalog, wait};
use pgrx::pg_sys;
use pgrx::prelude::*;
use queue::Standing;
use segment::{Segment, State, View};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long the caller sleeps at most before it looks again; and where only time can help.
const NAP: Duration = Duration::from_millis(100);
const SHORT_NAP: Duration = Duration::from_millis(10);

/// What workers of this library do.
static WORK: OnceLock<fn(Worker)> = OnceLock::new();

/// Says what workers do. Called when the library is loaded.
///
/// The first session to load it makes the shared memory, if it can: later there may be no room, for before
/// PostgreSQL 17 whoever takes many locks uses up the same.
pub fn define(work: fn(Worker)) {
    WORK.get_or_init(|| work);
    // SAFETY: plain variables of this process.
    let is_in_transaction = unsafe {
        pg_sys::IsUnderPostmaster && pg_sys::IsTransactionState() && !pg_sys::IsInParallelMode()
    };
    if is_in_transaction {
        // What calls need and do not have, they tell.
        let _ = tried(queue::prepare);
    }
}

/// The caller's end.
pub struct Handover {
    segment: Segment,
    database: u32,
}

/// What became of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// The server's log tells why.
    Failed,
    /// No slot of a background worker is free. The work is not done.
    NoSlot,
    /// No worker has come yet. The work is done when one does.
    NotStarted,
    /// It is not done yet.
    Late,
}

/// Why it is not known that the work can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No slot of a background worker is free.
    NoSlot,
    /// No worker has come yet.
    NotStarted,
    /// The worker says so, or has not said anything yet.
    Worker(Word),
}

impl Handover {
    /// Hands over the text, with room for so many words, and sees that there is a worker. Does not wait for it.
    ///
    /// # Errors
    /// Why it cannot be, for the end of a message.
    pub fn begin(text: &str, words: u32) -> Result<Handover, String> {
        Handover::begin_as(text, words, false)
    }

    /// The same, and asks whether the work could be done, for [`Handover::doubt`].
    ///
    /// # Errors
    /// As above.
    pub fn begin_with_question(text: &str, words: u32) -> Result<Handover, String> {
        Handover::begin_as(text, words, true)
    }

    fn begin_as(text: &str, words: u32, asks: bool) -> Result<Handover, String> {
        if catalog::is_in_recovery() {
            return Err("the server is in recovery, where nothing can be written".into());
        }
        let database = catalog::database();
        tried(|| queue::clear_up(database))?;
        let segment = Segment::create(text, words, asks)?;
        if let Err(why) = queue::owe(database, segment.handle) {
            segment::unpin(segment.handle);
            segment.detach();
            return Err(why.into());
        }
        segment.on_detach(Some(detaching));
        let handover = Handover { segment, database };
        // Where there is no slot for it now, there may be one before the end.
        handover.see_to();
        Ok(handover)
    }

    /// Adds a word, and how long it took.
    pub fn tell(&self, index: u32, what: u32, time: Option<Duration>) {
        self.segment.view.set_slot(index, what, time);
    }

    /// Says that nothing more will come, so that the worker can go on at once.
    pub fn is_complete(&self) {
        self.segment.view.say_over();
    }

    fn see_to(&self) -> Standing {
        // Memory that is used up is an ERROR; then it is tried again.
        tried(|| queue::see_to(self.database, self.segment.handle)).unwrap_or(Standing::NoSlot)
    }

    /// Waits for the worker's word that it can do the work, for `limit` at most, and tells what there is of
    /// doubt then.
    ///
    /// # Errors
    /// Whatever interrupts a wait.
    pub fn doubt(&self, limit: Duration) -> Option<Doubt> {
        let view = self.segment.view;
        let start = Instant::now();
        loop {
            let standing = self.see_to();
            let word = view.word();
            let doubt = match (word, standing) {
                (Word::Can, _) => return None,
                (Word::Missing | Word::Cannot, _) => return Some(Doubt::Worker(word)),
                (_, Standing::Gone) => return Some(Doubt::Worker(Word::Cannot)),
                (_, Standing::NoSlot) => Doubt::NoSlot,
                (Word::None, Standing::Seen) if !view.is_attended() => Doubt::NotStarted,
                (_, Standing::Seen) => Doubt::Worker(word),
            };
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Some(doubt);
            }
            nap(left, standing);
        }
    }

    /// Waits for the work to be done, for `limit` at most.
    ///
    /// # Errors
    /// Whatever interrupts a wait. The work is done all the same.
    pub fn end(self, limit: Duration) -> Ending {
        let view = self.segment.view;
        view.say_over();
        let start = Instant::now();
        loop {
            let standing = match view.state() {
                State::GoingOn => self.see_to(),
                _ => Standing::Gone,
            };
            if standing == Standing::Gone {
                return match view.state() {
                    State::Done => Ending::Done,
                    State::Failed | State::GoingOn => Ending::Failed,
                };
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return match standing {
                    // It is taken out of the queue when this is dropped, unless a slot is free by then.
                    Standing::NoSlot => Ending::NoSlot,
                    _ if !view.is_attended() => Ending::NotStarted,
                    _ => Ending::Late,
                };
            }
            nap(left, standing);
        }
    }
}

fn nap(left: Duration, standing: Standing) {
    wait::sleep(match standing {
        Standing::NoSlot => left.min(SHORT_NAP),
        Standing::Seen | Standing::Gone => left.min(NAP),
    });
}

impl Drop for Handover {
    /// Also on an ERROR: see [`detaching`].
    fn drop(&mut self) {
        self.segment.detach();
    }
}

/// Called by the server before the caller's end is detached, on whichever way out. Waits for nobody, for it may
/// run while the session ends, or while others wait for its locks.
#[pg_guard]
unsafe extern "C-unwind" fn detaching(segment: *mut pg_sys::dsm_segment, handle: pg_sys::Datum) {
    // SAFETY: still mapped.
    let view = unsafe { View::of(segment) };
    view.say_over();
    if queue::is_in_use() {
        return;
    }
    let database = catalog::database();
    let handle = handle.value() as pg_sys::dsm_handle;
    if queue::see_to(database, handle) == Standing::NoSlot {
        // Nobody else would ever see to it.
        queue::settle(database, handle);
    }
}
