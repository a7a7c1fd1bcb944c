//! What a target may be: names of every spelling, relations of every kind, pids of every process.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{Ground, bad, call, refused, works};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        names_are_read_as_sql_reads_them,
        every_kind_of_relation_is_a_target,
        system_catalogs_are_none,
        temporary_tables_are_targets,
        a_pid_must_be_another_server_process,
    ]
}

const SPELLING: &str = "Check the spelling and the search_path.";
const AS_IN_SQL: &str = "Write it as in SQL";

fn names_are_read_as_sql_reads_them(world: &World) {
    let ground = Ground::new(world);
    ground.caller.run(
        r#"CREATE TABLE "Mixed Case" (); CREATE TABLE "a.b" (); CREATE TABLE "say ""hi""" (); CREATE TABLE "täble" ();
           CREATE SCHEMA s; CREATE TABLE s.inside (); CREATE TABLE "new
line" ()"#,
    );
    let own = ground.database.name();
    let of = |name: &str| format!(r#"{{"relations": ["t", "{name}"]}}"#);
    let free = |name: &str| format!(r#"{{"relations": ["{name}"]}}"#);
    let at = "$.relations[1]";
    let unknown = |name: &str, hint: &str| refused(of(name), "42P01", Some(at), hint);
    ground.check(&[
        unknown("no_such", SPELLING),
        unknown("T1", "double quotes"),
        unknown("s.no_such", SPELLING),
        unknown("no_such.t", SPELLING),
        unknown("mixed", SPELLING),
        unknown("a.b", SPELLING),
        unknown("t;drop", SPELLING),
        unknown(r"\u0001", SPELLING),
        unknown("💥", SPELLING),
        unknown(r"\u202e", SPELLING),
        unknown("$.relations", SPELLING),
        unknown("*", SPELLING),
        unknown("all", SPELLING),
        unknown("otherdb.public.t", "Connect to database \"otherdb\""),
        unknown("postgres.pg_catalog.pg_class", "Connect to database"),
        bad(of(""), at, AS_IN_SQL),
        bad(of(" "), at, AS_IN_SQL),
        bad(of("."), at, AS_IN_SQL),
        bad(of("a..b"), at, AS_IN_SQL),
        bad(of(".t"), at, AS_IN_SQL),
        bad(of("t."), at, AS_IN_SQL),
        bad(of("a.b.c.d"), at, AS_IN_SQL),
        bad(of(r#"\"t"#), at, AS_IN_SQL),
        // As regclass has it.
        unknown(r#"t\""#, SPELLING),
        unknown(r#"\"\""#, SPELLING),
        bad(of("Mixed Case"), at, AS_IN_SQL),
        bad(of("t, free"), at, AS_IN_SQL),
        bad(of("ONLY t"), at, AS_IN_SQL),
        works(free("FREE")),
        works(free("  free\\t")),
        works(free("public . free")),
        works(free(r#"\"free\""#)),
        works(free(r#"\"Mixed Case\""#)),
        works(free(r#"\"a.b\""#)),
        works(free(r#"\"say \"\"hi\"\"\""#)),
        works(free(r#"\"new\nline\""#)),
        works(free("täble")),
        works(free("s.inside")),
        works(free(&format!("{own}.public.free"))),
        works(r#"{"relations": ["free", "public.free", "free", "FREE"]}"#),
    ]);
}

fn every_kind_of_relation_is_a_target(world: &World) {
    let ground = Ground::new(world);
    ground.caller.run(
        "CREATE VIEW a_view AS SELECT * FROM t; CREATE SEQUENCE a_sequence; \
         CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS one; \
         CREATE TABLE indexed (i int PRIMARY KEY, wide text); CREATE TYPE a_composite AS (i int); \
         CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w; \
         CREATE FOREIGN TABLE a_foreign_table (i int) SERVER far; \
         CREATE TABLE parted (i int) PARTITION BY LIST (i); CREATE INDEX ON parted (i); \
         CREATE TABLE part PARTITION OF parted FOR VALUES IN (1); \
         CREATE UNLOGGED TABLE unlogged (); CREATE TABLE child () INHERITS (indexed)",
    );
    let toast = ground.caller.run(
        "SELECT 'pg_toast.' || relname AS name FROM pg_class \
         WHERE oid = (SELECT reltoastrelid FROM pg_class WHERE relname = 'indexed')",
    );
    let kinds = [
        "a_view",
        "a_sequence",
        "a_matview",
        "indexed_pkey",
        "a_composite",
        "a_foreign_table",
        "parted",
        "part",
        "parted_i_idx",
        "unlogged",
        "child",
        toast.only().text("name"),
    ];
    ground.check(&kinds.map(|name| works(format!(r#"{{"relations": ["{name}"]}}"#))));

    // Not merely let pass: whoever holds one is in the way.
    for name in kinds.into_iter().filter(|name| {
        ["a_view", "a_matview", "parted", "part", "unlogged", "child"].contains(name)
    }) {
        let backup = ground.database.session("pg_dump");
        backup.run(
            &format!("BEGIN; LOCK TABLE {name} IN ACCESS SHARE MODE").replace(
                "TABLE a_matview IN ACCESS SHARE MODE",
                "TABLE t IN ACCESS SHARE MODE; SELECT FROM a_matview",
            ),
        );
        let rows = ground
            .caller
            .run(&call(&format!(r#"{{"relations": ["{name}"]}}"#)));
        assert_eq!(rows.only().text("pid"), backup.pid().to_string(), "{name}");
        assert_eq!(rows.only().text("verdict"), "terminated", "{name}");
    }
}

fn system_catalogs_are_none(world: &World) {
    let ground = Ground::new(world);
    let catalogs = [
        "pg_class",
        "pg_catalog.pg_attribute",
        "pg_class_oid_index",
        "pg_database",
        "pg_toast.pg_toast_1255",
    ];
    ground.check(&catalogs.map(|name| {
        refused(
            format!(r#"{{"relations": ["t", "{name}"]}}"#),
            "42501",
            None,
            "user relations only",
        )
    }));
}

fn temporary_tables_are_targets(world: &World) {
    let ground = Ground::new(world);
    let other = ground.database.session("pg_dump");
    other.run("CREATE TEMPORARY TABLE theirs ()");
    let schema = other.run("SELECT pg_my_temp_schema()::regnamespace AS name");
    let theirs = format!("{}.theirs", schema.only().text("name"));
    ground.caller.run("CREATE TEMPORARY TABLE ours ()");
    ground.check(&[
        works(r#"{"relations": ["ours"]}"#),
        works(r#"{"relations": ["pg_temp.ours"]}"#),
        works(format!(r#"{{"relations": ["{theirs}"]}}"#)),
        refused(
            r#"{"relations": ["theirs"]}"#,
            "42P01",
            Some("$.relations[0]"),
            SPELLING,
        ),
        refused(
            r#"{"relations": ["pg_temp.theirs"]}"#,
            "42P01",
            Some("$.relations[0]"),
            SPELLING,
        ),
    ]);
    other.run("BEGIN; SELECT FROM theirs");
    let rows = ground
        .caller
        .run(&call(&format!(r#"{{"relations": ["{theirs}"]}}"#)));
    assert_eq!(rows.only().text("pid"), other.pid().to_string());
    assert_eq!(rows.only().text("verdict"), "terminated");
}

fn a_pid_must_be_another_server_process(world: &World) {
    let ground = Ground::new(world);
    let of = |pid: &str| format!(r#"{{"pid": {pid}}}"#);
    let bounds = ["0", "-1", "2147483648", "1.5", "1e400"];
    let mut cases = vec![];
    for pid in bounds {
        let path = if pid == "1e400" { "$" } else { "$.pid" };
        cases.push(bad(of(pid), path, ""));
    }
    for other in [r#""7""#, "null", "true", "[1]", r#""all""#] {
        cases.push(bad(of(other), "$.pid", ""));
    }
    let postmaster = world.cluster().pid().unwrap();
    for none in [postmaster, std::process::id(), 2_147_483_647] {
        cases.push(bad(of(&none.to_string()), "$.pid", "see pg_stat_activity"));
    }
    cases.push(bad(
        of(&ground.caller.pid().to_string()),
        "$.pid",
        "see pg_stat_activity",
    ));
    let checkpointer = ground
        .database
        .ask("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    // They wait for nobody's lock, so that there is nothing to do.
    cases.push(works(of(checkpointer.only().text("pid"))));
    cases.push(works(of(&ground.backup.pid().to_string())));
    ground.check(&cases);
}
