//! Which signal a session gets, and what follows when it does not let go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{
    Backup, Holder, SLOWLY, SOON, Trail, is_alive, preempt, row_of, stays_true, table, verdict,
};
use crate::world::{World, scenarios};

const READ_T: &str = "LOCK TABLE t IN ACCESS SHARE MODE";

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_stalled_backup_is_cancelled_and_after_grace_terminated,
        a_stalled_backup_outlives_a_mere_cancel,
        a_backup_is_terminated_at_once_where_policy_says_so,
        an_idle_transaction_is_terminated_at_once,
        an_idle_transaction_is_reported_and_left_under_cancel,
        an_idle_transaction_is_left_by_default,
        a_backup_between_two_statements_is_terminated,
        a_terminated_session_that_still_drops_its_temporary_tables_has_one_row,
    ]
}

fn a_stalled_backup_is_cancelled_and_after_grace_terminated(world: &World) {
    let database = world.database();
    table(&database, "t", 2_000);
    let backup = Backup::start(&database, 0);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let start = Instant::now();
    let rows = migration.run(&format!(
        "BEGIN; {}; DROP TABLE t; COMMIT",
        preempt(r#"{"relations": ["t"], "grace": "800ms"}"#)
    ));
    let elapsed = start.elapsed();
    let row = row_of(&rows, backup.pid);
    assert_eq!(row.text("verdict"), "terminated");
    assert!(row.text("reason").contains("within grace"), "{row:?}");
    let waited: u32 = row.text("waited_ms").parse().unwrap();
    assert!(waited >= 800, "{waited} ms");
    let signals = trail.signals();
    let kinds: Vec<_> = signals.iter().map(|s| (s.pid, s.terminate)).collect();
    assert_eq!(kinds, [(backup.pid, false), (backup.pid, true)]);
    let between = signals[1].at - signals[0].at;
    // The log tells milliseconds.
    assert!(between >= Duration::from_millis(799), "{between:?}");
    assert!(
        elapsed < pg_test::slow(Duration::from_millis(800 + 700)),
        "{elapsed:?}"
    );
    assert!(!backup.end().0.success());
}

fn a_stalled_backup_outlives_a_mere_cancel(world: &World) {
    let database = world.database();
    table(&database, "t", 2_000);
    let backup = Backup::start(&database, 0);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let policy = |more: &str| {
        preempt(&format!(
            r#"{{"relations": ["t"], "signal": "cancel", "grace": "100ms", "timeout": "600ms"{more}}}"#
        ))
    };
    let error = migration.error(&policy(""));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap_or_default();
    assert!(
        detail.contains(&format!("pid {}", backup.pid)) && detail.contains("was cancelled"),
        "{detail}"
    );
    let rows = migration.run(&policy(r#", "on_timeout": "report""#));
    assert_eq!(verdict(&rows, backup.pid), "in the way");
    assert!(is_alive(&database, backup.pid));
    assert!(
        trail
            .signals()
            .iter()
            .all(|s| s.pid == backup.pid && !s.terminate)
    );
    // Once it reads again the cancel takes effect.
    assert!(!backup.end().0.success());
}

fn a_backup_is_terminated_at_once_where_policy_says_so(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let trail = Trail::from_now(world.cluster());
    let rows = database.session("migration").run(&preempt(
        r#"{"relations": ["t"], "signal": "terminate", "grace": "20s"}"#,
    ));
    assert_eq!(verdict(&rows, backup.pid), "terminated");
    let signals = trail.signals();
    assert_eq!(signals.len(), 1, "{signals:?}");
    assert!(signals[0].terminate);
    assert!(!backup.end().0.success());
}

fn an_idle_transaction_is_terminated_at_once(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let idle = Holder::idle(&database, "forgotten", READ_T);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let start = Instant::now();
    let rows = migration.run(&preempt(
        r#"{"relations": ["t"], "preempt": ["idle_in_transaction"], "grace": "20s"}"#,
    ));
    assert!(
        start.elapsed() < pg_test::slow(Duration::from_secs(10)),
        "grace was waited for"
    );
    let row = row_of(&rows, idle.pid());
    assert_eq!(row.text("verdict"), "terminated");
    assert_eq!(row.text("class"), "idle_in_transaction");
    let signals = trail.signals();
    assert_eq!(signals.len(), 1, "{signals:?}");
    assert!(signals[0].terminate);
    // It lets go of its locks before its session has gone.
    wait_until("its session has gone", SOON, || {
        !is_alive(&database, idle.pid())
    });
}

fn an_idle_transaction_is_reported_and_left_under_cancel(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let idle = Holder::idle(&database, "forgotten", READ_T);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let policy = |more: &str| {
        preempt(&format!(
            r#"{{"relations": ["t"], "preempt": ["idle_in_transaction"], "signal": "cancel", "timeout": "300ms"{more}}}"#
        ))
    };
    let rows = migration.run(&policy(r#", "on_timeout": "report""#));
    let row = row_of(&rows, idle.pid());
    assert_eq!(row.text("verdict"), "in the way");
    assert!(
        row.text("reason").contains("a cancel does nothing"),
        "{row:?}"
    );
    let error = migration.error(&policy(""));
    assert_eq!(error.code().code(), "55P03");
    assert!(error.hint().is_some_and(|hint| hint.contains("terminate")));
    trail.has_no_victim();
    assert!(idle.goes_on());
}

fn an_idle_transaction_is_left_by_default(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let idle = Holder::idle(&database, "forgotten", READ_T);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let call = migration.spawn(preempt(
        r#"{"relations": ["t"], "grace": "50ms", "timeout": "600ms", "on_timeout": "report"}"#,
    ));
    stays_true(
        "the idle session is left",
        Instant::now() + Duration::from_millis(400),
        || idle.goes_on(),
    );
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, idle.pid()), "in the way");
    trail.has_no_victim();
    assert!(idle.goes_on());
}

/// A plain `pg_dump` is idle for moments only; its stand-in is idle for good.
fn a_backup_between_two_statements_is_terminated(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let idle = Holder::idle(&database, "pg_dump", READ_T);
    let trail = Trail::from_now(world.cluster());
    let rows = database
        .session("migration")
        .run(&preempt(r#"{"relations": ["t"], "grace": "20s"}"#));
    let row = row_of(&rows, idle.pid());
    assert_eq!(row.text("verdict"), "terminated");
    assert_eq!(row.text("class"), "backup");
    assert_eq!(trail.signals().len(), 1);
    // It lets go of its locks before its session has gone.
    wait_until("its session has gone", SOON, || {
        !is_alive(&database, idle.pid())
    });
}

/// It does so in a transaction of its own on the way out, with their locks held again. There are
/// enough of them for that to last many looks.
fn a_terminated_session_that_still_drops_its_temporary_tables_has_one_row(world: &World) {
    let database = world.database();
    let idle = database.session("pg_dump");
    idle.run("DO $$BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TEMP TABLE t%s (t text)', i); END LOOP; END$$");
    let schema = idle.run("SELECT pg_my_temp_schema()::regnamespace");
    let schema = schema.value().unwrap().to_owned();
    idle.run("BEGIN; SELECT FROM t1");
    let trail = Trail::from_now(world.cluster());
    let rows = database
        .session("migration")
        .run(&preempt(&format!(r#"{{"relations": ["{schema}.t1"]}}"#)));
    assert_eq!(rows.only().text("pid"), idle.pid().to_string());
    assert_eq!(rows.only().text("verdict"), "terminated");
    assert_eq!(trail.victims(), [idle.pid()]);
}
