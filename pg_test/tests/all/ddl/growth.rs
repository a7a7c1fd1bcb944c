//! Statements made up for the relations that a database has: those that add to it, and those that do anything else.

use fastrand::Rng;
use pg_test::Session;

/// A relation, and what can be said about it.
struct Found {
    name: String,
    kind: char,
    columns: Vec<String>,
    indexes: Vec<String>,
    constraints: Vec<String>,
    triggers: Vec<String>,
    partitions: Vec<String>,
}

/// What there is to choose from.
pub struct Grown(Vec<Found>);

const FOUND: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind AS kind,
        (SELECT string_agg(quote_ident(attname), chr(10) ORDER BY attnum) FROM pg_attribute
            WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
        (SELECT string_agg(quote_ident(i.relname), chr(10) ORDER BY i.relname) FROM pg_index x
            JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = c.oid) AS indexes,
        (SELECT string_agg(quote_ident(conname), chr(10) ORDER BY conname) FROM pg_constraint
            WHERE conrelid = c.oid) AS constraints,
        (SELECT string_agg(quote_ident(tgname), chr(10) ORDER BY tgname) FROM pg_trigger
            WHERE tgrelid = c.oid AND NOT tgisinternal) AS triggers,
        (SELECT string_agg(inhrelid::regclass::text, chr(10) ORDER BY inhrelid) FROM pg_inherits
            WHERE inhparent = c.oid AND c.relkind = 'p') AS partitions
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I')
        AND n.nspname NOT IN ('lockguard', 'pg_toast')
    ORDER BY 1";

impl Grown {
    /// What there is now.
    pub fn of(session: &Session) -> Self {
        let rows = session.run(FOUND);
        let found = rows.iter().map(|row| {
            let list = |column| {
                let text = row.get(column).unwrap_or_default();
                text.lines().map(str::to_owned).collect::<Vec<String>>()
            };
            Found {
                name: row.text("name").to_owned(),
                kind: row.text("kind").chars().next().unwrap_or_default(),
                columns: list("columns"),
                indexes: list("indexes"),
                constraints: list("constraints"),
                triggers: list("triggers"),
                partitions: list("partitions"),
            }
        });
        Self(found.collect())
    }

    /// One of those kinds.
    fn any(&self, kinds: &str, rng: &mut Rng) -> &Found {
        let of_kind: Vec<&Found> = self
            .0
            .iter()
            .filter(|one| kinds.contains(one.kind))
            .collect();
        of_kind[rng.usize(..of_kind.len())]
    }
}

/// One of a list; a name that nothing has, if it is empty.
fn pick<'a>(list: &'a [String], rng: &mut Rng) -> &'a str {
    match list.is_empty() {
        true => "nothing_there",
        false => &list[rng.usize(..list.len())],
    }
}

/// A statement that adds something called `grown_<at>`; it may fail.
pub fn addition(grown: &Grown, at: usize, rng: &mut Rng) -> String {
    let (table, other) = (grown.any("rp", rng), grown.any("rp", rng));
    let (source, source_2) = (grown.any("rpvm", rng), grown.any("rpvm", rng));
    let (t, u) = (&table.name, &other.name);
    let column = pick(&table.columns, rng);
    let name = format!("grown_{at}");
    match rng.u8(0..16) {
        0..3 => format!(
            "CREATE VIEW {name} AS SELECT x.{} AS a, y.{} AS b FROM {} x, {} y",
            pick(&source.columns, rng),
            pick(&source_2.columns, rng),
            source.name,
            source_2.name,
        ),
        3 => format!(
            "CREATE MATERIALIZED VIEW {name} AS SELECT x.{} AS a FROM {} x LIMIT 10",
            pick(&source.columns, rng),
            source.name,
        ),
        4 | 5 => format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, a int REFERENCES {t}, b int REFERENCES {u} ON DELETE CASCADE, c text)"
        ),
        6 => format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, a int REFERENCES {t}, c text) PARTITION BY RANGE (id);
             CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES FROM (0) TO (100);
             CREATE TABLE {name}_2 PARTITION OF {name} FOR VALUES FROM (100) TO (200) PARTITION BY HASH (id);
             CREATE TABLE {name}_2a PARTITION OF {name}_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
             CREATE TABLE {name}_d PARTITION OF {name} DEFAULT"
        ),
        7 => format!("CREATE TABLE {name} (id int PRIMARY KEY, c text) PARTITION BY LIST (id)"),
        8 => format!("CREATE TABLE {name} (extra{at} int, c{at} text) INHERITS ({t})"),
        9 => format!("CREATE INDEX {name} ON {t} ({column})"),
        10 => format!(
            "CREATE TRIGGER {name} AFTER INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION note()"
        ),
        11 => format!("CREATE POLICY {name} ON {t} USING (EXISTS (SELECT FROM {u}))"),
        12 => format!("CREATE RULE {name} AS ON UPDATE TO {t} DO ALSO DELETE FROM {u}"),
        13 => format!("CREATE TABLE {name} (id serial PRIMARY KEY, c text); CREATE SEQUENCE {name}_s OWNED BY {t}.{column}"),
        14 => format!("CREATE PUBLICATION {name} FOR TABLE {t}, {u} WITH (publish = 'insert')"),
        _ => format!("CREATE STATISTICS {name} ON {column}, {} FROM {t}", pick(&table.columns, rng)),
    }
}

/// Any statement on anything; it may fail.
pub fn statement(grown: &Grown, rng: &mut Rng) -> String {
    let (table, other) = (grown.any("rp", rng), grown.any("rp", rng));
    let (t, u) = (&table.name, &other.name);
    let (c, k) = (pick(&table.columns, rng), pick(&table.constraints, rng));
    let only = ["", "", "ONLY "][rng.usize(..3)];
    let cascade = ["", " CASCADE", " CASCADE"][rng.usize(..3)];
    let statement = match rng.u8(0..54) {
        0..3 => format!("DROP TABLE {t}{cascade}"),
        3 => format!("DROP TABLE {t}, {u} CASCADE"),
        4..6 => format!("TRUNCATE {only}{t}{cascade}"),
        6 => format!("ALTER TABLE {only}{t} ADD COLUMN z int"),
        7 => format!("ALTER TABLE {t} ADD COLUMN z float8 DEFAULT random()"),
        8 => format!("ALTER TABLE {t} ADD COLUMN z int REFERENCES {u}"),
        9..12 => format!("ALTER TABLE {only}{t} DROP COLUMN {c}{cascade}"),
        12 => format!("ALTER TABLE {t} ALTER {c} TYPE bigint"),
        13 => format!("ALTER TABLE {t} ALTER {c} TYPE varchar(200)"),
        14 => format!("ALTER TABLE {t} ALTER {c} SET NOT NULL"),
        15 => format!("ALTER TABLE {only}{t} ALTER {c} SET DEFAULT NULL"),
        16 => format!("ALTER TABLE {t} RENAME TO renamed"),
        17 => format!("ALTER TABLE {t} RENAME {c} TO renamed"),
        18 => format!("ALTER TABLE {t} SET SCHEMA archive"),
        19 => format!("ALTER TABLE {t} OWNER TO clerk"),
        20 => format!("CREATE INDEX ON {only}{t} ({c})"),
        21 => format!(
            "CREATE UNIQUE INDEX ON {t} ({c}, {})",
            pick(&table.columns, rng)
        ),
        22 => format!("LOCK TABLE {only}{t} IN SHARE MODE"),
        23 => format!(
            "LOCK TABLE {} IN ROW EXCLUSIVE MODE",
            grown.any("v", rng).name
        ),
        24 => format!("ANALYZE {t}"),
        25 => format!("REINDEX TABLE {t}"),
        26 => format!("ALTER TABLE {t} SET (fillfactor = 80)"),
        27 => format!(
            "ALTER TABLE {t} DISABLE TRIGGER {}",
            ["ALL", "USER"][rng.usize(..2)]
        ),
        28 => format!("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY"),
        29 => format!("CREATE TRIGGER z AFTER DELETE ON {t} FOR EACH ROW EXECUTE FUNCTION note()"),
        30 => format!("COMMENT ON COLUMN {t}.{c} IS 'z'"),
        31 => format!("GRANT SELECT ON {t} TO helper"),
        32 => format!("CREATE VIEW z AS SELECT * FROM {t}"),
        33 => format!("CREATE TABLE z (LIKE {t} INCLUDING ALL)"),
        34 => format!("CREATE TABLE z () INHERITS ({t}, {u})"),
        35 => format!("CREATE TABLE z (a int REFERENCES {t}, b int REFERENCES {u})"),
        36 => format!("DELETE FROM {only}{t} WHERE false"),
        37 => format!("SELECT count(*) FROM {only}{t}"),
        38..40 => format!("DROP VIEW {}{cascade}", grown.any("v", rng).name),
        40 => format!(
            "DROP MATERIALIZED VIEW {}{cascade}",
            grown.any("m", rng).name
        ),
        41 => format!("REFRESH MATERIALIZED VIEW {}", grown.any("m", rng).name),
        42 => format!("DROP INDEX {}{cascade}", grown.any("iI", rng).name),
        43 => format!("REINDEX INDEX {}", grown.any("i", rng).name),
        44 => format!("DROP SEQUENCE {}{cascade}", grown.any("S", rng).name),
        45..48 => format!("ALTER TABLE {only}{t} DROP CONSTRAINT {k}{cascade}"),
        48 => format!("ALTER TABLE {t} VALIDATE CONSTRAINT {k}"),
        49 => {
            let parent = grown.any("p", rng);
            let partition = pick(&parent.partitions, rng);
            format!("ALTER TABLE {} DETACH PARTITION {partition}", parent.name)
        }
        50 => format!("CLUSTER {t} USING {}", pick(&table.indexes, rng)),
        51 => format!("DROP TRIGGER {} ON {t}", pick(&table.triggers, rng)),
        52 => format!("ALTER TABLE {t} RENAME CONSTRAINT {k} TO renamed"),
        _ => format!("ALTER TABLE {t} ADD FOREIGN KEY ({c}) REFERENCES {u} NOT VALID"),
    };
    format!("{statement};")
}
