//! Whether the server's structs are what the bindings say, and what of them nobody writes.
//!
//! A library is built from headers, and a server built with other options may have other structs: the major and a few
//! limits are all that `PG_MODULE_MAGIC` compares. `LOCK_DEBUG`, for one, enlarges `LWLock` and with it `PGPROC`, so
//! that all that is read of other processes would be read in the wrong place. How large a `PGPROC` is the server itself
//! shows: those of prepared transactions follow right after all others (`InitProcGlobal` in `proc.c`, 15 to 18).
//!
//! What the server's functions leave unset in structs that are read here (sources of 15.18 and 18.6; of 16 and 17 the
//! functions differ in names alone):
//!
//! | struct | not written | so |
//! | --- | --- | --- |
//! | `LockInstanceData` of `GetBlockerStatusData` | `waitStart` | read from the process: [`process::waits_since`] |
//! | `LockInstanceData` of `GetLockStatusData` | nothing; `leaderPid` of the fast path is the own pid | `Instance::who` asks the process |
//! | `LOCKTAG`, `BlockedProcData`, arrays of pids and of `VirtualTransactionId` | nothing up to their counts | counts are obeyed |
//! | `PGPROC` of no process, or of none yet | what the last one left; `pid` and the transaction are reset | these are asked first |
//! | `PGPROC.waitLockMode`, `waitStart` outside a wait | the last wait's | `waitLock` is asked first |
//! | `PgBackendStatus.st_progress_param`, `_target` | the last command's | read where `st_progress_command` is set alone |
//! | `PgBackendStatus.st_sslstatus`, `st_gssstatus` | pointers into shared memory without TLS or GSS | never read |
//! | `EventTriggerData.parsetree` of a `login` trigger (17 on) | null | no statement |
//! | `have_more` of `TwoPhaseGetXidByVirtualXID` | where nothing is found | set beforehand |
//! | segments of dynamic shared memory | all of it, where `min_dynamic_shared_memory` serves them | written whole |
//!
//! [`process::waits_since`]: super::process::waits_since

use pgrx::pg_sys;

/// A server whose `PGPROC` is of another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Of the server's, in bytes; none where it is no whole number, so that the order must be another too.
    pub server: Option<usize>,
    /// Of the one that this library was built with.
    pub library: usize,
}

/// How the running server differs; none where it does not, or does not show yet: a library that the postmaster
/// preloads is there before the processes are laid out.
pub fn mismatch() -> Option<Mismatch> {
    // SAFETY: plain variables of this process, null until shared memory is set up. The header of the array has
    // nothing in it before its count that a server's options change.
    let (first, end, count) = unsafe {
        let header = pg_sys::ProcGlobal;
        if header.is_null() || (*header).allProcs.is_null() {
            return None;
        }
        let (first, end) = ((*header).allProcs, pg_sys::PreparedXactProcs);
        (first.addr(), end.addr(), (*header).allProcCount)
    };
    compare(first, end, count, size_of::<pg_sys::PGPROC>())
}

/// So many processes lie from `first` to `end`.
fn compare(first: usize, end: usize, count: u32, library: usize) -> Option<Mismatch> {
    let bytes = end.checked_sub(first);
    let server = bytes
        .zip(usize::try_from(count).ok().filter(|count| *count != 0))
        .filter(|(bytes, count)| bytes % count == 0)
        .map(|(bytes, count)| bytes / count);
    (server != Some(library)).then_some(Mismatch { server, library })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: usize = 0x7f00_0000_1000;

    #[test]
    fn processes_of_the_same_size_are_no_mismatch() {
        assert_eq!(compare(FIRST, FIRST + 227 * 880, 227, 880), None);
    }

    #[test]
    fn the_servers_size_is_worked_out() {
        let found = compare(FIRST, FIRST + 227 * 896, 227, 880);
        let told = Mismatch {
            server: Some(896),
            library: 880,
        };
        assert_eq!(found, Some(told));
    }

    #[test]
    fn what_does_not_divide_is_a_mismatch_of_unknown_size() {
        let unknown = Some(Mismatch {
            server: None,
            library: 880,
        });
        assert_eq!(compare(FIRST, FIRST + 227 * 880 + 8, 227, 880), unknown);
        assert_eq!(compare(FIRST, FIRST - 880, 227, 880), unknown);
        assert_eq!(compare(FIRST, FIRST, 0, 880), unknown);
    }
}
