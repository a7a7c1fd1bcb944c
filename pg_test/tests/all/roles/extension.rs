//! The extension's own objects: who may use and who may change them, that they come and go as one,
//! and databases in other encodings than UTF-8.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process::{Ending, Process};
use pg_test::wait_until;

use super::{SOON, Stage, preempt};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        an_ordinary_role_calls_both_functions_and_reads_the_rules,
        an_ordinary_role_cannot_change_the_rules,
        a_schema_without_usage_is_refused_as_by_regclass,
        dropping_the_extension_leaves_nothing,
        an_existing_schema_of_that_name_is_refused_cleanly,
        hostile_bytes_in_other_encodings_do_no_harm,
    ]
}

fn an_ordinary_role_calls_both_functions_and_reads_the_rules(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let session = stage.session(&stage.create_role("ordinary", ""), "app");
    assert!(
        session
            .run("SELECT * FROM lockguard.blockers_of('{t}')")
            .is_empty()
    );
    assert!(session.run(&preempt(r#"{"relations": ["t"]}"#)).is_empty());
    let rules = session.run("SELECT name FROM lockguard.maintenance_rules WHERE builtin");
    assert!(rules.column("name").contains(&Some("pg_dump")));
}

fn an_ordinary_role_cannot_change_the_rules(world: &World) {
    let stage = Stage::new(world.database());
    let session = stage.session(&stage.create_role("ordinary", ""), "app");
    for change in [
        "INSERT INTO lockguard.maintenance_rules (name, class, usename) VALUES ('mine', 'backup', '*')",
        "UPDATE lockguard.maintenance_rules SET application_name = '*'",
        "DELETE FROM lockguard.maintenance_rules",
        "TRUNCATE lockguard.maintenance_rules",
        "ALTER TABLE lockguard.maintenance_rules DISABLE TRIGGER ALL",
        "DROP TABLE lockguard.maintenance_rules",
        "CREATE FUNCTION lockguard.mine() RETURNS int LANGUAGE sql RETURN 1",
        "SELECT lockguard.protect_builtin_rules()",
    ] {
        let error = session.error(change);
        // A trigger function is no function for calling, whoever calls it.
        let refused = ["42501", "0A000"].contains(&error.code().code());
        assert!(refused, "{change}: {error}");
    }
}

fn a_schema_without_usage_is_refused_as_by_regclass(world: &World) {
    let stage = Stage::new(world.database());
    stage
        .admin
        .run("CREATE SCHEMA private; CREATE TABLE private.t ()");
    let session = stage.session(&stage.create_role("ordinary", ""), "app");
    for (name, path) in [("private.t", "public"), ("t", "private, public")] {
        session.run(&format!("SET search_path = {path}"));
        let by_core = session.error(&format!("SELECT '{name}'::regclass"));
        let by_us = session.error(&preempt(&format!(r#"{{"relations": ["{name}"]}}"#)));
        assert_eq!(by_us.code(), by_core.code(), "{name}");
        assert_eq!(by_us.message(), by_core.message(), "{name}");
    }
    assert_eq!(
        session
            .error(&preempt(r#"{"relations": ["private.t"]}"#))
            .code()
            .code(),
        "42501"
    );
}

fn dropping_the_extension_leaves_nothing(world: &World) {
    let database = world.database();
    let admin = database.session("admin");
    // What the whole database consists of, save what autovacuum's statistics would add.
    let everything = "SELECT count(*) FROM (SELECT objid FROM pg_depend UNION ALL SELECT oid FROM pg_proc \
                      UNION ALL SELECT oid FROM pg_class UNION ALL SELECT oid FROM pg_namespace \
                      UNION ALL SELECT oid FROM pg_type UNION ALL SELECT oid FROM pg_trigger \
                      UNION ALL SELECT oid FROM pg_event_trigger UNION ALL SELECT oid FROM pg_extension \
                      UNION ALL SELECT objoid FROM pg_description UNION ALL SELECT objoid FROM pg_init_privs) x";
    admin.run("DROP EXTENSION lockguard");
    let empty = world
        .cluster()
        .create_empty_database()
        .unwrap()
        .session("admin")
        .run(everything);
    assert_eq!(admin.run(everything).value(), empty.value());
    admin.run("CREATE EXTENSION lockguard; CREATE TABLE t ()");
    assert!(admin.run(&preempt(r#"{"relations": ["t"]}"#)).is_empty());
}

fn an_existing_schema_of_that_name_is_refused_cleanly(world: &World) {
    let database = world.cluster().create_empty_database().unwrap();
    let admin = database.session("admin");
    admin.run("CREATE SCHEMA lockguard; CREATE TABLE lockguard.mine AS SELECT 42 AS answer");
    let error = admin.error("CREATE EXTENSION lockguard");
    assert_eq!(error.code().code(), "42P06", "{error}");
    let rest = admin.run("SELECT FROM pg_extension WHERE extname = 'lockguard'");
    assert!(rest.is_empty());
    assert_eq!(
        admin.run("SELECT answer FROM lockguard.mine").value(),
        Some("42")
    );
    admin.run("DROP SCHEMA lockguard CASCADE; CREATE EXTENSION lockguard");
}

fn hostile_bytes_in_other_encodings_do_no_harm(world: &World) {
    for encoding in ["SQL_ASCII", "LATIN1", "EUC_JP"] {
        let cluster = world.cluster();
        let name = format!("{}_db", encoding.to_lowercase());
        cluster.database("postgres").ask(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        ));
        let database = cluster.database(&name);
        let admin = database.session("admin");
        admin.run("CREATE EXTENSION lockguard; CREATE TABLE t ()");

        // é in LATIN1, あ in EUC_JP; as UTF-8 both are broken.
        let bytes: &[u8] = match encoding {
            "EUC_JP" => b"\xa4\xa2",
            _ => b"\xe9\x80\xff",
        };
        let query = [
            b"BEGIN; SELECT FROM t; SELECT '".as_slice(),
            bytes,
            b"', pg_sleep(60)",
        ]
        .concat();
        let mut backup = database.psql();
        backup
            .env("PGCLIENTENCODING", encoding)
            .env(
                "PGAPPNAME",
                OsStr::from_bytes(&[b"pg_dump", bytes].concat()),
            )
            .arg("-c")
            .arg(OsStr::from_bytes(&query))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut backup = Process::spawn(backup, Ending::Client).unwrap();
        wait_until("it holds its lock", SOON, || {
            !admin
                .run("SELECT FROM lockguard.blockers_of('{t}')")
                .is_empty()
        });
        let seen = admin.run("SELECT application_name, query FROM lockguard.blockers_of('{t}')");
        assert!(seen.only().text("query").contains("pg_sleep"), "{seen:?}");
        let rows = admin.run(&preempt(
            r#"{"relations": ["t"], "preempt": [{"application_name": "pg_dump*", "query": "*pg_sleep*"}]}"#,
        ));
        assert_eq!(rows.only().text("verdict"), "cancelled", "{encoding}");
        assert!(backup.wait(SOON).is_some(), "{encoding}");
    }
}
