//! What there is to name and to change. The names are few, so that they are often hit, and so that what sessions
//! remember of them stays within bounds.

use fastrand::Rng;

use crate::Database;

/// A role with few rights.
pub const CLERK: &str = "clerk";

/// Tables that stay, referencing each other at times; the application works on the first of them.
const TABLES: usize = 8;

/// Of these the application works on the first ones, which are never renamed.
pub const SHARED: usize = 4;

/// Partitioned tables, and how many partitions each can have.
const TREES: usize = 3;
const PARTITIONS: usize = 6;

/// Tables that come and go.
const PASSING: usize = 12;

/// Makes it, and what the application has to itself: `own_0` and on.
pub fn make(database: &Database) {
    let setup = database.session("setup");
    setup.run(&format!(
        "DO $$BEGIN IF to_regrole('{CLERK}') IS NULL THEN CREATE ROLE {CLERK} LOGIN; END IF; END$$; \
         ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT ON TABLES TO {CLERK}; \
         GRANT SELECT ON pg_backend_memory_contexts TO {CLERK}; \
         GRANT EXECUTE ON FUNCTION pg_get_backend_memory_contexts TO {CLERK}"
    ));
    for number in 0..TABLES {
        setup.run(&format!(
            "CREATE TABLE t{number} (id int PRIMARY KEY, ref int, note text); \
             INSERT INTO t{number} SELECT i, i, 'note ' || i FROM generate_series(1, 200) i"
        ));
    }
    for number in 0..TABLES / 2 {
        setup.run(&format!("GRANT UPDATE, TRUNCATE ON t{number} TO {CLERK}"));
    }
    for number in 0..TREES {
        setup.run(&format!(
            "CREATE TABLE p{number} (id int PRIMARY KEY, ref int, note text) PARTITION BY LIST (id)"
        ));
    }
    for number in 0..4 {
        setup.run(&format!(
            "CREATE TABLE own_{number} (id int PRIMARY KEY, hits int NOT NULL DEFAULT 0, note text) \
             WITH (autovacuum_enabled = off, fillfactor = 50); \
             INSERT INTO own_{number} SELECT i, 0, repeat('x', 100) FROM generate_series(1, 5000) i"
        ));
    }
    setup.run("VACUUM ANALYZE");
}

/// A table that is always there, under this name nearly always.
pub fn table(rng: &mut Rng) -> String {
    format!("t{}", rng.usize(..TABLES))
}

/// A partitioned table.
pub fn tree(rng: &mut Rng) -> String {
    format!("p{}", rng.usize(..TREES))
}

/// A partition of it, that may be there, and the value it is for.
pub fn partition(tree: &str, rng: &mut Rng) -> (String, usize) {
    let value = rng.usize(..PARTITIONS);
    (format!("{tree}_{value}"), value)
}

/// A table that may be there.
pub fn passing(rng: &mut Rng) -> String {
    format!("made_{}", rng.usize(..PASSING))
}

/// A table that is renamed at times.
pub fn renamed(rng: &mut Rng) -> String {
    format!("t{}", rng.usize(SHARED..TABLES))
}

/// Anything that can be locked, and may not be there.
pub fn relation(rng: &mut Rng) -> String {
    match rng.u8(..20) {
        0..8 => table(rng),
        8..11 => tree(rng),
        11..13 => partition(&tree(rng), rng).0,
        13..17 => passing(rng),
        17 => format!("{}_pkey", table(rng)),
        18 => format!("{}_note", table(rng)),
        _ => format!("{}_away", renamed(rng)),
    }
}
