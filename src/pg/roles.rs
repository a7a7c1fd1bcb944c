//! Roles: their names, and what the current one may see of and do to another's sessions.

use super::compat::roles::{READ_ALL_STATS, SIGNAL_AUTOVACUUM, SIGNAL_BACKEND};
use super::{compat, text};
use crate::lock::{LockMode, RelationId};
use pgrx::pg_sys;

/// The name of a role; none if it has been dropped.
pub fn name(role: u32) -> Option<String> {
    // SAFETY: with `noerr` the function answers null for an unknown role; the name is copied.
    unsafe { text::from_server(pg_sys::GetUserNameFromId(pg_sys::Oid::from_u32(role), true)) }
}

/// Whether `pg_stat_activity` shows the current role a session of that role in full
/// (`HAS_PGSTAT_PERMISSIONS` in `pgstatfuncs.c`). No role: a process of the server itself.
pub fn may_see(role: Option<u32>) -> bool {
    has_privileges_of(READ_ALL_STATS)
        || has_privileges_of(role.map_or(pg_sys::InvalidOid, pg_sys::Oid::from_u32))
}

/// Whether core would let the current role signal a session of that role (0: of none), by
/// `pg_signal_backend` in `signalfuncs.c`.
pub fn may_signal(role: u32, is_autovacuum_worker: bool) -> bool {
    let role = pg_sys::Oid::from_u32(role);
    // SAFETY: catalog look-ups.
    let (is_protected, is_superuser) = unsafe {
        (
            role == pg_sys::InvalidOid || pg_sys::superuser_arg(role),
            pg_sys::superuser(),
        )
    };
    if is_superuser {
        return true;
    }
    match (is_protected, is_autovacuum_worker) {
        (true, true) => SIGNAL_AUTOVACUUM.is_some_and(has_privileges_of),
        (true, false) => false,
        (false, _) => has_privileges_of(role) || has_privileges_of(SIGNAL_BACKEND),
    }
}

/// Whether the current role owns a relation.
pub fn owns(relation: RelationId) -> bool {
    // SAFETY: catalog look-ups. They raise 42P01 for a relation that has just vanished.
    unsafe { compat::is_owner(pg_sys::Oid::from_u32(relation), pg_sys::GetUserId()) }
}

/// Whether the current role may take a lock of that mode on a table or view, by the rules of LOCK
/// TABLE.
pub fn may_lock(relation: RelationId, mode: LockMode) -> bool {
    // SAFETY: catalog look-ups. They raise 42P01 for a relation that has just vanished.
    unsafe {
        let relation = pg_sys::Oid::from_u32(relation);
        let wanted = compat::privileges_to_lock(mode);
        pg_sys::pg_class_aclcheck(relation, pg_sys::GetUserId(), wanted)
            == pg_sys::AclResult::ACLCHECK_OK
    }
}

fn has_privileges_of(role: pg_sys::Oid) -> bool {
    // SAFETY: catalog look-ups.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), role) }
}
