//! Functions, DO blocks, triggers and procedures: what comes after the call in one of these shares its
//! transaction, in autocommit too, so that the locks are kept.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::scene::{Holder, LOCKS, Stage, from_call, last_told, perform};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        what_shares_its_transaction_with_later_statements_keeps_the_locks,
        a_procedure_keeps_them_until_it_commits,
    ]
}

const TABLES: &str =
    "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE seen (what text, locks bigint)";

fn what_shares_its_transaction_with_later_statements_keeps_the_locks(world: &World) {
    let stage = Stage::new(world, TABLES);
    let (from, perform) = (from_call("t"), perform("t", ""));
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
            let told = last_told(&stage.migration);
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
