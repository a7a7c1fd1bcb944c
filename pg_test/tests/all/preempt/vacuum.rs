//! Maintenance that a person started by hand: VACUUM and ANALYZE.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{SessionOptions, wait_until};

use super::scene::{SOON, Trail, preempt, row_of, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_vacuum_by_hand_gives_way,
        an_analyze_by_hand_gives_way,
        a_vacuum_of_the_toast_table_alone_gives_way,
    ]
}

/// A table large enough that maintenance, slowed as far as the server allows, takes minutes.
fn is_cancelled(world: &World, command: &str, view: &str, class: &str) {
    let database = world.database();
    table(&database, "t", 10_000);
    let worker = database
        .connect(
            SessionOptions::named("by hand")
                .set("vacuum_cost_delay", "100ms")
                .set("vacuum_cost_limit", "1"),
        )
        .unwrap();
    let work = worker.spawn(command);
    wait_until("the maintenance is at work", SOON, || {
        let at_work = format!("SELECT 1 FROM {view} WHERE pid = {}", worker.pid());
        !database.session("looker").run(&at_work).is_empty()
    });
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(r#"{"relations": ["t"], "grace": "20s"}"#));
    migration.run("DROP TABLE t; COMMIT");
    let row = row_of(&rows, worker.pid());
    assert_eq!(row.text("verdict"), "cancelled");
    assert_eq!(row.text("class"), class);
    assert_eq!(trail.victims(), [worker.pid()]);
    let error = work.wait(SOON).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
}

fn a_vacuum_by_hand_gives_way(world: &World) {
    is_cancelled(world, "VACUUM t", "pg_stat_progress_vacuum", "vacuum");
}

fn an_analyze_by_hand_gives_way(world: &World) {
    is_cancelled(world, "ANALYZE t", "pg_stat_progress_analyze", "analyze");
}

/// It holds no lock on the table that the migration names.
fn a_vacuum_of_the_toast_table_alone_gives_way(world: &World) {
    let database = world.database();
    let setup = database.session("setup");
    setup.run(
        "CREATE TABLE t (body text); ALTER TABLE t ALTER body SET STORAGE EXTERNAL; \
         INSERT INTO t SELECT repeat(md5(i::text), 100) FROM generate_series(1, 2000) i",
    );
    let toast = setup.run("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 't'");
    let toast = toast.value().unwrap().to_owned();
    let worker = database
        .connect(
            SessionOptions::named("by hand")
                .set("vacuum_cost_delay", "100ms")
                .set("vacuum_cost_limit", "1"),
        )
        .unwrap();
    let work = worker.spawn(format!("VACUUM {toast}"));
    wait_until("the vacuum is at work", SOON, || {
        !setup
            .run("SELECT 1 FROM pg_stat_progress_vacuum WHERE datname = current_database()")
            .is_empty()
    });
    let held = setup.run(&format!(
        "SELECT 1 FROM pg_locks WHERE pid = {} AND relation = 't'::regclass",
        worker.pid()
    ));
    assert!(held.is_empty());
    let rows = database
        .session("migration")
        .run(&preempt(r#"{"relations": ["t"]}"#));
    let row = row_of(&rows, worker.pid());
    assert_eq!(row.text("verdict"), "cancelled");
    assert_eq!(row.text("relation"), toast);
    assert!(work.wait(SOON).is_err());
}
