//! A session that is helped: what it waits for, and whether it has got that or given up.

use super::Call;
use super::target::Aim;
use crate::error::Error;
use crate::pg::locks::{self, InWay, Wait};
use crate::pg::principals::Principals;
use crate::pg::{catalog, process, wait};
use crate::report;
use crate::rules::Rules;
use crate::session::Identity;
use crate::survey::{self, Sighting, Waiting};
use std::time::{Duration, Instant};

/// A session that waits for nothing for this long, in a transaction that goes on, waits no longer:
/// between one lock and the next of the same statement there are microseconds.
const SETTLED: Duration = Duration::from_millis(100);
const SETTLING_POLL: Duration = Duration::from_millis(2);

impl Call<'_> {
    /// The error that tells that the session which was helped has given up.
    pub(super) fn given_up(&self, still: &[InWay]) -> Error {
        let (holders, queued): (Vec<&InWay>, Vec<&InWay>) = still.iter().partition(|s| s.granted);
        let names = |those: Vec<&InWay>| -> Vec<String> {
            those.iter().map(|s| self.watch.name(s.who)).collect()
        };
        let (who, lock) = self.aim.helped().unwrap_or_default();
        Error::NotFree {
            message: report::given_up(&who, &lock, &names(holders), &names(queued)),
            detail: self.watch.remaining(true),
            hint: "Run its statement again, with a longer lock_timeout if that has ended it, and call this for it then."
                .into(),
        }
    }
}

impl Aim {
    /// Who is helped and what for, where it is a session: `pid 24484` and `AccessShareLock on orders`.
    pub fn helped(&self) -> Option<(String, String)> {
        match self {
            Aim::Waiter {
                pid,
                wait: Some(wait),
                ..
            } => Some((format!("pid {pid}"), lock_of(*wait))),
            _ => None,
        }
    }

    pub(super) fn waits_for_us(&self) -> Error {
        Error::Deadlock {
            message: format!("this very transaction holds {self}"),
            detail: "The way cannot be cleared before this transaction ends.".into(),
            hint: "Roll back, and call it from a session that holds no locks.".into(),
        }
    }

    /// Whether it was a session that was to be helped, and needed no help.
    pub fn waits_for_nothing(&self) -> bool {
        matches!(self, Aim::Waiter { wait: None, .. })
    }

    /// Whether anybody is still to be made to let go for it: not once the session that is helped has
    /// its lock, or has given it up.
    pub fn is_still_wanted(&self) -> bool {
        match self {
            Aim::Waiter {
                pid,
                transaction,
                wait,
                ..
            } => {
                let awaited = locks::in_way_of(*pid).map(|(wait, _)| wait);
                awaited.is_some() && awaited == *wait && process::by_pid(*pid) == *transaction
            }
            _ => true,
        }
    }
}

/// What the session waits for in that very transaction, and who is in its way; none once it waits
/// no longer.
pub fn look_at_waiter(
    pid: i32,
    transaction: Option<Identity>,
    rules: &Rules,
    principals: &Principals,
) -> Result<Option<Waiting>, Error> {
    let Some(transaction) = transaction else {
        return Ok(None);
    };
    let start = Instant::now();
    loop {
        if process::by_pid(pid) != Some(transaction) {
            return Ok(None);
        }
        if let Some(found) = survey::in_way_of(pid, rules, principals)? {
            return Ok(Some(found));
        }
        if start.elapsed() >= SETTLED {
            return Ok(None);
        }
        wait::sleep(SETTLING_POLL);
    }
}

/// Somebody who stood in the way of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    who: Identity,
    /// When the wait of one who is queued himself began: with his next, he is not ahead any more.
    queued_since: Option<i64>,
}

impl Ahead {
    pub fn of(sighting: &Sighting) -> Ahead {
        let who = sighting.session.identity;
        let pid = who.pid().filter(|_| !sighting.granted);
        Ahead {
            who,
            queued_since: pid.and_then(process::waits_since),
        }
    }

    /// Whether he holds the lock now, or is in the same wait for it as he was.
    fn still_stands(self, now: &InWay) -> bool {
        let since = now.who.pid().and_then(process::waits_since);
        now.granted || since.is_some() && since == self.queued_since
    }
}

/// Who of these, who stood in the way of a wait that is over now, stands in that way still, by the name
/// that he had then: so that the wait cannot have ended with the lock. Copies the whole lock table: to be
/// asked once, at the end.
pub fn still_ahead(wait: Wait, ahead: &[Ahead]) -> Vec<InWay> {
    // Each as he was then, and as he was seen last: a lock of the session outlives its transactions, and
    // VACUUM holds one through several of its own.
    let mut known: Vec<(Ahead, Identity)> = ahead.iter().map(|then| (*then, then.who)).collect();
    let is_same = |now: Identity, last: Identity| {
        let is_outside = now.is_outside_transaction() || last.is_outside_transaction();
        now == last || is_outside && now.pid().is_some() && now.pid() == last.pid()
    };
    let start = Instant::now();
    loop {
        // Whoever has left his transaction may be just letting go.
        let mut is_letting_go = true;
        let mut still: Vec<InWay> = vec![];
        for now in locks::everyone_in_way(|tag| (tag == wait.tag).then_some(wait.mode)) {
            let of_now = |(then, last): &&mut (Ahead, Identity)| {
                is_same(now.who, *last) && then.still_stands(&now)
            };
            if let Some((then, last)) = known.iter_mut().find(of_now) {
                *last = now.who;
                is_letting_go &= now.who.is_outside_transaction();
                still.push(InWay {
                    who: then.who,
                    ..now
                });
            }
        }
        if still.is_empty() || !is_letting_go || start.elapsed() >= SETTLED {
            return still;
        }
        wait::sleep(SETTLING_POLL);
    }
}

/// A lock that is waited for: `AccessShareLock on orders`.
pub fn lock_of(wait: Wait) -> String {
    let object = match wait.tag.as_relation() {
        Some((database, relation)) if database == catalog::database() || database == 0 => {
            catalog::name(relation)
        }
        _ => wait.tag.kind_name().to_string(),
    };
    format!("{} on {object}", wait.mode)
}
