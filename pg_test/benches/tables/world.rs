//! What the tables share: the installation, and a server with the table that the application works on.

use std::cell::OnceCell;

use pg_test::{Cluster, Database, Failure, Installation};

/// The table that the application works on and the DDL changes.
pub const TABLE: &str = "orders";

/// The rows that the application works on, `id` from 1 on, of some 1,000 bytes each in a dump.
pub const ROWS: u64 = 30_000;

/// Bytes a second at which a dump of it takes half a minute.
pub const HALF_A_MINUTE: u64 = 1_000_000;

/// The DDL of all tables.
pub const DDL: &str = "ALTER TABLE orders ADD COLUMN extra int";

/// Undoes it, where it was done.
pub const UNDO: &str = "ALTER TABLE orders DROP COLUMN IF EXISTS extra";

/// Nothing in it exists before it is asked for.
pub struct World {
    // The server is dropped before the installation it runs from.
    cluster: OnceCell<Cluster>,
    installation: Installation,
}

impl World {
    pub fn new(installation: Installation) -> World {
        World {
            cluster: OnceCell::new(),
            installation,
        }
    }

    /// What the numbers were taken on.
    pub fn describe(&self) -> String {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        format!(
            "{}, {processors} processors, lockguard built for release; all servers and clients share the machine.",
            self.installation.postgres().version
        )
    }

    /// What servers are started from.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// A server of one's own, with these settings.
    pub fn start_cluster(&self, settings: &[(&str, &str)]) -> Result<Cluster, Failure> {
        Cluster::start(&self.installation, settings)
    }

    /// The server that tables share: default settings, no autovacuum.
    pub fn cluster(&self) -> Result<&Cluster, Failure> {
        if self.cluster.get().is_none() {
            let _ = self.cluster.set(self.start_cluster(&[])?);
        }
        self.cluster.get().ok_or_else(|| Failure::new("no server"))
    }

    /// A fresh database with the table, in the shared server.
    pub fn database(&self) -> Result<Database, Failure> {
        let database = self.cluster()?.create_database()?;
        make_table(&database, TABLE, ROWS, "");
        Ok(database)
    }
}

/// Makes such a table, with so many rows and these storage parameters.
pub fn make_table(database: &Database, name: &str, rows: u64, parameters: &str) {
    let with = if parameters.is_empty() {
        String::new()
    } else {
        format!("WITH ({parameters})")
    };
    database.session("setup").run(&format!(
        "CREATE TABLE {name} (id int PRIMARY KEY, hits int NOT NULL DEFAULT 0, note text) {with}; \
         INSERT INTO {name} SELECT i, 0, repeat(md5(i::text), 30) FROM generate_series(1, {rows}) i; ANALYZE {name}"
    ));
}

/// Makes the partitioned table `root` with these columns, `id` among them: 100 branches, and 99 leaves of each.
pub fn make_tree(database: &Database, columns: &str) {
    let setup = database.session("setup");
    setup.run(&format!(
        "CREATE TABLE root ({columns}) PARTITION BY RANGE (id)"
    ));
    for branch in 0..100 {
        let (from, to) = (branch * 99, branch * 99 + 99);
        setup.run(&format!(
            "CREATE TABLE branch_{branch} PARTITION OF root FOR VALUES FROM ({from}) TO ({to}) PARTITION BY LIST (id); \
             DO $$BEGIN FOR i IN {from} .. {to} - 1 LOOP \
             EXECUTE format('CREATE TABLE leaf_%s PARTITION OF branch_{branch} FOR VALUES IN (%s)', i, i); END LOOP; END$$"
        ));
    }
}
