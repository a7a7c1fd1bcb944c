//! What a policy may hold back: the number of victims, every signal, the error at the end.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{SessionOptions, wait_until};

use super::scene::{Backup, Holder, SLOWLY, SOON, Trail, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        more_victims_than_allowed_are_refused_and_none_is_signalled,
        a_victim_counts_once_though_it_is_signalled_twice,
        a_dry_run_says_what_would_be_done_and_does_nothing,
        a_dry_run_without_rights_says_so,
        a_holder_that_lets_go_by_itself_has_finished,
        a_report_at_the_timeout_raises_nothing,
    ]
}

fn more_victims_than_allowed_are_refused_and_none_is_signalled(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let mut backups = [
        Backup::start(&database, SLOWLY),
        Backup::start(&database, SLOWLY),
    ];
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let policy = |more: &str| preempt(&format!(r#"{{"relations": ["t"]{more}}}"#));
    for allowed in [0, 1] {
        let error = migration.error(&policy(&format!(r#", "max_victims": {allowed}"#)));
        assert_eq!(error.code().code(), "55P03");
        assert!(error.message().contains("takes 2 victims"), "{error}");
        let detail = error.detail().unwrap_or_default();
        for backup in &backups {
            assert!(detail.contains(&format!("pid {} ", backup.pid)), "{detail}");
        }
        let why = format!("policy preempts it, but max_victims allows {allowed}");
        assert_eq!(detail.matches(&why).count(), 2, "{detail}");
        let rows = migration.run(&policy(&format!(
            r#", "max_victims": {allowed}, "dry_run": true"#
        )));
        for backup in &backups {
            assert_eq!(row_of(&rows, backup.pid).text("reason"), why);
            assert_eq!(verdict(&rows, backup.pid), "would wait");
        }
    }
    let rows = migration.run(&policy(r#", "max_victims": 1, "on_timeout": "report""#));
    for backup in &mut backups {
        assert_eq!(verdict(&rows, backup.pid), "in the way");
        assert!(backup.is_running());
    }
    trail.has_no_victim();
    let rows = migration.run(&policy(r#", "max_victims": 2"#));
    for backup in &backups {
        assert_eq!(verdict(&rows, backup.pid), "cancelled");
    }
    assert_eq!(trail.victims().len(), 2);
}

fn a_victim_counts_once_though_it_is_signalled_twice(world: &World) {
    let database = world.database();
    table(&database, "t", 2_000);
    let backup = Backup::start(&database, 0);
    let rows = database.session("migration").run(&preempt(
        r#"{"relations": ["t"], "max_victims": 1, "grace": "100ms"}"#,
    ));
    assert_eq!(verdict(&rows, backup.pid), "terminated");
}

fn a_dry_run_says_what_would_be_done_and_does_nothing(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    table(&database, "u", 10);
    let read = "SELECT count(*) FROM t";
    let mut backup = Backup::start(&database, SLOWLY);
    let forgotten = Holder::idle(&database, "forgotten", read);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let dry = |more: &str| preempt(&format!(r#"{{"relations": ["t"], "dry_run": true{more}}}"#));

    migration.run("BEGIN");
    let named = r#", "preempt": ["backup", "idle_in_transaction"]"#;
    let rows = migration.run(&dry(named));
    assert_eq!(verdict(&rows, backup.pid), "would cancel");
    assert_eq!(verdict(&rows, forgotten.pid()), "would terminate");
    assert!(migration.notices()[0].message.contains("dry run"));

    let rows = migration.run(&dry(r#", "signal": "terminate""#));
    assert_eq!(verdict(&rows, backup.pid), "would terminate");
    assert_eq!(verdict(&rows, forgotten.pid()), "would wait");
    let reason = row_of(&rows, backup.pid).text("reason");
    assert!(
        reason.contains(&format!("once pid {}", forgotten.pid())),
        "{reason}"
    );

    let rows = migration.run(&dry(r#", "spare": [{"application_name": "Heroku*"}]"#));
    assert_eq!(verdict(&rows, backup.pid), "spared");

    // Nothing locked, by the whole transaction so far; and nothing to lock is an empty answer.
    let locks = migration
        .run("SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 't'::regclass");
    assert!(locks.is_empty());
    let rows = migration.run(&preempt(r#"{"relations": ["u"], "dry_run": true}"#));
    assert_eq!(rows.len(), 1, "the dump holds all tables: {rows:?}");
    migration.run("COMMIT");
    trail.has_no_victim();
    assert!(backup.is_running());
    assert!(forgotten.goes_on());
}

fn a_dry_run_without_rights_says_so(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let role = format!("deployer_{}", database.name());
    let setup = database.session("setup");
    setup.run(&format!(
        "CREATE ROLE {role} LOGIN; ALTER TABLE t OWNER TO {role}"
    ));
    let backup = Backup::start(&database, SLOWLY);
    let migration = database
        .connect(SessionOptions::named("migration").user(&role))
        .unwrap();
    let rows = migration.run(&preempt(r#"{"relations": ["t"], "dry_run": true}"#));
    assert_eq!(verdict(&rows, backup.pid), "not permitted");
    drop(migration);
    setup.run(&format!(
        "ALTER TABLE t OWNER TO postgres; DROP ROLE {role}"
    ));
}

fn a_holder_that_lets_go_by_itself_has_finished(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let call = migration.spawn(preempt(r#"{"relations": ["t"]}"#));
    wait_until("the call has begun", SOON, || {
        !migration.notices().is_empty()
    });
    application.session.run("COMMIT");
    let rows = call.rows(SOON);
    migration.run("DROP TABLE t; COMMIT");
    assert_eq!(verdict(&rows, application.pid()), "finished");
    trail.has_no_victim();
}

fn a_report_at_the_timeout_raises_nothing(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::busy(&database, "web", "SELECT count(*) FROM t");
    let migration = database.session("migration");
    migration.run("BEGIN; CREATE TABLE mine ()");
    let rows = migration.run(&preempt(
        r#"{"relations": ["t"], "timeout": "200ms", "on_timeout": "report"}"#,
    ));
    let row = row_of(&rows, application.pid());
    assert_eq!(row.text("verdict"), "in the way");
    assert!(
        row.text("reason").contains("does not preempt it"),
        "{row:?}"
    );
    let last = migration.take_notices().pop().unwrap();
    assert!(last.message.contains("is not free after"), "{last:?}");
    migration.run("COMMIT");
    assert!(super::scene::exists(&database, "mine"));
}
