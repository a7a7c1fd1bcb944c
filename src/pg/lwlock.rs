//! A lightweight lock held for the length of a scope.

use pgrx::pg_sys;

/// A shared hold on a lightweight lock, released when dropped. Nothing that can raise an ERROR may
/// run while it is held: errfinish() has then forgotten that interrupts are held off, and a release
/// after that would count below zero.
pub(super) struct Shared(*mut pg_sys::LWLock);

impl Shared {
    /// # Safety
    /// `lock` points to a lightweight lock in shared memory, which this process does not hold.
    pub(super) unsafe fn acquire(lock: *mut pg_sys::LWLock) -> Shared {
        // SAFETY: as the caller promises. It waits only for holders in the same short sections.
        unsafe { pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_SHARED) };
        Shared(lock)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: acquired in `acquire`, and nothing in between has raised an ERROR.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}
