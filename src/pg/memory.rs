//! Memory of the server's that a repeated piece of work uses up.

use pgrx::pg_sys;

/// What the server's functions allocate during a piece of work, given back after it: a call may look
/// a hundred times a second for minutes, and its own context is freed only when it ends.
///
/// The context is a child of the one it was made in, and goes with that.
pub struct Scratch(pg_sys::MemoryContext);

/// Puts the current memory context back, also when an ERROR unwinds.
struct Restore(pg_sys::MemoryContext);

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: it was current when the scope began that ends here.
        unsafe { pg_sys::CurrentMemoryContext = self.0 };
    }
}

impl Scratch {
    pub fn new() -> Scratch {
        // SAFETY: the name is a constant, as the server demands.
        Scratch(unsafe {
            pg_sys::AllocSetContextCreateExtended(
                pg_sys::CurrentMemoryContext,
                c"lockguard look".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        })
    }

    /// Does the work, whose result must be Rust's own.
    pub fn run<R: 'static>(&mut self, work: impl FnOnce() -> R) -> R {
        // SAFETY: the result owns its memory, so that nothing points into the context once it is
        // reset; nobody else has it.
        unsafe {
            let result = {
                let _restore = Restore(pg_sys::CurrentMemoryContext);
                pg_sys::CurrentMemoryContext = self.0;
                work()
            };
            pg_sys::MemoryContextReset(self.0);
            result
        }
    }
}
