//! The policy document: what it says, and whether a session falls under it. Reading it is
//! [`parse`]'s; what follows from it for a situation is decided in `decide`.

mod document;
mod narrow;
mod parse;
mod problem;
mod selector;

#[cfg(test)]
pub use document::in_utf8;
pub use narrow::stored_name;
pub use parse::{
    DEFAULT_TIMEOUT, MOST_RELATIONS, parse, parse_standing, parse_stored, read, timeout,
};
pub use problem::{Problem, quoted};
pub use selector::{Given, Selectors, Verdict};

use crate::lock::LockMode;
use crate::server_text::ServerText;
use std::time::Duration;

/// What a call of `preempt_maintenance` was asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    pub target: Target,
    pub policy: Policy,
}

/// Who may be preempted for it, how, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Who may be preempted.
    pub preempt: Selectors,
    /// Who never is; wins over `preempt`.
    pub spare: Selectors,
    /// Who is not either, as the caller of a stored policy wants it: told by what he may see himself.
    pub spare_too: Selectors,
    pub signal: Signal,
    /// How long a cancelled session has to let go before it is terminated.
    pub grace: Duration,
    /// How long the whole call may take.
    pub timeout: Duration,
    /// Who by his own progress lets go within this time is left alone.
    pub finish_within: Duration,
    /// Keep the locks for the rest of the transaction.
    pub take_lock: bool,
    /// The longest time in a lock queue at a stretch. A transaction that has lasted longer is a
    /// long one: waiting for it is not waiting for traffic to pass.
    pub max_stall: Duration,
    /// More sessions than this are not signalled.
    pub max_victims: Option<usize>,
    /// Say what would be done; signal nothing.
    pub dry_run: bool,
    pub on_timeout: OnTimeout,
    /// Where no row of the trail can be written, no signal is sent.
    pub require_trail: bool,
    /// A deployment's or migration's name, for the trail.
    pub label: Option<String>,
    /// Of a stored policy: the loan reaches who is in the way by a snapshot alone, on nobody's relation.
    pub snapshots: bool,
}

/// What the way is made free for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These relations, by names as SQL spells them, about to be locked in that mode.
    Relations {
        names: Vec<ServerText>,
        mode: LockMode,
    },
    /// Every user relation of the database; each is judged by itself.
    All { mode: LockMode },
    /// What this text of statements is about to lock and to wait for.
    Statement(ServerText),
    /// Whatever this server process waits for.
    Pid(i32),
}

/// How a session is preempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Cancel its statement, nothing more.
    Cancel,
    /// End the session.
    Terminate,
    /// Cancel, then terminate who has not let go after `grace`.
    Escalate,
}

/// What a call does that runs out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimeout {
    Error,
    Report,
}
