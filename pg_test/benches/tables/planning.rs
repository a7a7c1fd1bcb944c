//! Table 8: how long `locks_of` works on a statement.

use std::time::Duration;

use pg_test::{Database, During, Failure};
use postgres::{Client, NoTls};

use crate::figures::{ms, spread};
use crate::sheet::Sheet;
use crate::world::{World, make_tree};

/// A table as an application has it.
const SCHEMA: &str = "
    CREATE TABLE customers (id bigserial PRIMARY KEY, email text UNIQUE, name text NOT NULL);
    CREATE TABLE products (id bigserial PRIMARY KEY, title text);
    CREATE TABLE orders (id bigserial PRIMARY KEY, customer bigint REFERENCES customers,
        product bigint REFERENCES products ON DELETE CASCADE, placed timestamptz DEFAULT now(), note text);
    CREATE INDEX ON orders (customer);
    CREATE INDEX ON orders (product);
    CREATE VIEW recent AS SELECT * FROM orders WHERE placed > now() - interval '1 day'";

const PLAIN: &str = "ALTER TABLE orders ADD COLUMN extra int";

const ON_PLAIN: [&str; 4] = [
    PLAIN,
    "DROP TABLE orders CASCADE",
    "CREATE INDEX CONCURRENTLY ON orders (placed)",
    "ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES products",
];

const PLAIN_ON_TREE: &str = "ALTER TABLE root ADD COLUMN extra int";

const ON_TREE: [&str; 5] = [
    PLAIN_ON_TREE,
    "CREATE INDEX ON root (note)",
    "TRUNCATE root",
    "DROP TABLE root",
    "ALTER TABLE orders ADD FOREIGN KEY (id) REFERENCES root (id) NOT VALID",
];

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    sheet.heading(
        "8. Planning",
        "`locks_of` some statements, as the client waits for the answer: median and maximum of 200 calls (of 15 on \
         the tree of 10,000 partitions, each with a primary key).",
    );
    let cluster = world.start_cluster(&[("max_locks_per_transaction", "1200")])?;
    let database = cluster.create_database()?;
    database.session("setup").run(SCHEMA);
    make_tree(&database, "id int PRIMARY KEY, note text");
    let mut client = connect(&database)?;
    let mut rows = vec![];
    let mut plain = Duration::ZERO;
    let mut plain_on_tree = Duration::ZERO;
    for (statements, calls) in [(&ON_PLAIN[..], 200), (&ON_TREE[..], 15)] {
        for statement in statements {
            let asked = ask(&mut client, statement, calls)?;
            match *statement {
                PLAIN => plain = asked.median,
                PLAIN_ON_TREE => plain_on_tree = asked.median,
                _ => (),
            }
            rows.push(vec![
                format!("`{statement}`"),
                asked.relations.to_string(),
                ms(asked.median),
                ms(asked.max),
            ]);
        }
    }
    sheet.table(&["statement", "rows", "median", "maximum"], &rows);
    sheet.target(
        plain < Duration::from_millis(1),
        "a plain ALTER TABLE under 1 ms",
        &ms(plain),
    );
    sheet.target(
        plain_on_tree < Duration::from_millis(100),
        "the same of a tree of 10,000 partitions under 100 ms",
        &ms(plain_on_tree),
    );
    sheet.end_targets();
    Ok(())
}

fn connect(database: &Database) -> Result<Client, Failure> {
    database.config().connect(NoTls).during("connect")
}

struct Asked {
    relations: i64,
    median: Duration,
    max: Duration,
}

fn ask(client: &mut Client, statement: &str, calls: u32) -> Result<Asked, Failure> {
    let prepared = client
        .prepare("SELECT count(*) FROM lockguard.locks_of($1)")
        .during("prepare")?;
    let mut times = vec![];
    let mut relations = 0;
    for _ in 0..calls {
        let start = std::time::Instant::now();
        let row = client.query_one(&prepared, &[&statement]).during("ask")?;
        times.push(start.elapsed());
        relations = row.get(0);
    }
    let times = spread(times);
    Ok(Asked {
        relations,
        median: times.median,
        max: times.max,
    })
}
