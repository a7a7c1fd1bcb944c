//! What nobody would write and anybody may ask: `locks_of` answers it or refuses it, soon, and the server goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::Session;

use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        huge_statements_are_answered_or_refused,
        views_that_read_each_other_come_to_an_end,
        a_net_of_views_is_looked_through_once,
        a_long_chain_of_views_is_followed,
        ten_thousand_savepoints_cost_little,
        savepoints_bring_back_what_was,
        a_timeout_ends_a_long_script,
    ]
}

/// What ends a statement that asks too much: nested too deeply, more memory than the parser has or than one
/// allocation may be, more columns than there may be.
const REFUSALS: [&str; 5] = ["54001", "54000", "53200", "42601", "54011"];

/// How many rows it answers to a text that an expression makes, or the code that it refuses it with.
fn ask(session: &Session, text: &str) -> Result<usize, String> {
    let query = format!("SELECT count(*) FROM lockguard.locks_of({text})");
    match session.try_run(&query) {
        Ok(rows) => Ok(rows.value().unwrap().parse().unwrap()),
        Err(error) => Err(match error.as_db_error() {
            Some(error) => error.code().code().to_owned(),
            None => error.to_string(),
        }),
    }
}

fn huge_statements_are_answered_or_refused(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let session = database.session("app");
    session.run("CREATE TABLE a (id int); CREATE TABLE t (id int); CREATE TABLE b (id int)");
    for text in [
        "'SELECT 1 FROM ' || repeat('a CROSS JOIN ', 100000) || 'a FOR UPDATE'",
        "'SELECT 1 FROM ' || repeat('(a CROSS JOIN ', 1500) || 'a' || repeat(')', 1500) || ' FOR UPDATE'",
        "'SELECT 1 FROM ' || repeat('a, ', 100000) || 'a FOR UPDATE'",
        "'SELECT 1' || repeat(' UNION SELECT 1', 100000)",
        "repeat('(', 100000) || 'SELECT 1' || repeat(')', 100000)",
        "'SELECT ' || repeat('(', 3000) || '1' || repeat(')', 3000)",
        "'SELECT ' || repeat('(SELECT ', 2000) || '1' || repeat(')', 2000)",
        "'SELECT ' || repeat('NOT ', 9000) || 'true'",
        "repeat('SELECT * FROM (', 1500) || 'SELECT * FROM a' || repeat(') s', 1500) || ' FOR UPDATE'",
        "'SELECT 1 WHERE true' || repeat(' AND true', 100000)",
        "'SELECT 1' || repeat(' + 1', 100000)",
        "'SELECT 1' || repeat('::text', 100000)",
        "'SELECT nextval(''a''' || repeat('::text', 100000) || ')'",
        "'ALTER TABLE t ADD c int DEFAULT 1' || repeat(' + 1', 100000)",
        "'ALTER TABLE t ADD CHECK (true' || repeat(' OR id = 1', 100000) || ')'",
        "'CREATE INDEX ON t ((id' || repeat(' + 1', 100000) || '))'",
        "'CREATE VIEW v AS SELECT 1' || repeat(' UNION SELECT 1', 100000)",
        "'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ' || repeat('SELECT * FROM a; ', 100000) || 'END'",
        "'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1' || repeat(' + 1', 100000) || '; END'",
        "'WITH ' || (SELECT string_agg(format('w%s AS (SELECT * FROM a)', i), ', ') FROM generate_series(1, 20000) i) || ' SELECT * FROM w1'",
        "repeat('SELECT 1;', 100000)",
        "repeat('SELECT * FROM a; DROP TABLE a;', 50000)",
        "'CREATE TABLE made (' || repeat('c int, ', 100000) || 'd int)'",
        "'CREATE TABLE made (' || repeat('c int CHECK (c > 1), ', 100000) || 'd int)'",
        "'ALTER TABLE t ' || repeat('ADD c int, ', 100000) || 'ADD d int'",
        "'DROP TABLE ' || repeat('a, ', 100000) || 'b'",
        "'LOCK TABLE ' || repeat('a, ', 100000) || 'b'",
        "'TRUNCATE ' || repeat('a, ', 30000) || 'b'",
        "(SELECT string_agg(format('CREATE DOMAIN d%s AS int; ALTER TABLE t ADD c%s d%s;', i, i, i), '') FROM generate_series(1, 10000) i)",
        "(SELECT string_agg(format('CREATE TABLE m%s (); ', i), '') || string_agg(format('DROP TABLE m%s; ', i), '') FROM generate_series(1, 20000) i)",
    ] {
        let before = Instant::now();
        let answer = ask(&session, text);
        let took = before.elapsed();
        println!("{:>6} ms, {answer:?}: {text}", took.as_millis());
        if let Err(code) = &answer {
            assert!(REFUSALS.contains(&&**code), "{text}: {code}");
        }
        assert!(
            took < pg_test::slow(Duration::from_secs(30)),
            "{text}: {took:?}"
        );
        assert_eq!(ask(&session, "'DROP TABLE b'"), Ok(1), "after {text}");
    }
}

const READ_EACH_OTHER: &str = "CREATE VIEW v1 AS SELECT 1 x; CREATE VIEW v2 AS SELECT * FROM v1; \
     CREATE OR REPLACE VIEW v1 AS SELECT * FROM v2;";

const USES_OF_VIEWS: [&str; 7] = [
    "SELECT * FROM {v}",
    "INSERT INTO {v} VALUES (1)",
    "LOCK TABLE {v}",
    "LOCK TABLE {v} IN ROW SHARE MODE",
    "CREATE MATERIALIZED VIEW m AS SELECT * FROM {v}; REFRESH MATERIALIZED VIEW m",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM {v}; SELECT 1'",
    "CREATE TABLE copied AS SELECT * FROM {v}",
];

fn views_that_read_each_other_come_to_an_end(world: &World) {
    let cluster = world.start_cluster(&[]);
    let (made, given) = (
        cluster.create_database().unwrap(),
        cluster.create_database().unwrap(),
    );
    given.session("schema").run(READ_EACH_OTHER);
    given.session("schema").run("CREATE MATERIALIZED VIEW kept AS SELECT 1 x; CREATE VIEW on_kept AS SELECT kept.x FROM kept, v1");
    let (made, given) = (made.session("app"), given.session("app"));
    for usage in USES_OF_VIEWS {
        let usage = usage.replace("{v}", "v1");
        let answer = ask(&given, &format!("$locks${usage}$locks$"));
        assert!(matches!(answer, Ok(2..)), "{usage}: {answer:?}");
        let script = format!("$locks${READ_EACH_OTHER}{usage}$locks$");
        let answer = ask(&made, &script);
        assert!(answer.is_ok(), "{script}: {answer:?}");
        // Those that exist are made to read each other by the script.
        let script = format!(
            "$locks$CREATE VIEW v3 AS SELECT * FROM v1; CREATE OR REPLACE VIEW v2 AS SELECT * FROM v3;{usage}$locks$"
        );
        let answer = ask(&given, &script);
        assert!(matches!(answer, Ok(2..)), "{script}: {answer:?}");
    }
}

/// Two views a level, each of which reads both of the level below.
fn net(depth: usize) -> String {
    let levels = (1..=depth).map(|level| {
        let below = level - 1;
        let of = |side| {
            format!("CREATE VIEW {side}{level} AS SELECT a{below}.x FROM a{below}, b{below};")
        };
        of('a') + &of('b')
    });
    "CREATE VIEW a0 AS SELECT 1 x; CREATE VIEW b0 AS SELECT 1 x;".to_owned()
        + &levels.collect::<String>()
}

fn a_net_of_views_is_looked_through_once(world: &World) {
    const DEPTH: usize = 40;
    let (made, given) = (world.database(), world.database());
    given.session("schema").run(&net(DEPTH));
    let (made, given) = (made.session("app"), given.session("app"));
    for session in [&made, &given] {
        session.run("SET statement_timeout = '5s'");
    }
    for usage in USES_OF_VIEWS {
        let usage = usage.replace("{v}", &format!("a{DEPTH}"));
        let answer = ask(&given, &format!("$locks${usage}$locks$"));
        assert!(
            answer.as_ref().is_ok_and(|rows| *rows > 2 * DEPTH),
            "{usage}: {answer:?}"
        );
        let answer = ask(&made, &format!("$locks${}{usage}$locks$", net(DEPTH)));
        assert!(answer.is_ok(), "{usage}: {answer:?}");
    }
}

fn a_long_chain_of_views_is_followed(world: &World) {
    const LENGTH: usize = 50_000;
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let session = database.session("app");
    session.run("CREATE TABLE t (x int)");
    for usage in USES_OF_VIEWS {
        let usage = usage.replace("{v}", &format!("v{LENGTH}"));
        let answer = ask(
            &session,
            &format!(
                "'CREATE VIEW v0 AS SELECT * FROM t;' || (SELECT string_agg(format('CREATE VIEW v%s AS SELECT * FROM v%s;', i, i - 1), '' ORDER BY i) \
                 FROM generate_series(1, {LENGTH}) i) || $locks${usage}$locks$"
            ),
        );
        assert!(answer.is_ok(), "{usage}: {answer:?}");
    }
}

/// The most memory that the process of a session has had, in kilobytes.
fn peak(session: &Session) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", session.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn ten_thousand_savepoints_cost_little(world: &World) {
    let database = world.database();
    database
        .session("schema")
        .run("CREATE TABLE t (id int PRIMARY KEY)");
    for (each, end) in [
        ("CREATE TABLE made_%1$s (); SAVEPOINT s;", ""),
        (
            "CREATE TABLE made_%1$s (); SAVEPOINT s%1$s;",
            "ROLLBACK TO s1; DROP TABLE t",
        ),
        ("CREATE TABLE made_%1$s (); SAVEPOINT s; ROLLBACK TO s;", ""),
        (
            "CREATE TABLE made_%1$s (); SAVEPOINT s; RELEASE s;",
            "ROLLBACK",
        ),
        (
            "CREATE TABLE made_%1$s (id int REFERENCES t); SAVEPOINT s;",
            "ROLLBACK",
        ),
        ("CREATE DOMAIN made_%1$s AS int; SAVEPOINT s;", "ROLLBACK"),
        (
            "ALTER TABLE t ADD CONSTRAINT k%1$s FOREIGN KEY (id) REFERENCES t; SAVEPOINT s;",
            "ROLLBACK",
        ),
        (
            "ALTER TABLE t RENAME TO t%1$s; ALTER TABLE t%1$s RENAME TO t; SAVEPOINT s;",
            "ROLLBACK",
        ),
        (
            "CREATE SCHEMA made_%1$s; SAVEPOINT s; SET search_path = public, made_%1$s; SAVEPOINT s;",
            "ROLLBACK",
        ),
        (
            "CREATE OR REPLACE VIEW v AS SELECT * FROM t; SAVEPOINT s; ",
            "ROLLBACK",
        ),
        (
            "CREATE TABLE made (); SAVEPOINT s; ALTER TABLE made ADD FOREIGN KEY (id) REFERENCES t;",
            "ROLLBACK",
        ),
    ] {
        let session = database.session("app");
        session.run("SET statement_timeout = '60s'");
        ask(&session, "'BEGIN; SAVEPOINT s; DROP TABLE t; ROLLBACK'").unwrap();
        let (before, start) = (peak(&session), Instant::now());
        let answer = ask(
            &session,
            &format!(
                "'BEGIN;' || (SELECT string_agg(format('{each}', i), '' ORDER BY i) FROM generate_series(1, 10000) i) || '{end}'"
            ),
        );
        let more = peak(&session) - before;
        println!(
            "{:>6} ms, {more} kB, {answer:?}: {each} {end}",
            start.elapsed().as_millis()
        );
        assert!(answer.is_ok(), "{each}: {answer:?}");
        assert!(more < 200_000, "{each}: {more} kB");
    }
}

fn savepoints_bring_back_what_was(world: &World) {
    let database = world.database();
    let session = database.session("app");
    session.run(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE s (id int);
         CREATE DOMAIN d AS int; CREATE DOMAIN checked AS int CHECK (VALUE > 0);
         CREATE VIEW v AS SELECT * FROM t; CREATE SCHEMA other; CREATE TABLE other.t (id int);
         CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
         CREATE SEQUENCE q; CREATE INDEX i ON s (id)",
    );
    let answers = |script: &str| -> Vec<String> {
        let last = script.matches(';').count() + 1;
        let rows = session.run(&format!(
            "SELECT concat_ws(' ', relation, mode, reason) AS row FROM lockguard.locks_of($locks${script}$locks$) \
             WHERE statement = {last}"
        ));
        rows.iter().map(|row| row.text("row").to_owned()).collect()
    };
    // Whatever a script does that is rolled back, what comes after it is as if it had not been.
    let done = [
        "ALTER TABLE t RENAME TO renamed",
        "DROP TABLE t CASCADE",
        "DROP SCHEMA other CASCADE",
        "ALTER SCHEMA other RENAME TO another; CREATE SCHEMA other",
        "ALTER TABLE s ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES t",
        "ALTER TABLE s RENAME id TO n",
        "ALTER TABLE s DROP COLUMN id",
        "ALTER TABLE s ALTER id TYPE bigint",
        "CREATE OR REPLACE VIEW v AS SELECT * FROM u",
        "CREATE TABLE made (id int REFERENCES t)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
        "ALTER TABLE p DETACH PARTITION p1",
        "ALTER TABLE p ATTACH PARTITION s FOR VALUES IN (3)",
        "ALTER DOMAIN d RENAME TO e; CREATE DOMAIN d AS int CHECK (VALUE > 0)",
        "ALTER SEQUENCE q OWNED BY t.id",
        "SET search_path = other",
        "SET check_function_bodies = off",
        "SET ROLE NONE",
        "REASSIGN OWNED BY CURRENT_USER TO CURRENT_USER",
        "CREATE SCHEMA third; ALTER TABLE t SET SCHEMA third",
    ];
    let asked = [
        "DROP TABLE t CASCADE",
        "DROP TABLE IF EXISTS made, renamed, u CASCADE",
        "DROP TABLE p CASCADE",
        "DROP TABLE p1",
        "DROP SCHEMA other CASCADE",
        "DROP SCHEMA public CASCADE",
        "ALTER TABLE s ALTER id TYPE bigint",
        "ALTER TABLE s DROP COLUMN id",
        "ALTER TABLE s ADD c d",
        "SELECT * FROM v",
        "DROP OWNED BY CURRENT_USER CASCADE",
        "ALTER TABLE s DROP CONSTRAINT k",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT id FROM t'",
    ];
    for question in asked {
        let expected = answers(&format!("BEGIN; {question}"));
        for first in done {
            for undone in [
                format!("BEGIN; {first}; ROLLBACK; {question}"),
                format!("BEGIN; SAVEPOINT a; {first}; ROLLBACK TO a; {question}"),
                format!(
                    "BEGIN; SAVEPOINT a; {first}; SAVEPOINT b; RELEASE b; ROLLBACK TO a; {question}"
                ),
                format!(
                    "BEGIN; SAVEPOINT a; {first}; ROLLBACK TO a; {first}; SAVEPOINT a; ROLLBACK TO a; ROLLBACK; {question}"
                ),
                format!(
                    "BEGIN; SAVEPOINT a; {first}; SAVEPOINT b; {question}; ROLLBACK TO a; {question}"
                ),
            ] {
                assert_eq!(answers(&undone), expected, "{undone}");
            }
            // What is kept is: the savepoint comes after it.
            let kept = answers(&format!("BEGIN; {first}; {question}"));
            for same in [
                format!("BEGIN; {first}; SAVEPOINT a; {question}; ROLLBACK TO a; {question}"),
                format!("BEGIN; {first}; COMMIT; {question}"),
                format!("BEGIN; {first}; COMMIT AND CHAIN; {question}; ROLLBACK; {question}"),
            ] {
                assert_eq!(answers(&same), kept, "{same}");
            }
        }
    }
}

fn a_timeout_ends_a_long_script(world: &World) {
    let database = world.database();
    let session = database.session("app");
    session.run(
        "CREATE TABLE t (id int); CREATE TABLE p (id int) PARTITION BY LIST (id);
         DO $$BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES IN (%s)', i, i); END LOOP; END$$",
    );
    for text in [
        "repeat('SELECT * FROM t;', 300000)",
        "repeat('DROP TABLE IF EXISTS nothing;', 300000)",
        "repeat('VACUUM;', 100000)",
        "repeat('REINDEX DATABASE x;', 100000)",
        "repeat('CLUSTER;', 300000)",
        "'SELECT 1 FROM ' || repeat('p, ', 200000) || 't'",
        "'VACUUM ' || repeat('p, ', 200000) || 't'",
        "'LOCK TABLE ' || repeat('p, ', 200000) || 't'",
        "'DROP TABLE ' || repeat('p, ', 200000) || 't'",
        "'CREATE TABLE made (' || repeat('c int, ', 500000) || 'c int)'",
    ] {
        // The server's parser itself answers no interrupts.
        let parsing = Instant::now();
        let invalid = format!("SELECT count(*) FROM lockguard.locks_of({text} || ';x')");
        assert_eq!(session.error(&invalid).code().code(), "42601");
        let parsing = parsing.elapsed();
        session.run("SET statement_timeout = '200ms'");
        let before = Instant::now();
        let answer = ask(&session, text);
        let took = before.elapsed();
        session.run("RESET statement_timeout");
        println!(
            "{:>6} ms, {} ms of them for parsing, {answer:?}: {text}",
            took.as_millis(),
            parsing.as_millis()
        );
        assert_eq!(answer, Err("57014".into()), "{text}");
        assert!(
            took < parsing + Duration::from_secs(1),
            "{text}: {took:?}, {parsing:?} of it for parsing"
        );
    }
}
