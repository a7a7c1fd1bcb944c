//! `blockers_of` by itself: what its columns say, what it covers, what it refuses; and how sessions are recognised.
//!
//! That it names the right sessions at all is shown in `truth`.

mod arguments;
mod classes;
mod closure;
mod columns;
mod progress;
mod rules;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Row, Rows, Session};

use crate::world::World;

const SOON: Duration = Duration::from_secs(20);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        arguments::trials(world),
        classes::trials(world),
        closure::trials(world),
        columns::trials(world),
        progress::trials(world),
        rules::trials(world),
        standing::trials(world),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `blockers_of` one relation in the default mode, ACCESS EXCLUSIVE.
fn blockers_of(observer: &Session, relation: &str) -> Rows {
    blockers_in(observer, relation, "AccessExclusiveLock")
}

/// `blockers_of` one relation.
fn blockers_in(observer: &Session, relation: &str, mode: &str) -> Rows {
    observer.run(&format!(
        "SELECT * FROM lockguard.blockers_of(ARRAY['{relation}'::regclass], '{mode}') ORDER BY relation::text, pid"
    ))
}

/// `relation pid mode` of each row, for comparing at a glance.
fn summary(rows: &Rows) -> Vec<String> {
    let one = |row: &Row| {
        let who = row.get("pid").or(row.get("gid")).unwrap_or("nobody");
        format!("{} {who} {}", row.text("relation"), row.text("mode"))
    };
    rows.iter().map(one).collect()
}
