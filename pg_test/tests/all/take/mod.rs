//! Keeping the lock: what is held and what is not, read in the server's own `pg_locks`: a file a topic.

mod at_random;
mod capacity;
mod changed;
mod exhausted;
mod forms;
mod functions;
mod held;
mod interrupted;
mod lock_table;
mod none;
mod order;
mod queue;
pub mod rights;
mod savepoints;
pub mod scene;
mod standby;

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        held::trials,
        none::trials,
        interrupted::trials,
        forms::trials,
        functions::trials,
        savepoints::trials,
        changed::trials,
        queue::trials,
        order::trials,
        at_random::trials,
        lock_table::trials,
        rights::trials,
        exhausted::trials,
        capacity::trials,
        standby::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}
