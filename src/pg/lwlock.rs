//! A lightweight lock held for the length of a scope.

use pgrx::pg_sys;

/// A shared hold on a lightweight lock, released when dropped. An ERROR while it is held is fine:
/// the server releases all of them when it aborts, and unwinding drops this before.
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
        // SAFETY: acquired in `acquire`; nothing between there and here releases it but an abort,
        // which does not run while a scope that holds one is still unwinding.
        unsafe { pg_sys::LWLockRelease(self.0) };
    }
}
