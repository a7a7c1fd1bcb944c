//! `preempt_maintenance` on real servers, against real backups, vacuums and sessions: a file a topic.

pub mod autovacuum;
mod backup;
mod between;
mod changed;
mod clock;
pub mod finish_within;
mod free;
mod giving_up;
mod gone_on;
mod hanging;
mod in_vain;
mod index_build;
mod interrupts;
mod late;
mod limits;
mod locked;
mod no_client;
mod parallel;
mod parallel_dump;
mod prepared;
mod right_victim;
pub mod scene;
mod scope;
mod settings;
mod signals;
mod transactions;
mod vacuum;
pub mod wraparound;

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        backup::trials(world),
        between::trials(world),
        parallel_dump::trials(world),
        settings::trials(world),
        signals::trials(world),
        vacuum::trials(world),
        autovacuum::trials(world),
        wraparound::trials(world),
        index_build::trials(world),
        finish_within::trials(world),
        prepared::trials(world),
        in_vain::trials(world),
        limits::trials(world),
        locked::trials(world),
        scope::trials(world),
        hanging::trials(world),
        giving_up::trials(world),
        changed::trials(world),
        clock::trials(world),
        no_client::trials(world),
        parallel::trials(world),
        late::trials(world),
        free::trials(world),
        interrupts::trials(world),
        right_victim::trials(world),
        gone_on::trials(world),
        transactions::trials(world),
    ]
    .into_iter()
    .flatten()
    .collect()
}
