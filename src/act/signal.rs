//! Making victims let go: the last check of each, the line in the log, the signal.

use super::wanted::Unwanted;
use super::{Call, progress, watch};
use crate::audit::{self, Came, Record, Trail};
use crate::decide::{Act, Await, Hold, Standing, own_stance};
use crate::error::Error;
use crate::lock::LockMode;
use crate::pg::locks::InWay;
use crate::pg::process::{self, Delivery};
use crate::pg::{activity, locks, snapshots, wait};
use crate::policy::Policy;
use crate::session::{Class, Identity, Rights, Session, judge};
use crate::survey::Sighting;
use crate::switch;
use std::time::{Duration, Instant};

/// How much longer than `deadlock_timeout` an autovacuum worker has to answer the server's cancel.
const YIELDING: Duration = Duration::from_millis(500);

/// Why somebody is not signalled whose record could not be handed over, where policy requires it.
const NO_ROW: &str = "Policy requires a row of the trail, and none can be written";

impl Call<'_> {
    /// Signals those who still stand in the way as they were judged, and tells whether it did with
    /// any: one right after the other, so that the first is not back when the last one goes.
    ///
    /// # Errors
    /// Those of a call that is not [wanted](Call::unwanted) any more. What it still had to signal is not.
    pub(super) fn signal(&mut self, mut victims: Vec<(&Sighting, Act)>) -> Result<bool, Error> {
        victims.retain(|(victim, _)| self.is_as_judged(victim));
        if let Some(unwanted) = self.unwanted() {
            unwanted.end()?;
            return Ok(false);
        }
        let (yielding, victims): (Vec<_>, Vec<_>) =
            victims.into_iter().partition(|(_, act)| *act == Act::Yield);
        let target = self.aim.to_string();
        let (label, stored) = (self.policy.label.clone(), self.stored);
        let label = label.as_deref();
        let write_down = |victim: &Sighting, act| {
            audit::before_signal(victim, act, &target, label, stored);
        };
        for (victim, act) in &victims {
            write_down(victim, *act);
        }
        let records = match victims.is_empty() {
            true => vec![],
            false => self.trail.begin(&victims, label, stored, &target),
        };
        let mut unwanted = None;
        let deliveries: Vec<(Identity, Act, Record, Option<&str>)> = victims
            .iter()
            .zip(records)
            .map(|((victim, act), record)| {
                let why_not = self.deliver(victim, *act, record, &mut unwanted);
                (victim.session.identity, *act, record, why_not)
            })
            .collect();
        let mut has_sent = false;
        for (who, act, record, why_not) in deliveries {
            match why_not {
                None => {
                    self.watch.sent(who, act, record);
                    has_sent = true;
                }
                // The next look tells what there is then.
                Some(why_not) => {
                    audit::not_signalled(who.pid().unwrap_or_default(), why_not);
                    self.trail.came(record, Came::NotSent, None);
                }
            }
        }
        // Whoever was not signalled for that is written down by now.
        unwanted.map_or(Ok(()), Unwanted::end)?;
        for (victim, act) in yielding {
            if let Some(unwanted) = self.unwanted() {
                unwanted.end()?;
                break;
            }
            if self.is_as_judged(victim) {
                write_down(victim, act);
                let one = self.trail.begin(&[(victim, act)], label, stored, &target);
                for record in one {
                    if self.requires_trail() && !self.trail.has(record) {
                        let pid = victim.session.identity.pid().unwrap_or_default();
                        audit::not_signalled(pid, NO_ROW);
                        self.trail.came(record, Came::NotSent, None);
                        continue;
                    }
                    has_sent |= self.have_yield(victim.session.identity, record);
                }
            }
        }
        Ok(has_sent)
    }

    /// Sends one signal, and tells why not if it does not. Writing to the log and asking for the worker
    /// may have taken long: whether the session still does what it was judged for is looked at again.
    /// `unwanted`: why the call is not wanted any more, if it is not.
    fn deliver(
        &self,
        victim: &Sighting,
        act: Act,
        record: Record,
        unwanted: &mut Option<Unwanted>,
    ) -> Option<&'static str> {
        let Identity::Backend { pid, transaction } = victim.session.identity else {
            return Some("It is a prepared transaction");
        };
        if !switch::is_on() {
            return Some("Signalling is turned off");
        }
        *unwanted = unwanted.take().or_else(|| self.unwanted());
        if let Some(unwanted) = unwanted {
            return Some(unwanted.why_not());
        }
        if !self.goes_on_as_judged(victim) {
            return Some("It had ended, or had gone on to another statement");
        }
        if self.requires_trail() && !self.trail.has(record) {
            return Some(NO_ROW);
        }
        self.trail.goes_out(record);
        let (principals, warrant) = (&self.principals, self.warrant(victim));
        match process::signal(pid, transaction, act == Act::Terminate, principals, warrant) {
            Delivery::Sent => None,
            Delivery::Gone => Some("Its transaction had just ended"),
            Delivery::Refused => {
                Some("This role, or another on whose behalf it was to be signalled, may not")
            }
        }
    }

    /// Whether this is still the session that was judged, for what it was judged, and still in the way.
    fn is_as_judged(&self, victim: &Sighting) -> bool {
        self.goes_on_as_judged(victim) && is_still_in_way(victim)
    }

    /// Whether the session does what it did when it was judged, or what comes to the same.
    fn goes_on_as_judged(&self, victim: &Sighting) -> bool {
        let judged = victim.session.doing();
        let pid = victim.session.identity.pid();
        match pid.and_then(activity::doing) {
            Some(now) if now == judged => true,
            Some(now) if now.backend_start == judged.backend_start => {
                self.would_be_judged_alike(victim)
            }
            _ => false,
        }
    }

    /// Whether a session that has gone on to something else in its transaction is of the same class still,
    /// and to be made to let go in the same way: a backup is that through all of its statements, where
    /// after an ANALYZE comes the application's UPDATE. Who counts as idle must not have done anything
    /// since.
    fn would_be_judged_alike(&self, victim: &Sighting) -> bool {
        let who = victim.session.identity;
        let sessions = activity::sessions(&[who], &self.principals);
        let session = sessions.ok().and_then(|mut found| found.remove(&who));
        let (Some(now), Ok(rules)) = (session, self.rules.get()) else {
            return false;
        };
        let judgement = judge(&now, rules);
        let has_been_busy = judgement.class == Class::IdleInTransaction
            && now.query_start != victim.session.query_start;
        if judgement.class != victim.judgement.class || has_been_busy {
            return false;
        }
        let before = [victim];
        let waits_for = watch::who_waits_for_whom(&before);
        let standings = self.watch.standings(
            &before,
            &waits_for,
            |_| false,
            |sighting| self.warrant(sighting),
            self.policy.timeout,
        );
        let Some(standing) = standings.first() else {
            return false;
        };
        let stance = |session: &Session, policy: &Policy, is_in_truth: bool| {
            let rights = match is_in_truth {
                true => Rights::ALL,
                false => session.rights.under(self.warrant(victim)),
            };
            let standing = Standing {
                session,
                rights,
                class: judgement.class_for(rights),
                class_to_caller: judgement.class_for(session.rights.of_caller_alone()),
                hold: Hold::Granted,
                ..*standing
            };
            own_stance(&standing, policy)
        };
        self.policies_and_sight().all(|(policy, is_in_truth)| {
            stance(&now, policy, is_in_truth) == stance(&victim.session, policy, is_in_truth)
        })
    }

    /// Each session that holds once, where the call has the most rights to signal it.
    pub(super) fn first_of_each<'s>(&self, sightings: &'s [Sighting]) -> Vec<&'s Sighting> {
        let warrant = |sighting: &Sighting| self.warrant(sighting);
        let each = watch::each_session(sightings.iter(), &warrant).into_iter();
        each.filter(|(_, granted)| *granted)
            .map(|(sighting, _)| sighting)
            .collect()
    }

    /// Waits for an autovacuum worker until the server cancels it for that, and tells whether it did.
    fn have_yield(&mut self, who: Identity, record: Record) -> bool {
        let start = Instant::now();
        let limit = wait::deadlock_timeout() + YIELDING;
        let left = self.clock.left();
        self.progress.yielding(who, &self.watch);
        self.shown
            .show(progress::remark(&[(who, Await::Signalled)], &self.watch));
        let is_cancelled = {
            let _told = WhetherDue::from_now(&self.trail, record);
            wait::for_transaction(who, limit.min(left));
            start.elapsed() >= wait::deadlock_timeout()
        };
        if is_cancelled {
            self.watch.sent(who, Act::Yield, record);
        } else if let Some(pid) = who.pid() {
            audit::not_signalled(pid, "It let go by itself, or the time was up");
            self.trail.came(record, Came::NotSent, None);
        }
        is_cancelled
    }
}

/// While the server is waited for to cancel a worker: however the wait ends, the trail is told whether the
/// server has had the time to. An error is told here; the end of the session is seen by the trail's worker.
struct WhetherDue<'a> {
    trail: &'a Trail,
    record: Record,
    start: Instant,
}

impl WhetherDue<'_> {
    fn from_now(trail: &Trail, record: Record) -> WhetherDue<'_> {
        trail.goes_out_at(record, activity::now().after(wait::deadlock_timeout()));
        WhetherDue {
            trail,
            record,
            start: Instant::now(),
        }
    }
}

impl Drop for WhetherDue<'_> {
    fn drop(&mut self) {
        match self.start.elapsed() >= wait::deadlock_timeout() {
            true => self.trail.goes_out(self.record),
            false => self.trail.stays(self.record),
        }
    }
}

/// Whether a session still holds the lock, or has the snapshot, that it was judged for. Asked with the
/// mode that conflicts with every other.
fn is_still_in_way(victim: &Sighting) -> bool {
    let is_it = |found: &InWay| found.granted && found.who == victim.session.identity;
    // The lock on its own transaction is not in the lock table while nobody waits for it.
    locks::in_way(victim.tag, LockMode::AccessExclusive)
        .iter()
        .any(is_it)
        || victim.tag.is_virtual_transaction() && snapshots::holders().iter().any(is_it)
}
