//! What sessions are doing: the server's activity reports, freshly read, for chosen sessions.

use super::principals::Principals;
use super::text::from_server as text;
use super::{compat, prepared, process, progress, roles};
use crate::session::{Doing, Gid, Identity, Process, Rights, Session, State, Timestamp};
use pgrx::pg_sys;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The time now, as the server stamps things.
pub fn now() -> Timestamp {
    // SAFETY: reads the clock.
    Timestamp(unsafe { pg_sys::GetCurrentTimestamp() })
}

/// These sessions and prepared transactions in full, as they are now. Those that have ended
/// meanwhile are missing. Who has gone on to another transaction is told as it is: what counts is
/// checked again before it is signalled. `principals`: whose rights over them are told.
///
/// Discards this transaction's copy of `pg_stat_activity`, which would be as old as its first use.
pub fn sessions(
    wanted: &[Identity],
    principals: &Principals,
) -> Result<HashMap<Identity, Session>, pgrx::spi::Error> {
    let mut found = HashMap::new();
    let mut by_pid: HashMap<i32, Vec<Identity>> = HashMap::new();
    let mut xids = HashSet::new();
    for identity in wanted {
        match identity {
            Identity::Backend { pid, .. } => by_pid.entry(*pid).or_default().push(*identity),
            Identity::Prepared { xid } => _ = xids.insert(*xid),
        }
    }
    if !by_pid.is_empty() {
        for status in entries() {
            for identity in by_pid.get(&status.st_procpid).into_iter().flatten() {
                // SAFETY: an entry of the local copy, which nothing clears meanwhile.
                if let Some(session) = unsafe { read(*identity, status, principals) } {
                    found.insert(*identity, session);
                }
            }
        }
    }
    if !xids.is_empty() {
        for prepared in prepared::all()?
            .into_iter()
            .filter(|p| xids.contains(&p.xid))
        {
            let identity = Identity::Prepared { xid: prepared.xid };
            found.insert(identity, of_prepared(identity, prepared));
        }
    }
    Ok(found)
}

/// What the process with that pid does now.
pub fn doing(pid: i32) -> Option<Doing> {
    let status = entries().find(|status| status.st_procpid == pid)?;
    Some(Doing {
        backend_start: stamp(status.st_proc_start_timestamp),
        state: state(status.st_state),
        query_start: stamp(status.st_activity_start_timestamp),
        progress: progress::command(status),
    })
}

/// The activity of all processes, copied anew: each until this is called again.
fn entries() -> impl Iterator<Item = &'static pg_sys::PgBackendStatus> {
    // SAFETY: the entries are copies in this backend's own memory that stay until the next clearing,
    // which is done here alone, and whose caller has let go of the entries by then.
    unsafe {
        pg_sys::pgstat_clear_backend_activity_snapshot();
        (1..=pg_sys::pgstat_fetch_stat_numbackends())
            .map(|index| compat::local_activity(index))
            .filter(|entry| !entry.is_null())
            .map(|entry| &(*entry).backendStatus)
    }
}

fn of_prepared(identity: Identity, prepared: prepared::Prepared) -> Session {
    Session {
        identity,
        gid: Some(Gid {
            literal: prepared.gid.literal(),
            name: prepared.gid,
        }),
        process: Process::Other,
        anti_wraparound: false,
        progress: None,
        counters: None,
        usename: roles::name(prepared.owner),
        application_name: None,
        client_addr: None,
        backend_type: None,
        state: None,
        wait_event_type: None,
        wait_event: None,
        backend_start: None,
        // The server keeps the time of PREPARE alone.
        xact_start: Some(Timestamp(prepared.prepared)),
        query_start: None,
        state_change: None,
        query: None,
        query_is_whole: false,
        // pg_prepared_xacts shows all of this to everybody.
        rights: Rights {
            signal: false,
            own_signal: false,
            ..Rights::ALL
        },
    }
}

/// # Safety
/// `status` is an entry of the local copy, its pointers valid or null.
unsafe fn read(
    identity: Identity,
    status: &pg_sys::PgBackendStatus,
    principals: &Principals,
) -> Option<Session> {
    let pid = status.st_procpid;
    let facts = process::facts(pid)?;
    let role = (status.st_userid != pg_sys::InvalidOid).then(|| status.st_userid.to_u32());
    let kind = process_kind(status.st_backendType);
    // SAFETY: constant strings of the server, or null.
    let (wait_event_type, wait_event) = unsafe {
        (
            text(pg_sys::pgstat_get_wait_event_type(facts.wait_event_info)),
            text(pg_sys::pgstat_get_wait_event(facts.wait_event_info)),
        )
    };
    // A walsender's is not kept up to date (pg_stat_get_activity in pgstatfuncs.c).
    let xact_start = stamp(status.st_xact_start_timestamp).filter(|_| kind != Process::WalSender);
    Some(Session {
        identity,
        gid: None,
        process: kind,
        anti_wraparound: facts.is_anti_wraparound,
        progress: progress::command(status),
        counters: progress::counters(status),
        usename: role.and_then(roles::name),
        // SAFETY: null or a string in the local copy.
        application_name: unsafe { text(status.st_appname) },
        client_addr: client_addr(&status.st_clientaddr),
        backend_type: backend_type(status),
        state: state(status.st_state),
        wait_event_type,
        wait_event,
        backend_start: stamp(status.st_proc_start_timestamp),
        xact_start,
        query_start: stamp(status.st_activity_start_timestamp),
        state_change: stamp(status.st_state_start_timestamp),
        // SAFETY: a string in the local copy, possibly cut in the middle of a character, which
        // the server's function mends.
        query: unsafe {
            let clipped = pg_sys::pgstat_clip_activity(status.st_activity_raw);
            let query = text(clipped);
            pg_sys::pfree(clipped.cast());
            query
        },
        query_is_whole: is_whole(status),
        rights: principals.rights(role, facts.role, kind == Process::AutovacuumWorker),
    })
}

/// Whether the query is not cut off. One that just fits is taken for cut off.
fn is_whole(status: &pg_sys::PgBackendStatus) -> bool {
    // SAFETY: the setting is fixed when the server starts; the query is a C string in the local copy.
    unsafe {
        let room = usize::try_from(pg_sys::pgstat_track_activity_query_size).unwrap_or(0);
        !status.st_activity_raw.is_null()
            && CStr::from_ptr(status.st_activity_raw).count_bytes() + 1 < room
    }
}

fn stamp(stamp: pg_sys::TimestampTz) -> Option<Timestamp> {
    (stamp != 0).then_some(Timestamp(stamp))
}

fn state(state: pg_sys::BackendState::Type) -> Option<State> {
    use pg_sys::BackendState::*;
    match state {
        STATE_IDLE => Some(State::Idle),
        STATE_RUNNING => Some(State::Active),
        STATE_IDLEINTRANSACTION => Some(State::IdleInTransaction),
        STATE_FASTPATH => Some(State::FastPath),
        STATE_IDLEINTRANSACTION_ABORTED => Some(State::IdleInTransactionAborted),
        STATE_DISABLED => Some(State::Disabled),
        _ => None,
    }
}

fn process_kind(kind: pg_sys::BackendType::Type) -> Process {
    use pg_sys::BackendType::*;
    match kind {
        B_BACKEND => Process::Client,
        B_AUTOVAC_WORKER => Process::AutovacuumWorker,
        B_WAL_SENDER => Process::WalSender,
        B_BG_WORKER => Process::BackgroundWorker,
        B_STARTUP => Process::Startup,
        _ => Process::Other,
    }
}

fn backend_type(status: &pg_sys::PgBackendStatus) -> Option<String> {
    // SAFETY: constant strings, or one in the shared list of workers that outlives its worker.
    unsafe {
        if status.st_backendType == pg_sys::BackendType::B_BG_WORKER {
            text(pg_sys::GetBackgroundWorkerTypeByPid(status.st_procpid))
        } else {
            text(pg_sys::GetBackendTypeDesc(status.st_backendType))
        }
    }
}

/// The client's address without its port; none for a Unix socket.
fn client_addr(address: &pg_sys::SockAddr) -> Option<String> {
    let storage: *const libc::sockaddr_storage = (&raw const address.addr).cast();
    // SAFETY: a `sockaddr_storage` is large and aligned enough for every kind of address, and its
    // family tells which it is.
    unsafe {
        match i32::from((*storage).ss_family) {
            libc::AF_INET => {
                let v4 = &*storage.cast::<libc::sockaddr_in>();
                Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).to_string())
            }
            libc::AF_INET6 => {
                let v6 = &*storage.cast::<libc::sockaddr_in6>();
                Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).to_string())
            }
            _ => None,
        }
    }
}
