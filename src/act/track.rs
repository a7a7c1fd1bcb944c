//! One session as it is watched during a call, through one or several of its transactions.

use super::age::Ages;
use super::bounds::By;
use crate::audit::Record;
use crate::decide::{Act, Hold, Stance};
use crate::lock::{LockMode, RelationId};
use crate::session::{Class, Identity, Judgement, Session};
use crate::survey::Sighting;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// One session, through one or, while it is not signalled, several of its transactions.
pub(super) struct Track {
    pub(super) session: Rc<Session>,
    pub(super) judgement: Judgement,
    pub(super) relation: Option<RelationId>,
    /// It is its transaction that is waited for, and not a lock on some object.
    pub(super) is_waited_for_whole: bool,
    pub(super) mode: LockMode,
    pub(super) first_seen: Instant,
    /// When this very transaction was first seen or, where a statement does its work in several under
    /// one lock, the first of these.
    pub(super) transaction_seen: Instant,
    pub(super) ages: Ages,
    /// Since when it has been seen outside any transaction.
    pub(super) outside_since: Option<Instant>,
    pub(super) gone: Option<Instant>,
    pub(super) hold: Hold,
    /// The first look found this very transaction, or an earlier one of the same statement.
    pub(super) from_start: bool,
    pub(super) sent: Vec<Signalled>,
    pub(super) stance: Stance,
    /// What bounds the call and keeps it from being preempted, though the call's own policy would.
    pub(super) held_by: Option<By>,
    /// It waits for one of the target's own locks.
    pub(super) is_queued: bool,
    /// Who stood in the way of what it waits for itself, at the last look.
    pub(super) waits_for: Vec<Identity>,
    /// It held one of the target's locks and waited for another that a victim held.
    pub(super) was_helped: bool,
    /// It is in the way only of this one, which is in the way itself.
    pub(super) through: Option<Identity>,
    /// It has held on through an attempt to take the lock.
    pub(super) outlasted: bool,
    /// It is there to stay, rather than traffic that passes.
    pub(super) is_long: bool,
    /// It has been left alone because it was about to finish.
    pub(super) was_finishing: bool,
    /// It was more than passing traffic or a queued request, so that its row is of interest.
    pub(super) counts: bool,
    /// When an earlier transaction of the session that was of interest had ended.
    pub(super) counted_until: Option<Instant>,
}

/// A signal that was sent, and where it is written down.
pub(super) struct Signalled {
    pub(super) act: Act,
    pub(super) at: Instant,
    pub(super) record: Record,
    /// It has been told what came of it.
    pub(super) is_told: bool,
}

impl Track {
    /// How long after `now` it will have let go by its own report.
    pub(super) fn eta(&self, now: Instant) -> Option<Duration> {
        let since = self.session.query_start?;
        let stamp = since.after(self.ages.of_query(now)?);
        self.session.eta(stamp)
    }

    /// Why what bounds the call keeps it from being preempted, if it does.
    pub(super) fn why_held(&self) -> Option<String> {
        self.held_by.as_ref().and_then(By::reason)
    }

    /// The class that the caller's policy is held against.
    pub(super) fn class(&self) -> Class {
        self.judgement.class_for(self.session.rights)
    }

    /// Whether what it was tells more than what it is: on its way out of a transaction a session reports
    /// nothing any more of what it did there.
    pub(super) fn is_told_from_before(&self, sighting: &Sighting) -> bool {
        sighting.session.identity.is_outside_transaction()
            && self.session.identity == sighting.session.identity
    }

    /// When that of it had gone which its row is about. Once it comes again as mere traffic, the row is
    /// still about what it was before.
    pub(super) fn has_gone(&self) -> Option<Instant> {
        self.gone.or(self.counted_until.filter(|_| !self.counts))
    }

    /// Whether what is seen of the session now is the same hold: of a session that has ended its
    /// transaction and not let go, or of a statement that does its work in several transactions under one lock.
    pub(super) fn goes_on_as(&self, sighting: &Sighting, granted: bool) -> bool {
        let (last, now) = (&self.session, &sighting.session);
        let is_hold = granted && self.hold != Hold::Queued;
        let is_same_statement = last.query_start.is_some() && last.query_start == now.query_start;
        let is_work = last.progress.is_some() && now.progress.is_some();
        is_hold
            && (now.identity.is_outside_transaction()
                || is_same_statement && (last.identity.is_outside_transaction() || is_work))
    }

    /// The class that the caller's own additions to a stored policy are held against.
    pub(super) fn class_to_caller(&self) -> Class {
        let rights = self.session.rights.of_caller_alone();
        self.judgement.class_for(rights)
    }
}
