//! Making victims let go: the last check of each, the line in the log, the signal.

use super::{Call, progress};
use crate::audit::{self, Came, Record};
use crate::decide::{Act, Await};
use crate::lock::LockMode;
use crate::pg::locks::InWay;
use crate::pg::process::{self, Delivery};
use crate::pg::{activity, locks, snapshots, wait};
use crate::session::Identity;
use crate::survey::Sighting;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How much longer than `deadlock_timeout` an autovacuum worker has to answer the server's cancel.
const YIELDING: Duration = Duration::from_millis(500);

impl Call<'_> {
    /// Signals those who still stand in the way as they were judged, and tells whether it did with
    /// any: one right after the other, so that the first is not back when the last one goes.
    pub(super) fn signal(&mut self, mut victims: Vec<(&Sighting, Act)>) -> bool {
        // Whoever interrupts the call wants nothing more done.
        wait::answer_interrupts();
        victims.retain(|(victim, _)| is_as_judged(victim));
        if !self.aim.is_still_wanted() {
            return false;
        }
        let (yielding, victims): (Vec<_>, Vec<_>) =
            victims.into_iter().partition(|(_, act)| *act == Act::Yield);
        let target = self.aim.to_string();
        let (label, stored) = (self.policy.label.as_deref(), self.stored);
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
        // With none it was not tried.
        let deliveries: Vec<(Identity, Act, Record, Option<Delivery>)> = victims
            .iter()
            .zip(records)
            .map(|((victim, act), record)| {
                let who = victim.session.identity;
                let delivery = self.aim.is_still_wanted().then(|| match who {
                    Identity::Backend { pid, transaction } => {
                        process::signal(pid, transaction, *act == Act::Terminate)
                    }
                    Identity::Prepared { .. } => Delivery::Gone,
                });
                (who, *act, record, delivery)
            })
            .collect();
        let mut has_sent = false;
        for (who, act, record, delivery) in deliveries {
            let pid = who.pid().unwrap_or_default();
            // The next look tells what there is then.
            let why_not = match delivery {
                Some(Delivery::Sent) => {
                    self.watch.sent(who, act, record);
                    has_sent = true;
                    continue;
                }
                Some(Delivery::Gone) => "Its transaction had just ended",
                Some(Delivery::Refused) => "This role may not",
                None => "The session that waited had just got its lock, or given up",
            };
            audit::not_signalled(pid, why_not);
            self.trail.came(record, Came::NotSent, None);
        }
        for (victim, act) in yielding {
            wait::answer_interrupts();
            if is_as_judged(victim) && self.aim.is_still_wanted() {
                write_down(victim, act);
                let one = self.trail.begin(&[(victim, act)], label, stored, &target);
                for record in one {
                    self.trail.not_yet(record);
                    has_sent |= self.have_yield(victim.session.identity, record);
                }
            }
        }
        has_sent
    }

    /// Waits for an autovacuum worker until the server cancels it for that, and tells whether it did.
    fn have_yield(&mut self, who: Identity, record: Record) -> bool {
        let start = Instant::now();
        let limit = wait::deadlock_timeout() + YIELDING;
        let left = self.policy.timeout.saturating_sub(self.start.elapsed());
        self.progress.yielding(who, &self.watch);
        self.shown
            .show(progress::remark(&[(who, Await::Signalled)], &self.watch));
        wait::for_transaction(who, limit.min(left));
        let is_cancelled = start.elapsed() >= wait::deadlock_timeout();
        if is_cancelled {
            self.watch.sent(who, Act::Yield, record);
        } else if let Some(pid) = who.pid() {
            audit::not_signalled(pid, "It let go by itself, or the time was up");
            self.trail.came(record, Came::NotSent, None);
        }
        is_cancelled
    }
}

/// Whether this is still the session that was judged, and still in the way.
fn is_as_judged(victim: &Sighting) -> bool {
    let session = &victim.session;
    session
        .identity
        .pid()
        .is_some_and(|pid| activity::backend_start(pid) == session.backend_start)
        && is_still_in_way(victim)
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

/// Each session once, as first seen holding.
pub(super) fn first_of_each(sightings: &[Sighting]) -> Vec<&Sighting> {
    let mut seen: HashSet<Identity> = HashSet::new();
    sightings
        .iter()
        .filter(|s| s.granted && seen.insert(s.session.identity))
        .collect()
}
