//! The transaction that a function is called in, and those of a background worker.

use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::panic::AssertUnwindSafe;

/// Whether a lock that the function takes now outlives the client's statement: in a transaction
/// block, in a subtransaction, and inside a DO block or a function, whose later statements share the
/// transaction. A statement by itself is the whole of its transaction.
///
/// A function of the client's own statement lives in the executor's memory, which hangs from the
/// portal's; one that is called by another function hangs from that one's, or, in a loop over a
/// query or another cursor of plpgsql, from that of a portal that SPI has opened.
pub fn outlives_statement(call: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: the server's own call of this function, whose `flinfo` and memory context are set.
    unsafe {
        let context = (*(*call).flinfo).fn_mcxt;
        pg_sys::IsTransactionBlock()
            || pg_sys::IsSubTransaction()
            || (*context).parent != pg_sys::PortalContext
            || is_within_spi()
    }
}

/// Whether some function is running that works through SPI, as those of the procedural languages do.
fn is_within_spi() -> bool {
    // SAFETY: the name is nobody's, so that nothing is unregistered; asked for outside SPI it is told
    // so first (`_SPI_begin_call` in `spi.c`).
    let answer = unsafe { pg_sys::SPI_unregister_relation(c"".as_ptr()) };
    answer != pg_sys::SPI_ERROR_UNCONNECTED
}

/// Whether this is a parallel worker, or has some at work.
pub fn is_parallel() -> bool {
    // SAFETY: facts of this process.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 || pg_sys::IsInParallelMode() }
}

/// An ERROR that has ended a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub message: String,
    /// Somebody else held a lock for too long.
    pub is_locked_out: bool,
}

/// Does the work in a transaction of this background worker's own, and commits it if that answers true for what
/// the work did. Where anything raises an ERROR, the commit included, nothing of it is left.
pub fn of_worker<R>(
    work: impl FnOnce() -> R,
    is_kept: impl FnOnce(&R) -> bool,
) -> Result<R, Failure> {
    // SAFETY: outside of any transaction, as the worker's own loop is; whichever way out, it is again.
    unsafe {
        PgTryBuilder::new(AssertUnwindSafe(|| {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let result = work();
            if is_kept(&result) {
                pg_sys::PopActiveSnapshot();
                pg_sys::CommitTransactionCommand();
            } else {
                pg_sys::AbortCurrentTransaction();
            }
            Ok(result)
        }))
        .catch_others(|error| {
            pg_sys::AbortCurrentTransaction();
            match error {
                CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
                    Err(Failure {
                        message: report.message().to_owned(),
                        is_locked_out: report.sql_error_code()
                            == PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
                    })
                }
                panic => panic.rethrow(),
            }
        })
        .execute()
    }
}

/// Sees that what this process has committed last is on disk.
pub fn flush() {
    // SAFETY: a place in the log up to which this process has written.
    unsafe { pg_sys::XLogFlush(pg_sys::XactLastCommitEnd) };
}
