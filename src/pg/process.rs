//! Server processes: which there are, whose transaction runs where, and signalling exactly one.

use super::compat;
use super::lwlock;
use super::principals::Principals;
use crate::session::{Identity, VirtualTransaction, Warrant};
use pgrx::pg_sys;

/// What is read of a process beside its activity.
#[derive(Clone, Copy, Debug)]
pub struct ProcessFacts {
    pub role: Option<u32>,
    pub is_anti_wraparound: bool,
    /// `PGPROC.wait_event_info`
    pub wait_event_info: u32,
}

/// What became of an attempt to signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// That transaction has ended.
    Gone,
    /// One of those on whose behalf it would be sent may not signal it.
    Refused,
}

/// Our own process id.
pub fn own_pid() -> i32 {
    // SAFETY: set once when the process starts.
    unsafe { pg_sys::MyProcPid }
}

/// Whether this process does the server's own work rather than a session's: an autovacuum worker, a worker of logical
/// replication, a member of a parallel query.
pub fn works_for_the_server() -> bool {
    // SAFETY: plain variables of this process, and a question about them.
    unsafe {
        pg_sys::MyBackendType == pg_sys::BackendType::B_AUTOVAC_WORKER
            || pg_sys::IsLogicalWorker()
            || pg_sys::ParallelWorkerNumber >= 0
    }
}

/// Every slot for a process, in use or not; those of prepared transactions are not among them.
///
/// # Safety
/// As for any function of the server: in a backend, on its one thread.
pub(super) unsafe fn all() -> impl Iterator<Item = *mut pg_sys::PGPROC> {
    // SAFETY: the array is set up before any backend starts and never moves or shrinks.
    let (first, count) = unsafe {
        (
            (*pg_sys::ProcGlobal).allProcs,
            (*pg_sys::ProcGlobal).allProcCount,
        )
    };
    // SAFETY: within the array.
    (0..count as usize).map(move |i| unsafe { first.add(i) })
}

/// The process itself or, for a member of a parallel query, its leader; none if that is not in a
/// transaction.
///
/// # Safety
/// `proc` points into the array of processes.
pub(super) unsafe fn leader(proc: *const pg_sys::PGPROC) -> Option<Identity> {
    // SAFETY: as promised; a leader pointer, too, points into that array, whatever has become of
    // the group meanwhile.
    unsafe {
        let leader = (&raw const (*proc).lockGroupLeader).read_volatile();
        let proc = if leader.is_null() {
            proc
        } else {
            leader.cast_const()
        };
        let pid = (&raw const (*proc).pid).read_volatile();
        let transaction = compat::transaction_of(proc);
        (pid != 0 && transaction.local != 0).then_some(Identity::Backend { pid, transaction })
    }
}

/// Whose transaction it is, if it still runs in its backend slot; a parallel worker's is its
/// leader's.
pub(super) fn in_slot(transaction: VirtualTransaction) -> Option<Identity> {
    // SAFETY: a process that is found stays readable, though it may end at any time.
    unsafe {
        let proc = compat::proc_in_slot(transaction.slot);
        if proc.is_null() || compat::transaction_of(proc) != transaction {
            return None;
        }
        leader(proc)
    }
}

/// The process with that pid, auxiliary ones included; null if there is none.
pub(super) fn find(pid: i32) -> *mut pg_sys::PGPROC {
    // SAFETY: both search an array of processes under its lock, for any number.
    unsafe {
        let proc = pg_sys::BackendPidGetProc(pid);
        if proc.is_null() {
            pg_sys::AuxiliaryPidGetProc(pid)
        } else {
            proc
        }
    }
}

/// The transaction that the process with that pid, or its leader, is in; none if it is in none.
pub fn by_pid(pid: i32) -> Option<Identity> {
    let proc = find(pid);
    if proc.is_null() {
        return None;
    }
    // SAFETY: not null, hence in the array.
    unsafe { leader(proc) }
}

/// Whether there is a server process with that pid.
pub fn exists(pid: i32) -> bool {
    !find(pid).is_null()
}

/// Whether the process with that pid waits for a heavyweight lock, or a member of the parallel query
/// that it leads does.
pub fn waits(pid: i32) -> bool {
    let proc = find(pid);
    if proc.is_null() {
        return false;
    }
    // SAFETY: in the array of processes, as all of them are; pointers that are only compared.
    unsafe {
        let waits =
            |proc: *mut pg_sys::PGPROC| !(&raw const (*proc).waitLock).read_volatile().is_null();
        let leader =
            |proc: *mut pg_sys::PGPROC| (&raw const (*proc).lockGroupLeader).read_volatile();
        waits(proc)
            || leader(proc) == proc && all().any(|member| leader(member) == proc && waits(member))
    }
}

/// Since when the process with that pid waits for a heavyweight lock, in microseconds; none while it does not,
/// and in the first moments of a wait.
///
/// A wait that a timeout or a cancel ends leaves its start behind (`ProcWakeup` in `proc.c` alone takes it back),
/// so that a process which has then come to wait again shows that one until it writes its own: a few microseconds.
pub fn waits_since(pid: i32) -> Option<i64> {
    let proc = find(pid);
    if proc.is_null() {
        return None;
    }
    // SAFETY: in the array of processes; a pointer that is only compared, and a plain integer, written in one piece.
    let (waits, since) = unsafe {
        (
            !(&raw const (*proc).waitLock).read_volatile().is_null(),
            (&raw const (*proc).waitStart.value).read_volatile(),
        )
    };
    i64::try_from(since)
        .ok()
        .filter(|since| waits && *since != 0)
}

/// What the array of processes tells of a pid.
pub fn facts(pid: i32) -> Option<ProcessFacts> {
    let proc = find(pid);
    if proc.is_null() {
        return None;
    }
    // SAFETY: in the array; plain integers that may change at any time.
    unsafe {
        let role = (&raw const (*proc).roleId).read_volatile();
        let flags = u32::from((&raw const (*proc).statusFlags).read_volatile());
        Some(ProcessFacts {
            role: (role != pg_sys::InvalidOid).then(|| role.to_u32()),
            is_anti_wraparound: flags & pg_sys::PROC_VACUUM_FOR_WRAPAROUND != 0,
            wait_event_info: (&raw const (*proc).wait_event_info).read_volatile(),
        })
    }
}

/// Signals that very transaction, as `pg_cancel_backend` (SIGINT) and `pg_terminate_backend`
/// (SIGTERM) do, if all `principals` may under that `warrant` and it still runs.
///
/// The last check and the signal happen under the victim's `fpInfoLock`, which a transaction needs
/// in order to end (`VirtualXactLockTableCleanup` in `lock.c`, before it lets go of its locks): so
/// the signal cannot reach what the session does next. A cancel that arrives while it ends is
/// dropped once the session waits for its next command.
///
/// The statements of one transaction cannot be told apart so: what a session says of its statement is
/// not under that lock. The caller looks at it right before (`act::signal`); should the session go on to
/// its next statement in the microseconds after that look, it is that one which is hit. Nor can the
/// statements of one multi-statement message be told apart at all, for they are reported as one, and
/// after a COMMIT among them run on without waiting for a command.
pub fn signal(
    pid: i32,
    transaction: VirtualTransaction,
    terminate: bool,
    principals: &Principals,
    warrant: Warrant,
) -> Delivery {
    // SAFETY: as in pg_signal_backend.
    let proc = unsafe { pg_sys::BackendPidGetProc(pid) };
    if proc.is_null() {
        return Delivery::Gone;
    }
    // SAFETY: in the array of processes.
    let role = unsafe { (&raw const (*proc).roleId).read_volatile() };
    let is_autovacuum = {
        // SAFETY: as above.
        let flags = unsafe { (&raw const (*proc).statusFlags).read_volatile() };
        u32::from(flags) & pg_sys::PROC_IS_AUTOVACUUM != 0
    };
    let role = (role != pg_sys::InvalidOid).then(|| role.to_u32());
    if !principals.may_signal(warrant, role, is_autovacuum) {
        return Delivery::Refused;
    }
    let signal = if terminate {
        libc::SIGTERM
    } else {
        libc::SIGINT
    };
    // SAFETY: the lock is a process's own, which only this short section and others like it hold;
    // kill() neither waits nor raises an error. The process group is signalled, as in
    // pg_signal_backend: a backend is the leader of its own (setsid in InitPostmasterChild).
    unsafe {
        let _held = lwlock::Shared::acquire(&raw mut (*proc).fpInfoLock);
        let is_same = transaction.local != 0
            && (*proc).pid == pid
            && compat::transaction_of(proc) == transaction
            && (*proc).fpLocalTransactionId == transaction.local;
        if is_same && libc::kill(-pid, signal) == 0 {
            Delivery::Sent
        } else {
            Delivery::Gone
        }
    }
}
