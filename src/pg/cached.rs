//! Rows of system catalogs, found by an OID in the server's caches: no scan, and no lock once it is there.

use pgrx::pg_sys;

/// What `read` makes of the row with that OID, of which it is given the fixed part and the whole; none if there
/// is no such row.
///
/// # Safety
/// `cache` is one of `SysCacheIdentifier`, by one OID, of a catalog whose rows are `F`.
pub(super) unsafe fn row<F, R>(
    cache: pg_sys::SysCacheIdentifier::Type,
    id: u32,
    read: impl FnOnce(&F, pg_sys::HeapTuple) -> R,
) -> Option<R> {
    // SAFETY: as promised. The row is read before it is released; if that raises an error, the end of the
    // (sub)transaction releases it.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as i32, pg_sys::Oid::from_u32(id).into());
        if tuple.is_null() {
            return None;
        }
        let found = read(&*pg_sys::GETSTRUCT(tuple).cast::<F>(), tuple);
        pg_sys::ReleaseSysCache(tuple);
        Some(found)
    }
}
