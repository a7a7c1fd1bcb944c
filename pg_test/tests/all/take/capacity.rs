//! The lock table is everybody's: a call that would use it up is refused before it does anything, and guard mode
//! leaves the statement to the server.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Backup, Cluster, Session};

use super::scene::{LOCKS, STRONGEST, Stage, call};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        what_does_not_fit_is_refused_before_anybody_is_signalled,
        others_get_their_locks_though_a_call_wants_more_than_there_is,
        what_others_hold_needs_no_room_but_for_a_holder,
        what_the_session_holds_and_weak_locks_count_for_what_they_are,
        guard_mode_clears_and_leaves_the_statement_to_the_server,
        room_is_told_without_a_copy_of_the_table,
    ]
}

/// More than the table is made for, and fewer than it takes.
const PARTITIONS: usize = 190;

fn small(world: &World) -> (Cluster, Stage) {
    with_room_for(world, "10")
}

/// For so many locks of each of 16.
fn with_room_for(world: &World, locks: &str) -> (Cluster, Stage) {
    let cluster = world.start_cluster(&[
        ("max_locks_per_transaction", locks),
        ("max_connections", "12"),
        ("max_prepared_transactions", "1"),
        ("max_wal_senders", "0"),
        ("max_worker_processes", "1"),
        ("autovacuum_max_workers", "1"),
    ]);
    let database = cluster.create_database().unwrap();
    let stage = Stage::of(
        database,
        "CREATE TABLE p (i int) PARTITION BY LIST (i); CREATE TABLE t (i int)",
    );
    stage.migration.run(&format!(
        "DO $do$BEGIN FOR i IN 1..{PARTITIONS} LOOP \
         EXECUTE format('CREATE TABLE p%s PARTITION OF p FOR VALUES IN (%s)', i, i); COMMIT; END LOOP; END$do$"
    ));
    (cluster, stage)
}

/// The names of partitions.
fn names(from: usize, to: usize) -> String {
    let names: Vec<String> = (from..=to).map(|i| format!("p{i}")).collect();
    names.join(" ")
}

/// Takes these partitions as a user's session does.
fn lock(session: &Session, from: usize, to: usize) {
    let names = names(from, to).replace(' ', ", ");
    session.run(&format!("LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"));
}

fn what_does_not_fit_is_refused_before_anybody_is_signalled(world: &World) {
    let (_cluster, stage) = small(world);
    stage
        .database
        .session("fill")
        .run("INSERT INTO t SELECT generate_series(1, 1000000)");
    let mut backup = Backup::of_table(&stage.database, "t", 1_000);
    for more in ["", r#", "dry_run": true"#] {
        stage.migration.run("BEGIN; SAVEPOINT s");
        let error = stage.migration.error(&call("t p", more));
        assert_eq!(error.code().code(), "53200", "{error}");
        let detail = error.detail().unwrap_or_default();
        println!("{error}\n{detail}\n{}", error.hint().unwrap_or_default());
        assert!(
            error
                .message()
                .contains("has not enough room to take AccessExclusiveLock on t, p"),
            "{error}"
        );
        for part in [
            &*format!("It would add {} locks.", PARTITIONS + 1),
            "(max_locks_per_transaction 10 × ",
            " are in use.",
        ] {
            assert!(detail.contains(part), "{part}: {detail}");
        }
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("\"take_lock\": false"), "{hint}");
        stage.migration.run("ROLLBACK TO s");
        stage.holds_nothing("53200");
        stage.migration.run("ROLLBACK");
        assert!(backup.is_running());
    }
    // The same without taking it, and with what fits.
    stage.migration.run("BEGIN");
    let rows = stage.migration.run(&call("t p", r#", "take_lock": false"#));
    // One that is busy writing to its client may not hear the cancel.
    let verdict = rows.only().text("verdict");
    assert!(["cancelled", "terminated"].contains(&verdict), "{verdict}");
    stage.migration.run(&call("t p7", ""));
    stage.holds(STRONGEST, "t p7");
    stage.migration.run("COMMIT");
    assert!(!backup.end().0.success());
}

fn others_get_their_locks_though_a_call_wants_more_than_there_is(world: &World) {
    let (cluster, stage) = small(world);
    let crowd = stage.database.session("crowd");
    crowd.run("BEGIN");
    lock(&crowd, 1, 90);
    stage.migration.run("BEGIN; SAVEPOINT s");
    let error = stage.migration.error(&call(&names(91, 170), ""));
    assert_eq!(error.code().code(), "53200", "{error}");
    assert!(
        error.message().contains("not enough room"),
        "{}",
        error.message()
    );
    let other = stage.database.session("other");
    other.run("BEGIN");
    lock(&other, 91, 110);
    other.run("COMMIT");
    // With what its hint says there is room.
    let hint = error.hint().unwrap_or_default();
    let wanted = hint.split_whitespace().nth(3).unwrap().to_owned();
    println!("max_locks_per_transaction {wanted}");
    drop((crowd, other));
    stage.migration.run("ROLLBACK");
    cluster
        .set(&[("max_locks_per_transaction", &wanted)])
        .unwrap();
    cluster.restart().unwrap();
    let [crowd, migration] = ["crowd", "migration"].map(|name| stage.database.session(name));
    crowd.run("BEGIN");
    lock(&crowd, 1, 90);
    migration.run("BEGIN");
    migration.run(&call(&names(91, 170), ""));
    assert_eq!(migration.run(LOCKS).value(), Some("80"));
}

fn what_the_session_holds_and_weak_locks_count_for_what_they_are(world: &World) {
    let (_cluster, stage) = small(world);
    // What is held is taken again.
    stage.migration.run("BEGIN");
    lock(&stage.migration, 1, 100);
    stage.migration.run(&call(&names(1, 105), ""));
    stage.migration.run("ROLLBACK");
    // A weak one that is held is no room for a strong one.
    let weak = r#", "mode": "ACCESS SHARE""#;
    stage.migration.run("BEGIN");
    stage.migration.run(&call(&names(1, 10), weak));
    stage.migration.run(&call(&names(1, 10), weak));
    stage.migration.run("ROLLBACK");
    // Where strong ones fit no more, weak ones have the session's own slots.
    let room = (1..PARTITIONS)
        .find(|room| {
            stage.migration.run("BEGIN");
            let outcome = stage.migration.try_run(&call(&names(1, *room), ""));
            stage.migration.run("ROLLBACK");
            outcome.is_err()
        })
        .expect("too much room");
    println!("{} strong ones fit", room - 1);
    assert!(room > 60, "{room}");
    stage.migration.run("BEGIN");
    stage.migration.run(&call(&names(1, room), weak));
    assert_eq!(stage.held().len(), room);
    stage.migration.run("ROLLBACK; BEGIN");
    let error = stage.migration.error(&call(&names(1, PARTITIONS), weak));
    assert_eq!(error.code().code(), "53200", "{error}");
}

fn what_others_hold_needs_no_room_but_for_a_holder(world: &World) {
    let (_cluster, stage) = with_room_for(world, "20");
    let crowd = stage.database.session("crowd");
    let (all, shared) = (names(1, PARTITIONS), r#", "mode": "SHARE""#);
    let second = stage.database.session("second");
    for session in [&crowd, &second, &stage.migration] {
        session.run("BEGIN");
        session.run(&call(&all, shared));
    }
    // There may be twice as many holders as locks.
    let last = stage.database.session("last");
    last.run("BEGIN");
    let error = last.error(&call(&all, shared));
    let detail = error.detail().unwrap_or_default();
    assert!(detail.contains("holders of locks"), "{error}: {detail}");
}

fn guard_mode_clears_and_leaves_the_statement_to_the_server(world: &World) {
    let (_cluster, stage) = small(world);
    const ALTER: &str = "BEGIN; ALTER TABLE p ADD COLUMN j int";
    let without = stage.migration.try_run(ALTER);
    stage.migration.run("ROLLBACK");
    let backup = stage.database.session("pg_dump");
    backup.run("BEGIN; SELECT FROM p7");
    stage.migration.run("SET lockguard.policy = 'on'");
    stage.migration.take_notices();
    // The server has somewhat more room than its table is made for, or has not.
    let guarded = stage.migration.try_run(ALTER);
    println!("without: {without:?}, guarded: {guarded:?}");
    assert_eq!(guarded.is_ok(), without.is_ok(), "{guarded:?}");
    let notices = stage.migration.take_notices();
    let told = notices.iter().filter(|notice| {
        let words = "lockguard does not take the locks of ALTER TABLE on p";
        notice.severity == "WARNING" && notice.message.contains(words)
    });
    assert_eq!(told.count(), 1, "{notices:?}");
    assert!(backup.try_run("SELECT").is_err(), "it was not preempted");
}

/// A look costs the same whether the table is empty or full.
fn room_is_told_without_a_copy_of_the_table(world: &World) {
    let cluster = world.start_cluster(&[("max_locks_per_transaction", "2000")]);
    let database = cluster.create_database().unwrap();
    let stage = Stage::of(database, "CREATE TABLE t (i int)");
    let best = || {
        let times = (0..200).map(|_| {
            stage.migration.run("BEGIN");
            let before = std::time::Instant::now();
            stage.migration.run(&call("t", ""));
            let took = before.elapsed();
            stage.migration.run("ROLLBACK");
            took
        });
        times.min().unwrap()
    };
    let empty = best();
    let crowd = stage.database.session("crowd");
    crowd.run("BEGIN; SELECT pg_advisory_xact_lock(i) FROM generate_series(1, 200000) i");
    let full = best();
    println!("with no lock {empty:?}, with 200,000 {full:?}");
    // A copy takes thirty milliseconds.
    assert!(full < empty + std::time::Duration::from_millis(10));
}
