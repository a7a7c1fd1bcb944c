//! How much room the server's lock table has, and how much of it some locks would take.
//!
//! Told by the table's own counters: it is neither copied nor locked for that (0.1 µs). Another session may
//! take what is left a moment later.

use super::compat;
use super::locks::to_server;
use super::lwlock;
use super::partition::partition_of;
use super::wait;
use crate::lock::{LockMode, LockTag, Need};
use pgrx::pg_sys;
use std::cell::Cell;

/// The lock table: what it is made for, and what is in use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// `max_locks_per_transaction`
    pub per_transaction: usize,
    /// The sessions that there may be, and `max_prepared_transactions`.
    pub transactions: usize,
    /// Locks that somebody holds or waits for, save weak ones in the processes' own slots (the fast path).
    pub locks: usize,
    /// The same, each once for everybody who holds it or waits for it.
    pub holders: usize,
}

impl Room {
    pub fn now() -> Room {
        // SAFETY: settings that are fixed while the server runs, and two tables that are there as long.
        unsafe {
            let (locks, holders) = tables();
            let entries = |table| usize::try_from(pg_sys::hash_get_num_entries(table));
            Room {
                per_transaction: number(pg_sys::max_locks_per_xact),
                transactions: number(compat::max_backends())
                    + number(compat::unbound::max_prepared_transactions()),
                locks: entries(locks).unwrap_or(0),
                holders: entries(holders).unwrap_or(0),
            }
        }
    }
}

fn number(setting: i32) -> usize {
    usize::try_from(setting).unwrap_or(0)
}

/// The table of locks and that of their holders, which `InitLocks` in `lock.c` has made with these sizes.
///
/// # Safety
/// In a backend, on its one thread.
unsafe fn tables() -> (*mut pg_sys::HTAB, *mut pg_sys::HTAB) {
    thread_local! {
        /// What this process has to find them by; made once.
        static TABLES: Cell<Option<(*mut pg_sys::HTAB, *mut pg_sys::HTAB)>> = const { Cell::new(None) };
    }
    if let Some(known) = TABLES.get() {
        return known;
    }
    // SAFETY: both are in shared memory since the server began, under these names and with these sizes, which
    // are compared (ShmemInitStruct): they are attached to, as every process does where none is forked.
    let found = unsafe {
        let most = i64::from(pg_sys::max_locks_per_xact)
            * (i64::from(compat::max_backends())
                + i64::from(compat::unbound::max_prepared_transactions()));
        let attach = |name: &core::ffi::CStr, key: usize, entry: usize, most: i64| {
            let mut sizes = pg_sys::HASHCTL {
                keysize: key as pg_sys::Size,
                entrysize: entry as pg_sys::Size,
                num_partitions: i64::from(pg_sys::NUM_LOCK_PARTITIONS),
                ..Default::default()
            };
            let kind = pg_sys::HASH_ELEM | pg_sys::HASH_BLOBS | pg_sys::HASH_PARTITION;
            pg_sys::ShmemInitHash(name.as_ptr(), most / 2, most, &mut sizes, kind as i32)
        };
        (
            attach(
                c"LOCK hash",
                size_of::<pg_sys::LOCKTAG>(),
                size_of::<pg_sys::LOCK>(),
                most,
            ),
            attach(
                c"PROCLOCK hash",
                size_of::<pg_sys::PROCLOCKTAG>(),
                size_of::<pg_sys::PROCLOCK>(),
                most * 2,
            ),
        )
    };
    TABLES.set(Some(found));
    found
}

/// What some locks would take of the table beyond what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those that nobody holds or waits for now.
    pub locks: usize,
    /// Those that this session does not hold yet.
    pub holders: usize,
}

/// What these would take: nothing where this session holds it already, nor for weak ones that go into its
/// own slots; and room for a holder alone where others hold the lock.
pub fn wanted(needs: &[Need], database: u32) -> Wanted {
    let mut wanted = Wanted::default();
    // SAFETY: our own entry in the array of processes.
    let mut slots = unsafe { compat::free_slots_of(pg_sys::MyProc) };
    for need in needs {
        wait::answer_interrupts();
        let tag = LockTag::relation(database, need.relation);
        let held = LockMode::ALL.into_iter().filter(|mode| holds(tag, *mode));
        match held.max() {
            Some(held) if !is_weak(held) || is_weak(need.mode) => continue,
            _ if is_weak(need.mode) && slots > 0 => slots -= 1,
            // A weak one that is held may be in a slot, and moves to the table.
            _ => {
                wanted.holders += 1;
                wanted.locks += usize::from(!is_in_table(tag));
            }
        }
    }
    wanted
}

/// Whether somebody holds the lock, or waits for it, in the table itself.
fn is_in_table(tag: LockTag) -> bool {
    let tag = to_server(tag);
    // SAFETY: an entry of a partition is looked for under the lock of that partition; looking raises no error.
    unsafe {
        let (table, _) = tables();
        let (_, lock) = partition_of(&tag);
        let hash = pg_sys::LockTagHashCode(&tag);
        let _held = lwlock::Shared::acquire(lock);
        let found = pg_sys::hash_search_with_hash_value(
            table,
            (&raw const tag).cast(),
            hash,
            pg_sys::HASHACTION::HASH_FIND,
            std::ptr::null_mut(),
        );
        !found.is_null()
    }
}

/// Whether a lock in that mode goes into a slot of the process while it has one left
/// (`EligibleForRelationFastPath` in `lock.c`).
fn is_weak(mode: LockMode) -> bool {
    mode < LockMode::ShareUpdateExclusive
}

/// Whether this session holds it in that very mode.
fn holds(tag: LockTag, mode: LockMode) -> bool {
    // SAFETY: looks into this process's own table.
    unsafe { compat::unbound::lock_held_by_me(&to_server(tag), mode.number()) }
}
