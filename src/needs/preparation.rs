//! What to do ahead of statements whose locks have been worked out: which locks to look at, which of
//! those to take, and which to leave to the statements themselves.

use super::{Effect, Planned, may_lock};
use crate::error::Error;
use crate::lock::{LockMode, Need, RelationId};
use crate::pg::catalog;
use std::collections::HashMap;

/// What statements need, each relation once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparation {
    /// Whoever holds a lock that conflicts with one of these is in the way.
    pub needs: Vec<Need>,
    /// Those of them that the statements take and that this role could take with LOCK TABLE.
    pub takeable: Vec<Need>,
    /// The relations that the statements lock, but this role could not: DDL reaches further than the
    /// rights of who runs it, as to the table that a foreign key references.
    pub left: Vec<RelationId>,
    /// Whoever has a snapshot is in the way.
    pub awaits_snapshots: bool,
    /// A CONCURRENTLY form is among them. It wants a transaction that has no transaction id and holds
    /// no lock.
    pub is_concurrent: bool,
    /// Why something cannot be told ahead.
    pub unseen: Vec<String>,
}

impl Preparation {
    /// System catalogs are left out: nobody clears or takes these.
    ///
    /// # Errors
    /// Those of reading the catalogs.
    pub fn new(planned: &[Planned]) -> Result<Preparation, Error> {
        let mut plan = Preparation::default();
        let mut looked_at = Merged::default();
        let mut locked = Merged::default();
        for Planned {
            relation,
            effect,
            reason,
            ..
        } in planned
        {
            plan.is_concurrent |=
                matches!(effect, Effect::AwaitLockers(_) | Effect::AwaitSnapshots);
            let relation =
                relation.filter(|r| catalog::relation(*r).is_some_and(|facts| !facts.is_catalog));
            match (*effect, relation) {
                (Effect::Lock(mode), Some(relation)) => {
                    looked_at.add(Need { relation, mode });
                    locked.add(Need { relation, mode });
                }
                (Effect::AwaitLockers(mode), Some(relation)) => {
                    looked_at.add(Need { relation, mode })
                }
                (Effect::AwaitSnapshots, _) => plan.awaits_snapshots = true,
                (Effect::Unseen, _) if !plan.unseen.contains(reason) => {
                    plan.unseen.push(reason.clone());
                }
                (Effect::Unseen | Effect::Lock(_) | Effect::AwaitLockers(_), _) => (),
            }
        }
        for need in locked.needs {
            match may_lock(&[need.relation], need.mode) {
                Ok(()) => plan.takeable.push(need),
                Err(Error::NotAllowed { .. }) => plan.left.push(need.relation),
                Err(other) => return Err(other),
            }
        }
        plan.needs = looked_at.needs;
        Ok(plan)
    }

    /// Whether there is a lock to take beforehand.
    pub fn is_takeable(&self) -> bool {
        !self.is_concurrent && !self.takeable.is_empty()
    }

    /// The strongest mode among those to take.
    pub fn strongest(&self) -> Option<LockMode> {
        self.takeable.iter().map(|need| need.mode).max()
    }

    /// The mode that is needed on that relation.
    pub fn mode_on(&self, relation: Option<RelationId>) -> Option<LockMode> {
        let need = self.needs.iter().find(|n| Some(n.relation) == relation);
        need.map(|need| need.mode)
    }

    /// Whether the statements wait for nothing that existed before.
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty() && !self.awaits_snapshots
    }
}

/// Needs in the order in which they were first added, each relation at the one mode that stands for
/// all of its own.
#[derive(Default)]
struct Merged {
    needs: Vec<Need>,
    places: HashMap<RelationId, usize>,
}

impl Merged {
    fn add(&mut self, need: Need) {
        match self.places.get(&need.relation) {
            Some(place) => {
                let known = &mut self.needs[*place].mode;
                *known = known.joined(need.mode);
            }
            None => {
                self.places.insert(need.relation, self.needs.len());
                self.needs.push(need);
            }
        }
    }
}
