//! The state of the extension itself.

use pgrx::pg_sys;

/// Whether CREATE EXTENSION or ALTER EXTENSION UPDATE runs its script in this session.
pub fn is_being_created_or_altered() -> bool {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::creating_extension }
}
