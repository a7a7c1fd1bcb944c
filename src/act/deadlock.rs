//! Seeing that a wait would never end, because who is in the way waits for us.

use super::{Call, progress};
use crate::decide::{Await, Decision, Stance};
use crate::error::Error;
use crate::pg::{process, snapshots, wait};
use crate::session::{Identity, Process};
use crate::survey::{self, Sighting};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// After what time a circle is looked at again before it is called one: short beside `deadlock_timeout`, after
/// which another in it would be the one to find it, and to be ended for it.
const AGAIN: Duration = Duration::from_millis(5);

/// How much longer than `deadlock_timeout` to wait for the server's own check.
const TO_CHECK: Duration = Duration::from_millis(50);

impl Call<'_> {
    /// A holder that is not preempted and itself waits for this transaction will wait for ever, and
    /// so would we; and one that is only in the way of somebody in the queue, if we wait for it. Its own
    /// check for deadlocks would find our wait, and end it for that.
    ///
    /// True if time has passed, so that another look is due: what was found has changed, or was for the server
    /// to resolve.
    pub(super) fn refuse_deadlock(
        &mut self,
        sightings: &[Sighting],
        decisions: &[(Vec<Identity>, Decision)],
    ) -> Result<bool, Error> {
        // Each holder that waits, and whether it is in the way of the target itself.
        let mut holders: HashMap<Identity, bool> = HashMap::new();
        for sighting in sightings {
            let who = sighting.session.identity;
            if sighting.granted && who.pid().is_some_and(process::waits) {
                *holders.entry(who).or_default() |= sighting.behind.is_none();
            }
        }
        let is_waited_for = |who: &Identity, stance: &Stance| match (holders.get(who), stance) {
            (None, _) | (_, Stance::Preempt(_)) => false,
            (Some(false), Stance::Queued | Stance::Helped | Stance::Beside) => false,
            (Some(_), _) => true,
        };
        let waiting: Vec<Identity> = decisions
            .iter()
            .flat_map(|(who, decision)| who.iter().zip(&decision.stances))
            .filter(|(who, stance)| is_waited_for(who, stance))
            .map(|(who, _)| *who)
            .collect();
        // Whoever is preempted lets go whatever he waits for.
        let all = decisions
            .iter()
            .flat_map(|(who, decision)| who.iter().zip(&decision.stances));
        let victims = all.filter(|(_, stance)| matches!(stance, Stance::Preempt(_)));
        let victims: HashSet<Identity> = victims.map(|(who, _)| *who).collect();
        let Some(chain) = survey::chain_to_us(&waiting, &victims) else {
            return Ok(false);
        };
        let found = chain.first();
        let of_found = || sightings.iter().filter(|s| s.session.identity == found);
        // Another that is about to build an index has come to wait for our snapshot just now: at the next look
        // it is not in the way.
        let has_snapshot_alone = of_found().all(|s| s.tag.is_virtual_transaction());
        if has_snapshot_alone && found.pid().is_some_and(snapshots::waits_for_us) {
            return Ok(false);
        }
        // While it waits it lets go of nothing: what it holds now, it has held and will hold for all of this wait.
        let is_direct = holders.get(&found) == Some(&true);
        let stands = of_found().filter(|s| s.granted && s.behind.is_none() == is_direct);
        let mut stands = stands.map(|s| survey::still_holds(found, s.tag, s.mode));
        if !stands.any(|still_holds| still_holds) {
            return Ok(false);
        }
        let left = self.clock.left();
        if !chain.is_hard() {
            return Ok(self.leave_to_server(found, sightings, decisions, left));
        }
        wait::sleep(AGAIN.min(wait::deadlock_timeout() / 10));
        match survey::persists(&chain) {
            true => Err(self.deadlock_with(found)),
            false => Ok(!left.is_zero()),
        }
    }

    fn deadlock_with(&self, found: Identity) -> Error {
        let name = self.watch.name(found);
        let own = process::own_pid();
        Error::Deadlock {
            message: format!("deadlock: {name}, in the way of {}, waits for this transaction", self.aim),
            detail: format!("Process {own} waits for {name}, which waits for a lock that process {own} holds."),
            hint: "Roll back, and call it at the start of the transaction, before anything else is locked.".into(),
        }
    }

    /// Someone in the circle waits only because of the order of a queue. The server puts such a queue into an order
    /// in which all go on (`DeadLockCheck` in `deadlock.c`), and has nobody end where it can; it looks
    /// once in each wait, after `deadlock_timeout`. The others may have had their looks before we closed the
    /// circle, so that it takes a wait of ours that lasts as long. Should no order help, it raises
    /// 40P01 here.
    ///
    /// True if that was waited for.
    fn leave_to_server(
        &mut self,
        who: Identity,
        sightings: &[Sighting],
        decisions: &[(Vec<Identity>, Decision)],
        left: Duration,
    ) -> bool {
        // Core cancels an autovacuum worker whose transaction somebody waits for so long.
        let is_worker = sightings
            .iter()
            .any(|s| s.session.identity == who && s.session.process == Process::AutovacuumWorker);
        let cannot_be_checked = left <= wait::deadlock_timeout();
        if cannot_be_checked || is_worker || who.is_outside_transaction() {
            return false;
        }
        let awaited = [(who, Await::Staying)];
        self.progress.begin(&self.aim, &self.watch);
        self.progress.waiting(&awaited, &self.watch);
        self.shown.show(progress::remark(&awaited, &self.watch));
        let limit = left.min(wait::deadlock_timeout() + TO_CHECK);
        let start = Instant::now();
        let has_ended = wait::for_transaction(who, limit);
        self.has_gap = has_ended && self.is_alone(who, decisions);
        if !self.has_gap {
            self.pace(start, limit);
        }
        true
    }
}
