//! The incident: a migration's DROP TABLE finds the nightly backup in its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::scene::{Backup, SLOWLY, SOON, Trail, exists, preempt, row_of, table, told, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_backup_gives_way_to_the_drop_of_its_table_within_half_a_second,
        a_backup_of_another_table_is_left_alone,
        outside_a_transaction_the_way_is_made_free_too,
        the_log_tells_of_a_signal_before_it_is_sent,
    ]
}

fn a_backup_gives_way_to_the_drop_of_its_table_within_half_a_second(world: &World) {
    let database = world.database();
    table(&database, "field_history", 30_000);
    let mut backup = Backup::start(&database, SLOWLY);
    let migration = database.session("manage.py migrate");
    assert!(backup.is_running());

    migration.run("BEGIN");
    let start = Instant::now();
    let call = migration.spawn(preempt(r#"{"relations": ["field_history"]}"#));
    let drop = migration.spawn("DROP TABLE field_history");
    let commit = migration.spawn("COMMIT");
    let rows = call.rows(SOON);
    drop.rows(SOON);
    commit.rows(SOON);
    let elapsed = start.elapsed();
    println!("from the call's start to the table gone: {elapsed:?}");
    assert!(
        elapsed < pg_test::slow(Duration::from_millis(500)),
        "took {elapsed:?}"
    );
    assert!(!exists(&database, "field_history"));

    let row = rows.only();
    assert_eq!(row.text("pid"), backup.pid.to_string());
    assert_eq!(row.text("relation"), "field_history");
    assert_eq!(row.text("class"), "backup");
    assert_eq!(row.text("application_name"), "Heroku Postgres Backups");
    assert_eq!(row.text("usename"), "postgres");
    assert_eq!(row.text("verdict"), "cancelled");
    assert!(row.text("query").starts_with("COPY public.field_history"));
    assert!(row.text("reason").contains("policy preempts it"), "{row:?}");

    let notices = told(&migration);
    assert_eq!(notices.len(), 2, "{notices:?}");
    let (first, last) = (&notices[0], &notices[1]);
    assert!(notices.iter().all(|n| n.severity == "NOTICE"));
    assert!(
        first.message.contains(&format!("pid {}", backup.pid))
            && first.message.contains("Heroku Postgres Backups"),
        "{first:?}"
    );
    assert!(
        last.message.starts_with("lockguard: holds ") && last.message.contains("1 cancelled"),
        "{last:?}"
    );

    let (status, said) = backup.end();
    assert!(!status.success());
    assert!(said.contains("canceling statement"), "{said}");
}

fn a_backup_of_another_table_is_left_alone(world: &World) {
    let database = world.database();
    table(&database, "wanted", 10);
    table(&database, "other", 3_000);
    let mut backup = Backup::of_table(&database, "other", SLOWLY);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let rows = migration.run(&preempt(r#"{"relations": ["wanted"]}"#));
    assert!(rows.is_empty(), "{rows:?}");
    migration.run("DROP TABLE wanted");
    let notices = migration.take_notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].message.contains("nobody stands in the way"));
    assert!(backup.is_running());
    trail.has_no_victim();
    assert!(backup.end().0.success());
}

fn outside_a_transaction_the_way_is_made_free_too(world: &World) {
    let database = world.database();
    table(&database, "events", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let migration = database.session("migration");
    let rows = migration.run(&preempt(r#"{"relations": ["events"]}"#));
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    migration.run("DROP TABLE events");
    assert!(!backup.end().0.success());
}

fn the_log_tells_of_a_signal_before_it_is_sent(world: &World) {
    let database = world.database();
    table(&database, "events", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let rows = migration.run(&preempt(r#"{"relations": ["events"]}"#));
    row_of(&rows, backup.pid);
    // What the log tells stays, though the migration comes to nothing.
    migration.run("ROLLBACK");
    let ours = format!(
        "lockguard cancels pid {} for AccessExclusiveLock on events",
        backup.pid
    );
    let text = trail.text();
    let at = text.find(&ours).unwrap_or_else(|| panic!("{ours}\n{text}"));
    let felt = text.find("canceling statement due to user request");
    assert!(felt.is_some_and(|felt| at < felt), "{text}");
    let detail = text[at..].lines().nth(1).unwrap_or_default();
    for fact in [
        "Class backup",
        "role \"postgres\"",
        "Heroku Postgres Backups",
        "AccessShareLock",
        "COPY public.events",
    ] {
        assert!(detail.contains(fact), "no {fact} in: {detail}");
    }
}
