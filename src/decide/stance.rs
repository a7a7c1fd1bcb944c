//! What a policy makes of each session: whether it names it, and how it could be made to let go.

use super::{Act, Hold, Means, Stance, Standing, Unreachable};
use crate::policy::{Given, Policy, Signal, Verdict};
use crate::session::{Class, Process, Session};
use std::time::Duration;

/// For how long a session may be outside any transaction before it is taken to hold a lock so: until then it
/// is about to let go, or to go on in the next of its transactions.
pub const BETWEEN: Duration = Duration::from_millis(100);

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

pub fn stance(standings: &[Standing<'_>], i: usize, policy: &Policy) -> Stance {
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

/// How long until a session counts as idle that is named for nothing else: a busy transaction of the application is
/// idle, too, between one statement and the next, and is judged as the application until it has been that for
/// `max_stall`. None where it need not be waited for.
pub fn until_idle(standing: &Standing<'_>, policy: &Policy) -> Option<Duration> {
    if standing.class != Class::IdleInTransaction || standing.sent.is_some() || policy.dry_run {
        return None;
    }
    let left = policy.max_stall.saturating_sub(standing.idle_for?);
    let is_named =
        |standing: &Standing<'_>| matches!(own_stance(standing, policy), Stance::Preempt(_));
    let decides = !left.is_zero() && is_named(standing) && !is_named(&as_application(standing));
    decides.then_some(left)
}

/// The same session as one of the application.
pub fn as_application<'a>(standing: &Standing<'a>) -> Standing<'a> {
    Standing {
        class: Class::Application,
        ..*standing
    }
}

/// What becomes of these stances once it counts who waits for whom.
pub fn settle(standings: &[Standing<'_>], mut stances: Vec<Stance>) -> Vec<Stance> {
    for i in 0..standings.len() {
        // The migration that already hangs is such a one: it has got one of its locks, and
        // maintenance keeps it from the next.
        if stances[i] == Stance::Leave && waits_for_a_victim(standings, &stances, i) {
            stances[i] = Stance::Helped;
        }
    }
    leave_aside(standings, &mut stances);
    stances
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
