//! What to do about those who stand in the way: a pure function of who they are and of the policy.
//!
//! It keeps two promises. Only what policy names is preempted, and never what it spares. And
//! never in vain: nobody is signalled while somebody stays whom policy does not give up, because
//! then the lock could not be had even with the others gone. Somebody who *stays* is told from
//! traffic that passes by the age of the transaction ([`MAX_STALL`]): a busy table always has
//! young holders, and waiting until there is none would be waiting for ever.
//!
//! Who is in the way is found by `survey`; signals are sent, and waited for, by `act`.

use crate::policy::{Given, MAX_STALL, Policy, Signal, Verdict};
use crate::session::{Class, Process, Session};
use std::time::Duration;

/// A session in the way, at one look.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub session: &'a Session,
    pub class: Class,
    /// How long its transaction has lasted; where the server does not tell, how long it has been
    /// watched.
    pub age: Duration,
    pub hold: Hold,
    /// Whether the first look found it.
    pub from_start: bool,
    /// What this call has sent to this very transaction, and how long ago.
    pub sent: Option<Sent>,
    /// Which of the others (by their places) hold what it waits for itself.
    pub waits_for: &'a [usize],
    /// How long ago this call first signalled another session of the same job (see [`are_kin`]).
    pub kin_sent: Option<Duration>,
}

/// How a session stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It holds a conflicting lock: a hard block.
    Granted,
    /// It waits in the queue for a conflicting lock: a soft block, gone once it gets what it waits
    /// for and lets go.
    Queued,
    /// It was queued when first seen, and has been granted the lock since. The way was made free
    /// for it as well, so it is no obstacle to being done, though it is one to further signals.
    GrantedSince,
}

/// A signal that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub act: Act,
    pub ago: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Cancel,
    Terminate,
}

/// What the policy makes of one session, whatever the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// May be preempted, so.
    Preempt(Means),
    /// Named by `spare`.
    Spare,
    /// Named by `preempt`, but the caller may not signal it.
    NotPermitted,
    /// Named by `preempt`, but not to be had by this policy's signal.
    OutOfReach(Unreachable),
    /// Not named.
    Leave,
    /// In the queue only: no obstacle.
    Queued,
}

/// How a session is made to let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Signal(Act),
    /// Idle, and part of a job whose active sessions are signalled first: they take it with them.
    Follow,
    /// Its transaction has ended after a signal, and its locks are being released.
    LettingGo,
}

/// How soon to look again at a session that is letting go.
const SOON: Duration = Duration::from_millis(1);

/// Why no signal would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// A prepared transaction has no process.
    Prepared,
    /// A cancel does nothing to a session that is idle in transaction, and policy allows no more.
    IdleUnderCancel,
    /// The startup process replays the primary's locks.
    Replay,
    /// It holds a lock of its session, outside any transaction: there is nothing to cancel, nor a
    /// transaction by which to know it again.
    OutsideTransaction,
}

/// What comes next for one group of sessions that stand in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request for the lock would get through.
    Clear,
    /// Signal these (by their places in the input) now.
    Preempt(Vec<(usize, Act)>),
    /// Wait for these, all of them, and look again after `within` at the latest.
    Await {
        whom: Vec<usize>,
        why: Await,
        within: Option<Duration>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Await {
    /// They stay, and policy does not give them up: nothing is signalled before they have gone.
    Staying,
    /// They were there at the start, and are still young enough to be passing traffic.
    Passing,
    /// They were signalled, and have not let go yet.
    Signalled,
}

/// The stance towards each, in the input's order, and the step that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub stances: Vec<Stance>,
    pub step: Step,
}

/// Decides for one group. `has_signalled`: whether this call has sent any signal yet.
pub fn decide(standings: &[Standing<'_>], policy: &Policy, has_signalled: bool) -> Decision {
    let stances: Vec<Stance> = (0..standings.len())
        .map(|i| stance(standings, i, policy))
        .collect();
    let step = step(standings, &stances, policy, has_signalled);
    Decision { stances, step }
}

/// Whether two sessions are of one job: a parallel backup's, which opens all its sessions alike.
pub fn are_kin(a: (&Session, Class), b: (&Session, Class)) -> bool {
    a.1 == Class::Backup
        && b.1 == Class::Backup
        && a.0.identity != b.0.identity
        && a.0.application_name == b.0.application_name
        && a.0.usename == b.0.usename
        && a.0.client_addr == b.0.client_addr
}

/// Whether one session is named by policy, and may be and can be signalled; its kin aside.
fn own_stance(standing: &Standing<'_>, policy: &Policy) -> Stance {
    let session = standing.session;
    if standing.hold == Hold::Queued {
        return Stance::Queued;
    }
    let given = Given {
        session,
        class: standing.class,
        age: standing.age,
    };
    // Whom the caller may signal without knowing all of it is rather spared than preempted.
    let may_signal = session.rights.signal;
    match policy.spare.verdict(given) {
        Verdict::Yes => return Stance::Spare,
        Verdict::Hidden if may_signal => return Stance::Spare,
        Verdict::Hidden | Verdict::No => (),
    }
    match policy.preempt.verdict(given) {
        Verdict::Yes => (),
        // Policy may name it; that is hidden from a caller who could not signal it anyway.
        Verdict::Hidden if !may_signal => return Stance::NotPermitted,
        Verdict::Hidden | Verdict::No => return Stance::Leave,
    }
    if session.is_prepared() {
        return Stance::OutOfReach(Unreachable::Prepared);
    }
    if session.process == Process::Startup {
        return Stance::OutOfReach(Unreachable::Replay);
    }
    if !may_signal {
        return Stance::NotPermitted;
    }
    if session.identity.is_outside_transaction() {
        return match standing.sent {
            Some(sent) if sent.ago < policy.grace => Stance::Preempt(Means::LettingGo),
            _ => Stance::OutOfReach(Unreachable::OutsideTransaction),
        };
    }
    Stance::Preempt(Means::Signal(match policy.signal {
        Signal::Terminate => Act::Terminate,
        // A cancel that did not help by the end of `grace` is followed by more than a cancel.
        Signal::Escalate if session.is_idle_in_transaction() => Act::Terminate,
        Signal::Cancel if session.is_idle_in_transaction() => {
            return Stance::OutOfReach(Unreachable::IdleUnderCancel);
        }
        Signal::Escalate | Signal::Cancel => Act::Cancel,
    }))
}

fn stance(standings: &[Standing<'_>], i: usize, policy: &Policy) -> Stance {
    let own = own_stance(&standings[i], policy);
    let is_victim = |other: &usize| {
        let other = standings.get(*other);
        other.is_some_and(|other| matches!(own_stance(other, policy), Stance::Preempt(_)))
    };
    if own == Stance::Leave && standings[i].waits_for.iter().any(is_victim) {
        // The migration that already hangs: it has got one of its locks, and maintenance keeps it
        // from the next. Making way for it is the point.
        return Stance::Queued;
    }
    let takes_more_than_a_cancel = matches!(
        own,
        Stance::Preempt(Means::Signal(Act::Terminate))
            | Stance::OutOfReach(Unreachable::IdleUnderCancel)
    );
    if policy.signal == Signal::Terminate
        || !takes_more_than_a_cancel
        || standings[i].sent.is_some_and(|s| s.act == Act::Terminate)
    {
        return own;
    }
    let me = (standings[i].session, standings[i].class);
    let follows_now = standings[i].kin_sent.is_some_and(|ago| ago < policy.grace)
        || standings[i].kin_sent.is_none()
            && standings.iter().any(|other| {
                are_kin(me, (other.session, other.class))
                    && own_stance(other, policy) == Stance::Preempt(Means::Signal(Act::Cancel))
            });
    if follows_now {
        Stance::Preempt(Means::Follow)
    } else {
        own
    }
}

fn step(
    standings: &[Standing<'_>],
    stances: &[Stance],
    policy: &Policy,
    has_signalled: bool,
) -> Step {
    let all = || standings.iter().zip(stances).enumerate();
    let has_victims = stances.iter().any(|s| matches!(s, Stance::Preempt(_)));
    let obstacles: Vec<usize> = all()
        .filter(|(_, (standing, stance))| match stance {
            Stance::Preempt(_) | Stance::Queued => false,
            Stance::Leave => has_victims || standing.hold == Hold::Granted,
            Stance::Spare | Stance::NotPermitted | Stance::OutOfReach(_) => true,
        })
        .map(|(i, _)| i)
        .collect();

    let staying: Vec<usize> = obstacles
        .iter()
        .copied()
        .filter(|i| is_long(&standings[*i], stances[*i]))
        .collect();
    if !staying.is_empty() {
        return Step::Await {
            whom: staying,
            why: Await::Staying,
            within: None,
        };
    }
    let passing: Vec<usize> = obstacles
        .iter()
        .copied()
        .filter(|i| standings[*i].from_start && !has_signalled)
        .collect();
    if !passing.is_empty() {
        let within = passing
            .iter()
            .map(|i| MAX_STALL.saturating_sub(standings[*i].age))
            .min();
        return Step::Await {
            whom: passing,
            why: Await::Passing,
            within,
        };
    }

    let mut due = vec![];
    let mut pending = vec![];
    let mut within: Option<Duration> = None;
    for (i, (standing, stance)) in all() {
        let Stance::Preempt(means) = stance else {
            continue;
        };
        let next = match (means, standing.sent) {
            (Means::Follow, _) => Err(Some(
                policy
                    .grace
                    .saturating_sub(standing.kin_sent.unwrap_or_default()),
            )),
            (Means::LettingGo, _) => Err(Some(SOON)),
            (Means::Signal(act), None) => Ok(*act),
            (
                _,
                Some(Sent {
                    act: Act::Cancel,
                    ago,
                }),
            ) if policy.signal == Signal::Escalate => {
                if ago >= policy.grace {
                    Ok(Act::Terminate)
                } else {
                    Err(Some(policy.grace - ago))
                }
            }
            // A cancel is discarded by a session that happens to be between two statements.
            (
                Means::Signal(Act::Cancel),
                Some(Sent {
                    act: Act::Cancel,
                    ago,
                }),
            ) => {
                let again = policy.grace.max(MAX_STALL);
                if ago >= again {
                    Ok(Act::Cancel)
                } else {
                    Err(Some(again - ago))
                }
            }
            (_, Some(_)) => Err(None),
        };
        match next {
            Ok(act) => due.push((i, act)),
            Err(wait) => {
                pending.push(i);
                within = within.into_iter().chain(wait).min();
            }
        }
    }
    match (due.is_empty(), pending.is_empty()) {
        (false, _) => Step::Preempt(due),
        (true, false) => Step::Await {
            whom: pending,
            why: Await::Signalled,
            within,
        },
        (true, true) => Step::Clear,
    }
}

/// Whether an obstacle is there to stay, rather than traffic that passes.
pub fn is_long(standing: &Standing<'_>, stance: Stance) -> bool {
    standing.session.is_prepared() || stance == Stance::Spare || standing.age >= MAX_STALL
}

#[cfg(test)]
mod tests;
