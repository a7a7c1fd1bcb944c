//! Roles: their names, and what one may see of and do to another's sessions.

use super::compat::roles::{READ_ALL_STATS, SIGNAL_AUTOVACUUM, SIGNAL_BACKEND};
use super::scan::{Index, rows};
use super::{compat, text};
use crate::lock::{LockMode, RelationId};
use crate::server_text::ServerText;
use pgrx::pg_sys;

/// The name of a role, for people; none if it has been dropped.
pub fn name(role: u32) -> Option<String> {
    server_name(role).map(|name| name.for_people())
}

/// The name of a role; none if it has been dropped.
pub fn server_name(role: u32) -> Option<ServerText> {
    // SAFETY: with `noerr` the function answers null for an unknown role; the name is copied.
    unsafe { text::kept(pg_sys::GetUserNameFromId(pg_sys::Oid::from_u32(role), true)) }
}

/// The role of the session, or that of SET ROLE: whoever calls a SECURITY DEFINER function.
pub fn outer() -> u32 {
    // SAFETY: set when the session starts.
    unsafe { pg_sys::GetOuterUserId() }.to_u32()
}

/// The owner of this database.
pub fn owner_of_database() -> Option<u32> {
    const BY_OID: Index = Index {
        catalog: 1262,
        index: 2672,
    };
    let key = [("oid", super::catalog::database())];
    rows(BY_OID, &key, ["datdba"])
        .first()
        .map(|[owner]| *owner as u32)
}

/// Whether a role is a superuser.
pub fn is_superuser(role: u32) -> bool {
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::superuser_arg(pg_sys::Oid::from_u32(role)) }
}

/// The role that statements run as.
pub fn current_id() -> u32 {
    // SAFETY: a number of this session.
    unsafe { pg_sys::GetUserId() }.to_u32()
}

/// Its name.
pub fn current() -> Option<ServerText> {
    server_name(current_id())
}

/// The role of that name.
pub fn by_name(name: &ServerText) -> Option<u32> {
    let name = name.as_c_str();
    // SAFETY: a catalog look-up, which answers zero where `missing_ok` and there is none.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then(|| role.to_u32())
}

/// Whether one role has all rights of another: it is that, a member of it, or a superuser.
pub fn has_rights_of(member: u32, role: u32) -> bool {
    has_privileges_of(pg_sys::Oid::from_u32(member), pg_sys::Oid::from_u32(role))
}

/// The name of the role that they run as once it is reset.
pub fn session() -> Option<ServerText> {
    // SAFETY: a number of this session.
    server_name(unsafe { pg_sys::GetSessionUserId() }.to_u32())
}

/// Whether `pg_stat_activity` shows that role a session of another in full (`HAS_PGSTAT_PERMISSIONS` in
/// `pgstatfuncs.c`). No role: a process of the server itself.
pub fn sees(who: u32, role: Option<u32>) -> bool {
    let who = pg_sys::Oid::from_u32(who);
    let role = role.map_or(pg_sys::InvalidOid, pg_sys::Oid::from_u32);
    has_privileges_of(who, READ_ALL_STATS) || has_privileges_of(who, role)
}

/// Whether core would let that role signal a session of another (0: of none), by `pg_signal_backend` in
/// `signalfuncs.c`. Of a call it is asked of all its [`Principals`](super::principals::Principals).
pub fn may_signal(who: u32, role: u32, is_autovacuum_worker: bool) -> bool {
    if is_superuser(who) {
        return true;
    }
    let is_protected = role == 0 || is_superuser(role);
    let (who, role) = (pg_sys::Oid::from_u32(who), pg_sys::Oid::from_u32(role));
    match (is_protected, is_autovacuum_worker) {
        (true, true) => SIGNAL_AUTOVACUUM.is_some_and(|right| has_privileges_of(who, right)),
        (true, false) => false,
        (false, _) => has_privileges_of(who, role) || has_privileges_of(who, SIGNAL_BACKEND),
    }
}

/// Whether a role may signal sessions of roles that it is no member of.
pub fn may_signal_others(role: u32) -> bool {
    is_superuser(role) || has_privileges_of(pg_sys::Oid::from_u32(role), SIGNAL_BACKEND)
}

/// Whether the current role owns a relation.
pub fn owns(relation: RelationId) -> bool {
    // SAFETY: catalog look-ups. They raise 42P01 for a relation that has just vanished.
    unsafe { compat::is_owner(pg_sys::Oid::from_u32(relation), pg_sys::GetUserId()) }
}

/// Whether a role may do as its owner does with what that owns: it has all rights of it or, if it is not the current
/// role, can take them by SET ROLE.
pub fn acts_for(who: u32, owner: u32) -> bool {
    // SAFETY: a catalog look-up.
    let may_become = || unsafe {
        compat::may_set_role(pg_sys::Oid::from_u32(who), pg_sys::Oid::from_u32(owner))
    };
    has_rights_of(who, owner) || who != current_id() && may_become()
}

/// Whether the current role may drop a relation: it owns it, or its schema.
pub fn may_drop(relation: RelationId) -> bool {
    let schema = super::catalog::relation(relation).map(|facts| facts.schema);
    owns(relation)
        || schema.is_some_and(|schema| {
            // SAFETY: catalog look-ups.
            unsafe {
                compat::is_owner_of_schema(pg_sys::Oid::from_u32(schema), pg_sys::GetUserId())
            }
        })
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

fn has_privileges_of(member: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: catalog look-ups.
    unsafe { pg_sys::has_privs_of_role(member, role) }
}
