//! What bounds a call beside its own policy, each to be held against the same situation: the stored policy that it
//! was narrowed from, the ceiling, and the switch that turns signalling off.

use super::Call;
use crate::decide::{Standing, View};
use crate::error::Error;
use crate::pg::message;
use crate::policy::{Policy, Selectors, quoted};
use crate::report;
use crate::stored::{self, Ceiling};
use crate::switch;

/// A policy that bounds a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub policy: Policy,
    pub by: By,
}

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The stored policy that the call's own was narrowed from.
    Stored,
    /// The ceiling of that name. It is held against the full truth, whatever the caller may see.
    Ceiling(String),
    /// `lockguard.signalling` is off.
    Switch,
}

impl By {
    /// Why somebody is not preempted whom the call's own policy would; no more than that.
    pub fn reason(&self) -> Option<String> {
        match self {
            By::Stored => None,
            By::Ceiling(name) => Some(format!("the ceiling {} does not preempt it", quoted(name))),
            By::Switch => Some("signalling is turned off by lockguard.signalling".into()),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<String> {
        match self {
            By::Stored => None,
            By::Ceiling(name) => Some(format!(
                "The ceiling {} bounds every call, see lockguard.policies; superusers change it, or set another by lockguard.set_ceiling.",
                quoted(name)
            )),
            By::Switch => Some(
                "Wait for them, or have a superuser turn lockguard.signalling on again.".into(),
            ),
        }
    }
}

impl Bound {
    fn of_ceiling(ceiling: Ceiling) -> Bound {
        let Ceiling { name, policy } = ceiling;
        let by = By::Ceiling(name);
        match policy.dry_run {
            true => Bound::nobody(&policy, by),
            false => Bound { policy, by },
        }
    }

    /// One under which nobody is preempted.
    fn nobody(like: &Policy, by: By) -> Bound {
        let policy = Policy {
            preempt: Selectors::default(),
            ..like.clone()
        };
        Bound { policy, by }
    }
}

impl Call<'_> {
    /// Reads what bounds the call now, and tells whether that is something else than before. It says so where
    /// the call gets less than it has asked for.
    ///
    /// # Errors
    /// 55P03 while the table of stored policies is locked.
    pub(super) fn read_bounds(&mut self) -> Result<bool, Error> {
        let mut bounds = vec![];
        bounds.extend(self.stored.map(|stored| Bound {
            policy: stored.policy.clone(),
            by: By::Stored,
        }));
        if !switch::is_on_by_now()? {
            bounds.push(Bound::nobody(&self.policy, By::Switch));
        }
        let ceiling = self.clock.read(stored::ceiling)?;
        bounds.extend(ceiling.map(Bound::of_ceiling));
        if self.bounds.as_ref() == Some(&bounds) {
            return Ok(false);
        }
        for bound in &bounds {
            match &bound.by {
                By::Stored => (),
                By::Ceiling(name) => clip(&mut self.policy, &bound.policy, name),
                By::Switch => message::notice(
                    "lockguard: signalling is turned off by lockguard.signalling: nobody is preempted",
                ),
            }
        }
        self.clock = self.clock.with(self.policy.timeout);
        self.bounds = Some(bounds);
        Ok(true)
    }

    fn bounds(&self) -> impl Iterator<Item = &Bound> {
        self.bounds.iter().flatten()
    }

    /// The call's own policy, and those that bound it.
    pub(super) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies_and_sight().map(|(policy, _)| policy)
    }

    /// The same, each with whether it is held against the full truth.
    pub(super) fn policies_and_sight(&self) -> impl Iterator<Item = (&Policy, bool)> {
        let bounds = self.bounds();
        let bounds = bounds.map(|bound| (&bound.policy, matches!(bound.by, By::Ceiling(_))));
        std::iter::once((&self.policy, false)).chain(bounds)
    }

    /// How many sessions may be signalled at the most.
    pub(super) fn most_victims(&self) -> Option<usize> {
        self.policies()
            .filter_map(|policy| policy.max_victims)
            .min()
    }

    /// Of each, who keeps it from being preempted that bounds the call. `held_by` as a decision has it.
    pub(super) fn holders(&self, held_by: &[Option<usize>]) -> Vec<Option<By>> {
        let bounds: Vec<&Bound> = self.bounds().collect();
        let by = |place: usize| bounds.get(place - 1).map(|bound| bound.by.clone());
        held_by.iter().map(|held| held.and_then(by)).collect()
    }

    /// A situation as each of those judges it that bound the call. `own`: as the call's own policy does.
    pub(super) fn bounding_views<'a>(&'a self, own: &[Standing<'a>]) -> Vec<View<'a>> {
        let elapsed = self.clock.elapsed();
        let views = self.bounds().map(|bound| {
            let standings = own.iter().map(|standing| Standing {
                time_left: bound.policy.timeout.saturating_sub(elapsed),
                ..match bound.by {
                    By::Ceiling(_) => self.watch.in_truth(standing),
                    By::Stored | By::Switch => *standing,
                }
            });
            View {
                policy: &bound.policy,
                standings: standings.collect(),
            }
        });
        views.collect()
    }
}

/// Lowers what a call asks for to what the ceiling allows, and says what.
fn clip(policy: &mut Policy, ceiling: &Policy, name: &str) {
    let mut clipped = vec![];
    for (key, asked, allowed) in [
        ("timeout", &mut policy.timeout, ceiling.timeout),
        ("max_stall", &mut policy.max_stall, ceiling.max_stall),
    ] {
        if *asked > allowed {
            *asked = allowed;
            clipped.push(format!("{key} is {}", report::in_words(allowed)));
        }
    }
    if let Some(allowed) = ceiling.max_victims
        && policy.max_victims.is_none_or(|asked| asked > allowed)
    {
        policy.max_victims = Some(allowed);
        clipped.push(format!("max_victims is {allowed}"));
    }
    if !clipped.is_empty() {
        message::notice(&format!(
            "lockguard: the ceiling {} bounds this call: {}",
            quoted(name),
            clipped.join(", ")
        ));
    }
}
