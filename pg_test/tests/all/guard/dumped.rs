//! A database with the extension is dumped and restored, and the extension dropped, in guard mode and out
//! of it.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Session, process};

use super::TABLE;
use crate::take::scene::Stage;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_dump_is_restored_in_guard_mode_and_out_of_it,
        the_extension_is_dropped_in_guard_mode_and_out_of_it,
    ]
}

fn a_dump_is_restored_in_guard_mode_and_out_of_it(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run(
        "CREATE TABLE more (i int PRIMARY KEY); INSERT INTO events SELECT generate_series(1, 100); \
         CREATE TABLE parts (i int REFERENCES more) PARTITION BY LIST (i); \
         CREATE TABLE part PARTITION OF parts FOR VALUES IN (1); CREATE VIEW v AS SELECT i FROM events",
    );
    let name = stage.database.name();
    for guard in ["off", "on"] {
        stage.looker.run(&format!(
            "ALTER DATABASE {name} SET lockguard.policy = '{guard}'"
        ));
        let dump = process::run(stage.database.pg_dump())
            .unwrap()
            .expect_success();
        assert!(
            dump.stdout
                .contains("CREATE EXTENSION IF NOT EXISTS lockguard")
        );
        assert!(!dump.stdout.contains("EVENT TRIGGER"), "{}", dump.stdout);
        let file = world
            .installation()
            .new_folder("dump")
            .unwrap()
            .join("dump.sql");
        std::fs::write(&file, &dump.stdout).unwrap();
        let restored = world.cluster().create_empty_database().unwrap();
        restored.ask(&format!(
            "ALTER DATABASE {} SET lockguard.policy = '{guard}'",
            restored.name()
        ));
        let mut psql = restored.psql();
        psql.arg("-f").arg(&file);
        process::run(psql).unwrap().expect_success();
        let session = restored.session("looker");
        let count = session.run("SELECT count(*) FROM events");
        assert_eq!(count.value(), Some("100"));
        let triggers = session.run("SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY 1");
        let states: Vec<_> = triggers
            .iter()
            .map(|t| (t.text("evtname"), t.text("evtenabled")))
            .collect();
        // As the extension comes, whatever it was where it was dumped.
        assert_eq!(
            states,
            [("lockguard_unguarded", "A"), ("zzz_lockguard", "D")]
        );
        assert_told_of(&session, guard);
    }
}

/// That guard mode is still off there, though it was asked for in the database that was dumped; and that the call
/// that is named turns it on.
#[track_caller]
fn assert_told_of(session: &Session, policy: &str) {
    let rows = session.run("SELECT * FROM lockguard.guarded()");
    let row = rows.only();
    assert_eq!(
        (row.text("policy"), row.text("source")),
        (policy, "database")
    );
    let begins = "guard mode is off in this database, though postgres enabled it at ";
    assert!(row.text("missing").starts_with(begins), "{row:?}");
    assert!(
        row.text("remedy")
            .contains("SELECT lockguard.enable_guard()"),
        "{row:?}"
    );
    session.run("DISCARD ALL");
    session.take_notices();
    session.run("CREATE TABLE made ()");
    let told = session.take_notices();
    if policy == "off" {
        assert!(told.is_empty(), "{told:?}");
    } else {
        assert_eq!(told.len(), 1, "{told:?}");
        let (detail, hint) = (told[0].detail.as_deref(), told[0].hint.as_deref());
        assert!(
            detail.unwrap().contains("postgres enabled it at "),
            "{told:?}"
        );
        assert!(
            hint.unwrap().contains("SELECT lockguard.enable_guard()"),
            "{told:?}"
        );
    }
    session.run("SELECT lockguard.enable_guard(); DROP TABLE made");
    let row = session.run("SELECT guarded_by FROM lockguard.guarded()");
    assert_eq!(row.only().get("guarded_by").is_some(), policy == "on");
}

fn the_extension_is_dropped_in_guard_mode_and_out_of_it(world: &World) {
    for guard in ["off", "on"] {
        let stage = Stage::new(world, TABLE);
        stage.migration.run(&format!(
            "SET lockguard.policy = '{guard}'; DROP EXTENSION lockguard; DROP TABLE events; CREATE EXTENSION lockguard"
        ));
    }
}
