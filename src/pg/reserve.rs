//! Memory that is kept back, so that a call that gets no more of it ends with 53200 and the server goes on.
//!
//! Rust ends the process where an allocation fails, and with it PostgreSQL ends every session. So the allocator
//! here has two reserves: a block at least twice as large as the largest that was asked for, which lets a
//! list grow once more, and a small one of its own for what is small. Once either is touched, or cannot be had, the
//! next [`checkpoint`] raises the error; there is one in every loop over what a catalog, a text or a list has.

use pgrx::pg_sys;
use pgrx::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: Reserved<System> = Reserved::new(System);

/// Requests from here on are large: a list that doubles, or somebody's text.
const LARGE: usize = 64 << 10;
/// What is kept back at least, of each kind. The server asks for a megabyte at a time when it has little.
const LEAST: usize = 2 << 20;

/// Sets aside what is kept back, where that is missing or was used up, and less of it after a call that
/// has needed much.
///
/// # Errors
/// 53200 where there is not even that much.
pub fn set_aside() {
    #[cfg(not(test))]
    if !ALLOCATOR.begin() {
        raise();
    }
}

/// A call that goes on.
pub struct InCall {
    callback: *mut pg_sys::ErrorContextCallback,
}

/// The same where a call begins; and while that goes on, the server too gets what is kept back when it has no
/// more: on its way through Rust an error is copied, which an error for lack of memory leaves no memory for.
///
/// # Errors
/// As [`set_aside`].
pub fn begin() -> InCall {
    set_aside();
    // SAFETY: it lives in the current memory context, and longer than the call: where that ends with an
    // error, the server's own handler puts the stack back.
    unsafe {
        let size = size_of::<pg_sys::ErrorContextCallback>();
        let callback: *mut pg_sys::ErrorContextCallback = pg_sys::palloc0(size).cast();
        (*callback).callback = Some(spend);
        (*callback).previous = pg_sys::error_context_stack;
        pg_sys::error_context_stack = callback;
        InCall { callback }
    }
}

impl Drop for InCall {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: what came after it has gone.
            unsafe { pg_sys::error_context_stack = (*self.callback).previous };
        }
    }
}

/// While an error is reported: gives up the large block where it is one for lack of memory.
unsafe extern "C-unwind" fn spend(_: *mut core::ffi::c_void) {
    // SAFETY: an error is being reported.
    let code = unsafe { pg_sys::geterrcode() };
    #[cfg(not(test))]
    if code == PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY as i32 {
        ALLOCATOR.alone(|| ALLOCATOR.release_large());
    }
    #[cfg(test)]
    let _ = code;
}

/// # Errors
/// 53200 where memory has run out since the last time.
pub fn checkpoint() {
    #[cfg(not(test))]
    if ALLOCATOR.is_low.swap(false, Relaxed) {
        raise();
    }
}

/// Sees that so many bytes could be had, before something of somebody's size is copied.
///
/// # Errors
/// 53200
pub fn room_for(bytes: usize) {
    if bytes >= LARGE && !can_allocate(&System, bytes) {
        raise();
    }
}

fn raise() {
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        "out of memory",
        "lockguard could get no more memory for this call."
    );
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, 16).ok()
}

fn can_allocate(system: &impl GlobalAlloc, bytes: usize) -> bool {
    let Some(layout) = layout(bytes) else {
        return false;
    };
    // SAFETY: of that layout, whose size is not 0, and given back at once.
    unsafe {
        let block = system.alloc(layout);
        if !block.is_null() {
            system.dealloc(block, layout);
        }
        !block.is_null()
    }
}

/// A system's allocator with reserves. A server process has one thread; where there are more, the reserves are
/// used by one of them at a time, and others do without.
struct Reserved<S> {
    system: S,
    is_low: AtomicBool,
    is_busy: AtomicBool,
    /// The block for large requests, and its size.
    large: AtomicUsize,
    large_size: AtomicUsize,
    /// The block for small ones, how much of it is used, and by how many.
    small: AtomicUsize,
    used: AtomicUsize,
    users: AtomicUsize,
}

impl<S> Reserved<S> {
    const fn new(system: S) -> Reserved<S> {
        Reserved {
            system,
            is_low: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            large: AtomicUsize::new(0),
            large_size: AtomicUsize::new(0),
            small: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            users: AtomicUsize::new(0),
        }
    }

    /// Whether a pointer is into the block for small requests.
    fn is_own(&self, pointer: *mut u8) -> bool {
        let start = self.small.load(Relaxed);
        start != 0 && (pointer as usize).wrapping_sub(start) < LEAST
    }

    /// Does that to the reserves, unless another thread is at them.
    fn alone<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        if self
            .is_busy
            .swap(true, std::sync::atomic::Ordering::Acquire)
        {
            return None;
        }
        let result = work();
        self.is_busy
            .store(false, std::sync::atomic::Ordering::Release);
        Some(result)
    }
}

impl<S: GlobalAlloc> Reserved<S> {
    /// Whether all that is to be kept back is.
    fn begin(&self) -> bool {
        self.is_low.store(false, Relaxed);
        let is_whole = self.alone(|| {
            if self.large_size.load(Relaxed) != LEAST {
                self.release_large();
                self.keep_large(LEAST);
            }
            if self.small.load(Relaxed) == 0
                && let Some(layout) = layout(LEAST)
            {
                // SAFETY: of that layout; it is never given back.
                let block = unsafe { self.system.alloc(layout) };
                self.small.store(block as usize, Relaxed);
            }
            self.large_size.load(Relaxed) == LEAST && self.small.load(Relaxed) != 0
        });
        is_whole.unwrap_or(true)
    }

    fn release_large(&self) {
        let block = self.large.swap(0, Relaxed) as *mut u8;
        let size = self.large_size.swap(0, Relaxed);
        if let Some(layout) = layout(size).filter(|_| !block.is_null()) {
            // SAFETY: kept by `keep_large`, with that size.
            unsafe { self.system.dealloc(block, layout) };
        }
    }

    /// None is kept so far.
    fn keep_large(&self, size: usize) -> bool {
        let Some(layout) = layout(size) else {
            return false;
        };
        // SAFETY: the size is not 0.
        let block = unsafe { self.system.alloc(layout) };
        if !block.is_null() {
            self.large.store(block as usize, Relaxed);
            self.large_size.store(size, Relaxed);
        }
        !block.is_null()
    }

    /// After a large request: what made it may come back for twice as much.
    fn keep_up_with(&self, size: usize) {
        let kept = self.large_size.load(Relaxed);
        if kept == 0 || size <= kept / 2 {
            return;
        }
        self.alone(|| {
            self.release_large();
            if !self.keep_large(size.saturating_mul(2)) {
                self.is_low.store(true, Relaxed);
                self.keep_large(kept);
            }
        });
    }

    /// The system has no more: `again` asks it once more when the large block has been given up; what is small
    /// comes out of the small one.
    fn out_of_reserve(&self, wanted: Layout, again: impl Fn() -> *mut u8) -> *mut u8 {
        self.is_low.store(true, Relaxed);
        let block = self.alone(|| {
            let small = self.carve(wanted);
            if !small.is_null() {
                return small;
            }
            self.release_large();
            again()
        });
        block.unwrap_or(std::ptr::null_mut())
    }

    /// A part of the small block, or null.
    fn carve(&self, wanted: Layout) -> *mut u8 {
        let start = self.small.load(Relaxed);
        if start == 0 || wanted.size() >= LARGE {
            return std::ptr::null_mut();
        }
        let free = start + self.used.load(Relaxed);
        let begin = free.next_multiple_of(wanted.align());
        let used = begin - start + wanted.size();
        if used > LEAST {
            return std::ptr::null_mut();
        }
        self.used.store(used, Relaxed);
        self.users.fetch_add(1, Relaxed);
        begin as *mut u8
    }
}

// SAFETY: every block is the system's, or a part of the small block that nobody else has until all parts of
// it have been given back. It neither unwinds nor calls the server.
unsafe impl<S: GlobalAlloc> GlobalAlloc for Reserved<S> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        let block = unsafe { self.system.alloc(layout) };
        if block.is_null() {
            // SAFETY: as above.
            return self.out_of_reserve(layout, || unsafe { self.system.alloc(layout) });
        }
        if layout.size() >= LARGE {
            self.keep_up_with(layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises; a part of the small block may have been used before.
        unsafe {
            let mut block = self.system.alloc_zeroed(layout);
            if block.is_null() {
                block = self.out_of_reserve(layout, || self.system.alloc(layout));
                if !block.is_null() {
                    block.write_bytes(0, layout.size());
                }
            } else if layout.size() >= LARGE {
                self.keep_up_with(layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.is_own(block) {
            if self.users.fetch_sub(1, Relaxed) == 1 {
                self.used.store(0, Relaxed);
            }
            return;
        }
        // SAFETY: it came from the system.
        unsafe { self.system.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises; the alignment stays.
        unsafe {
            if !self.is_own(block) {
                let moved = self.system.realloc(block, layout, size);
                if !moved.is_null() {
                    if size >= LARGE {
                        self.keep_up_with(size);
                    }
                    return moved;
                }
            }
            let wanted = Layout::from_size_align_unchecked(size, layout.align());
            let new = match self.is_own(block) {
                true => self.alloc(wanted),
                false => self.out_of_reserve(wanted, || self.system.alloc(wanted)),
            };
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system with so much memory.
    struct Limited {
        left: AtomicUsize,
    }

    // SAFETY: the system's own blocks, or none.
    unsafe impl GlobalAlloc for Limited {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let left = self.left.load(Relaxed);
            let Some(rest) = left.checked_sub(layout.size()) else {
                return std::ptr::null_mut();
            };
            self.left.store(rest, Relaxed);
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.left.fetch_add(layout.size(), Relaxed);
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(block, layout) };
        }
    }

    fn with(memory: usize) -> Reserved<Limited> {
        let left = AtomicUsize::new(memory);
        let reserved = Reserved::new(Limited { left });
        assert!(reserved.begin());
        reserved
    }

    /// As a list does that grows until it is told to stop; then its size, or none where it got no memory.
    fn grow(reserved: &Reserved<Limited>) -> Option<usize> {
        let mut size = 64;
        // SAFETY: each block is used with the layout that it has.
        unsafe {
            let mut block = reserved.alloc(layout(size).unwrap());
            while !reserved.is_low.swap(false, Relaxed) {
                block.add(size - 1).write(7);
                block = reserved.realloc(block, layout(size).unwrap(), size * 2);
                if block.is_null() {
                    return None;
                }
                assert!(size < 64 || block.add(size - 1).read() == 7);
                size *= 2;
            }
            reserved.dealloc(block, layout(size).unwrap());
        }
        Some(size)
    }

    #[test]
    fn a_list_that_grows_is_told_before_it_gets_no_memory() {
        for megabytes in [5, 6, 7, 10, 16, 33, 100] {
            let reserved = with(megabytes << 20);
            for _ in 0..3 {
                assert!(
                    grow(&reserved).is_some_and(|size| size >= LARGE),
                    "{megabytes}"
                );
                assert!(reserved.begin(), "{megabytes}");
            }
        }
    }

    #[test]
    fn small_requests_are_served_after_the_system_has_no_more() {
        let reserved = with(5 << 20);
        let small = layout(1_000).unwrap();
        let mut blocks = vec![];
        // SAFETY: each is given back once.
        unsafe {
            while !reserved.is_low.load(Relaxed) {
                blocks.push(reserved.alloc(small));
            }
            for _ in 0..1_800 {
                blocks.push(reserved.alloc(small));
            }
            assert!(blocks.iter().all(|block| !block.is_null()));
            for (i, block) in blocks.iter().enumerate() {
                block.write_bytes(i as u8, 1_000);
            }
            for (i, block) in blocks.iter().enumerate() {
                assert_eq!(block.add(999).read(), i as u8);
            }
            blocks
                .into_iter()
                .for_each(|block| reserved.dealloc(block, small));
        }
        assert_eq!(reserved.used.load(Relaxed), 0, "all of it is free again");
        assert!(reserved.begin());
    }

    #[test]
    fn what_is_missing_at_the_start_is_told() {
        let left = AtomicUsize::new(LEAST);
        let reserved = Reserved::new(Limited { left });
        assert!(!reserved.begin());
        reserved.system.left.store(LEAST * 2, Relaxed);
        assert!(reserved.begin());
    }
}
