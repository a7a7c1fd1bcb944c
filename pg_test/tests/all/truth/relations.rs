//! The relations that the random arrangements lock, and how an ordinary statement asks for one lock on one of them.

use pg_test::Database;

use super::mode::Mode;

/// Every table has several pages, so that each worker of a parallel scan finds one.
const SCHEMA: &str = "
    CREATE TABLE plain AS SELECT i AS id, i AS n, repeat('x', 300) AS filler FROM generate_series(1, 300) i;
    ALTER TABLE plain ADD PRIMARY KEY (id);
    CREATE INDEX plain_n ON plain (n);

    CREATE TABLE toasty (id int PRIMARY KEY, big text);
    ALTER TABLE toasty ALTER COLUMN big SET STORAGE EXTERNAL;
    INSERT INTO toasty SELECT i, repeat('x', 5000) FROM generate_series(1, 10) i;

    CREATE TABLE parted (id int PRIMARY KEY, filler text) PARTITION BY RANGE (id);
    CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
    CREATE TABLE part_2 PARTITION OF parted FOR VALUES FROM (100) TO (10000000) PARTITION BY RANGE (id);
    CREATE TABLE part_2a PARTITION OF part_2 FOR VALUES FROM (100) TO (200);
    CREATE TABLE part_2b PARTITION OF part_2 FOR VALUES FROM (200) TO (10000000);
    INSERT INTO parted SELECT i, repeat('x', 300) FROM generate_series(1, 299) i;

    CREATE TABLE parent (id int PRIMARY KEY, filler text);
    INSERT INTO parent SELECT i, repeat('x', 300) FROM generate_series(1, 200) i;
    CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent, filler text);
    INSERT INTO child SELECT i, 1 + i % 100, repeat('x', 300) FROM generate_series(1, 200) i;
    CREATE INDEX child_parent ON child (parent_id);

    CREATE FUNCTION doze(int) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE COST 100000
        AS 'BEGIN PERFORM pg_sleep(3600); RETURN true; END';
    DO $$BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE idle_%s ()', i); END LOOP; END$$;
    ANALYZE;
";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    Index,
    Toast,
}

/// A relation that locks are asked about.
#[derive(Clone)]
pub struct Relation {
    pub oid: u32,
    /// As in SQL.
    pub name: String,
    kind: Kind,
}

impl Relation {
    /// A statement that asks for this very lock, and the mode that it asks for; none where no ordinary
    /// statement does.
    ///
    /// What it locks besides comes later, so that it hangs here first if it hangs here at all.
    pub fn request(&self, mode: Mode) -> Option<String> {
        let name = &self.name;
        match self.kind {
            Kind::Table => Some(format!("LOCK TABLE ONLY {name} IN {} MODE", mode.sql())),
            Kind::Index if mode == Mode::SHARE_UPDATE_EXCLUSIVE => {
                Some(format!("ALTER INDEX {name} SET (fillfactor = 80)"))
            }
            Kind::Index if mode == Mode::ACCESS_EXCLUSIVE => {
                Some(format!("ALTER INDEX {name} SET TABLESPACE pg_default"))
            }
            Kind::Toast if mode == Mode::ACCESS_SHARE => {
                Some(format!("SELECT count(*) FROM {name}"))
            }
            Kind::Toast if mode == Mode::SHARE => Some(format!("REINDEX TABLE {name}")),
            Kind::Index | Kind::Toast => None,
        }
    }

    pub fn is_table(&self) -> bool {
        self.kind == Kind::Table
    }
}

/// All of them.
pub struct Relations {
    pub all: Vec<Relation>,
    /// The OIDs of sixty tables that nobody locks.
    pub idle: String,
}

impl Relations {
    pub fn create(database: &Database) -> Self {
        let session = database.session("schema");
        session.run(SCHEMA);
        let all = session.run(
            "SELECT oid, oid::regclass AS name, relkind FROM pg_class \
             WHERE relname IN ('plain', 'toasty', 'parted', 'part_1', 'part_2', 'part_2a', 'parent', 'child', \
                               'plain_n', 'child_pkey', 'part_1_pkey') \
                OR oid = (SELECT reltoastrelid FROM pg_class WHERE relname = 'toasty') ORDER BY oid",
        );
        let all = all
            .iter()
            .map(|row| Relation {
                oid: row.text("oid").parse().unwrap(),
                name: row.text("name").to_owned(),
                kind: match row.text("relkind") {
                    "i" => Kind::Index,
                    "t" => Kind::Toast,
                    _ => Kind::Table,
                },
            })
            .collect();
        let idle = session.run(
            "SELECT string_agg(oid::text, ', ') FROM pg_class WHERE relname ~ '^idle_[0-9]+$'",
        );
        Self {
            all,
            idle: idle.value().unwrap().to_owned(),
        }
    }

    /// Those that `LOCK TABLE` takes.
    pub fn tables(&self) -> Vec<&Relation> {
        self.all.iter().filter(|r| r.is_table()).collect()
    }
}
