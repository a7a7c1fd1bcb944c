//! Gates: locks on system catalogs, where a statement that writes to them stops long enough to be looked at.
//!
//! A lock that a statement takes late on a relation that it has locked already (the old index at the end of
//! REINDEX CONCURRENTLY) nobody else can make it wait for; but it writes to a catalog right after.

use pg_test::{Database, Running, Session, wait_until};

use super::outside::PATIENCE;
use super::quiet_session;

/// Whatever these statements change of a relation, they change one of these.
const CATALOGS: [&str; 4] = ["pg_class", "pg_index", "pg_inherits", "pg_statistic"];

/// A catalog that cannot be written to. Two sessions take turns, so that it closes behind whoever comes through.
pub struct Gate {
    catalog: &'static str,
    closed: Session,
    other: Session,
    closing: Option<Running>,
}

impl Gate {
    /// All gates, closed.
    pub fn all(database: &Database) -> Vec<Gate> {
        let close = |catalog| {
            let gate = Gate {
                catalog,
                closed: quiet_session(database, "gate"),
                other: quiet_session(database, "gate"),
                closing: None,
            };
            gate.closed.run(&gate.close());
            gate
        };
        CATALOGS.into_iter().map(close).collect()
    }

    /// Whether that process keeps it closed.
    pub fn is_kept_by(&self, pids: &[i32]) -> bool {
        pids.contains(&self.closed.pid())
    }

    /// Lets those who wait come through, and none after them.
    pub fn let_through(&mut self, observer: &Session) {
        // The other one stands in line behind them first.
        let closing = self.other.spawn(self.close());
        wait_until("the gate is about to close again", PATIENCE, || {
            let waits = observer.run(&format!(
                "SELECT count(*) FROM pg_locks WHERE pid = {} AND NOT granted",
                self.other.pid()
            ));
            waits.value() == Some("1")
        });
        self.closed.run("ROLLBACK");
        if let Some(closed) = self.closing.replace(closing) {
            // It was the one that has just been let go.
            drop(closed);
        }
        std::mem::swap(&mut self.closed, &mut self.other);
    }

    fn close(&self) -> String {
        format!("BEGIN; LOCK TABLE {} IN EXCLUSIVE MODE", self.catalog)
    }
}
