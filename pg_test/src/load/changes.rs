//! DDL made up at random. Any of it may fail: what it names may not be there, or be there already.

use fastrand::Rng;

use super::schema;

/// One statement, without quotes and backslashes.
///
/// Columns come and go on tables that come and go themselves: one that stays would keep the dropped ones for ever,
/// and every session that reads it would remember them.
pub fn change(rng: &mut Rng) -> String {
    let (table, other, tree) = (schema::table(rng), schema::table(rng), schema::tree(rng));
    let (partition, value) = schema::partition(&tree, rng);
    let (passing, renamed) = (schema::passing(rng), schema::renamed(rng));
    let extra = format!("extra_{}", rng.u8(..3));
    match rng.u8(..31) {
        0..5 => format!("CREATE TABLE {passing} (id int PRIMARY KEY, ref int, note text)"),
        5 => format!(
            "CREATE TABLE {passing} (id int PRIMARY KEY, ref int REFERENCES {table}, note text)"
        ),
        6 => format!("CREATE TABLE {passing} (LIKE {table} INCLUDING ALL)"),
        7..10 => format!("DROP TABLE IF EXISTS {passing} CASCADE"),
        10 => format!("DROP TABLE {passing}"),
        11..14 => format!("CREATE TABLE {partition} PARTITION OF {tree} FOR VALUES IN ({value})"),
        14 => format!("DROP TABLE {partition}"),
        15 => format!("ALTER TABLE {tree} DETACH PARTITION {partition}"),
        16 => format!("ALTER TABLE {tree} ATTACH PARTITION {partition} FOR VALUES IN ({value})"),
        17 => format!("ALTER TABLE {passing} ADD COLUMN {extra} int"),
        18 => format!("ALTER TABLE {passing} DROP COLUMN {extra}"),
        19 => format!("ALTER TABLE {passing} ALTER ref TYPE bigint"),
        20 => format!("CREATE INDEX {table}_note ON {table} (note)"),
        21 => format!("DROP INDEX IF EXISTS {table}_note"),
        22 => format!("CREATE INDEX {tree}_note ON {tree} (note)"),
        23 => format!("DROP INDEX {tree}_note"),
        24 => format!(
            "ALTER TABLE {table} ADD CONSTRAINT {table}_fk FOREIGN KEY (ref) REFERENCES {other} NOT VALID"
        ),
        25 => format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_fk"),
        26 => format!("ALTER TABLE {renamed} RENAME TO {renamed}_away"),
        27..29 => format!("ALTER TABLE IF EXISTS {renamed}_away RENAME TO {renamed}"),
        29 => format!(
            "ALTER TABLE {table} ALTER note SET STATISTICS {}",
            rng.u8(1..100)
        ),
        _ => format!("TRUNCATE {passing}, {partition}"),
    }
}
