//! Internal subtransactions around what waits for locks: what was locked in one goes with it, unless
//! it is kept.

use super::cancel::Watch;
use super::compat::unbound;
use super::settings;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A subtransaction, and what is current outside of it.
#[derive(Clone, Copy)]
struct Inner {
    context: pg_sys::MemoryContext,
    owner: pg_sys::ResourceOwner,
}

impl Inner {
    /// # Safety
    /// In a transaction; ended by [`Inner::keep`] or [`Inner::roll_back`], and by one of them alone.
    unsafe fn begin() -> Inner {
        // SAFETY: as promised.
        unsafe {
            let inner = Inner {
                context: pg_sys::CurrentMemoryContext,
                owner: pg_sys::CurrentResourceOwner,
            };
            pg_sys::BeginInternalSubTransaction(std::ptr::null());
            pg_sys::MemoryContextSwitchTo(inner.context);
            inner
        }
    }

    /// # Safety
    /// It is the current subtransaction.
    unsafe fn keep(self) {
        // SAFETY: as promised.
        unsafe { pg_sys::ReleaseCurrentSubTransaction() };
        self.put_back();
    }

    /// # Safety
    /// It is the current subtransaction, in whatever state.
    unsafe fn roll_back(self) {
        // SAFETY: as promised.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        self.put_back();
    }

    fn put_back(self) {
        // SAFETY: both were current when the subtransaction began, and outlive it.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.context);
            pg_sys::CurrentResourceOwner = self.owner;
        }
    }
}

/// Errors that are caught are no reason to end the session, though `exit_on_error` says so of each: while this
/// lives they are raised as what they are. What unwinds further is raised again outside, and ends the session
/// then.
struct ErrorsAreCaught {
    exits_on_error: bool,
}

impl ErrorsAreCaught {
    fn from_now() -> ErrorsAreCaught {
        // SAFETY: a setting of this session, read and set on its one thread; nothing of the user's runs before it
        // is put back, which could set it as well.
        unsafe {
            let exits_on_error = pg_sys::ExitOnAnyError;
            pg_sys::ExitOnAnyError = false;
            ErrorsAreCaught { exits_on_error }
        }
    }
}

impl Drop for ErrorsAreCaught {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { pg_sys::ExitOnAnyError = self.exits_on_error };
    }
}

/// Does the work in a subtransaction, and tells whether that was kept: it is if the work answers
/// true. If it answers false, or a lock wait in it ran into [`limit_lock_waits`] (be it in the moment
/// in which it was granted), it is rolled back and its locks are gone.
///
/// # Errors
/// Any other that the work raises (57014, 40P01) unwinds through here. The subtransaction has ended
/// by then: whoever catches the error, such as plpgsql's exception block, ends one subtransaction,
/// which must be its own.
pub(super) fn kept(work: impl FnOnce() -> bool) -> bool {
    kept_if_room(work, None)
}

/// The same. Where there is no room for the work (53200), it is rolled back, and that is said in `lacks_room`, if
/// there is one.
pub(super) fn kept_if_room(work: impl FnOnce() -> bool, lacks_room: Option<&AtomicBool>) -> bool {
    // SAFETY: an internal subtransaction around the work, as plpgsql's exception blocks have it:
    // memory context and resource owner are put back on both ways out, and the settings' own nest
    // level is closed before the subtransaction is (on abort, by it).
    unsafe {
        let cancels = Watch::from_now();
        check_for_interrupts!();
        let had_statement_timeout = unbound::is_statement_timeout_active();
        let inner = Inner::begin();
        let _caught = ErrorsAreCaught::from_now();
        let is_kept = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
            let nest_level = pg_sys::NewGUCNestLevel();
            let is_kept = work();
            // A limit that ran out just when the lock was granted is told of only at the next chance
            // (ProcSleep() keeps the indicator): here, where it is known to be ours.
            check_for_interrupts!();
            if is_kept {
                pg_sys::AtEOXact_GUC(true, nest_level);
            }
            is_kept
        }))
        .catch_when(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, |_| false)
        .catch_when(
            PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            |error| match lacks_room {
                Some(lacks_room) => {
                    lacks_room.store(true, Ordering::Relaxed);
                    false
                }
                None => {
                    inner.roll_back();
                    error.rethrow()
                }
            },
        )
        .catch_others(|error| {
            inner.roll_back();
            error.rethrow()
        })
        .execute();
        if is_kept {
            inner.keep();
        } else {
            inner.roll_back();
            // Where both were due at once, ProcessInterrupts() has told of the lock alone, and the
            // other would never come again: somebody's cancel, or the statement's own limit.
            cancels.bring_back();
            check_for_interrupts!();
            if had_statement_timeout && !unbound::is_statement_timeout_active() {
                // Unless it has run out since, and tells of itself: once is enough.
                check_for_interrupts!();
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
                    "canceling statement due to statement timeout"
                );
            }
        }
        is_kept
    }
}

/// Has each lock wait from here to the end of the surrounding [`kept`] give up after `limit` (a
/// millisecond at least).
pub(super) fn limit_lock_waits(limit: Duration) {
    // Put back with the nest level that `kept` has opened.
    settings::limit_lock_waits(limit);
}

/// Does the work in a subtransaction, and answers with its error's message if it raises one. Whoever
/// interrupts the session is not kept from it.
///
/// # Errors
/// What the work raises. A cancel or the end of the session unwinds through here.
pub(super) fn tried<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    // SAFETY: as in `kept`.
    unsafe {
        let inner = Inner::begin();
        let _caught = ErrorsAreCaught::from_now();
        PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
            let result = work();
            inner.keep();
            Ok(result)
        }))
        .catch_when(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |error| {
            inner.roll_back();
            error.rethrow()
        })
        .catch_others(|error| {
            inner.roll_back();
            match error {
                pg_sys::panic::CaughtError::PostgresError(report)
                | pg_sys::panic::CaughtError::ErrorReport(report) => {
                    Err(report.message().to_owned())
                }
                panic => panic.rethrow(),
            }
        })
        .execute()
    }
}
