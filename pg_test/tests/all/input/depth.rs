//! Inheritance as deep as anybody may make it, with no more than the right to make temporary tables: each answer
//! comes, and the server goes on.
//!
//! Here 2,000 levels on a stack of less than a megabyte; `LOCKGUARD_LEVELS=60000` makes it that many levels.

use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Session};

use super::hostile::is_whole;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        deep_inheritance_is_answered_from_either_end,
        deeply_nested_text_is_refused,
    ]
}

/// What the server may have its stack be at least, and what it keeps back beside that (`guc.c`).
const LEAST_STACK: &str = "100kB";
const STACK: &str = "--stack=720896";

const LEVELS: usize = 2_000;

fn levels() -> usize {
    let given = std::env::var("LOCKGUARD_LEVELS").ok();
    given.map_or(LEVELS, |levels| levels.parse().expect("LOCKGUARD_LEVELS"))
}

fn on_a_small_stack(world: &World, levels: usize) -> (Cluster, Database) {
    let locks = (levels / 20).max(64).to_string();
    let settings = [
        ("max_stack_depth", LEAST_STACK),
        ("max_locks_per_transaction", &locks),
    ];
    let cluster = Cluster::start_limited(world.installation(), &settings, &[STACK]).unwrap();
    let database = cluster.create_database().unwrap();
    (cluster, database)
}

/// What a role without any right but to TEMP has made: `t0`, and each of the others under the one before.
fn deep(database: &Database, levels: usize) -> Session {
    let session = database.session("app");
    session.run("SET statement_timeout = '30min'; CREATE TEMP TABLE t0 (i int)");
    session.run(&format!(
        "DO $$BEGIN FOR i IN 1..{levels} LOOP \
           EXECUTE format('CREATE TEMP TABLE t%s () INHERITS (t%s)', i, i - 1); \
           IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END$$"
    ));
    session.run(&format!(
        "CREATE INDEX ON t{levels} (i); CREATE TEMP TABLE beside ()"
    ));
    session
}

fn deep_inheritance_is_answered_from_either_end(world: &World) {
    let levels = levels();
    let (cluster, database) = on_a_small_stack(world, levels);
    let session = deep(&database, levels);
    let (root, leaf) = ("t0".to_owned(), format!("t{levels}"));
    let ask = |sql: &str| {
        let before = Instant::now();
        let answer = session.try_run(sql);
        let shown = match &answer {
            Ok(rows) => format!("{} rows", rows.len()),
            Err(error) => error.as_db_error().expect(sql).code().code().to_owned(),
        };
        println!("{:>6} ms, {shown}: {sql}", before.elapsed().as_millis());
        answer
    };
    let answers = |sql: &str| {
        let rows = ask(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        session.run("ROLLBACK");
        rows
    };
    for end in [&leaf, &root] {
        answers(&format!(
            "SELECT * FROM lockguard.blockers_of(ARRAY['{end}'::regclass])"
        ));
        for take in [true, false] {
            answers(&format!(
                "BEGIN; SELECT * FROM lockguard.preempt_maintenance('{{\"relations\": [\"beside\", \"{end}\"], \"take_lock\": {take}}}')"
            ));
            answers(&format!(
                "BEGIN; SELECT * FROM lockguard.preempt_maintenance('{{\"statement\": \"DROP TABLE {end} CASCADE\", \"take_lock\": {take}}}')"
            ));
        }
        let reached = |statement: &str| {
            let rows = answers(&format!(
                "SELECT count(DISTINCT relation) FROM lockguard.locks_of('{statement}')"
            ));
            rows.value().unwrap().parse::<usize>().unwrap()
        };
        let family = if *end == root { levels + 1 } else { 1 };
        assert!(reached(&format!("DROP TABLE {end} CASCADE")) > family);
        assert_eq!(reached(&format!("ALTER TABLE {end} ADD c int")), family);
        assert!(reached(&format!("TRUNCATE {end}")) > family);
        assert!(reached(&format!("CREATE INDEX ON {end} (i)")) >= 1);
        // With its index, which makes it a matter of order.
        assert!(reached(&format!("ALTER TABLE {end} ADD CHECK (i > 0)")) >= family);
        assert!(reached(&format!("ALTER TABLE {end} RENAME i TO j")) >= family);
        assert!(reached(&format!("ALTER TABLE {end} ALTER i TYPE bigint")) >= family);
        // Which an earlier statement has changed.
        assert!(
            reached(&format!(
                "CREATE TEMP TABLE made () INHERITS ({end}); ALTER TABLE {end} ADD c int"
            )) >= family
        );
    }
    session.run("SET lockguard.policy = 'on'");
    for (end, statement) in [
        (&leaf, "ALTER TABLE {} ADD c int"),
        (&leaf, "COMMENT ON TABLE {} IS 'guarded'"),
        (&leaf, "CREATE INDEX ON {} (i)"),
        (&leaf, "DROP TABLE {}"),
        (&root, "COMMENT ON TABLE {} IS 'guarded'"),
        (&root, "ALTER TABLE ONLY {} SET (fillfactor = 50)"),
    ] {
        answers(&format!("BEGIN; {}", statement.replace("{}", end)));
    }
    // Here the server itself goes down the whole tree, and may find that too deep.
    for statement in ["ALTER TABLE {} ADD c int", "DROP TABLE {} CASCADE"] {
        let outcome = ask(&format!("BEGIN; {}", statement.replace("{}", &root)));
        if let Err(error) = outcome {
            let code = error.as_db_error().unwrap().code().code().to_owned();
            assert!(["54001", "53200"].contains(&&*code), "{error:?}");
        }
        session.run("ROLLBACK");
    }
    is_whole(&cluster);
}

fn deeply_nested_text_is_refused(world: &World) {
    let (cluster, database) = on_a_small_stack(world, 1);
    let session = database.session("app");
    session.run("CREATE TABLE a (i int)");
    let nest = |depth: usize, open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let code = |sql: &str| match session.try_run(sql) {
        Ok(_) => "works".to_owned(),
        Err(error) => error.as_db_error().expect(sql).code().code().to_owned(),
    };
    for depth in [60, 150, 400, 20_000] {
        for text in [
            nest(depth, "SELECT * FROM (", "SELECT * FROM a", ") s"),
            format!("SELECT {}", nest(depth, "(SELECT ", "1", ")")),
            format!(
                "ALTER TABLE a ADD c int DEFAULT {}",
                nest(depth, "abs(", "1", ")")
            ),
            format!("CREATE VIEW v AS SELECT {}", nest(depth, "abs(", "1", ")")),
        ] {
            let answer = code(&format!(
                "SELECT count(*) FROM lockguard.locks_of($locks${text}$locks$)"
            ));
            assert!(
                ["works", "54001", "53200", "42601"].contains(&&*answer),
                "{depth}: {answer}"
            );
        }
        // What the server takes for JSON lockguard refuses where it is deeper than 127, and before that the server.
        let array = nest(depth, "[", "", "]");
        let document = format!(r#"{{"relations": ["a"], "preempt": {array}}}"#);
        for call in [
            format!("SELECT lockguard.preempt_maintenance('{document}')"),
            format!("SELECT lockguard.store_policy('p', '{document}')"),
        ] {
            let answer = code(&call);
            assert!(["22023", "54001"].contains(&&*answer), "{depth}: {answer}");
        }
        session.run(&format!("SET lockguard.policy = '{document}'"));
        assert_eq!(code("CREATE TABLE b ()"), "22023", "{depth}");
        session.run("RESET lockguard.policy");
    }
    is_whole(&cluster);
}
