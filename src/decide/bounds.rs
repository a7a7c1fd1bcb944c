//! How further policies bound a call: what one of them would not do at this moment, and in this situation, is not
//! done. So it is by what it means that a call is narrower than the policy that bounds it, and not by its keys:
//! its victims are among those that the other would have, and are sent nothing harder.

use super::{Act, Await, Stance, Step};
use std::time::Duration;

/// How soon to look again where two policies would signal, and nobody both of them.
const SOON: Duration = Duration::from_millis(10);

/// Of each session that the call's own policy preempts: the first of those that bound it which does not, by its
/// place from 1 on, and what that one makes of the session.
pub fn held<'a>(
    own: &[Stance],
    bounds: impl Iterator<Item = &'a [Stance]>,
) -> Vec<Option<(usize, Stance)>> {
    let mut held = vec![None; own.len()];
    for (place, bound) in (1..).zip(bounds) {
        for (i, (own, bound)) in own.iter().zip(bound).enumerate() {
            let both = (own, bound);
            if matches!(both, (Stance::Preempt(_), stance) if !matches!(stance, Stance::Preempt(_)))
            {
                held[i] = held[i].or(Some((place, *bound)));
            }
        }
    }
    held
}

/// The step that all of them allow. Where one holds back whom the others would signal, what that one waits for is
/// waited for.
pub fn bounded(own: Step, bounds: impl Iterator<Item = Step>) -> Step {
    let Step::Preempt(wanted) = own else {
        return own;
    };
    let mut acts: Vec<(usize, Act)> = wanted.clone();
    let mut waits = None;
    for bound in bounds {
        let allowed = match &bound {
            Step::Preempt(allowed) => &**allowed,
            Step::Clear | Step::Await { .. } => &[],
        };
        acts.retain_mut(|(victim, act)| {
            let same = allowed.iter().find(|(other, _)| other == victim);
            same.is_some_and(|(_, softer)| {
                *act = (*act).min(*softer);
                true
            })
        });
        if matches!(bound, Step::Await { .. }) {
            waits = waits.or(Some(bound));
        }
    }
    match (acts.is_empty(), waits) {
        (false, _) => Step::Preempt(acts),
        (true, Some(waits)) => waits,
        (true, None) => Step::Await {
            whom: wanted.into_iter().map(|(victim, _)| victim).collect(),
            why: Await::Passing,
            within: Some(SOON),
        },
    }
}
