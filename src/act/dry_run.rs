//! Saying what would be done: one look, and nothing signalled or locked.

use super::Call;
use super::target::{Aim, Look};
use crate::decide::{Await, Means, Stance, Step};
use crate::error::Error;
use crate::report::Row;
use crate::session::Identity;
use std::collections::{HashMap, HashSet};

impl Call<'_> {
    pub(super) fn dry_run(&mut self) -> Result<Vec<Row>, Error> {
        let (aim, rules, principals) = (&mut self.aim, &self.rules, &self.principals);
        let clock = self.clock;
        let sightings = match clock.read(|| aim.look(rules, principals))? {
            Look::InWay { sightings, .. } => {
                self.may_be_helped()?;
                sightings
            }
            Look::Free | Look::GivenUp(_) => vec![],
        };
        if !sightings.is_empty() {
            self.read_bounds()?;
        }
        self.watch.look(&sightings);
        let decisions = self.decide(&sightings);
        let is_victim = |stance: &Stance| matches!(stance, Stance::Preempt(Means::Signal(_)));
        let victims: HashSet<Identity> = decisions
            .iter()
            .flat_map(|(who, decision)| who.iter().copied().zip(decision.told()))
            .filter(|(_, stance)| is_victim(stance))
            .map(|(who, _)| who)
            .collect();
        self.watch.refused_by = self.most_victims().filter(|most| victims.len() > *most);
        // With `"all"` a session is judged with each of its relations, and signalled if one allows it.
        let mut order: Vec<Identity> = vec![];
        let mut best: HashMap<Identity, (Stance, Vec<String>)> = HashMap::new();
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
            for (identity, stance) in who.iter().zip(decision.told()) {
                if matches!(stance, Stance::Queued | Stance::Beside) {
                    continue;
                }
                let known = best.entry(*identity).or_insert_with(|| {
                    order.push(*identity);
                    (stance, blockers.clone())
                });
                if blockers.is_empty() && !known.1.is_empty() {
                    *known = (stance, vec![]);
                }
            }
            let news = blockers.into_iter().filter(|name| !staying.contains(name));
            let news: Vec<String> = news.collect();
            staying.extend(news);
        }
        if matches!(self.aim, Aim::All { .. }) {
            // They hold up those on their own relations, and nobody else.
            staying.clear();
        }
        let rows: Vec<Row> = order
            .into_iter()
            .filter_map(|who| {
                let (stance, blockers) = best.get(&who)?;
                self.watch.dry_row(who, *stance, blockers)
            })
            .collect();
        self.progress.dry(&self.aim, &rows, &staying);
        Ok(rows)
    }
}
