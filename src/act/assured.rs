//! `require_trail`: nobody is signalled before it is known that a row can be written.

use super::{Call, End};
use crate::audit::{self, Assurance};
use crate::decide::Act;
use crate::pg::wait;
use crate::survey::Sighting;
use std::time::Duration;

/// How long the worker's word is waited for before those in the way are looked at again.
const LOOK: Duration = Duration::from_secs(1);
/// How long to rest where it is known at once that there is none.
const REST: Duration = Duration::from_millis(50);

/// Whether to signal.
pub(super) enum Assured {
    /// As far as the trail is concerned. The word is to be kept until it is done.
    Yes(#[expect(dead_code, reason = "the worker waits until it is dropped")] Option<Assurance>),
    /// Not now, or never.
    No(Option<End>),
}

impl Call<'_> {
    /// Whether the call's policy, or one that bounds it, wants a row for each signal.
    pub(super) fn requires_trail(&self) -> bool {
        let mut bounds = self.bounds.iter().flatten();
        self.policy.require_trail || bounds.any(|bound| bound.policy.require_trail)
    }

    /// Waits, for `left` at most, until a row can be written for each of these, if policy requires that.
    ///
    /// # Errors
    /// Whatever interrupts a wait.
    pub(super) fn assured(&mut self, victims: &[(&Sighting, Act)], left: Duration) -> Assured {
        if !self.requires_trail() {
            return Assured::Yes(None);
        }
        self.shown
            .show("lockguard waits for the worker that writes its trail".into());
        let (label, target) = (self.policy.label.as_deref(), self.aim.to_string());
        let limit = left.min(LOOK);
        match audit::assure(victims, label, self.stored, &target, limit) {
            Ok(assurance) => {
                self.watch.untold = None;
                Assured::Yes(Some(assurance))
            }
            Err(untold) => {
                let is_final = untold.is_final;
                self.watch.untold = Some(untold);
                if !is_final {
                    wait::sleep(REST.min(left));
                }
                Assured::No(is_final.then_some(End::NoTrail))
            }
        }
    }
}
