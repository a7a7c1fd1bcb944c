//! What is known of a session that stands in the way, as the server tells it. Its class is told
//! from this in [`class`]; what is to be done with it is decided in `decide`.

mod class;
pub mod progress;
mod rule;
mod statement;

pub use class::{Class, Judgement, judge};
pub use rule::MaintenanceRule;

use crate::server_text::ServerText;
use progress::Counters;
use statement::Reach;
use std::time::Duration;

/// Microseconds since 2000-01-01 00:00 UTC, the server's own `TimestampTz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment that much later.
    pub fn after(self, length: Duration) -> Timestamp {
        let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(length))
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

/// What those may do with a session on whose behalf a call is made. Through a stored policy it is judged and
/// signalled with the rights of that one's owner; what the caller is told goes by their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Whether `pg_stat_activity` would show each of them more than the application name.
    pub see: bool,
    /// Whether it would show that to the role with whose rights the session is judged.
    pub judge: bool,
    /// Whether `pg_cancel_backend` and `pg_terminate_backend` would let that role signal it.
    pub signal: bool,
    /// Whether they would let each of them, by their own rights.
    pub own_signal: bool,
}

/// With whose rights a session is judged and signalled where it was seen in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warrant {
    /// With those of the stored policy's owner: it is lent for what is held there.
    Lent,
    /// With those of the roles on whose behalf the call is made.
    Own,
    /// With nobody's: the stored policy is not lent for what is held there.
    None,
}

impl Rights {
    /// All of it: for what is judged by the full truth, whoever calls.
    pub const ALL: Rights = Rights {
        see: true,
        judge: true,
        signal: true,
        own_signal: true,
    };

    /// What the callers have by themselves where a stored policy lends them more: at most a look.
    pub fn of_caller_alone(self) -> Rights {
        Rights {
            judge: self.see,
            signal: false,
            own_signal: false,
            ..self
        }
    }

    /// What counts under that warrant.
    pub fn under(self, warrant: Warrant) -> Rights {
        match warrant {
            Warrant::Lent => self,
            Warrant::Own => Rights {
                judge: self.see,
                signal: self.own_signal,
                ..self
            },
            Warrant::None => self.of_caller_alone(),
        }
    }
}

/// What tells what a session does from what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    pub backend_start: Option<Timestamp>,
    pub state: Option<State>,
    pub query_start: Option<Timestamp>,
    pub progress: Option<ProgressCommand>,
}

/// A prepared transaction's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gid {
    pub name: ServerText,
    /// As SQL writes it.
    pub literal: String,
}

/// A session or a prepared transaction, with the full truth of it, whatever the caller may see.
#[derive(Clone, Debug)]
pub struct Session {
    pub identity: Identity,
    /// A prepared transaction's name.
    pub gid: Option<Gid>,
    pub process: Process,
    pub anti_wraparound: bool,
    pub progress: Option<ProgressCommand>,
    /// What that command has counted, where the counters are known.
    pub counters: Option<Counters>,
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
    /// Since when it is in that state.
    pub state_change: Option<Timestamp>,
    /// Cut off where it is longer than `track_activity_query_size`.
    pub query: Option<String>,
    pub query_is_whole: bool,
    pub rights: Rights,
}

impl Session {
    pub fn doing(&self) -> Doing {
        Doing {
            backend_start: self.backend_start,
            state: self.state,
            query_start: self.query_start,
            progress: self.progress,
        }
    }

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

    /// How old its transaction is at `now`, where the server tells.
    pub fn transaction_age(&self, now: Timestamp) -> Option<Duration> {
        self.xact_start.map(|start| now.since(start))
    }

    /// How much of what it holds its locks for is done, 0 to 1, by its own report; none where it
    /// reports nothing, or the locks outlive what it reports.
    pub fn fraction_done(&self) -> Option<f64> {
        match self.reach()? {
            Reach::Part => None,
            Reach::Whole | Reach::Turn => self.counters?.fraction(),
        }
    }

    /// How long after `now` it will let go, if it goes on at the pace of its report; none where that
    /// cannot be told. Of a command of several steps, a VACUUM ANALYZE or one of a partitioned table,
    /// the time of the earlier steps counts too, so that the estimate is rather too long.
    pub fn eta(&self, now: Timestamp) -> Option<Duration> {
        if self.reach()? != Reach::Whole || self.counters?.waits_for_others() {
            return None;
        }
        // An autovacuum worker reports each table as a query of its own.
        let elapsed = now.since(self.query_start?);
        progress::remaining(elapsed, self.fraction_done()?)
    }

    fn reach(&self) -> Option<Reach> {
        let command = self.progress?;
        match self.process {
            // It does one table at a time, and lets go of it in between.
            Process::AutovacuumWorker => Some(Reach::Whole),
            // A statement that is a transaction by itself starts when that does, as do those that
            // VACUUM and the like run in (StartTransaction in xact.c); in a block the block's start is
            // earlier. With the extended protocol the transaction starts with Parse and the query
            // with Execute: then nothing is promised.
            Process::Client
                if self.xact_start.is_some()
                    && self.xact_start == self.query_start
                    && self.query_is_whole =>
            {
                Some(statement::reach(self.query.as_deref()?, command))
            }
            _ => None,
        }
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
            counters: None,
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
            state_change: Some(Timestamp(0)),
            query: Some("SELECT 1".into()),
            query_is_whole: true,
            rights: Rights::ALL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::application;
    use super::progress::{Counters, IndexBuild, IndexMethod, IndexPhase, Share};
    use super::*;

    const TEN_SECONDS_ON: Timestamp = Timestamp(10_000_000);

    /// A COPY, a quarter of it done.
    fn copy() -> Session {
        let mut session = application(1);
        session.query = Some("COPY t TO STDOUT".into());
        session.progress = Some(ProgressCommand::CopyTo);
        session.counters = Some(Counters::Copy(Share { done: 1, total: 4 }));
        session
    }

    #[track_caller]
    fn promises_nothing(session: &Session) {
        assert_eq!(session.fraction_done(), None);
        assert_eq!(session.eta(TEN_SECONDS_ON), None);
    }

    #[test]
    fn a_statement_by_itself_ends_with_its_report() {
        assert_eq!(copy().fraction_done(), Some(0.25));
        assert_eq!(copy().eta(TEN_SECONDS_ON), Some(Duration::from_secs(30)));
    }

    #[test]
    fn in_a_transaction_block_the_locks_outlive_the_report() {
        let mut session = copy();
        session.query_start = Some(Timestamp(1));
        promises_nothing(&session);
        (session.xact_start, session.query_start) = (None, None);
        promises_nothing(&session);
    }

    #[test]
    fn a_query_that_is_missing_or_cut_off_promises_nothing() {
        let mut session = copy();
        session.query_is_whole = false;
        promises_nothing(&session);
        session = copy();
        session.query = None;
        promises_nothing(&session);
    }

    #[test]
    fn only_clients_and_autovacuum_workers_are_known_to_end_with_a_report() {
        for process in [
            Process::WalSender,
            Process::BackgroundWorker,
            Process::Startup,
            Process::Other,
        ] {
            let mut session = copy();
            session.process = process;
            promises_nothing(&session);
        }
        promises_nothing(&application(1));
    }

    #[test]
    fn an_autovacuum_worker_lets_go_of_each_table() {
        let mut worker = copy();
        worker.process = Process::AutovacuumWorker;
        worker.progress = Some(ProgressCommand::Vacuum);
        worker.query = Some("autovacuum: VACUUM ANALYZE s.t (to prevent wraparound)".into());
        worker.xact_start = Some(Timestamp(5));
        assert_eq!(worker.eta(TEN_SECONDS_ON), Some(Duration::from_secs(30)));
    }

    #[test]
    fn of_several_relations_the_pace_is_not_known() {
        let mut session = copy();
        session.progress = Some(ProgressCommand::Vacuum);
        session.query = Some("VACUUM a, b".into());
        assert_eq!(session.fraction_done(), Some(0.25));
        assert_eq!(session.eta(TEN_SECONDS_ON), None);
    }

    #[test]
    fn nobody_knows_how_long_others_make_it_wait() {
        let mut session = copy();
        session.progress = Some(ProgressCommand::CreateIndex { concurrently: true });
        session.query = Some("CREATE INDEX CONCURRENTLY ON t (a)".into());
        let mut build = IndexBuild {
            concurrently: true,
            phase: IndexPhase::WaitForOldSnapshots,
            method: IndexMethod::SortAndLoad,
            ..IndexBuild::default()
        };
        session.counters = Some(Counters::CreateIndex(build));
        assert_eq!(session.fraction_done(), Some(0.95));
        assert_eq!(session.eta(TEN_SECONDS_ON), None);
        build.phase = IndexPhase::ValidateSort;
        session.counters = Some(Counters::CreateIndex(build));
        assert!(session.eta(TEN_SECONDS_ON).is_some());
    }
}
