//! Saying what would be done: one look, and nothing signalled or locked.

use super::Call;
use super::target::Look;
use crate::decide::{Await, Means, Stance, Step};
use crate::error::Error;
use crate::report::Row;
use crate::session::Identity;
use std::collections::HashSet;

impl Call<'_> {
    pub(super) fn dry_run(&mut self) -> Result<Vec<Row>, Error> {
        let sightings = match self.aim.look(&self.rules)? {
            Look::InWay { sightings, .. } => sightings,
            Look::Free => vec![],
        };
        self.watch.look(&sightings);
        let decisions = self.decide(&sightings);
        let is_victim = |stance: &Stance| matches!(stance, Stance::Preempt(Means::Signal(_)));
        let victims: HashSet<Identity> = decisions
            .iter()
            .flat_map(|(who, decision)| who.iter().zip(&decision.stances))
            .filter(|(_, stance)| is_victim(stance))
            .map(|(who, _)| *who)
            .collect();
        self.watch.refused_by = self.policy.max_victims.filter(|most| victims.len() > *most);
        let mut rows: Vec<Row> = vec![];
        let mut told: HashSet<Identity> = HashSet::new();
        let mut staying: Vec<String> = vec![];
        for (who, decision) in &decisions {
            let blockers: Vec<String> = match &decision.step {
                Step::Await {
                    whom,
                    why: Await::Staying | Await::Passing,
                    ..
                } => whom.iter().map(|i| self.watch.name(who[*i])).collect(),
                _ => vec![],
            };
            for (identity, stance) in who.iter().zip(&decision.stances) {
                if !matches!(stance, Stance::Queued | Stance::Beside) && told.insert(*identity) {
                    rows.extend(self.watch.dry_row(*identity, *stance, &blockers));
                }
            }
            staying.extend(blockers);
        }
        self.progress.dry(&self.aim, &rows, &staying);
        Ok(rows)
    }
}
