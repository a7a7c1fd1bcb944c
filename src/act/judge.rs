//! Having each way judged by itself: for the whole target, or with `"all"` for each relation.

use super::target::Aim;
use super::{Call, watch};
use crate::decide::{self, Decision, View, decide};
use crate::lock::LockTag;
use crate::session::Identity;
use crate::survey::Sighting;
use std::collections::{HashMap, HashSet};

impl Call<'_> {
    /// Decides for each group of sessions that stand in one way: for the whole target, or with
    /// `"all"` for each relation by itself.
    pub(super) fn decide(&mut self, sightings: &[Sighting]) -> Vec<(Vec<Identity>, Decision)> {
        let groups = match self.aim {
            Aim::All { .. } => by_relation(sightings),
            Aim::Relations { .. } | Aim::Statement(_) | Aim::Waiter { .. } => {
                vec![sightings.iter().collect()]
            }
        };
        let left = self.clock.left();
        let mut decisions = vec![];
        for members in groups {
            let waits_for = watch::who_waits_for_whom(&members);
            let may_queue = |sighting: &Sighting| self.aim.may_queue_for(sighting);
            let warrant = |sighting: &Sighting| self.warrant(sighting);
            let standings = self
                .watch
                .standings(&members, &waits_for, may_queue, warrant, left);
            let call = decide::Call {
                has_signalled: self.watch.has_signalled(),
                takes: self.takes,
            };
            let who: Vec<Identity> = standings.iter().map(|s| s.session.identity).collect();
            let bounds = self.bounding_views(&standings);
            let own = View {
                policy: &self.policy,
                standings,
            };
            let decision = decide(own, bounds, call);
            let holders = self.holders(&decision.held_by);
            self.watch.judged(&who, &decision, holders, &self.policy);
            decisions.push((who, decision));
        }
        decisions
    }
}

/// Those in the way of each relation, with those whom these wait for, at any distance.
fn by_relation(sightings: &[Sighting]) -> Vec<Vec<&Sighting>> {
    let mut groups: Vec<Vec<&Sighting>> = vec![];
    let mut places: HashMap<LockTag, usize> = HashMap::new();
    let mut behind: HashMap<Identity, Vec<&Sighting>> = HashMap::new();
    for sighting in sightings {
        if let Some(waiter) = sighting.behind {
            behind.entry(waiter).or_default().push(sighting);
            continue;
        }
        let place = *places.entry(sighting.tag).or_insert(groups.len());
        if place == groups.len() {
            groups.push(vec![]);
        }
        groups[place].push(sighting);
    }
    if behind.is_empty() {
        return groups;
    }
    for group in &mut groups {
        let mut followed: HashSet<Identity> = HashSet::new();
        let mut next = 0;
        while let Some(sighting) = group.get(next) {
            next += 1;
            let who = sighting.session.identity;
            if followed.insert(who) {
                group.extend(behind.get(&who).into_iter().flatten());
            }
        }
    }
    groups
}
