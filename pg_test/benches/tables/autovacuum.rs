//! A server whose autovacuum is at work on the table, slowly: it comes back whenever it was sent away.

use std::time::Duration;

use pg_test::{Cluster, Database, Failure, wait_until};

use crate::world::{ROWS, TABLE, World, make_table};

/// A page takes a worker a tenth of a second at least.
const SLOWLY: &str = "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, \
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1";

/// The server, and its database with the table.
pub fn start(world: &World) -> Result<(Cluster, Database), Failure> {
    let cluster = world.start_cluster(&[("autovacuum", "on"), ("autovacuum_naptime", "1s")])?;
    let database = cluster.create_database()?;
    make_table(&database, TABLE, ROWS, SLOWLY);
    database
        .session("setup")
        .run(&format!("DELETE FROM {TABLE} WHERE id > {ROWS} / 2"));
    Ok((cluster, database))
}

/// The worker, once it is at work on the table.
pub fn worker(database: &Database) -> i32 {
    let looker = database.session("looker");
    let sql = format!(
        "SELECT a.pid FROM pg_stat_progress_vacuum p JOIN pg_stat_activity a USING (pid) \
         WHERE a.backend_type = 'autovacuum worker' AND p.relid = '{TABLE}'::regclass"
    );
    let mut pid = None;
    wait_until(
        "a worker is at work on the table",
        Duration::from_secs(60),
        || {
            pid = looker.run(&sql).value().and_then(|pid| pid.parse().ok());
            pid.is_some()
        },
    );
    pid.unwrap_or_default()
}
