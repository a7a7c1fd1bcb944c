//! The differences between PostgreSQL majors, and what the server exports though pgrx does not bind
//! it. One signature each, a branch a version; a new major is added here.

use crate::lock::LockMode;
use crate::session::VirtualTransaction;
use pgrx::pg_sys;

/// The virtual transaction id of a server process (`GET_VXID_FROM_PGPROC` in `proc.h`).
///
/// # Safety
/// `proc` points into the array of processes in shared memory.
pub(super) unsafe fn transaction_of(proc: *const pg_sys::PGPROC) -> VirtualTransaction {
    // SAFETY: shared memory stays mapped, and both fields are plain integers; another process may
    // change them at any time, hence the volatile reads.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let (slot, local) = (&raw const (*proc).backendId, &raw const (*proc).lxid);
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let (slot, local) = (
            &raw const (*proc).vxid.procNumber,
            &raw const (*proc).vxid.lxid,
        );
        VirtualTransaction {
            slot: slot.read_volatile(),
            local: local.read_volatile(),
        }
    }
}

pub(super) fn to_vxid(transaction: VirtualTransaction) -> pg_sys::VirtualTransactionId {
    pg_sys::VirtualTransactionId {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        backendId: transaction.slot,
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        procNumber: transaction.slot,
        localTransactionId: transaction.local,
    }
}

pub(super) fn from_vxid(vxid: pg_sys::VirtualTransactionId) -> VirtualTransaction {
    VirtualTransaction {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        slot: vxid.backendId,
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        slot: vxid.procNumber,
        local: vxid.localTransactionId,
    }
}

/// The transaction that holds or awaits a lock, of a copy of the lock table.
pub(super) fn transaction_of_instance(instance: &pg_sys::LockInstanceData) -> VirtualTransaction {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    return VirtualTransaction {
        slot: instance.backend,
        local: instance.lxid,
    };
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    return from_vxid(instance.vxid);
}

/// The slot of no backend: `InvalidBackendId`, `INVALID_PROC_NUMBER` since 17.
pub(super) const INVALID_SLOT: i32 = -1;

/// What links a process's entries in the lock table.
#[cfg(feature = "pg15")]
pub(super) type Link = pg_sys::SHM_QUEUE;
#[cfg(not(feature = "pg15"))]
pub(super) type Link = pg_sys::dlist_node;

/// The process in a backend slot, or null.
///
/// # Safety
/// As for any function of the server: in a backend, on its one thread.
pub(super) unsafe fn proc_in_slot(slot: i32) -> *mut pg_sys::PGPROC {
    // SAFETY: any number is fine for both; they check it.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        return unbound::backend_id_get_proc(slot);
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return pg_sys::ProcNumberGetProc(slot);
    }
}

/// An entry of the local copy of the backends' activity, by its place there, from 1 on.
///
/// # Safety
/// As for any function of the server: in a backend, on its one thread.
pub(super) unsafe fn local_activity(index: i32) -> *mut pg_sys::LocalPgBackendStatus {
    // SAFETY: both return null for a number that is out of range.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pgstat_fetch_stat_local_beentry(index);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::pgstat_get_local_beentry_by_index(index);
    }
}

/// Where VACUUM reports how many dead row pointers it has found since it vacuumed the indexes last.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub(super) const VACUUM_DEAD_ITEMS: u32 = pg_sys::PROGRESS_VACUUM_NUM_DEAD_TUPLES;
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub(super) const VACUUM_DEAD_ITEMS: u32 = pg_sys::PROGRESS_VACUUM_NUM_DEAD_ITEM_IDS;

/// The server's own record of a setting; null if there is none of that name.
///
/// # Safety
/// As for any function of the server: in a backend, on its one thread. The record is the server's.
pub(super) unsafe fn setting(name: &core::ffi::CStr) -> *mut pg_sys::config_generic {
    // SAFETY: the array holds that many records with names, and is neither kept nor changed.
    #[cfg(feature = "pg15")]
    return unsafe {
        let all = pg_sys::get_guc_variables();
        (0..pg_sys::GetNumConfigOptions() as usize)
            .map(|i| *all.add(i))
            .find(|setting| {
                let one = core::ffi::CStr::from_ptr((**setting).name);
                one.to_bytes().eq_ignore_ascii_case(name.to_bytes())
            })
            .unwrap_or(core::ptr::null_mut())
    };
    // SAFETY: a look-up that makes nothing and raises no error.
    #[cfg(not(feature = "pg15"))]
    return unsafe { pg_sys::find_option(name.as_ptr(), false, true, 0) };
}

/// The `PG_READ_ALL_STATS` of this major's headers and so on, as OIDs.
pub(super) mod roles {
    use pgrx::pg_sys;

    pub const READ_ALL_STATS: pg_sys::Oid = oid(pg_sys::ROLE_PG_READ_ALL_STATS);
    pub const SIGNAL_BACKEND: pg_sys::Oid = oid(pg_sys::ROLE_PG_SIGNAL_BACKEND);
    /// Who may signal autovacuum workers without being superuser: nobody before 18.
    #[cfg(feature = "pg18")]
    pub const SIGNAL_AUTOVACUUM: Option<pg_sys::Oid> =
        Some(oid(pg_sys::ROLE_PG_SIGNAL_AUTOVACUUM_WORKER));
    #[cfg(not(feature = "pg18"))]
    pub const SIGNAL_AUTOVACUUM: Option<pg_sys::Oid> = None;

    const fn oid(oid: u32) -> pg_sys::Oid {
        pg_sys::Oid::from_u32(oid)
    }
}

/// Runs what reports another text of the query, which forgets the ids that belong to it, and reports
/// these again.
///
/// # Safety
/// As for any function of the server: in a backend, on its one thread.
pub(super) unsafe fn with_query_ids_kept(report: impl FnOnce()) {
    // SAFETY: reads and writes this backend's own entry.
    unsafe {
        let query = pg_sys::pgstat_get_my_query_id();
        #[cfg(feature = "pg18")]
        let plan = pg_sys::pgstat_get_my_plan_id();
        report();
        pg_sys::pgstat_report_query_id(query, true);
        #[cfg(feature = "pg18")]
        pg_sys::pgstat_report_plan_id(plan, true);
    }
}

/// Whether a role owns a relation, or is a member of its owner.
///
/// # Safety
/// As for any function of the server.
pub(super) unsafe fn is_owner(relation: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, role);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, role);
    }
}

/// Whether a role owns a schema, or is a member of its owner.
///
/// # Safety
/// As for any function of the server.
pub(super) unsafe fn is_owner_of_schema(schema: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_namespace_ownercheck(schema, role);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::NamespaceRelationId, schema, role);
    }
}

/// Whether a role may become another by SET ROLE.
///
/// # Safety
/// As for any function of the server.
pub(super) unsafe fn may_set_role(member: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::is_member_of_role(member, role);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::member_can_set_role(member, role);
    }
}

/// Whether a role may execute a function.
///
/// # Safety
/// As for any function of the server.
pub(super) unsafe fn may_execute(function: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let right = pg_sys::AclMode::from(pg_sys::ACL_EXECUTE);
    // SAFETY: a catalog look-up.
    let result = unsafe {
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_proc_aclcheck(function, role, right);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, role, right);
        result
    };
    result == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether a role may use a schema.
///
/// # Safety
/// As for any function of the server.
pub(super) unsafe fn may_use_schema(schema: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let right = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    // SAFETY: a catalog look-up.
    let result = unsafe {
        #[cfg(feature = "pg15")]
        let result = pg_sys::pg_namespace_aclcheck(schema, role, right);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, role, right);
        result
    };
    result == pg_sys::AclResult::ACLCHECK_OK
}

/// Any one of these privileges on a table lets a role lock it in that mode (`LockTableAclCheck` in
/// `lockcmds.c`).
pub(super) fn privileges_to_lock(mode: LockMode) -> pg_sys::AclMode {
    use pg_sys::{ACL_DELETE, ACL_INSERT, ACL_SELECT, ACL_TRUNCATE, ACL_UPDATE};
    let writing = ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE;
    #[cfg(feature = "pg15")]
    let mask = match mode {
        LockMode::AccessShare => ACL_SELECT,
        LockMode::RowExclusive => ACL_INSERT | writing,
        _ => writing,
    };
    #[cfg(not(feature = "pg15"))]
    let mask = {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        let writing = writing | pg_sys::ACL_MAINTAIN;
        match mode {
            LockMode::AccessShare => ACL_SELECT | ACL_INSERT | writing,
            LockMode::RowShare | LockMode::RowExclusive => ACL_INSERT | writing,
            _ => writing,
        }
    };
    pg_sys::AclMode::from(mask)
}

/// Whether planning a query locks the indexes of a partitioned table, and not only those of its
/// partitions.
pub const PLANNER_LOCKS_PARTITIONED_INDEXES: bool = cfg!(not(feature = "pg15"));

/// Whether the running server locks what a new object depends on. Minor releases differ: 15.18, 16.14 and
/// 18.4 do not and 15.20 does (seen). Of the releases between these nothing is known, and they are taken to.
pub fn locks_dependencies() -> bool {
    // SAFETY: a setting that there always is; null, or a string.
    let version = unsafe {
        super::text::from_server(pg_sys::GetConfigOption(
            c"server_version_num".as_ptr(),
            false,
            false,
        ))
    };
    let version: u32 = version.and_then(|text| text.parse().ok()).unwrap_or(0);
    let last_without = match version / 10_000 {
        15 => 18,
        16 => 14,
        17 => 10,
        18 => 4,
        _ => 0,
    };
    version % 10_000 > last_without
}

/// Whether GRANT and REVOKE lock the relations that they name.
pub const GRANT_LOCKS_RELATIONS: bool = cfg!(feature = "pg18");

/// Whether VACUUM and ANALYZE work through tables that inherit from the one that they name, and not only
/// through partitions.
pub const VACUUM_FOLLOWS_INHERITANCE: bool = cfg!(feature = "pg18");

/// Whether all that inherit from a table, partitions or not, are locked like it when it gets a constraint,
/// whatever the constraint is to them. A primary key is no such one.
pub const ADD_CONSTRAINT_LOCKS_HEIRS: bool = cfg!(feature = "pg18");

/// What TRUNCATE … RESTART IDENTITY locks sequences with.
pub const RESTART_LOCK: LockMode = LockMode::AccessExclusive;

/// Whether it is ALTER COLUMN … SET EXPRESSION, which came with 17.
pub(super) fn sets_expression(subtype: pg_sys::AlterTableType::Type) -> bool {
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    return subtype == pg_sys::AlterTableType::AT_SetExpression;
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    {
        _ = subtype;
        false
    }
}

/// The constraint that ALTER CONSTRAINT names.
///
/// # Safety
/// The definition of that subcommand.
pub(super) unsafe fn altered_constraint(
    definition: *mut pg_sys::Node,
) -> Option<crate::server_text::ServerText> {
    // SAFETY: the type that the subcommand has in each major.
    unsafe {
        #[cfg(feature = "pg18")]
        return super::text::kept((*definition.cast::<pg_sys::ATAlterConstraint>()).conname);
        #[cfg(not(feature = "pg18"))]
        return super::text::kept((*definition.cast::<pg_sys::Constraint>()).conname);
    }
}

/// Whether a generated column's values are stored; before 18 all are.
pub(super) fn is_stored(constraint: &pg_sys::Constraint) -> bool {
    #[cfg(feature = "pg18")]
    return constraint.generated_kind as u8 == pg_sys::ATTRIBUTE_GENERATED_STORED;
    #[cfg(not(feature = "pg18"))]
    return constraint.contype == pg_sys::ConstrType::CONSTR_GENERATED;
}

/// How many processes there may be that hold locks.
pub(super) fn max_backends() -> i32 {
    // SAFETY: fixed while the server runs.
    unsafe { pg_sys::MaxBackends }
}

/// How many weak locks on relations a process may take beside the lock table still (the fast path).
///
/// # Safety
/// It is this process's own entry.
pub(super) unsafe fn free_slots_of(proc: *const pg_sys::PGPROC) -> usize {
    /// `FAST_PATH_BITS_PER_SLOT` of `lock.c`: three bits for each of sixteen slots.
    const BITS: usize = 3;
    const SLOTS: usize = 16;
    let free_in = |bits: u64| {
        let is_free = |slot: &usize| bits >> (slot * BITS) & 0b111 == 0;
        (0..SLOTS).filter(is_free).count()
    };
    // SAFETY: as promised; nobody else changes them while this process does not ask for a lock.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return free_in((*proc).fpLockBits);
        #[cfg(feature = "pg18")]
        {
            let groups = usize::try_from(pg_sys::FastPathLockGroupsPerBackend).unwrap_or(0);
            return (0..groups)
                .map(|group| free_in(*(*proc).fpLockBits.add(group)))
                .sum();
        }
    }
}

/// A copy of a `BackgroundWorkerHandle` (`bgworker.c`: a slot's number and its generation, 16 bytes in 15 to 18), which
/// any process may ask the server about.
#[derive(Clone, Copy, Default)]
#[repr(C, align(8))]
pub(super) struct WorkerHandle([u8; 16]);

impl WorkerHandle {
    /// For the server's functions, which read from it alone.
    pub(super) fn as_mut_ptr(&mut self) -> *mut pg_sys::BackgroundWorkerHandle {
        self.0.as_mut_ptr().cast()
    }
}

/// # Safety
/// The server has just made the handle.
pub(super) unsafe fn copy_of_handle(handle: *const pg_sys::BackgroundWorkerHandle) -> WorkerHandle {
    let mut copy = WorkerHandle::default();
    // SAFETY: as many bytes as it has; they are copied as they are, padding included.
    unsafe { copy.as_mut_ptr().cast::<u8>().copy_from(handle.cast(), 16) };
    copy
}

/// Memory of that name and size, one for the whole server, which need not have been asked for when it started.
/// `initialize` is called for whoever comes first.
///
/// # Errors
/// Raises 53200 where there is no room.
///
/// # Safety
/// All that use the name give the same size.
pub(super) unsafe fn shared_state(
    name: &core::ffi::CStr,
    size: usize,
    initialize: unsafe extern "C-unwind" fn(*mut core::ffi::c_void),
) -> *mut core::ffi::c_void {
    let mut is_found = false;
    // SAFETY: as promised. An ERROR releases the lock with the transaction that it aborts.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        {
            /// `AddinShmemInitLock` in `lwlocknames.h`.
            const ADDIN_SHMEM_INIT: usize = 21;
            let lock = &raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT)).lock;
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE);
            let place = pg_sys::ShmemInitStruct(name.as_ptr(), size, &mut is_found);
            if !is_found {
                initialize(place);
            }
            pg_sys::LWLockRelease(lock);
            place
        }
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        pg_sys::GetNamedDSMSegment(name.as_ptr(), size, Some(initialize), &mut is_found)
    }
}

/// What the server exports and pgrx 0.18.1 does not bind. Each goes through pgrx's boundary, which
/// turns an ERROR into an unwinding that runs Rust's destructors.
pub(super) mod unbound {
    use pgrx::pg_sys::{self, ffi::pg_guard_ffi_boundary};

    mod server {
        use super::pg_sys;

        unsafe extern "C-unwind" {
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            pub fn BackendIdGetProc(backend_id: core::ffi::c_int) -> *mut pg_sys::PGPROC;

            pub fn TwoPhaseGetXidByVirtualXID(
                vxid: pg_sys::VirtualTransactionId,
                have_more: *mut bool,
            ) -> pg_sys::TransactionId;

            pub fn get_timeout_active(id: core::ffi::c_int) -> bool;

            pub static max_prepared_xacts: core::ffi::c_int;

            #[cfg(any(feature = "pg15", feature = "pg16"))]
            pub fn LockHeldByMe(tag: *const pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE) -> bool;

            #[cfg(any(feature = "pg17", feature = "pg18"))]
            pub fn LockHeldByMe(
                tag: *const pg_sys::LOCKTAG,
                mode: pg_sys::LOCKMODE,
                or_stronger: bool,
            ) -> bool;

            pub fn pq_check_connection() -> bool;

            pub fn get_rewrite_oid(
                relation: pg_sys::Oid,
                name: *const core::ffi::c_char,
                missing_ok: bool,
            ) -> pg_sys::Oid;

            pub fn get_relation_policy_oid(
                relation: pg_sys::Oid,
                name: *const core::ffi::c_char,
                missing_ok: bool,
            ) -> pg_sys::Oid;

            pub fn get_relation_constraint_oid(
                relation: pg_sys::Oid,
                name: *const core::ffi::c_char,
                missing_ok: bool,
            ) -> pg_sys::Oid;

            #[cfg(feature = "pg15")]
            pub fn raw_expression_tree_walker(
                node: *mut pg_sys::Node,
                walker: Option<super::Walker>,
                context: *mut core::ffi::c_void,
            ) -> bool;

            pub fn find_all_inheritors(
                parent: pg_sys::Oid,
                lockmode: pg_sys::LOCKMODE,
                numparents: *mut *mut pg_sys::List,
            ) -> *mut pg_sys::List;
        }
    }

    /// `sinvaladt.c`: the process in a slot, or null.
    ///
    /// # Safety
    /// As for any function of the server.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    pub unsafe fn backend_id_get_proc(backend_id: core::ffi::c_int) -> *mut pg_sys::PGPROC {
        // SAFETY: any number is checked there.
        unsafe { pg_guard_ffi_boundary(|| server::BackendIdGetProc(backend_id)) }
    }

    /// `twophase.c`: the prepared transaction with that virtual transaction id, or 0.
    ///
    /// # Safety
    /// `vxid` is valid; otherwise as for any function of the server.
    pub unsafe fn two_phase_get_xid_by_virtual_xid(
        vxid: pg_sys::VirtualTransactionId,
        have_more: &mut bool,
    ) -> pg_sys::TransactionId {
        // SAFETY: as the caller promises.
        unsafe { pg_guard_ffi_boundary(|| server::TwoPhaseGetXidByVirtualXID(vxid, have_more)) }
    }

    /// `twophase.c`: `max_prepared_transactions`.
    pub fn max_prepared_transactions() -> i32 {
        // SAFETY: fixed while the server runs.
        unsafe { server::max_prepared_xacts }
    }

    /// `lock.c`: whether this process holds the lock in that very mode.
    ///
    /// # Safety
    /// As for any function of the server.
    pub unsafe fn lock_held_by_me(tag: &pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE) -> bool {
        // SAFETY: looks into the process's own table.
        unsafe {
            #[cfg(any(feature = "pg15", feature = "pg16"))]
            return pg_guard_ffi_boundary(|| server::LockHeldByMe(tag, mode));
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            return pg_guard_ffi_boundary(|| server::LockHeldByMe(tag, mode, false));
        }
    }

    /// `rewriteSupport.c`: the rule of that name, or 0.
    ///
    /// # Safety
    /// `name` is a C string; so for the next two.
    pub unsafe fn get_rewrite_oid(
        relation: pg_sys::Oid,
        name: *const core::ffi::c_char,
    ) -> pg_sys::Oid {
        // SAFETY: as the caller promises.
        unsafe { pg_guard_ffi_boundary(|| server::get_rewrite_oid(relation, name, true)) }
    }

    /// `policy.c`: the policy of that name, or 0.
    ///
    /// # Safety
    /// `name` is a C string.
    pub unsafe fn get_relation_policy_oid(
        relation: pg_sys::Oid,
        name: *const core::ffi::c_char,
    ) -> pg_sys::Oid {
        // SAFETY: as the caller promises.
        unsafe { pg_guard_ffi_boundary(|| server::get_relation_policy_oid(relation, name, true)) }
    }

    /// `pg_constraint.c`: the constraint of that name, or 0.
    ///
    /// # Safety
    /// `name` is a C string.
    pub unsafe fn get_relation_constraint_oid(
        relation: pg_sys::Oid,
        name: *const core::ffi::c_char,
    ) -> pg_sys::Oid {
        // SAFETY: as the caller promises.
        unsafe {
            pg_guard_ffi_boundary(|| server::get_relation_constraint_oid(relation, name, true))
        }
    }

    pub type Walker =
        unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut core::ffi::c_void) -> bool;

    /// `nodeFuncs.c`: calls `walker` for each node directly below a raw one.
    ///
    /// # Safety
    /// `node` is a raw parse tree.
    pub unsafe fn raw_expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: Walker,
        context: *mut core::ffi::c_void,
    ) -> bool {
        // SAFETY: as the caller promises.
        unsafe {
            #[cfg(feature = "pg15")]
            return pg_guard_ffi_boundary(|| {
                server::raw_expression_tree_walker(node, Some(walker), context)
            });
            #[cfg(not(feature = "pg15"))]
            return pg_sys::raw_expression_tree_walker_impl(node, Some(walker), context);
        }
    }

    /// `timeout.c`: whether `statement_timeout` is running.
    ///
    /// # Safety
    /// As for any function of the server.
    pub unsafe fn is_statement_timeout_active() -> bool {
        /// `STATEMENT_TIMEOUT` of `TimeoutId` in `timeout.h`, the same in 15 to 18.
        const STATEMENT_TIMEOUT: core::ffi::c_int = 3;
        // SAFETY: reads a table of this process.
        unsafe { pg_guard_ffi_boundary(|| server::get_timeout_active(STATEMENT_TIMEOUT)) }
    }

    /// `pqcomm.c`: whether the client's end of the connection is open. Resets the latch.
    ///
    /// # Safety
    /// The session has a client.
    pub unsafe fn pq_check_connection() -> bool {
        // SAFETY: as the caller promises.
        unsafe { pg_guard_ffi_boundary(|| server::pq_check_connection()) }
    }

    /// `pg_inherits.c`: a relation and all its descendants, as a list of OIDs in the current memory
    /// context.
    ///
    /// # Safety
    /// As for any function of the server.
    pub unsafe fn find_all_inheritors(
        parent: pg_sys::Oid,
        lockmode: pg_sys::LOCKMODE,
    ) -> *mut pg_sys::List {
        // SAFETY: the third argument may be null.
        unsafe {
            pg_guard_ffi_boundary(|| {
                server::find_all_inheritors(parent, lockmode, core::ptr::null_mut())
            })
        }
    }
}
