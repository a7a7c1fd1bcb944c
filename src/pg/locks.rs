//! The lock manager: who stands in the way of a lock, asked of the server without waiting and
//! without taking a lock.
//!
//! Holders come from `GetLockConflicts`, which looks at one partition of the lock table and at the
//! fast-path slots; what it leaves out is read by [`partition`] from the processes. Where many locks
//! are asked about, and on a standby, one copy of the whole table serves instead.

use super::compat;
use super::partition::{self, Transactions};
use super::prepared;
use super::process;
use crate::lock::{LockMode, LockTag, ModeSet};
use crate::session::{Identity, VirtualTransaction};
use pgrx::pg_sys;
use std::collections::{HashMap, HashSet};

/// A session or prepared transaction in the way of a lock on `tag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InWay {
    pub tag: LockTag,
    pub who: Identity,
    /// The strongest mode that it holds, or, if none of those is in the way, the one it waits for.
    pub mode: LockMode,
    /// Whether `mode` is held rather than waited for.
    pub granted: bool,
}

/// A lock that a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub tag: LockTag,
    pub mode: LockMode,
}

pub(super) fn to_server(tag: LockTag) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        locktag_field1: tag.field1,
        locktag_field2: tag.field2,
        locktag_field3: tag.field3,
        locktag_field4: tag.field4,
        locktag_type: tag.kind,
        locktag_lockmethodid: tag.method,
    }
}

pub(super) fn from_server(tag: &pg_sys::LOCKTAG) -> LockTag {
    LockTag {
        field1: tag.locktag_field1,
        field2: tag.locktag_field2,
        field3: tag.locktag_field3,
        field4: tag.locktag_field4,
        kind: tag.locktag_type,
        method: tag.locktag_lockmethodid,
    }
}

/// Who would make a request of that mode on that lock wait: holders and the queue. Not this
/// session itself.
///
/// Whoever has just ended his transaction and still has to let go is among them (see
/// [`Identity::is_outside_transaction`]), unless his lock is one of the fast path. The startup process of a
/// standby is seen by [`everyone_in_way`] alone.
pub fn in_way(tag: LockTag, mode: LockMode) -> Vec<InWay> {
    let before = Transactions::now();
    let mut found = holders(tag, mode);
    let glance = partition::look(tag, &before);
    for (who, held) in glance.moving {
        if let Some(mode) = held
            .strongest()
            .filter(|_| held.intersects(mode.conflicts()))
        {
            found.retain(|f| f.who.pid() != who.pid());
            found.push(InWay {
                tag,
                who,
                mode,
                granted: true,
            });
        }
    }
    for (who, awaited) in glance.waiting {
        let is_known = found.iter().any(|f| f.who == who);
        if mode.conflicts().contains(awaited) && !is_known {
            found.push(InWay {
                tag,
                who,
                mode: awaited,
                granted: false,
            });
        }
    }
    found
}

/// The holders alone, each once, a parallel query under its leader.
fn holders(tag: LockTag, mode: LockMode) -> Vec<InWay> {
    let first = conflicts(tag, mode);
    if first.is_empty() {
        return vec![];
    }
    // Which other modes' requests each of them stands against tells what it holds.
    let mut against: HashMap<VirtualTransaction, ModeSet> = HashMap::new();
    for asked in LockMode::ALL {
        let found = if asked == mode {
            first.clone()
        } else {
            conflicts(tag, asked)
        };
        for transaction in found {
            against.entry(transaction).or_default().insert(asked);
        }
    }
    let mut holders: Vec<InWay> = vec![];
    for transaction in first {
        // Whoever has ended in between is not in the way.
        let held = against
            .get(&transaction)
            .copied()
            .and_then(ModeSet::strongest_standing_against);
        let (Some(held), Some(who)) = (held, who_is(transaction)) else {
            continue;
        };
        match holders.iter_mut().find(|h| h.who == who) {
            Some(known) => known.mode = known.mode.max(held),
            None => holders.push(InWay {
                tag,
                who,
                mode: held,
                granted: true,
            }),
        }
    }
    holders
}

/// The transactions that hold the lock in a mode that conflicts with `mode`.
fn conflicts(tag: LockTag, mode: LockMode) -> Vec<VirtualTransaction> {
    let tag = to_server(tag);
    let mut count = 0;
    // SAFETY: `tag` is a valid tag of the default or user lock method and `mode` one of its modes.
    // The result is an array of `count` elements in the current memory context: in a backend it is
    // allocated anew for each call (the startup process alone keeps one), and freed here, because
    // it has room for every backend and callers ask often.
    unsafe {
        let array = pg_sys::GetLockConflicts(&tag, mode.number(), &mut count);
        let found = std::slice::from_raw_parts(array, usize::try_from(count).unwrap_or(0))
            .iter()
            .map(|vxid| compat::from_vxid(*vxid))
            .collect();
        pg_sys::pfree(array.cast());
        found
    }
}

/// Whose a virtual transaction is; none if it has ended. Not ourselves.
fn who_is(transaction: VirtualTransaction) -> Option<Identity> {
    if transaction.slot != compat::INVALID_SLOT {
        // A backend's slot may have gone to an innocent new session since its transaction was
        // prepared: only if that very transaction runs there is it the backend's.
        if let Some(identity) = process::in_slot(transaction) {
            return (identity.pid() != Some(process::own_pid())).then_some(identity);
        }
    }
    prepared::xid_of(transaction).map(|xid| Identity::Prepared { xid })
}

/// A copied entry of the lock table.
struct Instance {
    tag: LockTag,
    held: ModeSet,
    awaited: Option<LockMode>,
    pid: i32,
    leader: i32,
    transaction: VirtualTransaction,
    /// It is one of the fast path, and so goes with its transaction.
    is_fast_path: bool,
}

impl Instance {
    /// What all who fill such an entry write: `GetBlockerStatusData` leaves `waitStart` as it found it (15 to 18).
    fn of(instance: &pg_sys::LockInstanceData) -> Instance {
        Instance {
            tag: from_server(&instance.locktag),
            held: ModeSet::from_mask(instance.holdMask),
            awaited: LockMode::from_number(instance.waitLockMode),
            pid: instance.pid,
            leader: instance.leaderPid,
            transaction: compat::transaction_of_instance(instance),
            is_fast_path: instance.fastpath,
        }
    }

    /// Who it was whose entry it is, where that session has ended its transaction meanwhile, and may hold the
    /// lock still.
    fn who_moved(&self) -> Option<Identity> {
        let may_hold = self.pid != 0 && self.leader == self.pid && !self.is_fast_path;
        may_hold.then_some(Identity::Backend {
            pid: self.pid,
            transaction: self.transaction,
        })
    }

    /// Whose entry it is; none if that session has ended its transaction meanwhile.
    fn who(&self) -> Option<Identity> {
        if self.pid == 0 {
            return prepared::xid_of(self.transaction).map(|xid| Identity::Prepared { xid });
        }
        let own = Identity::Backend {
            pid: self.pid,
            transaction: self.transaction,
        };
        // A parallel worker goes by its leader. Entries of the fast path call every process its own
        // leader (GetLockStatusData in lock.c), so the process itself is asked as well.
        match process::by_pid(self.leader) {
            Some(leader) if leader.pid() != Some(self.pid) => Some(leader),
            Some(leader) if leader == own => Some(own),
            // Whether a session that was between two transactions holds on in its next is asked later.
            _ => (self.transaction.local == 0).then_some(own),
        }
    }
}

/// Who stands in the way of the locks for which `needed` gives a mode, from one copy of the whole
/// lock table. Not this session itself.
///
/// The copy takes all partitions of the lock table at once, so it is for many locks or a standby:
/// its cost grows with the locks in the server, not with the question.
pub fn everyone_in_way(needed: impl Fn(LockTag) -> Option<LockMode>) -> Vec<InWay> {
    copied(needed).0
}

/// The same, and whether somebody is among the holders who was on the move while the table was copied, and has
/// not let go: a session that is in another transaction by now, or a prepared one that is just being ended. That
/// goes by no name any more, though it has its locks still (`FinishPreparedTransaction` in `twophase.c`).
fn copied(needed: impl Fn(LockTag) -> Option<LockMode>) -> (Vec<InWay>, bool) {
    let mut instances = vec![];
    // SAFETY: the result is one allocation with an array of `nelements`, both in the current memory
    // context; what is wanted is copied out, and both are freed.
    unsafe {
        let data = pg_sys::GetLockStatusData();
        let count = usize::try_from((*data).nelements).unwrap_or(0);
        for instance in std::slice::from_raw_parts((*data).locks, count) {
            if needed(from_server(&instance.locktag)).is_some() {
                instances.push(Instance::of(instance));
            }
        }
        pg_sys::pfree((*data).locks.cast());
        pg_sys::pfree(data.cast());
    }
    let own = process::own_pid();
    let mut leaders: HashMap<(i32, i32, VirtualTransaction), Option<Identity>> = HashMap::new();
    let mut found: HashMap<(LockTag, Identity), (ModeSet, Option<LockMode>)> = HashMap::new();
    let mut order = vec![];
    let mut moved: HashSet<Identity> = HashSet::new();
    let mut has_ending = false;
    for instance in instances.iter().filter(|i| i.pid != own && i.leader != own) {
        let key = (instance.pid, instance.leader, instance.transaction);
        let who = *leaders.entry(key).or_insert_with(|| {
            let known = instance.who();
            known.or_else(|| instance.who_moved().inspect(|who| _ = moved.insert(*who)))
        });
        let Some(who) = who else {
            let stands = |mode: LockMode| instance.held.intersects(mode.conflicts());
            has_ending |= instance.pid == 0 && needed(instance.tag).is_some_and(stands);
            continue;
        };
        let entry = found.entry((instance.tag, who)).or_insert_with(|| {
            order.push((instance.tag, who));
            (ModeSet::EMPTY, None)
        });
        // A session may have one entry of the fast path and one of the table, and a parallel
        // query's members have one each.
        for mode in LockMode::ALL
            .into_iter()
            .filter(|m| instance.held.contains(*m))
        {
            entry.0.insert(mode);
        }
        entry.1 = entry.1.max(instance.awaited);
    }
    let found = order
        .into_iter()
        .filter_map(|(tag, who)| {
            let (held, awaited) = found[&(tag, who)];
            let against = needed(tag)?.conflicts();
            let (mode, granted) = match (held.intersects(against), awaited) {
                (true, _) => (held.strongest()?, true),
                (false, Some(awaited)) if against.contains(awaited) => (awaited, false),
                _ => return None,
            };
            let found = InWay {
                tag,
                who,
                mode,
                granted,
            };
            if !moved.contains(&who) {
                return Some(found);
            }
            let held = held_on(found)?;
            has_ending = true;
            Some(held)
        })
        .collect();
    (found, has_ending)
}

/// Whether a session that has left its transaction has not yet let go of a lock for which `needed`
/// gives a mode. A transaction ends, for all who ask about conflicts, before its locks are released
/// one by one (`GetLockConflicts` in `lock.c`), and a request would still wait for them.
pub fn is_being_let_go(needed: impl Fn(LockTag) -> Option<LockMode>) -> bool {
    let (found, has_ending) = copied(needed);
    let has_left = |found: &InWay| found.granted && found.who.is_outside_transaction();
    has_ending || found.iter().any(has_left)
}

/// What has become of a hold whose session is not any more in the transaction in which it was found: the
/// same hold where the session has that lock still, as VACUUM has in its next transaction. None where it
/// has let go. Of the fast path nothing is known: no lock there outlives its transaction.
pub fn held_on(found: InWay) -> Option<InWay> {
    let (who, held) = partition::held_by(found.who.pid()?, found.tag)?;
    // Its transaction's own lock may have been the stronger one.
    let mode = match held.contains(found.mode) {
        true => found.mode,
        false => held.strongest()?,
    };
    found.granted.then_some(InWay { who, mode, ..found })
}

/// What the process with that pid waits for, at a glance: should the wait end at this instant, it may
/// be another lock's name.
pub fn awaited(pid: i32) -> Option<Wait> {
    let proc = process::find(pid);
    if proc.is_null() {
        return None;
    }
    // SAFETY: `proc` is in the array of processes. A pointer that has been that of a lock always points
    // into the shared lock table, which stays mapped: see `queue`.
    unsafe {
        let lock = (&raw const (*proc).waitLock).read_volatile();
        if lock.is_null() {
            return None;
        }
        let tag = from_server(&(&raw const (*lock).tag).read_volatile());
        let mode = LockMode::from_number((&raw const (*proc).waitLockMode).read_volatile())?;
        Some(Wait { tag, mode })
    }
}

/// A wait for a lock, and who stood in its way at one moment.
pub struct Blocked {
    /// Who waits; none if that transaction has ended meanwhile.
    pub who: Option<Identity>,
    pub wait: Wait,
    /// When it began to wait, in microseconds, which tells this wait from its next one (see
    /// [`process::waits_since`]).
    pub since: Option<i64>,
    pub ahead: Vec<InWay>,
}

/// What a server process waits for, and who stands in its way, as `pg_blocking_pids` judges it. This
/// session itself may be among them. None while it does not wait for a lock.
///
/// Of a parallel query several members may wait at once; the first wait found is told.
pub fn in_way_of(pid: i32) -> Option<(Wait, Vec<InWay>)> {
    let first = waits_of(pid).into_iter().next();
    first.map(|blocked| (blocked.wait, blocked.ahead))
}

/// Each wait of a server process and of the members of its parallel query.
pub fn waits_of(pid: i32) -> Vec<Blocked> {
    let mut waits: Vec<(i32, Vec<Instance>, Vec<i32>)> = vec![];
    // SAFETY: any pid may be asked about. The arrays have the lengths and offsets that the struct
    // gives; they are copied out and freed, because callers ask repeatedly.
    unsafe {
        let data = pg_sys::GetBlockerStatusData(pid);
        let size = |n: i32| usize::try_from(n).unwrap_or(0);
        let locks = std::slice::from_raw_parts((*data).locks, size((*data).nlocks));
        let waiters = std::slice::from_raw_parts((*data).waiter_pids, size((*data).npids));
        for proc in std::slice::from_raw_parts((*data).procs, size((*data).nprocs)) {
            let (first, count) = (size(proc.first_lock), size(proc.num_locks));
            let instances = locks[first..first + count]
                .iter()
                .map(Instance::of)
                .collect();
            let (first, count) = (size(proc.first_waiter), size(proc.num_waiters));
            waits.push((proc.pid, instances, waiters[first..first + count].to_vec()));
        }
        pg_sys::pfree((*data).procs.cast());
        pg_sys::pfree((*data).locks.cast());
        pg_sys::pfree((*data).waiter_pids.cast());
        pg_sys::pfree(data.cast());
    }
    waits
        .iter()
        .filter_map(|(waiter, instances, ahead)| wait_of(*waiter, instances, ahead))
        .collect()
}

/// One wait: of a process, among all entries of the lock that it waits for, behind the processes that
/// are `ahead` in the queue. The rule is that of `pg_blocking_pids` in `lockfuncs.c`.
fn wait_of(waiter: i32, instances: &[Instance], ahead: &[i32]) -> Option<Blocked> {
    let own = instances.iter().find(|i| i.pid == waiter)?;
    let wait = Wait {
        tag: own.tag,
        mode: own.awaited?,
    };
    let against = wait.mode.conflicts();
    let mut found: Vec<InWay> = vec![];
    for instance in instances
        .iter()
        .filter(|i| i.pid != waiter && i.leader != own.leader)
    {
        let granted = instance.held.intersects(against);
        let queued =
            ahead.contains(&instance.pid) && instance.awaited.is_some_and(|m| against.contains(m));
        let mode = match granted {
            true => instance.held.strongest(),
            false => instance.awaited.filter(|_| queued),
        };
        let (Some(mode), Some(who)) = (mode, instance.who()) else {
            continue;
        };
        match found.iter_mut().find(|f| f.who == who) {
            Some(known) if known.granted == granted => known.mode = known.mode.max(mode),
            Some(known) if granted => (known.mode, known.granted) = (mode, true),
            Some(_) => (),
            None => found.push(InWay {
                tag: wait.tag,
                who,
                mode,
                granted,
            }),
        }
    }
    Some(Blocked {
        who: own.who(),
        wait,
        // Read after the copy: should that wait have ended meanwhile, another start goes with its lock, which no
        // second look finds again.
        since: process::waits_since(waiter),
        ahead: found,
    })
}

/// `pg_blocking_pids`, each pid once.
pub fn blocking_pids(pid: i32) -> Vec<i32> {
    let mut pids: Vec<i32> = vec![];
    for found in waits_of(pid).iter().flat_map(|blocked| &blocked.ahead) {
        let pid = found.who.pid().unwrap_or(0);
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}
