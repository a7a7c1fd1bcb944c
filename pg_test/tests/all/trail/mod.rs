//! The trail: a row for each signal, whatever becomes of the transaction that sent it.

mod missing;
mod owed;
mod readers;
mod required;
mod rows;
mod stall;
mod worker;
mod yielded;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Database, Rows, Session, wait_until};

use crate::preempt::scene::rows_once_written;
use crate::world::World;

const SOON: Duration = Duration::from_secs(10);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        rows::trials,
        missing::trials,
        readers::trials,
        required::trials,
        owed::trials,
        worker::trials,
        stall::trials,
        yielded::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}

/// A policy that preempts whoever is called `victim`, with further keys.
fn policy(more: &str) -> String {
    format!(r#"{{"relations": ["t"], "preempt": [{{"application_name": "victim"}}]{more}}}"#)
}

/// The call with that policy.
fn preempt(policy: &str) -> String {
    format!("SELECT * FROM lockguard.preempt_maintenance($policy${policy}$policy$)")
}

/// A database with a table, and a session that stands in the way of a lock on it.
fn table(database: &Database) -> Session {
    let admin = database.session("admin");
    admin.run("CREATE TABLE t (i int); GRANT SELECT ON t TO PUBLIC");
    admin
}

/// A victim in a statement of its own, which a cancel ends.
fn victim(database: &Database) -> (Session, pg_test::Running) {
    let session = database.session("victim");
    session.run("BEGIN; SELECT FROM t");
    let busy = session.spawn("SELECT pg_sleep(50)");
    wait_until("the victim is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    (session, busy)
}

const TRAIL: &str = "SELECT * FROM lockguard.preemptions ORDER BY id";

/// The rows of the trail that there are now.
fn trail(session: &Session) -> Rows {
    session.run(TRAIL)
}

/// Waits until there are so many rows.
#[track_caller]
fn wait_for_rows(session: &Session, count: usize) -> Rows {
    rows_once_written(session, count, TRAIL)
}
