//! Waiting: for a transaction to end, or for some time; both answer to cancel, `statement_timeout`
//! and terminate at once.

use super::subtransaction::{kept, limit_lock_waits};
use super::{compat, reserve};
use crate::session::{Identity, VirtualTransaction};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::time::Duration;

/// Waits until the transaction has ended, for `limit` at most (a millisecond at least), and tells
/// whether it has.
///
/// The wait is for the lock that every transaction holds on its own virtual transaction id, so it
/// queues nobody on any relation, ends when that transaction does, and is seen by
/// `pg_blocking_pids` and by the deadlock detector, which may raise 40P01 here.
///
/// Waiting so for an autovacuum worker for longer than `deadlock_timeout` makes core cancel it.
///
/// # Errors
/// Any that a lock wait raises (57014, 40P01).
pub fn for_transaction(who: Identity, limit: Duration) -> bool {
    let transaction = match who {
        Identity::Backend { transaction, .. } => transaction,
        Identity::Prepared { xid } => VirtualTransaction {
            slot: compat::INVALID_SLOT,
            local: xid,
        },
    };
    kept(|| {
        limit_lock_waits(limit);
        // SAFETY: any virtual transaction may be waited for, one that has ended too.
        unsafe { pg_sys::VirtualXactLock(compat::to_vxid(transaction), true) }
    })
}

/// `deadlock_timeout`.
pub fn deadlock_timeout() -> Duration {
    // SAFETY: a setting of the server, in milliseconds.
    Duration::from_millis(u64::try_from(unsafe { pg_sys::DeadlockTimeout }).unwrap_or(1_000))
}

/// Raises the error of a cancel, of `statement_timeout` or of a terminate that has arrived, and 53200 where memory has
/// run out. In every loop over what somebody else has made many of.
pub fn answer_interrupts() {
    check_for_interrupts!();
    reserve::checkpoint();
}

/// Whether a cancel, a limit or a terminate has arrived that is not answered yet.
pub fn is_interrupted() -> bool {
    // SAFETY: flags of this process, which its signal handlers set.
    unsafe {
        pg_sys::QueryCancelPending != 0
            || pg_sys::ProcDiePending != 0
            || pg_sys::ClientConnectionLost != 0
    }
}

/// Raises 54001 where the stack is used up but for what the server keeps back: for whatever calls itself as deep
/// as somebody's text is nested. Nothing calls itself as deep as data are.
pub fn check_stack() {
    // SAFETY: compares an address.
    unsafe { pg_sys::check_stack_depth() };
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
