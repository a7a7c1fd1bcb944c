//! While anything long is in the way, the call is not in the queue of the lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, SessionOptions, wait_until};

use super::oracle::{Oracle, clock, mode_held};
use super::traffic::Traffic;
use super::{LOCK, MAX_STALL, TOLERANCE};
use crate::preempt::scene::{
    Backup, Holder, SLOWLY, SOON, Trail, preempt, stays_true, table, verdict,
};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        behind_a_long_transaction_it_is_in_no_queue,
        a_long_transaction_alone_is_waited_for_outside,
        a_young_holder_that_outlasts_one_attempt_is_waited_for_outside,
        a_holder_of_unknown_age_that_outlasts_one_attempt_is_waited_for_outside,
        a_spared_holder_is_waited_for_outside_however_young,
        a_prepared_transaction_is_waited_for_outside_and_its_end_gives_the_lock,
        behind_a_long_one_who_is_queued_himself_it_does_not_queue,
        what_is_let_go_while_the_queue_must_not_be_joined_is_had_at_once,
    ]
}

fn behind_a_long_transaction_it_is_in_no_queue(world: &World) {
    let database = world.database();
    table(&database, "t", 20_000);
    let mut backup = Backup::start(&database, SLOWLY);
    let application = Holder::busy(&database, "web", "SELECT count(*) FROM t");
    wait_until("the application's transaction is long", SOON, || {
        age(&database, application.pid()) > MAX_STALL.as_secs_f64()
    });
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let oracle = Oracle::start(&database);
    let traffic = Traffic::start(&database, 2, "SELECT FROM t LIMIT 1");
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    stays_true(
        "the backup lives while the application stays",
        Instant::now() + Duration::from_secs(3),
        || backup.is_running() && trail.victims().is_empty(),
    );
    let felt = traffic.end();
    assert!(!call.is_finished());
    let released = clock(&database);
    let before = Instant::now();
    database.cancel(application.pid());
    let rows = call.rows(SOON);
    let soon = before.elapsed();
    let seen = oracle.end();
    let stays = seen.of(migration.pid());
    println!(
        "behind a long transaction: {felt:?}, longest queued {:?}, {} looks; lock {soon:?} after its end, {stays:?}",
        seen.longest_but_of(migration.pid()),
        seen.looks
    );
    assert!(seen.looks > 100, "{}", seen.looks);
    for stay in &stays {
        assert!(stay.since >= released, "{stay:?} before {released}");
        assert!(stay.length() <= MAX_STALL + TOLERANCE, "{stay:?}");
    }
    assert_eq!(felt.failures, 0);
    assert!(felt.statements > 100, "{felt:?}");
    assert!(seen.longest_but_of(migration.pid()) <= MAX_STALL + TOLERANCE);
    assert!(felt.worst <= (MAX_STALL + TOLERANCE) * 3, "{felt:?}");
    assert_eq!(verdict(&rows, application.pid()), "finished");
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    assert_eq!(trail.victims(), [backup.pid]);
    assert_eq!(
        mode_held(&database, migration.pid(), "t").as_deref(),
        Some(LOCK)
    );
    assert!(soon < pg_test::slow(Duration::from_secs(2)), "{soon:?}");
}

fn age(database: &Database, pid: i32) -> f64 {
    let rows = database.ask(&format!(
        "SELECT extract(epoch FROM clock_timestamp() - xact_start) FROM pg_stat_activity WHERE pid = {pid}"
    ));
    rows.value()
        .and_then(|age| age.parse().ok())
        .unwrap_or_default()
}

/// One attempt is made, since nobody can know that the holder will stay; after that, none.
fn is_attempted_once(world: &World, track_activities: &str) {
    // So long that the holder is not long at the first look, however late that comes.
    const STALL: Duration = Duration::from_millis(900);
    let database = world.database();
    table(&database, "t", 10);
    let options = SessionOptions::named("web").set("track_activities", track_activities);
    let application = database.connect(options).unwrap();
    let migration = database.session("migration");
    // The library is loaded before anybody is in the way.
    migration.run("SELECT FROM lockguard.blockers_of('{}'); BEGIN");
    let oracle = Oracle::start(&database);
    application.run("BEGIN; SELECT FROM t LIMIT 1");
    let call = migration.spawn(preempt(
        r#"{"relations": ["t"], "timeout": "20s", "max_stall": "900ms"}"#,
    ));
    wait_until("the call waits, and has made its attempt", SOON, || {
        call.elapsed() > STALL + Duration::from_millis(300)
            && call
                .wait_event()
                .is_some_and(|(_, event)| event == "virtualxid")
    });
    let traffic = Traffic::start(&database, 1, "SELECT FROM t LIMIT 1");
    stays_true(
        "the holder is waited for",
        Instant::now() + Duration::from_millis(1_500),
        || !call.is_finished(),
    );
    let felt = traffic.end();
    let released = clock(&database);
    application.run("COMMIT");
    let rows = call.rows(SOON);
    let seen = oracle.end();
    assert_eq!(verdict(&rows, application.pid()), "finished");
    assert_eq!(
        mode_held(&database, migration.pid(), "t").as_deref(),
        Some(LOCK)
    );
    let stays = seen.of(migration.pid());
    println!("outlasted, track_activities {track_activities}: {stays:?}, {felt:?}");
    let while_it_stays = stays.iter().filter(|stay| stay.since < released);
    assert_eq!(while_it_stays.count(), 1, "{stays:?}");
    assert!(stays[0].length() <= STALL + TOLERANCE, "{stays:?}");
    assert!(stays[0].oldest <= (STALL + TOLERANCE).as_secs_f64());
    assert!(seen.longest_but_of(migration.pid()) <= TOLERANCE);
}

fn a_young_holder_that_outlasts_one_attempt_is_waited_for_outside(world: &World) {
    is_attempted_once(world, "on");
}

/// How old its transaction is is told by nobody.
fn a_holder_of_unknown_age_that_outlasts_one_attempt_is_waited_for_outside(world: &World) {
    is_attempted_once(world, "off");
}

/// No attempt is made while that one stays, and one that succeeds once he has gone.
fn is_not_attempted(world: &World, name: &str, is_long: bool, more: &str) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    migration.run("BEGIN");
    let oracle = Oracle::start(&database);
    let holder = Holder::idle(&database, name, "SELECT FROM t LIMIT 1");
    wait_until("the transaction is as old as it is to be", SOON, || {
        !is_long || age(&database, holder.pid()) > MAX_STALL.as_secs_f64()
    });
    let call = migration.spawn(preempt(&format!(
        r#"{{"relations": ["t"], "timeout": "20s"{more}}}"#
    )));
    stays_true(
        "the holder is waited for",
        Instant::now() + Duration::from_millis(700),
        || !call.is_finished(),
    );
    let released = clock(&database);
    holder.session.run("COMMIT");
    call.rows(SOON);
    let stays = oracle.end().of(migration.pid());
    assert!(stays.iter().all(|s| s.since >= released), "{stays:?}");
    let held = mode_held(&database, migration.pid(), "t");
    assert_eq!(held.as_deref(), Some(LOCK));
}

fn a_long_transaction_alone_is_waited_for_outside(world: &World) {
    is_not_attempted(world, "web", true, "");
}

fn a_spared_holder_is_waited_for_outside_however_young(world: &World) {
    is_not_attempted(world, "pg_dump", false, r#", "spare": ["backup"]"#);
}

fn a_prepared_transaction_is_waited_for_outside_and_its_end_gives_the_lock(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let gid = format!("transfer of {}", database.name());
    let application = database.session("two-phase application");
    let migration = database.session("migration");
    migration.run("BEGIN");
    let oracle = Oracle::start(&database);
    application.run(&format!(
        "BEGIN; UPDATE t SET t = 'x' WHERE i = 1; PREPARE TRANSACTION '{gid}'"
    ));
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    wait_until("the call waits for the transaction", SOON, || {
        call.wait_event()
            .is_some_and(|(kind, event)| kind == "Lock" && event != "relation")
    });
    stays_true(
        "the prepared transaction is waited for",
        Instant::now() + Duration::from_millis(700),
        || !call.is_finished(),
    );
    let released = clock(&database);
    application.run(&format!("COMMIT PREPARED '{gid}'"));
    let rows = call.rows(SOON);
    let stays = oracle.end().of(migration.pid());
    assert!(stays.iter().all(|s| s.since >= released), "{stays:?}");
    let row = rows.only();
    assert_eq!(row.get("pid"), None);
    assert_eq!(row.text("verdict"), "finished");
    assert_eq!(
        mode_held(&database, migration.pid(), "t").as_deref(),
        Some(LOCK)
    );
    let found = migration.run("SELECT t FROM t WHERE i = 1");
    assert_eq!(found.value(), Some("x"));
}

/// He gets the lock before us, and is long then: whoever queues behind him queues behind a long holder.
fn behind_a_long_one_who_is_queued_himself_it_does_not_queue(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let backup = Backup::start(&database, SLOWLY);
    let other = database.session("other migration");
    other.run("BEGIN");
    let lock = other.spawn("LOCK TABLE t");
    lock.wait_until_queued();
    wait_until("the other migration is long", SOON, || {
        age(&database, other.pid()) > 3.0 * MAX_STALL.as_secs_f64()
    });
    let oracle = Oracle::start(&database);
    let migration = database.session("migration");
    migration.run("BEGIN");
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    lock.rows(SOON);
    stays_true(
        "the other migration is waited for",
        Instant::now() + Duration::from_millis(500),
        || !call.is_finished(),
    );
    let released = clock(&database);
    other.run("COMMIT");
    let rows = call.rows(SOON);
    let stays = oracle.end().of(migration.pid());
    assert!(stays.iter().all(|s| s.since >= released), "{stays:?}");
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    let held = mode_held(&database, migration.pid(), "t");
    assert_eq!(held.as_deref(), Some(LOCK));
}

/// After an attempt that failed it takes a second or more until the queue may be joined again. Whoever
/// holds thousands of locks lets go of them one by one, after his transaction has ended.
fn what_is_let_go_while_the_queue_must_not_be_joined_is_had_at_once(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let options = SessionOptions::named("setup").set("statement_timeout", "10min");
    database.connect(options).unwrap().run(
        "CREATE TABLE parts (i int) PARTITION BY LIST (i); \
         DO $$BEGIN FOR i IN 1..3000 LOOP \
         EXECUTE format('CREATE TABLE parts_%s PARTITION OF parts FOR VALUES IN (%s)', i, i); END LOOP; END$$",
    );
    let holder = database.session("web");
    holder.run("SELECT count(*) FROM parts");
    let migration = database.session("migration");
    let mut slowest = Duration::ZERO;
    for _ in 0..8 {
        migration.run("BEGIN");
        holder.run("BEGIN; SELECT count(*) FROM parts; SELECT FROM t");
        let call = migration.spawn(preempt(r#"{"relations": ["t"], "max_stall": "200ms"}"#));
        call.wait_until_queued();
        wait_until("the call has left the queue", SOON, || {
            call.wait_event()
                .is_some_and(|(_, event)| event == "virtualxid")
        });
        let start = Instant::now();
        holder.run("COMMIT");
        call.rows(SOON);
        slowest = slowest.max(start.elapsed());
        migration.run("ROLLBACK");
    }
    println!("had {slowest:?} after the release at the latest");
    assert!(
        slowest < pg_test::slow(Duration::from_millis(500)),
        "{slowest:?}"
    );
}
