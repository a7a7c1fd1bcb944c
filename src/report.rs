//! What a call says of each session that stood in the way: the verdict, and the reason in words.
//! Whatever the caller may not see of a session is left out here.

use crate::decide::{Act, Means, Stance, Unreachable};
use crate::lock::RelationId;
use crate::session::{Class, Judgement, Process, ProgressCommand, Session};
use std::time::Duration;

/// What became of a session, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Cancelled,
    Terminated,
    /// It let go by itself.
    Finished,
    Spared,
    InTheWay,
    NotPermitted,
    WouldCancel,
    WouldTerminate,
    WouldWait,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Cancelled => "cancelled",
            Outcome::Terminated => "terminated",
            Outcome::Finished => "finished",
            Outcome::Spared => "spared",
            Outcome::InTheWay => "in the way",
            Outcome::NotPermitted => "not permitted",
            Outcome::WouldCancel => "would cancel",
            Outcome::WouldTerminate => "would terminate",
            Outcome::WouldWait => "would wait",
        }
    }
}

/// A row of the result of `preempt_maintenance`.
#[derive(Clone, Debug)]
pub struct Row {
    pub relation: Option<RelationId>,
    pub pid: Option<i32>,
    pub class: Option<Class>,
    pub usename: Option<String>,
    pub application_name: Option<String>,
    pub outcome: Outcome,
    pub waited: Duration,
    pub reason: String,
    pub query: Option<String>,
}

/// What `pg_stat_activity` shows in place of a query that the caller may not see.
pub const HIDDEN_QUERY: &str = "<insufficient privilege>";

/// The class, for those who may know it.
pub fn visible_class(session: &Session, judgement: Judgement) -> Option<Class> {
    (session.rights.see || judgement.is_public).then_some(judgement.class)
}

/// The query as the caller may see it.
pub fn visible_query(session: &Session) -> Option<String> {
    if session.rights.see {
        session.query.clone()
    } else {
        Some(HIDDEN_QUERY.into())
    }
}

/// What it would take to make a session let go, as far as the caller may know; none for a queued
/// request, which goes when what it waits for goes.
pub fn remedy(session: &Session, holds: bool) -> Option<&'static str> {
    match () {
        () if session.is_prepared() => Some("rollback prepared"),
        () if !holds || !session.rights.see || session.process == Process::Startup => None,
        () if session.is_idle() => Some("terminate"),
        () => Some("cancel"),
    }
}

/// A session in a few words: `pid 24484 (backup, "Heroku Postgres Backups")`.
pub fn name(session: &Session, judgement: Judgement) -> String {
    match (&session.gid, session.identity.pid()) {
        (Some(gid), _) => format!("prepared transaction {}", gid.literal),
        (None, None) => "a prepared transaction".into(),
        (None, Some(pid)) => {
            let class = visible_class(session, judgement).map(|c| c.name().to_owned());
            let application = session
                .application_name
                .as_deref()
                .filter(|name| !name.is_empty())
                .map(in_quotes);
            let known: Vec<String> = class.into_iter().chain(application).collect();
            match known.is_empty() {
                true => format!("pid {pid}"),
                false => format!("pid {pid} ({})", known.join(", ")),
            }
        }
    }
}

/// A text that others have chosen, as SQL quotes a name: it cannot end the quotes before it ends itself.
pub fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A session without what others have chosen: `pid 24484 (backup)`.
pub fn label(session: &Session, judgement: Judgement) -> String {
    match (session.identity.pid(), visible_class(session, judgement)) {
        (None, _) => "a prepared transaction".into(),
        (Some(pid), Some(class)) => format!("pid {pid} ({class})"),
        (Some(pid), None) => format!("pid {pid}"),
    }
}

/// Several of them, the first few by name.
pub fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}

/// Why a session was dealt with so, for the row that tells of it once it has gone.
pub fn why_gone(
    session: &Session,
    judgement: Judgement,
    sent: Option<Act>,
    cancelled_first: bool,
) -> String {
    let index = session.progress == Some(ProgressCommand::CreateIndex { concurrently: true });
    let debris = if index && sent.is_some() {
        "; its concurrent index build leaves an invalid index behind, to be dropped or rebuilt"
    } else {
        ""
    };
    let named = match visible_class(session, judgement) {
        Some(class) => format!("policy preempts it ({class})"),
        None => "policy preempts it".into(),
    };
    match sent {
        None => "it let go by itself".into(),
        Some(Act::Cancel) => format!("{named}{debris}"),
        Some(Act::Yield) => format!(
            "{named}; this role may not signal it, and the server has made it yield to a session that waits"
        ),
        Some(Act::Terminate) if cancelled_first => {
            format!("{named}; a cancel did not make it let go within grace{debris}")
        }
        Some(Act::Terminate) => format!("{named}{debris}"),
    }
}

/// What is added for somebody who was given the time to let go by himself.
pub const LEFT_ALONE: &str = ", as its own progress had said that it would within finish_within";

/// What is added for somebody who is only in the way of another: two steps away.
pub fn through(waiter: &str) -> String {
    format!("; {waiter}, which is in the way, waits for it")
}

/// What is added for somebody who waits for others himself.
pub fn waits_itself(ahead: &[String]) -> String {
    format!("; it waits itself for {}", list(ahead))
}

/// Why somebody whom policy preempts was not signalled in the end.
pub const TOO_LATE: &str = "policy preempts it, but it came when there was no time left";

/// What is said of a session that was helped, and has given up what it waited for. `holders` of that
/// lock, or else who is `queued` for it.
pub fn given_up(who: &str, lock: &str, holders: &[String], queued: &[String]) -> String {
    let (names, verb) = match (holders, queued) {
        ([], [_]) => (queued, "is still queued before it"),
        ([], _) => (queued, "are still queued before it"),
        ([_], _) => (holders, "still holds it"),
        (_, _) => (holders, "still hold it"),
    };
    format!(
        "{who} no longer waits: it has given up its request for {lock} while {} {verb}",
        list(names)
    )
}

/// Why nobody is signalled: it would be too many.
pub fn too_many(allowed: usize) -> String {
    format!("policy preempts it, but max_victims allows {allowed}")
}

/// Why somebody whom policy preempts is not signalled: policy requires a row of the trail.
pub fn untold(why: &str) -> String {
    format!(
        "policy preempts it, but not without a row of the trail, and none can be written: {why}"
    )
}

/// A number of things: `1 victim`, `2 victims`.
pub fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// Why somebody who has the lock is left it without another word.
pub const QUEUED_AT_FIRST: &str = "it was queued itself, and has the lock now";

/// What a session that is still there is, and why it was left.
pub fn why_there(
    session: &Session,
    stance: Stance,
    is_long: bool,
    sent: Option<Act>,
) -> (Outcome, String) {
    if let Some(act) = sent {
        let what = match act {
            Act::Cancel => "was cancelled",
            Act::Terminate => "was told to terminate",
            Act::Yield => "was made to yield by the server",
        };
        let left = match stance {
            Stance::OutOfReach(Unreachable::IdleUnderCancel) => {
                ": it is idle in transaction, where a cancel does nothing"
            }
            _ => " so far",
        };
        return (
            Outcome::InTheWay,
            format!("{what}, and has not let go{left}"),
        );
    }
    let reason = match stance {
        Stance::Spare => return (Outcome::Spared, "policy spares it".into()),
        Stance::NotPermitted => {
            let named = match session.rights.see {
                true => "policy preempts it, but this role may not signal it",
                // Whether policy names it may depend on what is hidden.
                false => "this role may not signal it",
            };
            return (Outcome::NotPermitted, named.into());
        }
        Stance::Preempt(Means::Signal(Act::Yield)) => {
            let reason = "policy preempts it, but this role may not signal it, and the server has not made it yield yet";
            return (Outcome::NotPermitted, reason.into());
        }
        Stance::OutOfReach(Unreachable::Prepared) | Stance::Leave if session.is_prepared() => end_prepared(session),
        Stance::OutOfReach(Unreachable::IdleUnderCancel) => {
            "it is idle in transaction, where a cancel does nothing; signal \"escalate\" or \"terminate\" would end it"
                .into()
        }
        Stance::OutOfReach(Unreachable::OutsideTransaction) => {
            "it holds the lock outside any transaction, where a cancel does nothing; end the session to free it".into()
        }
        Stance::OutOfReach(Unreachable::Replay) => "it replays a lock of the primary; end it there".into(),
        Stance::OutOfReach(Unreachable::Prepared) => end_prepared(session),
        Stance::Leave if !is_long && session.rights.see => "policy does not preempt it; its transaction is still young".into(),
        Stance::Leave => "policy does not preempt it".into(),
        Stance::Queued => "it waits in the queue itself".into(),
        Stance::Helped => "it waits itself for somebody whom policy preempts, and goes on once that one has let go".into(),
        Stance::Beside => "it is not in the way any more".into(),
        Stance::Preempt(Means::Finish) => finishing(session),
        Stance::Preempt(_) => "policy preempts it, but not while others that it does not preempt stay".into(),
    };
    (Outcome::InTheWay, reason)
}

/// Why a session is not preempted through a stored policy of that owner's. `by_snapshot`: it is in the way by
/// its snapshot, and holds nothing that matters.
pub fn not_lent(session: &Session, lender: &str, by_snapshot: bool) -> (Outcome, String) {
    let reason = match (session.rights.signal, by_snapshot) {
        (true, true) => {
            "the stored policy is not lent for who is in the way by a snapshot alone, and this role may not signal it"
                .into()
        }
        (true, false) => {
            "the stored policy is not lent for what it holds, which this role does not own".into()
        }
        (false, _) => format!("the owner of the stored policy, {lender}, may not signal it"),
    };
    (Outcome::NotPermitted, reason)
}

/// What would be done with a session, for a dry run. `blocked_by`: who would have to go first.
pub fn would(
    session: &Session,
    stance: Stance,
    is_long: bool,
    blocked_by: &[String],
) -> (Outcome, String) {
    let first = match blocked_by {
        [] => String::new(),
        names => format!(", once {} has let go", list(names)),
    };
    match stance {
        Stance::Preempt(Means::Follow) => (
            Outcome::WouldWait,
            format!("it should go with the other sessions of the same job{first}"),
        ),
        Stance::Preempt(Means::LettingGo) => (Outcome::WouldWait, "it is letting go".into()),
        Stance::Preempt(Means::Finish) => (Outcome::WouldWait, finishing(session)),
        Stance::Preempt(Means::Signal(Act::Yield)) => (
            Outcome::WouldCancel,
            format!(
                "policy preempts it; this role may not signal it, but the server would make it yield{first}"
            ),
        ),
        Stance::Preempt(Means::Signal(Act::Cancel)) => {
            (Outcome::WouldCancel, format!("policy preempts it{first}"))
        }
        Stance::Preempt(Means::Signal(Act::Terminate)) => (
            Outcome::WouldTerminate,
            format!("policy preempts it{first}"),
        ),
        Stance::Spare | Stance::NotPermitted => why_there(session, stance, is_long, None),
        _ => (
            Outcome::WouldWait,
            why_there(session, stance, is_long, None).1,
        ),
    }
}

/// Why somebody whom policy preempts is left alone so far.
fn finishing(session: &Session) -> String {
    match session.rights.see {
        true => "left alone: by its own progress it lets go within finish_within".into(),
        false => "left alone for now".into(),
    }
}

/// The way to end a prepared transaction.
pub fn end_prepared(session: &Session) -> String {
    match &session.gid {
        Some(gid) => {
            let gid = &gid.literal;
            format!("end it with ROLLBACK PREPARED {gid} or COMMIT PREPARED {gid}")
        }
        None => "end it with ROLLBACK PREPARED or COMMIT PREPARED".into(),
    }
}

/// A text as an SQL literal; one that may hold escapes where a message might need some.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') || !quoted.is_ascii() {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// A length of time for a message: `350 ms`, `2.5 s`.
pub fn in_words(length: Duration) -> String {
    match length.as_millis() {
        0 => "less than 1 ms".into(),
        ms @ 1..1_000 => format!("{ms} ms"),
        ms => format!("{:.1} s", ms as f64 / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Gid, Identity, Rights, fixtures::application};
    use std::ffi::CStr;

    const PUBLIC: Judgement = Judgement {
        class: Class::Backup,
        is_public: true,
        to_strangers: Class::Backup,
    };
    const HIDDEN: Judgement = Judgement {
        class: Class::IdleInTransaction,
        is_public: false,
        to_strangers: Class::Application,
    };

    #[test]
    fn a_session_is_named_by_what_the_caller_may_see() {
        let mut session = application(7);
        assert_eq!(name(&session, PUBLIC), "pid 7 (backup, \"web\")");
        assert_eq!(
            name(&session, HIDDEN),
            "pid 7 (idle_in_transaction, \"web\")"
        );
        session.application_name = Some("\"), pid 1 (backup, \"x".into());
        assert_eq!(
            name(&session, PUBLIC),
            "pid 7 (backup, \"\"\"), pid 1 (backup, \"\"x\")"
        );
        session.application_name = Some("web".into());
        session.rights = Rights {
            see: false,
            judge: false,
            signal: false,
            own_signal: false,
        };
        assert_eq!(name(&session, HIDDEN), "pid 7 (\"web\")");
        assert_eq!(visible_query(&session).as_deref(), Some(HIDDEN_QUERY));
    }

    #[test]
    fn the_age_of_a_transaction_is_told_to_those_who_may_see_it() {
        let mut session = application(7);
        let reason = |session: &Session| why_there(session, Stance::Leave, false, None).1;
        assert!(reason(&session).contains("young"));
        session.rights.see = false;
        assert!(!reason(&session).contains("young"));
    }

    #[test]
    fn who_gives_up_is_told_of_with_those_who_still_stand_in_the_way() {
        let names =
            |pids: &[i32]| -> Vec<String> { pids.iter().map(|pid| format!("pid {pid}")).collect() };
        let told = |holders: &[i32], queued: &[i32]| {
            given_up("pid 9", "ShareLock on t", &names(holders), &names(queued))
        };
        let start = "pid 9 no longer waits: it has given up its request for ShareLock on t while ";
        for (holders, queued, end) in [
            (&[1][..], &[3][..], "pid 1 still holds it"),
            (&[1, 2], &[], "pid 1, pid 2 still hold it"),
            (&[], &[3], "pid 3 is still queued before it"),
            (&[], &[3, 4], "pid 3, pid 4 are still queued before it"),
        ] {
            assert_eq!(told(holders, queued), format!("{start}{end}"));
        }
    }

    fn gid(name: &CStr) -> Gid {
        Gid {
            name: name.into(),
            literal: literal(name.to_str().unwrap()),
        }
    }

    #[test]
    fn a_prepared_transaction_comes_with_the_way_to_end_it() {
        let mut session = application(7);
        session.identity = Identity::Prepared { xid: 9 };
        session.gid = Some(gid(c"it's\\here"));
        let (outcome, reason) = why_there(&session, Stance::Leave, true, None);
        assert_eq!(outcome, Outcome::InTheWay);
        assert!(
            reason.contains("ROLLBACK PREPARED E'it''s\\\\here'"),
            "{reason}"
        );
        // In a message for a database of another encoding it becomes an escape.
        session.gid = Some(gid(c"é"));
        assert!(end_prepared(&session).contains("ROLLBACK PREPARED E'é' or"));
    }

    #[test]
    fn a_concurrent_index_build_leaves_a_word_of_its_debris() {
        let mut session = application(7);
        session.progress = Some(ProgressCommand::CreateIndex { concurrently: true });
        assert!(why_gone(&session, PUBLIC, Some(Act::Cancel), false).contains("invalid index"));
        session.progress = Some(ProgressCommand::CreateIndex {
            concurrently: false,
        });
        assert!(!why_gone(&session, PUBLIC, Some(Act::Cancel), false).contains("invalid index"));
    }
}
