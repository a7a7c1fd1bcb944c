//! Guard mode: nothing but a setting, and each DDL statement clears its own way: a file a topic.

mod dumped;
mod opt_in;
mod rights;
mod setters;
mod setting;
mod statements;
mod triggers;

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        setting::trials,
        statements::trials,
        triggers::trials,
        rights::trials,
        setters::trials,
        dumped::trials,
        opt_in::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}

/// A table that DDL is about to lock, and an index on it.
pub const TABLE: &str = "CREATE TABLE events (i int); CREATE INDEX events_i ON events (i)";
