//! Which locks count: of the mode that is wanted, on the relation and all that belongs to it, or on
//! every relation by itself.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{Backup, Holder, SLOWLY, SOON, Trail, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        with_all_each_relation_is_judged_by_itself,
        with_all_a_backup_beside_the_application_on_one_relation_lives,
        a_lock_that_does_not_conflict_is_no_obstacle,
        a_session_on_one_partition_is_in_the_way_of_the_parent,
        a_session_on_an_index_alone_is_in_the_way_of_the_table,
        a_name_twice_and_two_names_of_one_relation_count_once,
    ]
}

fn with_all_each_relation_is_judged_by_itself(world: &World) {
    let database = world.database();
    table(&database, "a", 10_000);
    table(&database, "b", 10);
    let backup = Backup::of_table(&database, "a", SLOWLY);
    let application = Holder::busy(&database, "web", "SELECT count(*) FROM b");
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let call = migration.spawn(preempt(
        r#"{"relations": "all", "timeout": "1500ms", "on_timeout": "report"}"#,
    ));
    wait_until(
        "the backup is preempted, though b is not free",
        SOON,
        || trail.victims() == [backup.pid],
    );
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    assert_eq!(row_of(&rows, backup.pid).text("relation"), "a");
    assert_eq!(verdict(&rows, application.pid()), "in the way");
    assert_eq!(row_of(&rows, application.pid()).text("relation"), "b");
    assert!(application.goes_on());
    assert!(!backup.end().0.success());
}

fn with_all_a_backup_beside_the_application_on_one_relation_lives(world: &World) {
    let database = world.database();
    table(&database, "a", 10_000);
    let mut backup = Backup::of_table(&database, "a", SLOWLY);
    let application = Holder::busy(&database, "web", "SELECT count(*) FROM a");
    let trail = Trail::from_now(world.cluster());
    let error = database
        .session("migration")
        .error(&preempt(r#"{"relations": "all", "timeout": "600ms"}"#));
    assert_eq!(error.code().code(), "55P03");
    trail.has_no_victim();
    assert!(backup.is_running());
    assert!(application.goes_on());
}

fn a_lock_that_does_not_conflict_is_no_obstacle(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let mut backup = Backup::start(&database, SLOWLY);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    for mode in [
        "ShareLock",
        "ShareRowExclusiveLock",
        "share update exclusive",
        "ExclusiveLock",
    ] {
        let rows = migration.run(&preempt(&format!(
            r#"{{"relations": ["t"], "mode": "{mode}"}}"#
        )));
        assert!(rows.is_empty(), "{mode}: {rows:?}");
    }
    migration.run("CREATE INDEX ON t (i)");
    trail.has_no_victim();
    assert!(backup.is_running());

    let writer = Holder::busy(&database, "web", "DELETE FROM t WHERE i = 1");
    let rows = migration.run(&preempt(
        r#"{"relations": ["t"], "mode": "ShareLock", "timeout": "200ms", "on_timeout": "report"}"#,
    ));
    let row = rows.only();
    assert_eq!(row.text("pid"), writer.pid().to_string());
    assert!(backup.is_running());
}

fn a_session_on_one_partition_is_in_the_way_of_the_parent(world: &World) {
    let database = world.database();
    database.session("setup").run(
        "CREATE TABLE events (day int, t text) PARTITION BY RANGE (day); \
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2); \
         CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (2) TO (3); \
         INSERT INTO events SELECT 1 + i % 2, repeat(md5(i::text), 30) FROM generate_series(1, 20000) i",
    );
    let backup = Backup::of_table(&database, "events_2", SLOWLY);
    let migration = database.session("migration");
    let rows = migration.run(&preempt(r#"{"relations": ["events_1"]}"#));
    assert!(rows.is_empty(), "{rows:?}");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(r#"{"relations": ["events"]}"#));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    assert_eq!(row_of(&rows, backup.pid).text("relation"), "events_2");
    migration.run("DROP TABLE events; COMMIT");
}

fn a_session_on_an_index_alone_is_in_the_way_of_the_table(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    database.session("setup").run("CREATE INDEX t_i ON t (i)");
    let tuner = Holder::busy(&database, "tuner", "ALTER INDEX t_i SET (fillfactor = 80)");
    let migration = database.session("migration");
    let rows = migration.run(&preempt(
        r#"{"relations": ["t"], "preempt": [{"application_name": "tuner"}]}"#,
    ));
    let row = row_of(&rows, tuner.pid());
    assert_eq!(row.text("verdict"), "cancelled");
    assert_eq!(row.text("relation"), "t_i");
    tuner.was_cancelled("by a rule of the policy");
}

fn a_name_twice_and_two_names_of_one_relation_count_once(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let trail = Trail::from_now(world.cluster());
    let rows = database.session("migration").run(&preempt(
        r#"{"relations": ["t", "public.t", "T", "t"], "max_victims": 1}"#,
    ));
    assert_eq!(rows.only().text("verdict"), "cancelled");
    assert_eq!(trail.victims(), [backup.pid]);
}
