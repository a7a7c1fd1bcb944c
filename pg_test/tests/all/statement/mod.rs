//! The target `statement`: what DDL locks and waits for, worked out from the DDL itself: a file a topic.

mod awaited;
mod taken;
mod told;

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [taken::trials, awaited::trials, told::trials]
        .into_iter()
        .flat_map(|of| of(world))
        .collect()
}

/// The table that is dropped, and the busy one that its foreign key references.
pub const TABLES: &str = "CREATE TABLE users (id int PRIMARY KEY); \
     CREATE TABLE events (i int, j int, user_id int REFERENCES users); \
     CREATE TABLE other (i int)";

/// A call for that statement, with `more` keys of the policy, as SQL.
pub fn call(statement: &str, more: &str) -> String {
    crate::preempt::scene::preempt(&format!(r#"{{"statement": "{statement}"{more}}}"#))
}

/// Of these relations and modes, those on the tables of [`TABLES`].
pub fn on_tables(held: Vec<(String, String)>) -> Vec<(String, String)> {
    let is_one = |name: &str| ["events", "other", "users"].contains(&name);
    held.into_iter().filter(|(name, _)| is_one(name)).collect()
}
