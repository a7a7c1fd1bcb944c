//! What bounds a call beside its own policy, each to be held against the same situation.

use super::Call;
use crate::decide::{Standing, View};
use crate::policy::Policy;

impl Call<'_> {
    /// The call's own policy, and those that bound it.
    pub(super) fn policies(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(&self.policy).chain(&self.bounds)
    }

    /// How many sessions may be signalled at the most.
    pub(super) fn most_victims(&self) -> Option<usize> {
        self.policies()
            .filter_map(|policy| policy.max_victims)
            .min()
    }

    /// A situation as each of those judges it that bound the call. `own`: as the call's own policy does.
    pub(super) fn bounding_views<'a>(&'a self, own: &[Standing<'a>]) -> Vec<View<'a>> {
        let elapsed = self.start.elapsed();
        let views = self.bounds.iter().map(|policy| View {
            policy,
            standings: own
                .iter()
                .map(|standing| Standing {
                    time_left: policy.timeout.saturating_sub(elapsed),
                    ..*standing
                })
                .collect(),
        });
        views.collect()
    }
}
