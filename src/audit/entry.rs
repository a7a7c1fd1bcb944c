//! What is written down of one signal, on its way from the session that sends it to the worker that
//! keeps it.

use crate::decide::Act;
use crate::session::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One signal and its victim. What the role whose policy it is may not see is left out.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// Microseconds since 2000-01-01 00:00 UTC.
    pub signalled_at: i64,
    pub label: Option<String>,
    /// The stored policy, if it was one.
    pub policy: Option<String>,
    /// Whose rights it was done with.
    pub policy_owner: u32,
    pub role: u32,
    pub rolname: Option<String>,
    pub caller_pid: i32,
    pub caller_application_name: Option<String>,
    pub target: String,
    pub relation: Option<String>,
    pub pid: i32,
    pub backend_start: Option<i64>,
    pub usename: Option<String>,
    pub application_name: Option<String>,
    pub client_addr: Option<String>,
    pub class: Option<String>,
    /// Whether everybody can tell the class.
    pub class_is_public: bool,
    /// Microseconds.
    pub transaction_age: Option<i64>,
    pub query: Option<String>,
    /// Whether the caller, too, may see what `pg_stat_activity` hides from others.
    pub caller_sees: bool,
    pub signal: String,
}

/// What came of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The session that sent it did not stay to see.
    Unknown,
    /// The victim has let go.
    LetGo,
    /// It had not when something else was sent to it, or the call was over.
    StillHolds,
    /// It was not sent after all, so that there is nothing to write down.
    NotSent,
}

impl Came {
    const ALL: [Came; 4] = [Came::Unknown, Came::LetGo, Came::StillHolds, Came::NotSent];

    /// As a number for the worker; [`Came::Unknown`] is zero, which is there before anything is said.
    pub fn number(self) -> u32 {
        self as u32
    }

    pub fn from_number(number: u32) -> Came {
        let found = Came::ALL.into_iter().find(|came| came.number() == number);
        found.unwrap_or(Came::Unknown)
    }

    /// A moment as a length of time, for the worker.
    pub fn since_epoch(moment: Timestamp) -> Duration {
        moment.since(Timestamp(0))
    }

    /// What is to be made of a caller's last word if nothing more has come `now`: a signal that was not
    /// sent, but was due at some moment ([`Came::since_epoch`]), may have been sent from then on.
    pub fn at(self, time: Option<Duration>, now: Timestamp) -> (Came, Option<Duration>) {
        match (self, time) {
            (Came::NotSent, Some(due)) if Came::since_epoch(now) >= due => (Came::Unknown, None),
            (Came::NotSent, _) => (Came::NotSent, None),
            known => known,
        }
    }

    /// As the trail has it. `signal` as [`name_of`] gives it.
    pub fn outcome(self, signal: &str) -> &'static str {
        match (self, signal) {
            (Came::Unknown | Came::NotSent, _) => "unknown",
            (Came::StillHolds, _) => "in the way",
            (Came::LetGo, "terminate") => "terminated",
            (Came::LetGo, _) => "cancelled",
        }
    }
}

/// A signal as the trail has it.
pub const fn name_of(act: Act) -> &'static str {
    match act {
        Act::Cancel => "cancel",
        Act::Terminate => "terminate",
        Act::Yield => "yield",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_was_due_may_have_been_sent() {
        let due = Some(Came::since_epoch(Timestamp(1_000)));
        let left_at = |came: Came, time, now| came.at(time, Timestamp(now)).0;
        assert_eq!(left_at(Came::NotSent, due, 999), Came::NotSent);
        assert_eq!(left_at(Came::NotSent, due, 1_000), Came::Unknown);
        assert_eq!(left_at(Came::NotSent, None, 1_000), Came::NotSent);
        assert_eq!(left_at(Came::LetGo, due, 1_000), Came::LetGo);
    }

    #[test]
    fn what_is_not_said_is_unknown() {
        assert_eq!(Came::from_number(0), Came::Unknown);
        for came in Came::ALL {
            assert_eq!(Came::from_number(came.number()), came);
        }
    }
}
