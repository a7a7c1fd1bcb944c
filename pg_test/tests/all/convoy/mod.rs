//! Taking the lock on real servers, without a convoy: the server's own views of locks and sessions
//! are the oracle.

mod comeback;
mod deadlock;
mod distance;
mod oracle;
mod queue;
mod shown;
mod steady;
pub mod traffic;
mod yielding;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::world::World;

/// The mode that is taken where policy names none.
const LOCK: &str = "AccessExclusiveLock";

/// `max_stall` where policy does not tell.
pub const MAX_STALL: Duration = Duration::from_millis(100);

/// What a stay may last longer, on a machine that does other things as well.
pub const TOLERANCE: Duration = Duration::from_millis(50);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        queue::trials,
        steady::trials,
        distance::trials,
        deadlock::trials,
        yielding::trials,
        comeback::trials,
        shown::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}
