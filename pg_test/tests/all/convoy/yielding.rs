//! An autovacuum worker that this role may not signal: the server cancels it for whoever waits for its
//! transaction, if policy names it, and nobody queues meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Session, SessionOptions, wait_until};

use super::oracle::{Oracle, clock, mode_held};
use super::traffic::Traffic;
use super::{LOCK, MAX_STALL, TOLERANCE};
use crate::preempt::autovacuum::{needy_table, server, worker_now, worker_on};
use crate::preempt::scene::{
    Holder, SOON, preempt, row_of, rows_once_written, stays_true, verdict,
};
use crate::preempt::wraparound::aged_table;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        an_autovacuum_worker_that_may_not_be_signalled_is_made_to_yield,
        a_worker_yields_only_where_policy_and_max_victims_allow_it_and_it_is_not_in_vain,
        an_anti_wraparound_vacuum_is_never_made_to_yield,
        a_yield_has_its_row_however_late_it_comes_and_none_if_it_does_not,
    ]
}

/// `deadlock_timeout` of that server.
const DEADLOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// A session of a role that owns t and has no other rights.
fn owner_of_t(database: &Database) -> Session {
    database
        .session("setup")
        .run("CREATE ROLE deployer LOGIN; ALTER TABLE t OWNER TO deployer");
    database
        .connect(SessionOptions::named("migration").user("deployer"))
        .unwrap()
}

/// Sees that nobody has been cancelled so far.
#[track_caller]
fn nobody_has_yielded(cluster: &Cluster) {
    let log = cluster.log();
    assert!(!log.contains("canceling autovacuum task"), "{log}");
}

fn an_autovacuum_worker_that_may_not_be_signalled_is_made_to_yield(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let migration = owner_of_t(&database);
    let worker = worker_on(&database, "t");
    let dry = migration.run(&preempt(r#"{"relations": ["t"], "dry_run": true}"#));
    assert_eq!(verdict(&dry, worker), "would cancel");
    let oracle = Oracle::start(&database);
    let traffic = Traffic::start(&database, 2, "SELECT FROM t LIMIT 1");
    migration.run("BEGIN");
    let start = clock(&database);
    let call = migration.spawn(preempt(r#"{"relations": ["t"]}"#));
    let rows = call.rows(SOON);
    let end = clock(&database);
    let held = database.ask(&format!(
        "SELECT mode FROM pg_locks WHERE pid = {} AND locktype = 'relation' AND mode = '{LOCK}' AND granted",
        migration.pid()
    ));
    assert!(!held.is_empty(), "{rows:?}");
    migration.run("COMMIT");
    let felt = traffic.end();
    let seen = oracle.end();
    let row = row_of(&rows, worker);
    assert_eq!(row.text("verdict"), "cancelled");
    let reason = row.text("reason");
    assert!(
        reason.contains("may not signal it") && reason.contains("the server has made it yield"),
        "{reason}"
    );
    let elapsed = Duration::from_secs_f64(end - start);
    let longest = seen.longest_but_of(migration.pid());
    println!("made to yield: held after {elapsed:?}, {felt:?}, longest queued {longest:?}");
    assert!(elapsed >= DEADLOCK_TIMEOUT, "{elapsed:?}");
    assert!(
        elapsed < pg_test::slow(Duration::from_secs(3)),
        "{elapsed:?}"
    );
    for stay in seen.of(migration.pid()) {
        assert!(stay.length() <= MAX_STALL + TOLERANCE, "{stay:?}");
        assert!(stay.oldest <= (MAX_STALL + TOLERANCE).as_secs_f64());
    }
    assert_eq!(felt.failures, 0);
    assert!(
        longest <= pg_test::slow(MAX_STALL + TOLERANCE),
        "{longest:?}"
    );
    let log = cluster.log();
    for line in [
        format!("lockguard has the server cancel pid {worker} for {LOCK} on t"),
        "canceling autovacuum task".to_owned(),
    ] {
        assert!(log.contains(&line), "no {line} in {log}");
    }
    let notices = migration.notices();
    assert!(
        notices.iter().any(|n| n.message.contains("to yield")),
        "{notices:?}"
    );
}

fn a_worker_yields_only_where_policy_and_max_victims_allow_it_and_it_is_not_in_vain(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let migration = owner_of_t(&database);
    let worker = worker_on(&database, "t");
    let looker = database.session("looker");
    let is_at_work = || worker_now(&looker, "t") == Some(worker);

    let before = Instant::now();
    let error = migration.error(&preempt(
        r#"{"relations": ["t"], "max_victims": 0, "timeout": "20s"}"#,
    ));
    assert_eq!(error.code().code(), "55P03");
    assert!(error.message().contains("1 victim"), "{error:?}");
    assert!(
        before.elapsed() < pg_test::slow(Duration::from_secs(5)),
        "refused at once"
    );
    assert!(is_at_work());

    migration.run("BEGIN");
    let call = migration.spawn(preempt(
        r#"{"relations": ["t"], "spare": ["autovacuum"], "timeout": "3s", "on_timeout": "report"}"#,
    ));
    stays_true(
        "the spared worker is at work, many times deadlock_timeout",
        Instant::now() + DEADLOCK_TIMEOUT * 12,
        is_at_work,
    );
    assert_eq!(verdict(&call.rows(SOON), worker), "spared");
    assert_eq!(mode_held(&database, migration.pid(), "t"), None);
    nobody_has_yielded(&cluster);

    // Nor as long as the application stays.
    let application = Holder::idle(&database, "web", "SELECT FROM t LIMIT 1");
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    stays_true(
        "the worker is at work while somebody else stays",
        Instant::now() + DEADLOCK_TIMEOUT * 5,
        is_at_work,
    );
    nobody_has_yielded(&cluster);
    application.session.run("COMMIT");
    assert_eq!(verdict(&call.rows(SOON), worker), "cancelled");
    let held = mode_held(&database, migration.pid(), "t");
    assert_eq!(held.as_deref(), Some(LOCK));
    migration.run("COMMIT");
}

fn an_anti_wraparound_vacuum_is_never_made_to_yield(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    aged_table(&database, "t");
    let migration = owner_of_t(&database);
    let worker = worker_on(&database, "t");
    let looker = database.session("looker");
    migration.run("BEGIN");
    for (more, expected) in [
        ("", "spared"),
        // Even where policy asks for it, the server would not do it.
        (
            r#", "preempt": ["autovacuum_wraparound", "autovacuum"], "spare": []"#,
            "not permitted",
        ),
    ] {
        let call = migration.spawn(preempt(&format!(
            r#"{{"relations": ["t"], "timeout": "1500ms", "on_timeout": "report"{more}}}"#
        )));
        let rows = call.rows(SOON);
        assert_eq!(verdict(&rows, worker), expected);
        wait_until("the worker is still at work", SOON, || {
            worker_now(&looker, "t") == Some(worker)
        });
    }
    nobody_has_yielded(&cluster);
    assert!(!cluster.log().contains("lockguard has the server cancel"));
}

fn a_yield_has_its_row_however_late_it_comes_and_none_if_it_does_not(world: &World) {
    let cluster = server(world);
    // Longer than the worker that writes the rows would otherwise wait for what came of a signal.
    cluster.set(&[("deadlock_timeout", "11s")]).unwrap();
    cluster.reload();
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let migration = owner_of_t(&database);
    let worker = worker_on(&database, "t");
    let admin = database.session("admin");
    let workers = "SELECT FROM pg_stat_activity WHERE backend_type = 'lockguard trail'";
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "60s"}"#));
    wait_until("the worker for the row is there", SOON, || {
        !admin.run(workers).is_empty()
    });
    call.cancel();
    assert!(call.wait(SOON).is_err());
    wait_until("it has gone", SOON, || admin.run(workers).is_empty());
    assert!(admin.run("SELECT FROM lockguard.preemptions").is_empty());
    nobody_has_yielded(&cluster);
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "60s"}"#));
    call.wait(2 * SOON).unwrap();
    let rows = rows_once_written(
        &admin,
        1,
        "SELECT pid, signal, outcome FROM lockguard.preemptions",
    );
    let row = rows.only();
    assert_eq!(row.text("pid"), worker.to_string());
    assert_eq!(row.text("signal"), "yield");
    assert_eq!(row.text("outcome"), "cancelled");
}
