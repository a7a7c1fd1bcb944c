//! What must not remain once everybody is done: locks, prepared transactions, background workers, shared memory.

use std::time::Duration;

use crate::wait::becomes_true;
use crate::{Cluster, Database, During, Failure};

/// Autovacuum workers and background workers take their time to go.
const SOON: Duration = Duration::from_secs(20);

/// Locks, but for the looker's own and what an autovacuum holds for a moment; transactions; workers.
const LOOKS: [(&str, &str); 4] = [
    (
        "locks",
        "SELECT coalesce(pid::text, virtualtransaction) || ' ' || mode || ' ' || coalesce(relation::text, locktype) AS what \
         FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) \
         WHERE pid IS DISTINCT FROM pg_backend_pid() AND backend_type IS DISTINCT FROM 'autovacuum worker'",
    ),
    (
        "prepared transactions",
        "SELECT gid AS what FROM pg_prepared_xacts",
    ),
    (
        "transactions",
        "SELECT pid || ' ' || application_name AS what FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()",
    ),
    (
        "background workers",
        "SELECT pid || ' ' || backend_type AS what FROM pg_stat_activity WHERE backend_type NOT IN ('client backend', \
         'autovacuum launcher', 'autovacuum worker', 'logical replication launcher', 'background writer', \
         'checkpointer', 'walwriter', 'archiver', 'startup', 'io worker', 'slotsync worker')",
    ),
];

/// What is still there after a while, in words; all sessions must have nothing to do.
pub fn left_over(database: &Database) -> Vec<String> {
    let mut found = vec![];
    for (what, sql) in LOOKS {
        let mut rows = database.ask(sql);
        becomes_true(SOON, || {
            rows = database.ask(sql);
            rows.is_empty()
        });
        let names = rows.column("what").into_iter().flatten();
        found.extend(names.map(|name| format!("{what}: {name}")));
    }
    found
}

/// The dynamic shared memory segments of a server that has them in files.
#[derive(Clone, Copy, Debug)]
pub struct Segments(pub usize);

impl Segments {
    /// Those that the server has now.
    pub fn of(cluster: &Cluster) -> Result<Segments, Failure> {
        let folder = cluster.folder().join("data/pg_dynshmem");
        let files = std::fs::read_dir(&folder).during(format!("read {}", folder.display()))?;
        Ok(Segments(files.count()))
    }

    /// Fails where there are more now, but for two that the server's own statistics may have grown by.
    pub fn have_not_grown(self, cluster: &Cluster) -> Result<(), Failure> {
        let mut now = self;
        let has_gone = becomes_true(SOON, || {
            now = Self::of(cluster).unwrap_or(now);
            now.0 <= self.0 + 2
        });
        if has_gone {
            return Ok(());
        }
        let (before, now) = (self.0, now.0);
        Err(Failure::new(format!(
            "{now} segments of shared memory are left of {before}"
        )))
    }
}
