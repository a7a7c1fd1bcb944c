//! Taking the lock: at once where that is possible, and else from the queue, for as short a time and
//! as seldom as policy and [`Backoff`](crate::backoff::Backoff) allow.

use super::{Call, End, Manner, SOON, capacity};
use crate::error::Error;
use crate::pg::take::{self, Attempt};
use crate::pg::wait;
use crate::session::Process;
use crate::survey::{self, Sighting};
use std::time::{Duration, Instant};

/// How long the lock is queued for at most while others let go, or have gone.
const GAP: Duration = Duration::from_millis(10);

impl Call<'_> {
    /// Tries to take the lock, now that all that is left in the way, if anything, is short; or, where
    /// the queue must not be sat in yet, waits for one of those.
    pub(super) fn take(
        &mut self,
        sightings: &[Sighting],
        left: Duration,
    ) -> Result<Option<End>, Error> {
        let pause = self.backoff.pause(self.clock.elapsed());
        let in_queue = match sightings.is_empty() {
            true => self.gap(),
            false => self.policy.max_stall,
        };
        let in_queue = in_queue.min(left);
        let may_queue = pause.is_zero() && !in_queue.is_zero();
        if !sightings.is_empty() {
            self.unseen_misses = 0;
        }
        if may_queue || sightings.is_empty() {
            if self.attempt(may_queue.then_some(in_queue))? {
                return Ok(Some(End::Free));
            }
            if may_queue && in_queue == self.policy.max_stall {
                self.watch.outlasted();
            }
        }
        if left.is_zero() {
            return Ok(Some(End::TimeUp));
        }
        match () {
            () if may_queue => (),
            () if sightings.is_empty() => {
                // Somebody is just letting go, or holds it outside any transaction: each attempt uses
                // up a transaction id, so that they become fewer.
                let rest = SOON * 2u32.pow(self.unseen_misses.min(10));
                self.unseen_misses += 1;
                wait::sleep(rest.min(pause).min(left));
            }
            () => self.let_pass(sightings, pause.min(left)),
        }
        Ok(None)
    }

    /// Stays out of the queue, for that long or until one of these has gone.
    pub(super) fn let_pass(&mut self, sightings: &[Sighting], limit: Duration) {
        self.progress.backing_off();
        self.shown
            .show("lockguard lets traffic pass before it tries again to take the lock".into());
        let limit = limit.min(self.progress.until_next());
        let holder = sightings.iter().find(|s| {
            let is_worker = s.session.process == Process::AutovacuumWorker;
            s.granted && !is_worker && !s.session.identity.is_outside_transaction()
        });
        let start = Instant::now();
        if let Some(holder) = holder {
            let limit = limit.min(wait::deadlock_timeout() / 2);
            wait::for_transaction(holder.session.identity, limit);
        }
        self.pace(start, limit);
    }

    /// Tries to take the lock before another look, because those in the way are just letting go, and
    /// whoever comes next must not get in between. If somebody has, he is looked at.
    pub(super) fn take_in_gap(&mut self) -> Result<bool, Error> {
        if !self.takes {
            return Ok(false);
        }
        let now = self.clock.elapsed();
        let left = self.policy.timeout.saturating_sub(now);
        let in_queue = self.gap().min(left);
        let may_queue = self.backoff.pause(now).is_zero() && !in_queue.is_zero();
        self.attempt(may_queue.then_some(in_queue))
    }

    /// How long to queue where nobody but a newcomer would be in the way: so short that the queue may be
    /// sat in again while he is short still.
    fn gap(&self) -> Duration {
        GAP.min(self.policy.max_stall / 20)
    }

    /// One attempt, in the queue for that long at most; whether the lock is held.
    fn attempt(&mut self, in_queue: Option<Duration>) -> Result<bool, Error> {
        let order = match &mut self.order {
            Some(order) => order,
            none => none.insert(self.aim.in_lock_order()),
        };
        if !capacity::has_room_for(order, &self.aim, self.manner)? {
            self.takes = false;
            return Ok(false);
        }
        // Nobody can make a relation another one, or give it an index or a partition, while all of
        // it is locked.
        let mut unchanged = Ok(true);
        let may_do_without = self.manner == Manner::Guard;
        let (attempt, stalled) = take::all(order, in_queue, may_do_without, || {
            unchanged = self.aim.is_unchanged().and_then(|is_unchanged| {
                self.aim.may_be_taken()?;
                Ok(is_unchanged)
            });
            matches!(unchanged, Ok(true))
        });
        unchanged?;
        if attempt == Attempt::Unwanted {
            self.order = None;
            self.may_be_helped()?;
        }
        if attempt == Attempt::NoRoom {
            capacity::warn(&self.aim);
            self.takes = false;
            return Ok(false);
        }
        if attempt != Attempt::Taken {
            let now = self.clock.elapsed();
            self.backoff.spent(now, stalled, fastrand::f64());
            return Ok(false);
        }
        // Whoever held one of these locks has let go, though his transaction may go on: he has rolled
        // back to a savepoint.
        let mut still_there = survey::still_there(self.watch.present_ones(), &self.principals)?;
        still_there.retain(|who| self.watch.is_behind(*who));
        self.watch.no_longer_waited_for(&still_there);
        Ok(true)
    }
}
