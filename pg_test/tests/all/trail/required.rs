//! `require_trail`: where no row can be written, nobody is signalled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Session, SessionOptions, wait_until};
use postgres::error::DbError;

use super::{SOON, policy, preempt, table, trail, victim, wait_for_rows};
use crate::preempt::scene::Trail;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_required_row_that_can_be_written_is,
        without_a_free_worker_slot_nobody_is_signalled,
        on_a_standby_nobody_is_signalled,
        before_the_extension_is_committed_nobody_is_signalled,
        without_the_trail_s_table_nobody_is_signalled,
        while_the_trail_s_table_is_locked_nobody_is_signalled,
        a_table_that_takes_no_row_is_told_of,
        whoever_waits_for_the_worker_s_word_can_be_cancelled,
        a_stored_policy_and_guard_mode_require_it_as_well,
    ]
}

const REQUIRED: &str = r#", "require_trail": true, "timeout": "800ms""#;

/// The call fails, and nobody has been signalled.
#[track_caller]
fn is_refused(session: &Session, log: &Trail<'_>, sql: &str, why: &str, next: &str) -> DbError {
    let error = session.error(sql);
    assert_eq!(error.code().code(), "55P03", "{error}");
    let detail = error.detail().unwrap_or_default();
    assert!(detail.contains("row of the trail"), "{detail}");
    assert!(detail.contains(why), "{detail}");
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains(next), "{hint}");
    assert_eq!(log.signals().len(), 0);
    error
}

fn a_required_row_that_can_be_written_is(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    admin.run(&preempt(&policy(r#", "require_trail": true"#)));
    assert!(busy.wait(SOON).is_err());
    // What was tried out has left nothing.
    assert_eq!(wait_for_rows(&admin, 1).only().text("outcome"), "cancelled");
}

fn without_a_free_worker_slot_nobody_is_signalled(world: &World) {
    let cluster = world.start_cluster(&[("max_worker_processes", "0")]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let log = Trail::from_now(&cluster);
    let call = preempt(&policy(REQUIRED));
    is_refused(&admin, &log, &call, "worker slot", "max_worker_processes");
    let report = policy(&format!(r#"{REQUIRED}, "on_timeout": "report""#));
    let rows = admin.run(&preempt(&report));
    assert_eq!(rows.only().text("verdict"), "in the way");
    assert!(rows.only().text("reason").contains("worker slot"));
    assert!(!busy.is_finished());
}

fn on_a_standby_nobody_is_signalled(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let _admin = table(&database);
    let standby = Cluster::standby_of(&cluster, &[]).unwrap();
    let there = standby.database(database.name());
    wait_until("the table is there", SOON, || {
        there
            .connect(SessionOptions::named("looker"))
            .is_ok_and(|s| s.run("SELECT to_regclass('t')").value().is_some())
    });
    let (_session, busy) = victim(&there);
    let caller = there.session("caller");
    let log = Trail::from_now(&standby);
    let call = preempt(&policy(
        r#", "take_lock": false, "require_trail": true, "timeout": "60s""#,
    ));
    let start = Instant::now();
    is_refused(&caller, &log, &call, "recovery", "standby");
    assert!(start.elapsed() < SOON, "it does not wait for that");
    assert!(!busy.is_finished());
}

fn before_the_extension_is_committed_nobody_is_signalled(world: &World) {
    let database = world.cluster().create_empty_database().unwrap();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let log = Trail::from_now(world.cluster());
    admin.run("BEGIN; CREATE EXTENSION lockguard");
    let call = preempt(&policy(r#", "require_trail": true, "timeout": "60s""#));
    is_refused(&admin, &log, &call, "others can see", "Commit");
    assert!(!busy.is_finished());
}

fn move_table_away(admin: &Session) {
    admin.run(
        "ALTER EXTENSION lockguard DROP TABLE lockguard.trail; \
         ALTER TABLE lockguard.trail RENAME TO elsewhere",
    );
}

fn without_the_trail_s_table_nobody_is_signalled(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let log = Trail::from_now(world.cluster());
    move_table_away(&admin);
    let call = preempt(&policy(r#", "require_trail": true, "timeout": "60s""#));
    is_refused(&admin, &log, &call, "lockguard.trail", "anew");
    assert!(!busy.is_finished());
}

fn locked(database: &Database) -> Session {
    let locker = database.session("locker");
    locker.run("BEGIN; LOCK TABLE lockguard.trail IN ACCESS EXCLUSIVE MODE");
    locker
}

fn while_the_trail_s_table_is_locked_nobody_is_signalled(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let log = Trail::from_now(world.cluster());
    let locker = locked(&database);
    let call = preempt(&policy(REQUIRED));
    is_refused(&admin, &log, &call, "is locked", "pg_locks");
    assert!(!busy.is_finished());
    // It goes on as soon as it can.
    let call = preempt(&policy(r#", "require_trail": true, "timeout": "30s""#));
    let waits = admin.spawn(call);
    wait_until("it waits for the worker's word", SOON, || {
        waits
            .wait_event()
            .is_some_and(|(_, event)| event == "Extension")
    });
    assert!(!busy.is_finished());
    locker.run("COMMIT");
    waits.wait(SOON).unwrap();
    assert!(busy.wait(SOON).is_err());
    assert_eq!(wait_for_rows(&admin, 1).len(), 1);
}

fn a_table_that_takes_no_row_is_told_of(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let log = Trail::from_now(world.cluster());
    admin.run("ALTER TABLE lockguard.trail ADD CONSTRAINT none CHECK (pid < 0) NOT VALID");
    let call = preempt(&policy(REQUIRED));
    is_refused(&admin, &log, &call, "cannot write", "server log");
    assert!(log.text().contains("violates check constraint"));
    assert!(!busy.is_finished());
}

fn whoever_waits_for_the_worker_s_word_can_be_cancelled(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let _locker = locked(&database);
    let caller = database.session("caller");
    let looker = database.session("looker");
    let waits = caller.spawn(preempt(&policy(
        r#", "require_trail": true, "timeout": "60s""#,
    )));
    wait_until("it waits for the worker's word", SOON, || {
        waits
            .wait_event()
            .is_some_and(|(_, event)| event == "Extension")
    });
    let start = Instant::now();
    looker.run(&format!("SELECT pg_cancel_backend({})", caller.pid()));
    let error = waits.wait(SOON).unwrap_err();
    let took = start.elapsed();
    println!("a cancel is answered after {took:?}");
    assert_eq!(error.code().unwrap().code(), "57014");
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert!(!busy.is_finished());
    drop(_locker);
    wait_until("the worker has gone", SOON, || {
        admin
            .run("SELECT FROM pg_stat_activity WHERE backend_type LIKE 'lockguard%' AND datname = current_database()")
            .is_empty()
    });
    assert_eq!(trail(&admin).len(), 0);
}

fn a_stored_policy_and_guard_mode_require_it_as_well(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let log = Trail::from_now(world.cluster());
    let _locker = locked(&database);
    admin.run(
        r#"SELECT lockguard.store_policy('p', '{"preempt": [{"application_name": "victim"}], "require_trail": true}')"#,
    );
    let through = |more: &str| {
        preempt(&format!(
            r#"{{"relations": ["t"], "policy": "p", "timeout": "800ms"{more}}}"#
        ))
    };
    is_refused(&admin, &log, &through(""), "is locked", "pg_locks");
    let error = admin.error(&through(r#", "require_trail": false"#));
    assert_eq!(error.code().code(), "42501", "{error}");
    admin.run(r#"SET lockguard.policy = '{"policy": "p", "timeout": "800ms"}'"#);
    let ddl = "ALTER TABLE t ADD COLUMN j int";
    is_refused(&admin, &log, ddl, "is locked", "pg_locks");
    assert!(!busy.is_finished());
}
