//! One partition of the lock table at one instant: who waits for a lock there, and who holds it without
//! being found by his transaction.
//!
//! `GetLockConflicts` tells of holders by their virtual transactions and leaves out whoever is in none: VACUUM,
//! REINDEX CONCURRENTLY and their like between two of their own, where a lock of the session stays, and every
//! session that has ended its transaction and not yet let go. Those are found here, by the entries of
//! the process itself.

use super::compat::{self, Link};
use super::locks::{from_server, to_server};
use super::lwlock;
use super::process;
use crate::lock::{LockMode, LockTag, ModeSet};
use crate::session::{Identity, VirtualTransaction};
use pgrx::pg_sys;

/// Which transaction each process is in, by its slot in the array of processes.
pub(super) struct Transactions(Vec<VirtualTransaction>);

impl Transactions {
    pub(super) fn now() -> Transactions {
        // SAFETY: plain integers of the array of processes.
        Transactions(unsafe {
            process::all()
                .map(|proc| compat::transaction_of(proc))
                .collect()
        })
    }
}

/// What one look under the partition's lock finds. Never this session itself.
#[derive(Default)]
pub(super) struct Glance {
    /// Who waits for the lock, and in which mode, each session once (in its strongest request).
    pub waiting: Vec<(Identity, LockMode)>,
    /// What whoever is in no transaction, or not in the one of before, holds of the lock; nothing, too.
    pub moving: Vec<(Identity, ModeSet)>,
}

/// Looks at a lock. Whoever has been in the same transaction since `before` is not among the moving ones:
/// `GetLockConflicts`, asked in between, has told of him.
pub(super) fn look(tag: LockTag, before: &Transactions) -> Glance {
    let wanted = to_server(tag);
    let mut waiting: Vec<(*mut pg_sys::PGPROC, i32)> = Vec::with_capacity(64);
    let mut moving: Vec<(Identity, ModeSet)> = Vec::with_capacity(64);
    // SAFETY: `waitLock` and `waitLockMode` of a process, and its list of entries, change under the
    // partition lock of that lock alone (proc.h), which is held here: a pointer found to lead to our
    // tag stays ours for as long. Pointers to locks of other partitions may change meanwhile, but always
    // point into the shared lock table, which stays mapped: reading the tag there gives at worst another
    // tag. Nothing is called under the lock that could raise an error or allocate shared memory.
    unsafe {
        let (partition, lock) = partition_of(&wanted);
        let _held = lwlock::Shared::acquire(lock);
        for (proc, before) in process::all().zip(&before.0) {
            let lock = (&raw const (*proc).waitLock).read_volatile();
            if !lock.is_null() && from_server(&(&raw const (*lock).tag).read_volatile()) == tag {
                waiting.push((proc, (*proc).waitLockMode));
            }
            if let Some(who) = moved(proc, *before) {
                moving.push((who, held(proc, partition, tag)));
            }
        }
    }
    let mut glance = Glance {
        moving,
        ..Glance::default()
    };
    for (proc, mode) in waiting {
        // SAFETY: `proc` came from the array of processes.
        let who = unsafe { process::leader(proc) };
        let (Some(who), Some(mode)) = (who, LockMode::from_number(mode)) else {
            continue;
        };
        if who.pid() == Some(process::own_pid()) {
            continue;
        }
        match glance.waiting.iter_mut().find(|(known, _)| *known == who) {
            Some((_, known)) => *known = (*known).max(mode),
            None => glance.waiting.push((who, mode)),
        }
    }
    glance
}

/// What the process with that pid holds of a lock now, and in which transaction it is or in none; none
/// where there is no such process.
pub(super) fn held_by(pid: i32, tag: LockTag) -> Option<(Identity, ModeSet)> {
    let proc = process::find(pid);
    if proc.is_null() {
        return None;
    }
    let wanted = to_server(tag);
    // SAFETY: in the array of processes; as in `look`.
    unsafe {
        let (partition, lock) = partition_of(&wanted);
        let _held = lwlock::Shared::acquire(lock);
        ((&raw const (*proc).pid).read_volatile() == pid)
            .then(|| (own_identity(proc, pid), held(proc, partition, tag)))
    }
}

/// Which session that is, if it is in no transaction or in another than `before`. Members of a parallel
/// query go by their leader's.
///
/// # Safety
/// `proc` points into the array of processes.
unsafe fn moved(proc: *mut pg_sys::PGPROC, before: VirtualTransaction) -> Option<Identity> {
    // SAFETY: plain values that may change at any time.
    unsafe {
        let pid = (&raw const (*proc).pid).read_volatile();
        let leader = (&raw const (*proc).lockGroupLeader).read_volatile();
        let now = compat::transaction_of(proc);
        let is_member = !leader.is_null() && leader != proc;
        let has_moved = now.local == 0 || now != before;
        (has_moved && pid != 0 && !is_member && pid != process::own_pid())
            .then(|| own_identity(proc, pid))
    }
}

/// # Safety
/// `proc` points into the array of processes.
unsafe fn own_identity(proc: *const pg_sys::PGPROC, pid: i32) -> Identity {
    Identity::Backend {
        pid,
        // SAFETY: as promised.
        transaction: unsafe { compat::transaction_of(proc) },
    }
}

/// The number of a lock's partition, and the lock on that (`lock.h`).
///
/// # Safety
/// As for any function of the server: in a backend, on its one thread.
pub(super) unsafe fn partition_of(tag: &pg_sys::LOCKTAG) -> (usize, *mut pg_sys::LWLock) {
    // SAFETY: the array of the server's own locks has one for each partition.
    unsafe {
        let partition = pg_sys::LockTagHashCode(tag) % pg_sys::NUM_LOCK_PARTITIONS;
        let place = pg_sys::LOCK_MANAGER_LWLOCK_OFFSET + partition;
        let lock = &raw mut (*pg_sys::MainLWLockArray.add(place as usize)).lock;
        (partition as usize, lock)
    }
}

/// In which modes a process holds a lock, the fast path left out: a session's own lock is never there.
///
/// # Safety
/// `proc` points into the array of processes, and the lock of the partition is held.
unsafe fn held(proc: *mut pg_sys::PGPROC, partition: usize, tag: LockTag) -> ModeSet {
    // SAFETY: the list is one of entries of that process in that partition, linked by `procLink`, and
    // closes on its head; it stays as it is while the lock is held.
    unsafe {
        let head = (&raw mut (*proc).myProcLocks[partition]).cast::<Link>();
        let mut next = (*head).next;
        while !next.is_null() && next != head {
            let entry = next
                .byte_sub(core::mem::offset_of!(pg_sys::PROCLOCK, procLink))
                .cast::<pg_sys::PROCLOCK>();
            if from_server(&(*(*entry).tag.myLock).tag) == tag {
                return ModeSet::from_mask((*entry).holdMask);
            }
            next = (*next).next;
        }
    }
    ModeSet::EMPTY
}
