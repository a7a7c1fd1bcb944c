//! What is to be made good, and settling it.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Backup, SessionOptions, wait_until};

use super::{SOON, preempt, trail};
use crate::preempt::scene::{SLOWLY, rows_once_written, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_preempted_backup_is_owed_until_it_is_settled,
        a_preempted_index_build_leaves_two_debts,
        an_index_that_is_being_built_is_nobody_s_debt,
    ]
}

fn a_preempted_backup_is_owed_until_it_is_settled(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let admin = database.session("admin");
    let backup = Backup::start(&database, SLOWLY);
    admin.run(&preempt(r#"{"relations": ["t"], "label": "release 42"}"#));
    drop(backup);
    let owed = rows_once_written(&admin, 1, "SELECT * FROM lockguard.owed");
    let row = owed.only();
    assert_eq!(row.text("kind"), "backup");
    assert_eq!(row.text("label"), "release 42");
    assert_eq!(row.text("application_name"), "Heroku Postgres Backups");
    let id = row.text("id").to_owned();
    assert!(
        row.text("remedy")
            .contains(&format!("lockguard.settle({id})"))
    );
    // A stranger neither sees nor settles it.
    let stranger = format!("{}_stranger", database.name());
    admin.run(&format!("CREATE ROLE {stranger} LOGIN"));
    let stranger = database
        .connect(SessionOptions::named("stranger").user(&stranger))
        .unwrap();
    assert_eq!(stranger.run("SELECT FROM lockguard.owed").len(), 0);
    let settle = format!("SELECT lockguard.settle({id})");
    let error = stranger.try_run(&settle).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42704");
    // What is rolled back is not settled.
    admin.run(&format!("BEGIN; {settle}; ROLLBACK"));
    assert_eq!(admin.run("SELECT FROM lockguard.owed").len(), 1);
    admin.run(&settle);
    assert_eq!(admin.run("SELECT FROM lockguard.owed").len(), 0);
    let rows = trail(&admin);
    assert!(rows.only().get("settled_at").is_some());
    let me = admin.run("SELECT current_user");
    assert_eq!(rows.only().get("settled_by"), me.value());
    admin.take_notices();
    admin.run(&settle);
    let notices = admin.take_notices();
    assert!(notices[0].message.contains("settled before"), "{notices:?}");
    for sql in [
        "SELECT lockguard.settle(-1)",
        "SELECT lockguard.settle(NULL)",
    ] {
        assert!(admin.try_run(sql).is_err(), "{sql}");
    }
}

/// A session that holds up whoever builds an index concurrently, by its snapshot.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM other";

fn a_preempted_index_build_leaves_two_debts(world: &World) {
    let database = world.database();
    let admin = database.session("admin");
    admin.run("CREATE TABLE \"T 1\" (i int); CREATE TABLE other ()");
    let reader = database.session("reader");
    reader.run(SNAPSHOT);
    let builder = database.session("builder");
    let build = builder.spawn("CREATE INDEX CONCURRENTLY \"T 1 i\" ON \"T 1\" (i)");
    build.wait_until_queued();
    admin.run(&preempt(
        r#"{"relations": ["\"T 1\""], "preempt": ["index_build"]}"#,
    ));
    assert!(build.wait(SOON).is_err());
    reader.run("COMMIT");
    let owed = rows_once_written(&admin, 2, "SELECT * FROM lockguard.owed ORDER BY kind");
    let kinds: Vec<&str> = owed.iter().map(|row| row.text("kind")).collect();
    assert_eq!(kinds, ["index build", "invalid index"]);
    let rows: Vec<_> = owed.iter().collect();
    assert_eq!(rows[1].text("relation"), "public.\"T 1 i\"");
    let remedy = rows[1].text("remedy");
    // Either way of the remedy, as it stands.
    let (_, rebuild) = remedy.split_once(" or ").unwrap();
    admin.run(rebuild);
    admin.run(&format!("SELECT lockguard.settle({})", rows[0].text("id")));
    assert_eq!(admin.run("SELECT FROM lockguard.owed").len(), 0);
}

fn an_index_that_is_being_built_is_nobody_s_debt(world: &World) {
    let database = world.database();
    let admin = database.session("admin");
    admin.run("CREATE TABLE t (i int); CREATE TABLE other ()");
    let reader = database.session("reader");
    reader.run(SNAPSHOT);
    let builder = database.session("builder");
    let build = builder.spawn("CREATE INDEX CONCURRENTLY t_i ON t (i)");
    build.wait_until_queued();
    let invalid = "SELECT FROM pg_index WHERE indexrelid = 't_i'::regclass AND NOT indisvalid";
    wait_until("the index is there, and invalid", SOON, || {
        admin.run("SELECT to_regclass('t_i')").value().is_some() && admin.run(invalid).len() == 1
    });
    assert_eq!(admin.run("SELECT FROM lockguard.owed").len(), 0);
    reader.run("COMMIT");
    build.wait(SOON).unwrap();
}
