//! The queue of what is owed, in shared memory: who puts a segment there, which worker sees to it, and what
//! becomes of it where no worker can.
//!
//! Whatever is in the queue is pinned. The process that removes it unpins it: the worker once it has done the
//! work, or a caller where there can be no worker. So none is lost while it is owed, and none is left.

use super::super::compat;
use super::board::Board;
use super::segment::unpin;
use super::starter;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

/// With a number that changes with the layout: sessions may have loaded different versions of the library.
const SHARED_MEMORY: &CStr = c"lockguard trail 1";

/// How often in a row a worker is started again that ends before it has done anything.
const ATTEMPTS: u32 = 3;

/// A worker that has ended, and has not been started again for so long, in microseconds, is forgotten.
const FORGOTTEN: pg_sys::TimestampTz = 10_000_000;

#[repr(C)]
struct Shared {
    lock: pg_sys::LWLock,
    board: Board,
}

/// Where this process has it.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

/// How things are with the worker of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A process is at work, or is going to be.
    Seen,
    /// No slot of a background worker is free.
    NoSlot,
    /// What was asked about is not in the queue any more: it is done, or was given up.
    Gone,
}

/// What a worker that has just started is to do.
pub(super) enum Arrival {
    Work,
    /// It is not needed any more.
    Superseded,
    /// Others like it have failed too often: these are given up, and its own to unpin.
    GiveUp(Vec<pg_sys::dsm_handle>),
}

/// Finds the shared memory, or makes it.
///
/// # Errors
/// Raises 53200 where there is no room.
pub(super) fn prepare() {
    if !SHARED.load(Ordering::Acquire).is_null() {
        return;
    }
    // SAFETY: in a backend; of that size and name there is nothing else.
    unsafe {
        let place = compat::shared_state(SHARED_MEMORY, size_of::<Shared>(), initialize);
        let shared = place.cast::<Shared>();
        pg_sys::LWLockRegisterTranche((*shared).lock.tranche.into(), c"lockguard".as_ptr());
        SHARED.store(shared, Ordering::Release);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn initialize(place: *mut c_void) {
    let shared = place.cast::<Shared>();
    // SAFETY: room for one, which nobody else has yet. The time begins no board twice, so that a worker that
    // outlives a crash of the server does not take a new registration for its own.
    unsafe {
        Board::write(
            &raw mut (*shared).board,
            pg_sys::GetCurrentTimestamp() as u64,
        );
        pg_sys::LWLockInitialize(&raw mut (*shared).lock, pg_sys::LWLockNewTrancheId());
    }
}

/// Does something with the board, alone. An ERROR leaves the lock to the (sub)transaction that it aborts.
///
/// It waits only for others in the same short sections, which wait for nobody.
fn locked<R>(work: impl FnOnce(&mut Board) -> R) -> R {
    prepare();
    let shared = SHARED.load(Ordering::Acquire);
    // SAFETY: it stays mapped, and the lock is not held: nothing below calls this.
    unsafe {
        let lock = &raw mut (*shared).lock;
        pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
        let result = work(&mut (*shared).board);
        pg_sys::LWLockRelease(lock);
        result
    }
}

/// Whether this process is in the middle of something with the board, which an ERROR has ended.
pub(super) fn is_in_use() -> bool {
    let shared = SHARED.load(Ordering::Acquire);
    // SAFETY: reads this process's own list of locks.
    shared.is_null() || unsafe { pg_sys::LWLockHeldByMe(&raw mut (*shared).lock) }
}

/// Puts a segment into the queue.
///
/// # Errors
/// Why it cannot be, for the end of a message.
pub(super) fn owe(database: u32, segment: pg_sys::dsm_handle) -> Result<(), &'static str> {
    locked(|board| board.owe(database, segment))
}

/// Takes a segment out of the queue, and lets it go.
pub(super) fn settle(database: u32, segment: pg_sys::dsm_handle) {
    if locked(|board| board.settle(database, segment)) {
        unpin(segment);
    }
}

/// Sees that a worker comes for that segment, and wakes the one that is there. Does not wait for it.
///
/// A worker of which a process has come and gone without a word cannot start, for want of its library for
/// example: all that is owed in that database is given up then. A fork that fails is no such thing: the
/// postmaster tries it again.
pub(super) fn see_to(database: u32, segment: pg_sys::dsm_handle) -> Standing {
    let (standing, given_up) = locked(|board| {
        drop_the_dead(board, database).unwrap_or_else(|| {
            if !board.is_owed(database, segment) {
                return (Standing::Gone, vec![]);
            }
            (start_or_wake(board, database), vec![])
        })
    });
    given_up.into_iter().for_each(unpin);
    standing
}

/// Gives up what is owed to a worker that can never come.
pub(super) fn clear_up(database: u32) {
    let given_up = locked(|board| drop_the_dead(board, database));
    let (_, given_up) = given_up.unwrap_or((Standing::Gone, vec![]));
    given_up.into_iter().for_each(unpin);
}

fn drop_the_dead(board: &mut Board, database: u32) -> Option<(Standing, Vec<pg_sys::dsm_handle>)> {
    let worker = board.worker(database)?;
    if !worker.is_registered || !worker.latch.is_null() || !starter::has_stopped(worker.handle) {
        return None;
    }
    if worker.attempts == 0 {
        starter::stop(worker.handle);
        return Some((Standing::Gone, board.give_up(database)));
    }
    // SAFETY: the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    if now.saturating_sub(worker.since) > FORGOTTEN {
        starter::stop(worker.handle);
        worker.is_registered = false;
    }
    None
}

fn start_or_wake(board: &mut Board, database: u32) -> Standing {
    let generation = board.next_generation();
    let Some(worker) = board.worker(database) else {
        return Standing::Gone;
    };
    if !worker.is_registered {
        let Some(handle) = starter::start(database, generation) else {
            return Standing::NoSlot;
        };
        worker.is_registered = true;
        worker.handle = handle;
        worker.generation = generation;
        worker.attempts = 0;
        worker.latch = std::ptr::null_mut();
        // SAFETY: the clock.
        worker.since = unsafe { pg_sys::GetCurrentTimestamp() };
    }
    if !worker.latch.is_null() {
        // SAFETY: of a process of this server, which has not said yet that it ends.
        unsafe { pg_sys::SetLatch(worker.latch) };
    }
    Standing::Seen
}

/// Takes in that a process of that registration has come: this one.
pub(super) fn arrive(database: u32, generation: u64) -> Arrival {
    locked(|board| {
        let Some(worker) = board.worker_of(database, generation) else {
            return Arrival::Superseded;
        };
        if !worker.latch.is_null() {
            return Arrival::Superseded;
        }
        worker.attempts += 1;
        if worker.attempts > ATTEMPTS {
            return Arrival::GiveUp(board.give_up(database));
        }
        // SAFETY: this process's own latch, and the clock.
        unsafe {
            worker.latch = pg_sys::MyLatch;
            worker.since = pg_sys::GetCurrentTimestamp();
        }
        Arrival::Work
    })
}

/// Takes in that this process, which has arrived, ends; `is_for_good`: it is not started again.
pub(super) fn depart(database: u32, generation: u64, is_for_good: bool) {
    locked(|board| {
        if let Some(worker) = board.worker_of(database, generation) {
            worker.latch = std::ptr::null_mut();
            worker.is_registered = !is_for_good;
            // SAFETY: the clock.
            worker.since = unsafe { pg_sys::GetCurrentTimestamp() };
        }
    });
}

/// Takes in that the worker does its work.
pub(super) fn does_its_work(database: u32, generation: u64) {
    locked(|board| {
        if let Some(worker) = board.worker_of(database, generation) {
            worker.attempts = 1;
        }
    });
}

/// What is owed in a database.
pub(super) fn owed_in(database: u32) -> Vec<pg_sys::dsm_handle> {
    locked(|board| board.owed_in(database))
}

/// Whether the worker may end, as nothing is owed. From then on it is none any more: the next caller starts
/// another one.
pub(super) fn leave(database: u32, generation: u64) -> bool {
    locked(|board| board.leave(database, generation))
}
