//! What the names mean, and what belongs to it, when the lock is taken: the session in the way may be
//! the very one that drops, renames, attaches or adds an index.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::scene::{Holder, SOON, STRONGEST, Stage, call, perform, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        what_is_dropped_renamed_or_replaced_meanwhile_is_refused_and_nothing_is_held,
        a_change_that_is_rolled_back_is_none,
        a_change_that_leaves_the_name_is_no_obstacle,
        what_has_come_to_belong_to_it_is_held_and_what_has_ceased_to_is_not,
        whoever_holds_what_has_come_to_belong_to_it_is_cleared_away,
        without_the_lock_a_relation_that_has_gone_is_no_error,
    ]
}

const TABLES: &str = "CREATE SCHEMA early; CREATE SCHEMA late; \
     CREATE TABLE t (i int PRIMARY KEY); CREATE INDEX t_i ON t (i); CREATE TABLE w (i int); CREATE TABLE made (i int); \
     CREATE TABLE p (i int, j text) PARTITION BY LIST (i); CREATE INDEX p_i ON p (i); \
     CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); \
     CREATE TABLE mother (i int); CREATE TABLE child () INHERITS (mother)";

/// Runs the call while a session has made `change` and not committed it, then ends that by `end`.
fn during(stage: &Stage, change: &str, end: &str, statement: &str) -> Result<(), String> {
    let other = Holder::idle(&stage.database, "web", change);
    let running = stage.migration.spawn(statement);
    stage.wait_until_it_waits();
    stage.holds_nothing(change);
    other.session.run(end);
    match running.wait(SOON) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.as_db_error() {
            Some(db) => format!("{} {}", db.code().code(), db.message()),
            None => error.to_string(),
        }),
    }
}

fn what_is_dropped_renamed_or_replaced_meanwhile_is_refused_and_nothing_is_held(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.migration.run("SET search_path = early, public");
    for (change, named, undo) in [
        (
            "DROP TABLE t",
            "w t",
            "CREATE TABLE t (i int PRIMARY KEY); CREATE INDEX t_i ON t (i)",
        ),
        (
            "DROP TABLE t; CREATE TABLE t (i int PRIMARY KEY); CREATE INDEX t_i ON t (i)",
            "t w",
            "",
        ),
        (
            "ALTER TABLE t RENAME TO other",
            "t w",
            "ALTER TABLE other RENAME TO t",
        ),
        (
            "ALTER TABLE t RENAME TO other; ALTER TABLE made RENAME TO t",
            "w t",
            "ALTER TABLE t RENAME TO made; ALTER TABLE other RENAME TO t",
        ),
        (
            "ALTER TABLE t SET SCHEMA late",
            "t w",
            "ALTER TABLE late.t SET SCHEMA public",
        ),
        (
            "LOCK TABLE t IN SHARE MODE; CREATE TABLE early.t ()",
            "t w",
            "DROP TABLE early.t",
        ),
        ("DROP INDEX t_i", "w t_i", "CREATE INDEX t_i ON t (i)"),
        (
            "ALTER INDEX t_i RENAME TO other; LOCK TABLE t IN SHARE MODE",
            "t_i",
            "ALTER INDEX other RENAME TO t_i",
        ),
        (
            "DROP TABLE p1",
            "p1",
            "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        ),
    ] {
        stage.migration.run("BEGIN; SAVEPOINT s");
        let error = during(&stage, change, "COMMIT", &call(named, "")).unwrap_err();
        assert!(error.starts_with("42P01 "), "{change}: {error}");
        let says = error.contains("any more") || error.contains("was replaced by another");
        assert!(says, "{change}: {error}");
        stage.holds_nothing(change);
        stage.migration.run("ROLLBACK TO s; COMMIT");
        stage.looker.run(undo);
        // The error caught, within one transaction.
        let transaction = stage.migration.run("BEGIN; SELECT pg_current_xact_id()");
        let caught = format!(
            "DO $do$BEGIN BEGIN {}; RAISE 'no error'; EXCEPTION WHEN undefined_table THEN NULL; END; END$do$",
            perform(named, "")
        );
        during(&stage, change, "COMMIT", &caught).unwrap();
        stage.holds_nothing(change);
        let now = stage.migration.run("SELECT pg_current_xact_id()");
        assert_eq!(now.value(), transaction.value(), "{change}");
        stage.migration.run("COMMIT");
        stage.looker.run(undo);
    }
}

fn a_change_that_is_rolled_back_is_none(world: &World) {
    let stage = Stage::new(world, TABLES);
    for change in [
        "DROP TABLE t",
        "DROP TABLE t; CREATE TABLE t ()",
        "ALTER TABLE t RENAME TO other",
        "ALTER TABLE t ADD COLUMN j text; CREATE INDEX more ON t (i)",
    ] {
        stage.migration.run("BEGIN");
        during(&stage, change, "ROLLBACK", &call("t w", "")).unwrap();
        stage.holds(STRONGEST, "t t_pkey t_i w");
        stage.migration.run("COMMIT");
    }
}

fn a_change_that_leaves_the_name_is_no_obstacle(world: &World) {
    let stage = Stage::new(world, TABLES);
    for change in [
        "ALTER TABLE t ADD COLUMN j int DEFAULT random() * 9",
        "TRUNCATE t",
        "REINDEX TABLE t",
        "CLUSTER t USING t_i",
        "ALTER TABLE t RENAME TO other; ALTER TABLE other RENAME TO t",
        "ALTER INDEX t_i RENAME TO t_j; LOCK TABLE t",
        "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (i)",
    ] {
        stage.migration.run("BEGIN");
        during(&stage, change, "COMMIT", &call("t w", "")).unwrap();
        let index = match change.contains("t_j") {
            true => "t_j",
            false => "t_i",
        };
        stage.holds(STRONGEST, &format!("t t_pkey {index} w"));
        stage.migration.run("COMMIT");
        stage.looker.run("ALTER INDEX IF EXISTS t_j RENAME TO t_i");
    }
}

fn what_has_come_to_belong_to_it_is_held_and_what_has_ceased_to_is_not(world: &World) {
    let stage = Stage::new(world, TABLES);
    const TREE: &str = "p p_i p1 p1_i_idx p1/toast p1/toast/index";
    const WITH: &str = "p p_i p1 p1_i_idx p1/toast p1/toast/index q q_i_idx q/toast q/toast/index";
    stage.looker.run("CREATE TABLE q (i int, j text)");
    for (change, named, held) in [
        ("CREATE INDEX t_more ON t (i)", "t", "t t_pkey t_i t_more"),
        ("DROP INDEX t_more", "t", "t t_pkey t_i"),
        (
            "ALTER TABLE t ADD COLUMN note text",
            "t",
            "t t_pkey t_i t/toast t/toast/index",
        ),
        (
            "ALTER TABLE p ATTACH PARTITION q FOR VALUES IN (2)",
            "p",
            WITH,
        ),
        ("ALTER TABLE p DETACH PARTITION q", "p", TREE),
        (
            "ALTER TABLE p ATTACH PARTITION q FOR VALUES IN (2)",
            "p_i",
            WITH,
        ),
        ("DROP TABLE q", "p", TREE),
        ("CREATE TABLE q PARTITION OF p FOR VALUES IN (2)", "p", WITH),
        (
            "CREATE TABLE late.child () INHERITS (child)",
            "mother",
            "mother child child",
        ),
        ("DROP TABLE late.child", "mother", "mother child"),
        ("ALTER TABLE child NO INHERIT mother", "mother", "mother"),
        ("ALTER TABLE child INHERIT mother", "mother", "mother child"),
    ] {
        stage.migration.run("BEGIN");
        // Some of these lock no relation that the call names: what is changed is locked as well.
        let named_too = match named {
            "mother" => "LOCK TABLE ONLY mother IN SHARE MODE",
            "p_i" => "LOCK TABLE ONLY p IN SHARE MODE",
            _ => "SELECT 1",
        };
        let change = format!("{change}; {named_too}");
        during(&stage, &change, "COMMIT", &call(named, "")).unwrap();
        let mut held: Vec<&str> = held.split(' ').collect();
        held.sort();
        let now = stage.held();
        let names: Vec<&str> = now.iter().map(|(name, _)| name.as_str()).collect();
        let modes = now.iter().all(|(_, mode)| mode == STRONGEST);
        if named == "p_i" {
            // It brings the tables of its partitions, and no more of them.
            held.retain(|name| !name.contains("toast"));
        }
        assert_eq!(names, held, "{change}");
        assert!(modes, "{now:?}");
        stage.migration.run("COMMIT");
    }
}

fn whoever_holds_what_has_come_to_belong_to_it_is_cleared_away(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.looker.run("CREATE TABLE q (i int) INHERITS (mother)");
    stage.looker.run("ALTER TABLE q NO INHERIT mother");
    // It comes in between: its creator holds both until then.
    let change = "ALTER TABLE q INHERIT mother; LOCK TABLE ONLY mother IN SHARE MODE";
    let other = Holder::idle(&stage.database, "web", change);
    let dump = stage.database.session("pg_dump");
    stage.migration.run("BEGIN");
    let running = stage.migration.spawn(call("mother", ""));
    stage.wait_until_it_waits();
    let dumping = dump.spawn("BEGIN; SELECT FROM q; SELECT pg_sleep(50)");
    dumping.wait_until_queued();
    other.session.run("COMMIT");
    let rows = running.rows(SOON);
    assert_eq!(verdict(&rows, dump.pid()), "cancelled");
    stage.holds(STRONGEST, "mother child q");
    let outcome = dumping.wait(SOON);
    assert!(outcome.is_err(), "{outcome:?}");
    stage.migration.run("COMMIT");
}

fn without_the_lock_a_relation_that_has_gone_is_no_error(world: &World) {
    let stage = Stage::new(world, TABLES);
    let quiet = r#", "take_lock": false"#;
    during(&stage, "DROP TABLE t", "COMMIT", &call("t w", quiet)).unwrap();
    stage.looker.run("CREATE TABLE t ()");
    // Outside a block no lock is taken either.
    during(&stage, "DROP TABLE t", "COMMIT", &call("t w", "")).unwrap();
    stage.holds_nothing("a statement by itself");
}
