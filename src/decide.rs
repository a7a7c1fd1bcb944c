//! What to do about those who stand in the way: a pure function of who they are and of the policy.
//!
//! It keeps three promises. Only what policy names is preempted, and never what it spares. Never in
//! vain: nobody is signalled while somebody stays whom policy does not give up, because then the
//! lock could not be had even with the others gone. And no convoy: a call that takes the lock is
//! sent into its queue only when all that is left is short. Somebody who *stays* is told from
//! traffic that passes by the age of the transaction (`max_stall`): a busy table always has young
//! holders, and waiting until there is none would be waiting for ever.
//!
//! Who is in the way is found by `survey`; signals are sent, and waited for, by `act`.

use crate::policy::{Given, Policy, Signal, Verdict};
use crate::session::{Class, Process, Rights, Session};
use std::time::Duration;

/// A session in the way, at one look.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub session: &'a Session,
    pub class: Class,
    /// What the caller by himself could make of it, where a stored policy lends him more.
    pub class_to_caller: Class,
    /// How long its transaction has lasted; where the server does not tell, how long it has been
    /// watched.
    pub age: Duration,
    pub hold: Hold,
    /// Whether the first look found it.
    pub from_start: bool,
    /// What this call has sent to this very transaction, and how long ago.
    pub sent: Option<Sent>,
    /// Whether it is in the way of the target itself, and not only of somebody who is.
    pub direct: bool,
    /// Which of the others (by their places) stand in the way of what it waits for itself.
    pub waits_for: &'a [usize],
    /// It waits for the caller's own transaction.
    pub waits_for_us: bool,
    /// It has held on through an attempt to take the lock: it is long, whatever its age.
    pub outlasted: bool,
    /// For how long it has been seen outside any transaction, if it is.
    pub outside: Option<Duration>,
    /// How long this session has been watched.
    pub watched: Duration,
    /// In what time it lets go, by its own progress.
    pub eta: Option<Duration>,
    /// How much time the call has left.
    pub time_left: Duration,
    /// It has been left alone because it was about to let go.
    pub was_finishing: bool,
    /// The caller could queue for what it holds, and so have the server end it if it is an autovacuum
    /// worker.
    pub may_queue: bool,
    /// What counts where it stands.
    pub rights: Rights,
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
    /// Have the server cancel it: an autovacuum worker gives way to whoever waits for its transaction
    /// longer than `deadlock_timeout`, whatever his rights.
    Yield,
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
    /// Not named, but it waits, at whatever distance, for somebody who is preempted: it will go on
    /// then, so that it is no obstacle to that.
    Helped,
    /// In the way only of somebody who is preempted, or who stays whatever it does.
    Beside,
}

/// How a session is made to let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Signal(Act),
    /// Idle, and part of a job whose active sessions are signalled first: they take it with them.
    Follow,
    /// Its transaction has ended, and its locks are being released; or it goes on in the next.
    LettingGo,
    /// Its own progress says that it lets go soon enough.
    Finish,
}

/// For how long a session may be outside any transaction before it is taken to hold a lock so: until then it
/// is about to let go, or to go on in the next of its transactions.
pub const BETWEEN: Duration = Duration::from_millis(100);

/// How soon to look again at a session that is letting go.
const SOON: Duration = Duration::from_millis(1);

/// How soon a cancel may be repeated.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

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
    /// By their own progress they are about to let go.
    Finishing,
}

/// What a call has done so far, and what it is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// It has sent a signal.
    pub has_signalled: bool,
    /// It takes the lock, so that nobody may hold it, queued at first or not.
    pub takes: bool,
}

/// The stance towards each, in the input's order, and the step that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub stances: Vec<Stance>,
    pub step: Step,
    /// Nobody in the way is long, victims included: the lock may be queued for.
    pub all_short: bool,
    /// Somebody long is queued for the target, and will be granted before us.
    pub has_long_ahead: bool,
}

/// Decides for one group.
pub fn decide(standings: &[Standing<'_>], policy: &Policy, call: Call) -> Decision {
    let mut stances: Vec<Stance> = (0..standings.len())
        .map(|i| stance(standings, i, policy))
        .collect();
    for i in 0..standings.len() {
        // The migration that already hangs is such a one: it has got one of its locks, and
        // maintenance keeps it from the next.
        if stances[i] == Stance::Leave && waits_for_a_victim(standings, &stances, i) {
            stances[i] = Stance::Helped;
        }
    }
    leave_aside(standings, &mut stances);
    let step = step(standings, &stances, policy, call);
    let has_long_ahead = !long_ones_ahead(standings, &stances, policy).is_empty();
    let all_short = !has_long_ahead
        && standings.iter().zip(&stances).all(|(standing, stance)| {
            matches!(stance, Stance::Queued | Stance::Beside) || !is_long(standing, *stance, policy)
        });
    Decision {
        stances,
        step,
        all_short,
        has_long_ahead,
    }
}

/// Long ones in the target's own queues, who are granted before us: to queue behind them would be to
/// queue behind long holders. A request that waits for the caller's own transaction is not ahead of it
/// (`ProcSleep` in `proc.c`), nor is one that is queued behind such a one.
fn long_ones_ahead(standings: &[Standing<'_>], stances: &[Stance], policy: &Policy) -> Vec<usize> {
    let mut behind_us: Vec<bool> = standings.iter().map(|s| s.waits_for_us).collect();
    for _ in 0..standings.len() {
        let mut has_more = false;
        for (i, standing) in standings.iter().enumerate() {
            let follows = |other: &usize| {
                behind_us.get(*other) == Some(&true) && stances[*other] == Stance::Queued
            };
            if !behind_us[i] && standing.waits_for.iter().any(follows) {
                behind_us[i] = true;
                has_more = true;
            }
        }
        if !has_more {
            break;
        }
    }
    (0..standings.len())
        .filter(|i| {
            let standing = &standings[*i];
            stances[*i] == Stance::Queued
                && standing.direct
                && !behind_us[*i]
                && is_long(standing, stances[*i], policy)
        })
        .collect()
}

/// Whether somebody is preempted whom this one waits for, directly or through others who are not.
fn waits_for_a_victim(standings: &[Standing<'_>], stances: &[Stance], i: usize) -> bool {
    let mut seen = vec![false; standings.len()];
    let mut next: Vec<usize> = standings[i].waits_for.to_vec();
    while let Some(i) = next.pop() {
        match stances.get(i) {
            Some(Stance::Preempt(_)) => return true,
            Some(Stance::Leave | Stance::Helped | Stance::Queued) if !seen[i] => {
                seen[i] = true;
                next.extend(standings[i].waits_for);
            }
            _ => (),
        }
    }
    false
}

/// Marks those who matter to nobody that matters: whoever is preempted lets go whatever he waits
/// for, and whoever stays and is not helped is waited for himself.
fn leave_aside(standings: &[Standing<'_>], stances: &mut [Stance]) {
    let mut matters: Vec<bool> = standings.iter().map(|s| s.direct).collect();
    let mut next: Vec<usize> = (0..standings.len()).filter(|i| matters[*i]).collect();
    while let Some(i) = next.pop() {
        if !matches!(stances[i], Stance::Queued | Stance::Helped) {
            continue;
        }
        for other in standings[i].waits_for.iter().copied() {
            if matters.get(other) == Some(&false) {
                matters[other] = true;
                next.push(other);
            }
        }
    }
    for (stance, matters) in stances.iter_mut().zip(matters) {
        if !matters {
            *stance = Stance::Beside;
        }
    }
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
pub fn own_stance(standing: &Standing<'_>, policy: &Policy) -> Stance {
    let session = standing.session;
    if standing.hold == Hold::Queued {
        return Stance::Queued;
    }
    let given = Given {
        session,
        class: standing.class,
        age: standing.age,
        rights: standing.rights,
    };
    let to_caller = Given {
        class: standing.class_to_caller,
        rights: session.rights.of_caller_alone(),
        ..given
    };
    let may_signal = standing.rights.signal;
    let yields = !may_signal
        && standing.may_queue
        && session.process == Process::AutovacuumWorker
        && !session.anti_wraparound;
    // Whom the caller may end without knowing all of it is rather spared than preempted.
    let spare = policy.spare.verdict(given);
    match spare.max(policy.spare_too.verdict(to_caller)) {
        Verdict::Yes => return Stance::Spare,
        Verdict::Hidden if may_signal || yields => return Stance::Spare,
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
        return match yields {
            true if session.identity.is_outside_transaction() => {
                outside_transaction(standing, policy)
            }
            true if is_finishing(standing, policy) => Stance::Preempt(Means::Finish),
            true => Stance::Preempt(Means::Signal(Act::Yield)),
            false => Stance::NotPermitted,
        };
    }
    if session.identity.is_outside_transaction() {
        return outside_transaction(standing, policy);
    }
    let act = match policy.signal {
        Signal::Terminate => Act::Terminate,
        // A cancel that did not help by the end of `grace` is followed by more than a cancel.
        Signal::Escalate if session.is_idle_in_transaction() => Act::Terminate,
        Signal::Cancel if session.is_idle_in_transaction() => {
            return Stance::OutOfReach(Unreachable::IdleUnderCancel);
        }
        Signal::Escalate | Signal::Cancel => Act::Cancel,
    };
    Stance::Preempt(match is_finishing(standing, policy) {
        true => Means::Finish,
        false => Means::Signal(act),
    })
}

/// Of somebody who may be preempted and is in no transaction: there is nothing to signal.
fn outside_transaction(standing: &Standing<'_>, policy: &Policy) -> Stance {
    match standing.sent {
        Some(sent) if sent.ago < policy.grace => Stance::Preempt(Means::LettingGo),
        None if standing.outside.is_some_and(|outside| outside < BETWEEN) => {
            Stance::Preempt(Means::LettingGo)
        }
        _ => Stance::OutOfReach(Unreachable::OutsideTransaction),
    }
}

/// Whether its own progress says that it lets go before `finish_within` is over, which counts from
/// when it was first seen: who is slower than he said is not given that time again. Who said so, and
/// says nothing now, is between two steps of his work. Whoever would take longer than the call lasts is
/// not waited for in vain.
fn is_finishing(standing: &Standing<'_>, policy: &Policy) -> bool {
    let left = policy.finish_within.saturating_sub(standing.watched);
    let is_near = match standing.eta {
        Some(eta) => eta <= left.min(standing.time_left),
        None => standing.was_finishing,
    };
    standing.sent.is_none() && !left.is_zero() && is_near
}

fn stance(standings: &[Standing<'_>], i: usize, policy: &Policy) -> Stance {
    let own = own_stance(&standings[i], policy);
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

fn step(standings: &[Standing<'_>], stances: &[Stance], policy: &Policy, call: Call) -> Step {
    let all = || standings.iter().zip(stances).enumerate();
    let has_victims = stances.iter().any(|s| matches!(s, Stance::Preempt(_)));
    let obstacles: Vec<usize> = all()
        .filter(|(_, (standing, stance))| match stance {
            Stance::Preempt(_) | Stance::Queued | Stance::Helped | Stance::Beside => false,
            Stance::Leave => has_victims || call.takes || standing.hold == Hold::Granted,
            Stance::Spare | Stance::NotPermitted | Stance::OutOfReach(_) => true,
        })
        .map(|(i, _)| i)
        .collect();

    let staying: Vec<usize> = obstacles
        .iter()
        .copied()
        .filter(|i| is_long(&standings[*i], stances[*i], policy))
        .collect();
    if !staying.is_empty() {
        return Step::Await {
            whom: staying,
            why: Await::Staying,
            within: None,
        };
    }
    // Whoever was there at the start is let pass before anybody is signalled, and before it is done
    // without a lock. The queue is for traffic.
    let lets_pass = match has_victims {
        true => !call.has_signalled,
        false => !call.takes,
    };
    let passing: Vec<usize> = obstacles
        .iter()
        .copied()
        .filter(|i| standings[*i].from_start && lets_pass)
        .collect();
    if !passing.is_empty() {
        let within = passing
            .iter()
            .map(|i| policy.max_stall.saturating_sub(standings[*i].age))
            .min();
        return Step::Await {
            whom: passing,
            why: Await::Passing,
            within,
        };
    }

    let mut due = vec![];
    let mut yielding = vec![];
    let mut pending = vec![];
    let mut why = Await::Finishing;
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
            (Means::Finish, _) => Err(Some(policy.finish_within.saturating_sub(standing.watched))),
            (Means::Signal(Act::Yield), _) => {
                yielding.push((i, Act::Yield));
                continue;
            }
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
                let again = policy.grace.max(CANCEL_AGAIN);
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
                if *means != Means::Finish {
                    why = Await::Signalled;
                }
                within = within.into_iter().chain(wait).min();
            }
        }
    }
    match () {
        () if !due.is_empty() => Step::Preempt(due),
        () if !pending.is_empty() => Step::Await {
            whom: pending,
            why,
            within,
        },
        // Having one yield takes long, and nothing else can be done meanwhile.
        () if !yielding.is_empty() => Step::Preempt(yielding),
        () if call.takes => match long_ones_ahead(standings, stances, policy) {
            ahead if ahead.is_empty() => Step::Clear,
            ahead => Step::Await {
                whom: ahead,
                why: Await::Staying,
                within: None,
            },
        },
        () => Step::Clear,
    }
}

/// Whether an obstacle is there to stay, rather than traffic that passes.
pub fn is_long(standing: &Standing<'_>, stance: Stance, policy: &Policy) -> bool {
    standing.session.is_prepared()
        || stance == Stance::Spare
        || standing.outlasted
        || standing.age >= policy.max_stall
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
