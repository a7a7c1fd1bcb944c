//! Waiting: for a transaction to end, or for some time; both answer to cancel, `statement_timeout`
//! and terminate at once.

use super::compat::{self, unbound};
use crate::session::{Identity, VirtualTransaction};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::time::Duration;

/// Waits until the transaction has ended, for `limit` at most (a millisecond at least), and tells
/// whether it has.
///
/// The wait is for the lock that every transaction holds on its own virtual transaction id, so it
/// queues nobody on any relation, ends when that transaction does, and is seen by
/// `pg_blocking_pids` and by the deadlock detector, which may raise 40P01 here. The limit is
/// `lock_timeout`, set inside a subtransaction that catches its expiry (55P03) and nothing else.
///
/// Waiting so for an autovacuum worker for longer than `deadlock_timeout` makes core cancel it.
///
/// # Errors
/// Any that a lock wait raises (57014, 40P01) unwinds through here. The subtransaction has ended by
/// then: whoever catches the error, such as plpgsql's exception block, ends one subtransaction, which
/// must be its own.
pub fn for_transaction(who: Identity, limit: Duration) -> bool {
    let transaction = match who {
        Identity::Backend { transaction, .. } => transaction,
        Identity::Prepared { xid } => VirtualTransaction {
            slot: compat::INVALID_SLOT,
            local: xid,
        },
    };
    let milliseconds = limit.as_millis().clamp(1, 86_400_000);
    let Ok(milliseconds) = std::ffi::CString::new(milliseconds.to_string()) else {
        return false;
    };
    // SAFETY: an internal subtransaction around the wait, as plpgsql's exception blocks have it:
    // memory context and resource owner are put back on both ways out, and the setting's own nest
    // level is closed before the subtransaction is (on abort, by it).
    unsafe {
        let had_statement_timeout = unbound::is_statement_timeout_active();
        let context = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let undo = || {
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
        };
        let ended = PgTryBuilder::new(|| {
            let nest_level = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                c"lock_timeout".as_ptr(),
                milliseconds.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            pg_sys::VirtualXactLock(compat::to_vxid(transaction), true);
            pg_sys::AtEOXact_GUC(true, nest_level);
            true
        })
        .catch_when(PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE, |_| false)
        .catch_others(|error| {
            undo();
            error.rethrow()
        })
        .execute();
        if ended {
            pg_sys::ReleaseCurrentSubTransaction();
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
        } else {
            undo();
            // Where both were due at once, ProcessInterrupts() has told of the lock alone, and the
            // other would never come again.
            if had_statement_timeout && !unbound::is_statement_timeout_active() {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
                    "canceling statement due to statement timeout"
                );
            }
        }
        ended
    }
}

/// `deadlock_timeout`.
pub fn deadlock_timeout() -> Duration {
    // SAFETY: a setting of the server, in milliseconds.
    Duration::from_millis(u64::try_from(unsafe { pg_sys::DeadlockTimeout }).unwrap_or(1_000))
}

/// Raises the error of a cancel, of `statement_timeout` or of a terminate that has arrived.
pub fn answer_interrupts() {
    check_for_interrupts!();
}

/// Sleeps on the process's latch for that long (a millisecond at least), or until something wakes it.
pub fn sleep(length: Duration) {
    let milliseconds = length.as_millis().clamp(1, 86_400_000) as core::ffi::c_long;
    // SAFETY: our own latch; a death of the postmaster ends the process.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            (pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH) as i32,
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    answer_interrupts();
}
