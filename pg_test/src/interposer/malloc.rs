//! A `malloc` whose memory is dirty, each time in another way: a library of its own, which a throw-away server loads
//! with LD_PRELOAD.
//!
//! `interposer.rs` compiles it; no crate contains it. Fresh memory is often zero or what the same code left there
//! last time, so that a field which nobody wrote reads alike at two looks.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU8, Ordering};

unsafe extern "C" {
    /// The C library's own, under its other name.
    fn __libc_malloc(size: usize) -> *mut c_void;
}

/// What the next block is filled with.
static NEXT: AtomicU8 = AtomicU8::new(1);

/// In the place of the C library's.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: what it returns is null, or has room for `size` bytes, which are the caller's to write.
    unsafe {
        let block = __libc_malloc(size);
        if !block.is_null() {
            block.cast::<u8>().write_bytes(NEXT.fetch_add(1, Ordering::Relaxed), size);
        }
        block
    }
}
