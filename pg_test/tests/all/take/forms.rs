//! The client's own statements: in whatever form the call stands in one, the locks are kept in a
//! transaction block, and outside of one the last NOTICE says that none are.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process;

use super::scene::{Holder, LOCKS, SOON, STRONGEST, Stage, call, from_call, last_told};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_statement_by_itself_keeps_nothing_and_says_so,
        a_statement_in_a_block_keeps_the_locks,
        psql_with_several_statements_keeps_them_in_its_one_transaction,
        the_extended_protocol_is_no_different,
        a_cursor_that_outlives_its_transaction_clears_the_way,
    ]
}

const TABLES: &str =
    "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE seen (what text, locks bigint)";
const HELD: &str = "t t_pkey";
const NONE_KEPT: &str = "; outside a transaction block no lock is kept";

/// The call in forms in which it is, in autocommit, the whole of its transaction.
fn whole_statements() -> Vec<String> {
    let from = from_call("t");
    vec![
        call("t", ""),
        format!("SELECT {from}"),
        format!("SELECT count(*) FROM {from}"),
        format!("SELECT 1 WHERE EXISTS (SELECT FROM {from})"),
        format!("WITH c AS MATERIALIZED (SELECT * FROM {from}) SELECT * FROM c"),
        format!("SELECT * FROM generate_series(1, 2) i, LATERAL (SELECT i, c.* FROM {from} c) x"),
        format!("INSERT INTO seen SELECT verdict, 0 FROM {from}"),
        format!("CREATE TABLE made AS SELECT * FROM {from}"),
        format!("EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM {from}"),
        "EXECUTE prepared".into(),
    ]
}

fn prepared(stage: &Stage) {
    stage
        .migration
        .run(&format!("PREPARE prepared AS {}", call("t", "")));
}

fn a_statement_by_itself_keeps_nothing_and_says_so(world: &World) {
    let stage = Stage::new(world, TABLES);
    prepared(&stage);
    for statement in whole_statements() {
        for has_dump in [false, true] {
            let dump = has_dump.then(|| Holder::busy(&stage.database, "pg_dump", "SELECT FROM t"));
            stage.migration.run(&statement);
            let told = last_told(&stage.migration);
            assert!(told.ends_with(NONE_KEPT), "{statement}: {told}");
            stage.holds_nothing(&statement);
            if let Some(dump) = dump {
                dump.was_cancelled(&statement);
            }
            stage.migration.run("DROP TABLE IF EXISTS made");
            stage.migration.take_notices();
        }
    }
}

fn a_statement_in_a_block_keeps_the_locks(world: &World) {
    let stage = Stage::new(world, TABLES);
    prepared(&stage);
    let cursor = format!("DECLARE c CURSOR FOR {}; FETCH ALL FROM c", call("t", ""));
    for statement in whole_statements().into_iter().chain([cursor]) {
        for (begin, end) in [
            ("BEGIN", "COMMIT"),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ", "ROLLBACK"),
            ("BEGIN; SAVEPOINT s", "RELEASE s; COMMIT"),
        ] {
            let dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM t");
            stage.migration.run(begin);
            stage.migration.run(&statement);
            let told = last_told(&stage.migration);
            assert!(told.starts_with("lockguard: holds"), "{statement}: {told}");
            let held = stage.held();
            let strongest: Vec<_> = held
                .iter()
                .filter(|(_, mode)| mode == STRONGEST)
                .map(|(name, _)| name.as_str())
                .filter(|name| HELD.split(' ').any(|own| own == *name))
                .collect();
            assert_eq!(strongest, ["t", "t_pkey"], "{statement}: {held:?}");
            stage.migration.run(end);
            stage.holds_nothing(end);
            dump.was_cancelled(&statement);
            stage.migration.run("DROP TABLE IF EXISTS made");
            stage.migration.take_notices();
        }
    }
}

fn psql_with_several_statements_keeps_them_in_its_one_transaction(world: &World) {
    let stage = Stage::new(world, TABLES);
    let call = call("t", "");
    for (arguments, locks) in [
        // One text is one transaction, two are two.
        (vec!["-c".to_owned(), format!("{call}; {LOCKS}")], "2"),
        (
            vec!["-c".into(), call.clone(), "-c".into(), LOCKS.into()],
            "0",
        ),
        (
            vec![
                "-1".into(),
                "-c".into(),
                call.clone(),
                "-c".into(),
                LOCKS.into(),
            ],
            "2",
        ),
    ] {
        let mut psql = stage.database.psql();
        psql.args(["-A", "-t"]).args(&arguments);
        let said = process::run(psql).unwrap();
        assert!(said.status.success(), "{}", said.stderr);
        assert_eq!(said.stdout.trim(), locks, "{arguments:?}");
        assert_eq!(
            said.stderr.contains(NONE_KEPT),
            locks == "0",
            "{}",
            said.stderr
        );
    }
    let rows = stage.migration.run(&format!("{call}; {LOCKS}"));
    assert_eq!(rows.only().text("count"), "2");
    stage.holds_nothing("a text of several statements");
}

fn the_extended_protocol_is_no_different(world: &World) {
    let stage = Stage::new(world, TABLES);
    let call = call("t", "");
    let script = stage
        .database
        .installation()
        .new_folder("s")
        .unwrap()
        .join("script.sql");
    for mode in ["simple", "extended", "prepared"] {
        for (begin, end, locks) in [("", "", "0"), ("BEGIN;", "COMMIT;", "2")] {
            let text =
                format!("{begin}\n{call};\nINSERT INTO seen SELECT '{mode}', ({LOCKS});\n{end}\n");
            std::fs::write(&script, text).unwrap();
            let mut pgbench = stage.database.pgbench();
            pgbench
                .args(["-n", "-t", "2", "-M", mode, "-f"])
                .arg(&script);
            let said = process::run(pgbench).unwrap();
            assert!(said.status.success(), "{}", said.stderr);
            let told = said.stderr.contains(NONE_KEPT);
            assert_eq!(told, begin.is_empty(), "{mode}: {}", said.stderr);
            let seen = stage.migration.run("SELECT * FROM seen; DELETE FROM seen");
            assert_eq!(seen.column("locks"), [Some(locks); 2], "{mode}");
        }
    }
}

fn a_cursor_that_outlives_its_transaction_clears_the_way(world: &World) {
    let stage = Stage::new(world, TABLES);
    let declare = format!("DECLARE c CURSOR WITH HOLD FOR {}", call("t", ""));
    for (begin, end) in [("SELECT 1", "SELECT 1"), ("BEGIN", "COMMIT")] {
        let dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM t");
        // It is run to its end as its transaction commits.
        stage.migration.run(begin);
        stage.migration.run(&declare);
        stage.migration.run(end);
        stage.holds_nothing("COMMIT");
        let pid = dump.pid().to_string();
        dump.was_cancelled(&declare);
        let rows = stage.migration.run("FETCH ALL FROM c; CLOSE c");
        assert_eq!(rows.only().text("pid"), pid);
        stage
            .migration
            .spawn("LOCK TABLE t; DROP TABLE IF EXISTS made")
            .rows(SOON);
    }
}
