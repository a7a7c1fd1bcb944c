//! The state of the extension itself.

use pgrx::pg_sys;

/// Whether CREATE EXTENSION or ALTER EXTENSION UPDATE runs its script in this session.
pub fn is_being_created_or_altered() -> bool {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::creating_extension }
}

/// Whether `pg_upgrade` is at work.
pub fn is_upgrading_the_server() -> bool {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// Has the server refuse settings that begin as ours do and are none.
pub fn reserve_settings() {
    // SAFETY: the name is copied.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"lockguard".as_ptr()) };
}
