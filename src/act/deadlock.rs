//! Seeing that a wait would never end, because who is in the way waits for us.

use super::Call;
use crate::decide::{Decision, Stance};
use crate::error::Error;
use crate::pg::{process, snapshots};
use crate::session::Identity;
use crate::survey::{self, Sighting};
use std::collections::HashMap;

impl Call<'_> {
    /// A holder that is not preempted and itself waits for this transaction will wait for ever, and
    /// so would we; and one that is only in the way of somebody in the queue, if we wait for it. Its own
    /// check for deadlocks would find our wait, and end it for that.
    pub(super) fn refuse_deadlock(
        &self,
        sightings: &[Sighting],
        decisions: &[(Vec<Identity>, Decision)],
    ) -> Result<(), Error> {
        // Each holder that waits, and whether it is in the way of the target itself.
        let mut holders: HashMap<Identity, bool> = HashMap::new();
        for sighting in sightings {
            let who = sighting.session.identity;
            if sighting.granted && who.pid().is_some_and(process::waits) {
                *holders.entry(who).or_default() |= sighting.behind.is_none();
            }
        }
        let is_waited_for = |who: &Identity, stance: &Stance| match (holders.get(who), stance) {
            (None, _) | (_, Stance::Preempt(_)) => false,
            (Some(false), Stance::Queued | Stance::Helped | Stance::Beside) => false,
            (Some(_), _) => true,
        };
        let waiting: Vec<Identity> = decisions
            .iter()
            .flat_map(|(who, decision)| who.iter().zip(&decision.stances))
            .filter(|(who, stance)| is_waited_for(who, stance))
            .map(|(who, _)| *who)
            .collect();
        let own = process::own_pid();
        let Some(found) = survey::who_waits_for(&waiting, own) else {
            return Ok(());
        };
        // Another that is about to build an index has come to wait for our snapshot just now: at the next look
        // it is not in the way.
        let has_snapshot_alone = sightings
            .iter()
            .filter(|sighting| sighting.session.identity == found)
            .all(|sighting| sighting.tag.is_virtual_transaction());
        if has_snapshot_alone && found.pid().is_some_and(snapshots::waits_for_us) {
            return Ok(());
        }
        let name = self.watch.name(found);
        Err(Error::Deadlock {
            message: format!("deadlock: {name}, in the way of {}, waits for this transaction", self.aim),
            detail: format!("Process {own} waits for {name}, which waits for a lock that process {own} holds."),
            hint: "Roll back, and call it at the start of the transaction, before anything else is locked.".into(),
        })
    }
}
