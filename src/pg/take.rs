//! Taking locks on relations: all that maintenance needs or none, and the one that reading a table of ours needs.

use super::catalog;
use super::subtransaction::{kept_if_room, limit_lock_waits};
use crate::lock::{LockMode, Need, RelationId};
use pgrx::pg_sys;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// All are held, for the rest of the transaction.
    Taken,
    /// Somebody is in the way, and none is held.
    Missed,
    /// There is no room for them in the lock table, and none is held.
    NoRoom,
    /// All could be had, but what was found then is not what was wanted, and none is held.
    Unwanted,
}

impl Attempt {
    /// What it has come to, when the subtransaction around it was kept or not: one whose wait ran into its
    /// limit in the moment in which the last lock was granted is rolled back, and its locks are gone.
    fn if_kept(self, is_kept: bool) -> Attempt {
        match self {
            Attempt::Taken if !is_kept => Attempt::Missed,
            other => other,
        }
    }
}

/// How long reading the catalogs may wait for locks on them, while those that are wanted are held.
const CHECKING: Duration = Duration::from_millis(10);

/// Takes these locks, in that order. Where one cannot be had at once it is queued
/// for, until `in_queue` has passed since the start; with none, not at all. Once all are held, `check`
/// tells whether to keep them. Also told: how long others may have had to wait behind an attempt that
/// failed.
///
/// `may_do_without`: that there is no room for them is an answer, and no error.
///
/// A request in earnest is granted where a conditional one is not: where those who wait are waiting for
/// this very transaction (`ProcSleep` in `proc.c`).
///
/// Checks no privilege, and locks an OID that is nobody's (any more): both are the caller's business.
///
/// # Errors
/// 53200 when the lock table is full and it may not do without, 40P01 from the queue, those of a cancel or a terminate.
pub fn all(
    needs: &[Need],
    in_queue: Option<Duration>,
    may_do_without: bool,
    check: impl FnOnce() -> bool,
) -> (Attempt, Duration) {
    let start = Instant::now();
    let mut attempt = Attempt::Missed;
    let outcome = &mut attempt;
    let lacks_room = AtomicBool::new(false);
    let work = move || {
        for need in needs {
            let relation = pg_sys::Oid::from_u32(need.relation);
            let mode = need.mode.number();
            // SAFETY: ordinary locks of this (sub)transaction.
            if unsafe { pg_sys::ConditionalLockRelationOid(relation, mode) } {
                continue;
            }
            let left = in_queue.and_then(|limit| limit.checked_sub(start.elapsed()));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                return false;
            };
            limit_lock_waits(left);
            // SAFETY: as above.
            unsafe { pg_sys::LockRelationOid(relation, mode) };
        }
        // All are held now: should a catalog be locked, others must not wait for that.
        let left = in_queue.map_or(Duration::ZERO, |limit| {
            limit.saturating_sub(start.elapsed())
        });
        limit_lock_waits(left.max(CHECKING));
        catalog::catch_up();
        *outcome = if check() {
            Attempt::Taken
        } else {
            Attempt::Unwanted
        };
        *outcome == Attempt::Taken
    };
    let is_kept = kept_if_room(work, may_do_without.then_some(&lacks_room));
    let attempt = match lacks_room.into_inner() {
        true => Attempt::NoRoom,
        false => attempt.if_kept(is_kept),
    };
    let stalled = match attempt {
        Attempt::Taken => Duration::ZERO,
        Attempt::Missed | Attempt::NoRoom | Attempt::Unwanted => start.elapsed(),
    };
    (attempt, stalled)
}

/// Locks a table of ours if that is possible at once, and tells whether it was.
pub fn try_lock(table: RelationId, mode: LockMode) -> bool {
    // SAFETY: an ordinary lock of this transaction.
    unsafe { pg_sys::ConditionalLockRelationOid(pg_sys::Oid::from_u32(table), mode.number()) }
}

/// Locks a table of ours, however long that takes.
///
/// # Errors
/// 55P03 after `lock_timeout`, 40P01, those of a cancel or a terminate.
pub fn lock(table: RelationId, mode: LockMode) {
    // SAFETY: an ordinary lock of this transaction.
    unsafe { pg_sys::LockRelationOid(pg_sys::Oid::from_u32(table), mode.number()) };
}

#[cfg(test)]
mod tests {
    use super::Attempt::{self, *};

    #[test]
    fn locks_whose_subtransaction_was_not_kept_are_not_taken() {
        for (said, is_kept, expected) in [
            (Taken, true, Taken),
            (Taken, false, Missed),
            (Missed, false, Missed),
            (Unwanted, false, Unwanted),
        ] {
            assert_eq!(Attempt::if_kept(said, is_kept), expected, "{said:?}");
        }
    }
}
