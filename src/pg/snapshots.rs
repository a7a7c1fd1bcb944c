//! Snapshots: who has one in this database, and so may still see what an index that is being built
//! concurrently would lack; and reading with a fresh one.

use super::locks::InWay;
use super::{compat, locks, process};
use crate::lock::{LockMode, LockTag};
use crate::session::Identity;
use pgrx::pg_sys;

/// The sessions for whose snapshots `CREATE INDEX CONCURRENTLY` and its like would wait, were they to
/// come to that now (`WaitForOlderSnapshots` in `indexcmds.c`): each holds the lock on its own virtual
/// transaction, by which it is waited for. Not this session.
pub fn holders() -> Vec<InWay> {
    let excluded = pg_sys::PROC_IS_AUTOVACUUM | pg_sys::PROC_IN_VACUUM | pg_sys::PROC_IN_SAFE_IC;
    let mut count = 0;
    let mut found: Vec<InWay> = vec![];
    // SAFETY: the result is an array of `count` elements in the current memory context. Without a limit
    // every snapshot counts: the statement takes the one that it compares with only later.
    let transactions = unsafe {
        let array = pg_sys::GetCurrentVirtualXIDs(
            pg_sys::InvalidTransactionId,
            true,
            false,
            excluded as i32,
            &mut count,
        );
        let all = std::slice::from_raw_parts(array, usize::try_from(count).unwrap_or(0));
        let all: Vec<_> = all.iter().map(|vxid| compat::from_vxid(*vxid)).collect();
        pg_sys::pfree(array.cast());
        all
    };
    for transaction in transactions {
        let who = process::in_slot(transaction);
        let Some(who) = who.filter(|who| who.pid() != Some(process::own_pid())) else {
            continue;
        };
        // Two such statements would wait for each other, where the server has each of them give up its own
        // snapshot first: whoever waits for this transaction goes on before us.
        if who.pid().is_some_and(waits_for_us) {
            continue;
        }
        if !found.iter().any(|f| f.who == who) {
            found.push(InWay {
                tag: LockTag::virtual_transaction(transaction.slot, transaction.local),
                who,
                mode: LockMode::Exclusive,
                granted: true,
            });
        }
    }
    found
}

/// Whether a process waits for the end of this very transaction, and for nothing else.
pub fn waits_for_us(pid: i32) -> bool {
    let Some(Identity::Backend { transaction, .. }) = process::by_pid(process::own_pid()) else {
        return false;
    };
    let ours = LockTag::virtual_transaction(transaction.slot, transaction.local);
    locks::awaited(pid).is_some_and(|wait| wait.tag == ours)
}

/// Reads with a snapshot of this moment, whatever the transaction's own is.
pub fn with_latest<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: pushed and popped in pairs; an error that ends the (sub)transaction pops it as well.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        let result = work();
        pg_sys::PopActiveSnapshot();
        result
    }
}
