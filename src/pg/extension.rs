//! The state of the extension itself.

use super::text;
use crate::lock::RelationId;
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

/// Whether a relation belongs to the extension, and is not merely called like one that does.
pub fn owns(relation: RelationId) -> bool {
    // SAFETY: catalog look-ups; the name is null for an extension that has gone.
    let name = unsafe {
        let extension = pg_sys::getExtensionOfObject(
            pg_sys::RelationRelationId,
            pg_sys::Oid::from_u32(relation),
        );
        text::from_server(pg_sys::get_extension_name(extension))
    };
    name.as_deref() == Some("lockguard")
}

/// Has the server refuse settings that begin as ours do and are none.
pub fn reserve_settings() {
    // SAFETY: the name is copied.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"lockguard".as_ptr()) };
}
