//! Where the call may stand: in whatever form it comes, the locks are kept if there is a later statement
//! of the same transaction, and if not the last NOTICE says that none are.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process;

use super::scene::{Holder, SOON, Stage, call, perform, policy};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_statement_by_itself_keeps_nothing_and_says_so,
        a_statement_in_a_block_keeps_the_locks,
        what_shares_its_transaction_with_later_statements_keeps_the_locks,
        a_procedure_keeps_them_until_it_commits,
        psql_with_several_statements_keeps_them_in_its_one_transaction,
        the_extended_protocol_is_no_different,
        a_cursor_that_outlives_its_transaction_clears_the_way,
    ]
}

const TABLES: &str =
    "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE seen (what text, locks bigint)";
const HELD: &str = "t t_pkey";
const NONE_KEPT: &str = "; outside a transaction block no lock is kept";

/// How many relations this session holds with ACCESS EXCLUSIVE.
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND granted";

/// What makes one row or none of a call: a backup in its way is a row.
fn from_call() -> String {
    format!("lockguard.preempt_maintenance('{}')", policy("t", ""))
}

/// The call in forms in which it is, in autocommit, the whole of its transaction.
fn whole_statements() -> Vec<String> {
    let from = from_call();
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
            let told = stage.migration.take_notices().pop().unwrap().message;
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
            let told = stage.migration.take_notices().pop().unwrap().message;
            assert!(told.starts_with("lockguard: holds"), "{statement}: {told}");
            let held = stage.held();
            let strongest: Vec<_> = held
                .iter()
                .filter(|(_, mode)| mode == "AccessExclusiveLock")
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

fn what_shares_its_transaction_with_later_statements_keeps_the_locks(world: &World) {
    let stage = Stage::new(world, TABLES);
    let (from, perform) = (from_call(), perform("t", ""));
    let see = |what: &str| format!("INSERT INTO seen SELECT '{what}', ({LOCKS})");
    let functions = format!(
        "CREATE FUNCTION in_plpgsql() RETURNS bigint LANGUAGE plpgsql AS $f$BEGIN {perform}; RETURN ({LOCKS}); END$f$; \
         CREATE FUNCTION in_sql() RETURNS bigint LANGUAGE sql AS $f$SELECT count(*) FROM {from}; {LOCKS}$f$; \
         CREATE FUNCTION in_atomic_sql() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM {from}; {LOCKS}; END; \
         CREATE FUNCTION dynamic() RETURNS bigint LANGUAGE plpgsql AS $f$BEGIN EXECUTE $e$SELECT FROM {from}$e$; RETURN ({LOCKS}); END$f$; \
         CREATE FUNCTION looping() RETURNS bigint LANGUAGE plpgsql AS $f$DECLARE r record; BEGIN FOR r IN SELECT * FROM {from} LOOP NULL; END LOOP; RETURN ({LOCKS}); END$f$; \
         CREATE FUNCTION fetching() RETURNS bigint LANGUAGE plpgsql AS $f$DECLARE r record; c refcursor; BEGIN OPEN c FOR SELECT * FROM {from}; FETCH c INTO r; RETURN ({LOCKS}); END$f$; \
         CREATE FUNCTION rows() RETURNS SETOF text LANGUAGE plpgsql AS $f$BEGIN RETURN QUERY SELECT verdict FROM {from}; {}; END$f$; \
         CREATE FUNCTION excepting() RETURNS bigint LANGUAGE plpgsql AS $f$BEGIN BEGIN {perform}; EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN ({LOCKS}); END$f$; \
         CREATE FUNCTION nested() RETURNS bigint LANGUAGE plpgsql AS $f$BEGIN PERFORM in_sql(); RETURN ({LOCKS}); END$f$; \
         CREATE FUNCTION triggered() RETURNS trigger LANGUAGE plpgsql AS $f$BEGIN {perform}; {}; RETURN NULL; END$f$; \
         CREATE TABLE releases (); CREATE TRIGGER clear AFTER INSERT ON releases EXECUTE FUNCTION triggered()",
        see("rows"),
        see("trigger"),
    );
    stage.migration.run(&functions);
    for (what, statement) in [
        (
            "function",
            "INSERT INTO seen SELECT 'function', in_plpgsql()".to_owned(),
        ),
        ("sql", "INSERT INTO seen SELECT 'sql', in_sql()".into()),
        (
            "atomic",
            "INSERT INTO seen SELECT 'atomic', in_atomic_sql()".into(),
        ),
        (
            "dynamic",
            "INSERT INTO seen SELECT 'dynamic', dynamic()".into(),
        ),
        (
            "looping",
            "INSERT INTO seen SELECT 'looping', looping()".into(),
        ),
        (
            "fetching",
            "INSERT INTO seen SELECT 'fetching', fetching()".into(),
        ),
        (
            "excepting",
            "INSERT INTO seen SELECT 'excepting', excepting()".into(),
        ),
        (
            "nested",
            "INSERT INTO seen SELECT 'nested', nested()".into(),
        ),
        ("rows", "SELECT * FROM rows()".into()),
        ("trigger", "INSERT INTO releases DEFAULT VALUES".into()),
        (
            "do",
            format!("DO $do$BEGIN {perform}; {}; END$do$", see("do")),
        ),
        (
            "do in an exception block",
            format!(
                "DO $do$BEGIN BEGIN {perform}; EXCEPTION WHEN division_by_zero THEN NULL; END; {}; END$do$",
                see("do in an exception block")
            ),
        ),
    ] {
        for (begin, end) in [("SELECT 1", "SELECT 1"), ("BEGIN", "COMMIT")] {
            let dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM t");
            stage.migration.run(begin);
            stage.migration.run(&statement);
            stage.migration.run(end);
            let told = stage.migration.take_notices().pop().unwrap().message;
            assert!(told.starts_with("lockguard: holds"), "{what}: {told}");
            let seen = stage.migration.run(&format!(
                "SELECT locks FROM seen WHERE what = '{what}'; DELETE FROM seen"
            ));
            assert_eq!(seen.only().text("locks"), "2", "{what}");
            stage.holds_nothing(what);
            dump.was_cancelled(what);
        }
    }
}

fn a_procedure_keeps_them_until_it_commits(world: &World) {
    let stage = Stage::new(world, TABLES);
    let perform = perform("t", "");
    let see = |what: &str| format!("INSERT INTO seen SELECT '{what}', ({LOCKS})");
    stage.migration.run(&format!(
        "CREATE PROCEDURE release() LANGUAGE plpgsql AS $f$BEGIN {perform}; {}; COMMIT; {}; COMMIT; {perform}; {}; ROLLBACK; \
         {}; {perform}; {}; END$f$",
        see("1 called"),
        see("2 committed"),
        see("rolled back with its locks"),
        see("3 rolled back"),
        see("4 called again"),
    ));
    stage.migration.run("CALL release()");
    stage.holds_nothing("CALL");
    let seen = stage.migration.run("SELECT * FROM seen ORDER BY what");
    assert_eq!(
        seen.column("what"),
        ["1 called", "2 committed", "3 rolled back", "4 called again"].map(Some)
    );
    assert_eq!(seen.column("locks"), ["2", "0", "0", "2"].map(Some));
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
