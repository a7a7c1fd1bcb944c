//! Faults at each step of a call: whatever happens to the caller, to the victim or to the server, nothing is
//! left over, and no signal is without a record.

mod caller;
mod exhausted;
mod moment;
mod postmaster;
mod scene;
mod victim;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::world::World;

const SOON: Duration = Duration::from_secs(20);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        caller::trials,
        victim::trials,
        exhausted::trials,
        postmaster::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}
