//! A database with the extension is dumped and restored, and the extension dropped, in guard mode and out
//! of it.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process;

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
        let triggers = session.run("SELECT evtname FROM pg_event_trigger");
        assert_eq!(triggers.value(), Some("zzz_lockguard"));
    }
}

fn the_extension_is_dropped_in_guard_mode_and_out_of_it(world: &World) {
    for guard in ["off", "on"] {
        let stage = Stage::new(world, TABLE);
        stage.migration.run(&format!(
            "SET lockguard.policy = '{guard}'; DROP EXTENSION lockguard; DROP TABLE events; CREATE EXTENSION lockguard"
        ));
    }
}
