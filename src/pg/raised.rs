//! Work of the extension on its own tables, done as their owner: whoever calls has no rights there.

use super::{bounded, catalog, settings};
use crate::lock::RelationId;
use pgrx::pg_sys;
use std::time::Duration;

/// The role that was current, and put back on every way out. An error that is not caught ends the
/// transaction, which puts it back as well.
struct Restore(pg_sys::Oid, i32);

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: what was current when the scope began that ends here.
        unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
    }
}

/// Does the work as the owner of that table, with nothing but the system's schema to look names up
/// in, so that nothing that others have made is called by its bare name.
pub fn as_owner_of<R>(table: RelationId, work: impl FnOnce() -> R) -> R {
    let Some(facts) = catalog::relation(table) else {
        return work();
    };
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: both numbers are read here and put back by the guard.
    let _restore = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(
            pg_sys::Oid::from_u32(facts.owner),
            context
                | (pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION)
                    as i32,
        );
        Restore(user, context)
    };
    settings::with_settings_kept(|| {
        settings::set_search_path(&c"pg_catalog, pg_temp".into());
        if !bounded::is_within() {
            settings::limit_lock_waits(Duration::from_millis(900));
        }
        work()
    })
}

/// The same for changing it: no trigger fires, whoever may have been given the right to make one. Foreign
/// keys are not checked either.
pub fn changing_as_owner_of<R>(table: RelationId, work: impl FnOnce() -> R) -> R {
    as_owner_of(table, || {
        settings::silence_triggers();
        work()
    })
}
