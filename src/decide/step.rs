//! What comes next, given what the policy makes of each: waiting, signalling, or going for the lock.

use super::{Act, Await, Call, Hold, Means, Sent, Stance, Standing, Step};
use crate::policy::{Policy, Signal};
use std::time::Duration;

/// How soon to look again at a session that is letting go.
const SOON: Duration = Duration::from_millis(1);

/// How soon a cancel may be repeated.
const CANCEL_AGAIN: Duration = Duration::from_millis(100);

pub fn step(standings: &[Standing<'_>], stances: &[Stance], policy: &Policy, call: Call) -> Step {
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
            // What bounds the call has allowed no more at first.
            (
                Means::Signal(Act::Terminate),
                Some(Sent {
                    act: Act::Cancel | Act::Yield,
                    ..
                }),
            ) if policy.signal == Signal::Terminate => Ok(Act::Terminate),
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

/// Long ones in the target's own queues, who are granted before us: to queue behind them would be to
/// queue behind long holders. A request that waits for the caller's own transaction is not ahead of it
/// (`ProcSleep` in `proc.c`), nor is one that is queued behind such a one.
pub fn long_ones_ahead(
    standings: &[Standing<'_>],
    stances: &[Stance],
    policy: &Policy,
) -> Vec<usize> {
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
