//! What is known of a session that stands in the way, as the server tells it. Its class is told
//! from this in [`class`]; what is to be done with it is decided in `decide`.

mod class;
mod rule;

pub use class::{Class, Judgement, judge};
pub use rule::MaintenanceRule;

use std::time::Duration;

/// Microseconds since 2000-01-01 00:00 UTC, the server's own `TimestampTz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A virtual transaction: one transaction of one backend, never another one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VirtualTransaction {
    /// The backend's slot: `backendId` before PostgreSQL 17, `procNumber` since.
    pub slot: i32,
    /// `localTransactionId`. For a transaction prepared before the last restart, whose slot is the
    /// invalid one, its transaction id.
    pub local: u32,
}

/// Who stands in the way. Two looks that give equal identities saw the same transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A server process, in this very transaction. A parallel worker goes by its leader.
    Backend {
        pid: i32,
        transaction: VirtualTransaction,
    },
    /// A prepared transaction: nobody's process.
    Prepared { xid: u32 },
}

impl Identity {
    pub fn pid(self) -> Option<i32> {
        match self {
            Identity::Backend { pid, .. } => Some(pid),
            Identity::Prepared { .. } => None,
        }
    }

    /// Whether the process is in no transaction that could be told from the next one: it holds a lock
    /// of its session, is just letting go, or is the startup process of a standby.
    pub fn is_outside_transaction(self) -> bool {
        matches!(self, Identity::Backend { transaction, .. } if transaction.local == 0)
    }
}

/// `pg_stat_activity.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Idle,
    Active,
    IdleInTransaction,
    FastPath,
    IdleInTransactionAborted,
    /// The session does not track its activities, so that neither state nor times are known.
    Disabled,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Active => "active",
            State::IdleInTransaction => "idle in transaction",
            State::FastPath => "fastpath function call",
            State::IdleInTransactionAborted => "idle in transaction (aborted)",
            State::Disabled => "disabled",
        }
    }

    /// Whether the session waits for its client inside a transaction, where a cancel does nothing.
    pub const fn is_idle_in_transaction(self) -> bool {
        matches!(
            self,
            State::IdleInTransaction | State::IdleInTransactionAborted
        )
    }
}

/// The command whose progress a session reports (`pg_stat_progress_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgressCommand {
    Vacuum,
    Analyze,
    Cluster,
    /// CREATE INDEX and REINDEX.
    CreateIndex {
        concurrently: bool,
    },
    BaseBackup,
    CopyFrom,
    CopyTo,
}

/// What kind of process it is, where that decides something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// A client's session.
    Client,
    AutovacuumWorker,
    WalSender,
    BackgroundWorker,
    /// The startup process, which on a standby replays the primary's locks.
    Startup,
    Other,
}

/// What the calling role may do with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Whether `pg_stat_activity` would show that role more than the application name.
    pub see: bool,
    /// Whether `pg_cancel_backend` and `pg_terminate_backend` would let that role signal it.
    pub signal: bool,
}

/// A session or a prepared transaction, with the full truth of it, whatever the caller may see.
#[derive(Clone, Debug)]
pub struct Session {
    pub identity: Identity,
    /// A prepared transaction's name.
    pub gid: Option<String>,
    pub process: Process,
    pub anti_wraparound: bool,
    pub progress: Option<ProgressCommand>,
    pub usename: Option<String>,
    pub application_name: Option<String>,
    /// Without the port; absent for a Unix socket.
    pub client_addr: Option<String>,
    pub backend_type: Option<String>,
    pub state: Option<State>,
    pub wait_event_type: Option<String>,
    pub wait_event: Option<String>,
    pub backend_start: Option<Timestamp>,
    pub xact_start: Option<Timestamp>,
    pub query_start: Option<Timestamp>,
    pub query: Option<String>,
    pub rights: Rights,
}

impl Session {
    pub fn is_prepared(&self) -> bool {
        matches!(self.identity, Identity::Prepared { .. })
    }

    pub fn is_idle_in_transaction(&self) -> bool {
        self.state.is_some_and(State::is_idle_in_transaction)
    }

    /// Whether it waits for its client's next command, where a cancel does nothing.
    pub fn is_idle(&self) -> bool {
        self.state == Some(State::Idle) || self.is_idle_in_transaction()
    }

    /// Whether it waits for a heavyweight lock.
    pub fn waits_for_a_lock(&self) -> bool {
        self.wait_event_type.as_deref() == Some("Lock")
    }

    /// How old its transaction is at `now`, where the server tells.
    pub fn transaction_age(&self, now: Timestamp) -> Option<Duration> {
        self.xact_start.map(|start| now.since(start))
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// A client session of the application in an active statement; tests change what they are about.
    pub fn application(pid: i32) -> Session {
        Session {
            identity: Identity::Backend {
                pid,
                transaction: VirtualTransaction {
                    slot: pid,
                    local: 1,
                },
            },
            gid: None,
            process: Process::Client,
            anti_wraparound: false,
            progress: None,
            usename: Some("app".into()),
            application_name: Some("web".into()),
            client_addr: Some("10.0.0.7".into()),
            backend_type: Some("client backend".into()),
            state: Some(State::Active),
            wait_event_type: None,
            wait_event: None,
            backend_start: Some(Timestamp(0)),
            xact_start: Some(Timestamp(0)),
            query_start: Some(Timestamp(0)),
            query: Some("SELECT 1".into()),
            rights: Rights {
                see: true,
                signal: true,
            },
        }
    }
}
