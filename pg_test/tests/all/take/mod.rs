//! Keeping the lock: what is held and what is not, read in the server's own `pg_locks`: a file a topic.

mod forms;
mod held;
mod interrupted;
mod none;
mod scene;

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        held::trials,
        none::trials,
        interrupted::trials,
        forms::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}
