//! What a call needs is used up: worker slots, connections, the lock table, shared memory, the log's disk.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{SessionOptions, wait_until};

use super::SOON;
use super::scene::{Play, Stage};
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        with_all_worker_slots_in_use_the_call_goes_on_and_other_databases_have_rows,
        with_all_connections_in_use_rows_are_written,
        with_the_lock_table_full_the_record_stays,
        with_the_lock_table_full_for_a_while_the_row_comes_after,
        with_the_log_s_disk_full_the_row_stays,
    ]
}

const CALL: &str = r#"SELECT lockguard.preempt_maintenance('{"relations": ["first"], "preempt": [{"application_name": "victim"}]}')"#;

fn with_all_worker_slots_in_use_the_call_goes_on_and_other_databases_have_rows(world: &World) {
    // One is the logical replication launcher's.
    let stage = Stage::with(world, &[("max_worker_processes", "2")]);
    let (play, other) = (stage.play(), stage.play());
    let admin = play.database.session("admin");
    // The only worker waits for the table, ten seconds at most.
    admin.run("BEGIN; LOCK TABLE lockguard.trail IN ACCESS EXCLUSIVE MODE");
    let caller = play.database.session("caller");
    let elsewhere = other.database.session("caller");
    for (play, caller, missing) in [
        (&play, &caller, "not come to it yet"),
        (&play, &caller, "not come to it yet"),
        (&other, &elsewhere, "no background worker slot"),
    ] {
        let (_victim, busy) = play.victim();
        caller.take_notices();
        caller.run(CALL);
        assert!(busy.wait(SOON).is_err());
        let notices = format!("{:?}", caller.take_notices());
        assert!(notices.contains(missing), "{notices}");
    }
    admin.run("COMMIT");
    wait_until("the rows of the first two are there", SOON, || {
        admin.run("SELECT count(*) FROM lockguard.trail").value() == Some("2")
    });
    assert_eq!(play.trail.signals().len(), 3);
    drop((caller, elsewhere));
    play.is_healthy(false);
}

fn with_all_connections_in_use_rows_are_written(world: &World) {
    let stage = Stage::with(world, &[("max_connections", "12")]);
    let play = stage.play();
    let (_victim, busy) = play.victim();
    let caller = play.database.session("caller");
    let mut crowd = vec![];
    while let Ok(session) = play.database.connect(SessionOptions::named("crowd")) {
        crowd.push(session);
    }
    assert!(!crowd.is_empty());
    caller.run(CALL);
    assert!(busy.wait(SOON).is_err());
    let rows = rows_once_written(&caller, 1, "SELECT FROM lockguard.preemptions");
    assert_eq!(rows.len(), 1);
    drop((crowd, caller));
    wait_until("there is room again", SOON, || {
        play.database
            .connect(SessionOptions::named("looker"))
            .is_ok()
    });
    play.is_healthy(true);
}

/// A server with little room for locks.
const FEW_LOCKS: [(&str, &str); 3] = [
    ("max_locks_per_transaction", "10"),
    ("max_connections", "12"),
    ("max_prepared_transactions", "0"),
];

/// Takes as many locks as there are.
const TAKE_ALL: &str = "DO $$ BEGIN FOR i IN 1..1200 LOOP \
         BEGIN EXECUTE format('LOCK TABLE part_%s', i); \
         EXCEPTION WHEN out_of_memory THEN RETURN; END; \
     END LOOP; RAISE 'there is room for all'; END $$";

/// The same, with locks that leave the fast path of others' relations alone: by that a call still reads the extension's
/// tables.
const TAKE_ALL_ADVISORY: &str = "DO $$ BEGIN FOR i IN 1..10000 LOOP \
         BEGIN PERFORM pg_advisory_xact_lock(i); \
         EXCEPTION WHEN out_of_memory THEN RETURN; END; \
     END LOOP; RAISE 'there is room for all'; END $$";

/// More partitions than there is room for.
fn partitions(play: &Play<'_>) {
    let setup = play.database.session("setup");
    setup.run("CREATE TABLE parent (i int) PARTITION BY LIST (i)");
    setup.run(
        "DO $$ BEGIN FOR i IN 1..1200 LOOP \
             EXECUTE format('CREATE TABLE part_%s PARTITION OF parent FOR VALUES IN (%s)', i, i); \
             IF i % 50 = 0 THEN COMMIT; END IF; \
         END LOOP; END $$",
    );
}

fn with_the_lock_table_full_the_record_stays(world: &World) {
    let stage = Stage::with(world, &FEW_LOCKS);
    let play = stage.play();
    partitions(&play);
    let setup = play.database.session("setup");
    setup.run("CREATE TABLE taken (i int)");
    let (holder, application) = (
        play.database.session("victim"),
        play.database.session("application"),
    );
    holder.run("BEGIN; SELECT FROM taken");
    application.run("BEGIN; SELECT FROM taken");
    let (caller, crowd) = (
        play.database.session("caller"),
        play.database.session("crowd"),
    );
    caller.run("BEGIN");
    let call = caller.spawn(
        r#"SELECT lockguard.preempt_maintenance('{"relations": ["taken"], "preempt": [{"application_name": "victim"}], "timeout": "60s"}')"#,
    );
    wait_until("the call waits", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    // It fitted when the call began.
    crowd.run("BEGIN");
    crowd.run(TAKE_ALL);
    application.run("COMMIT");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().map(|c| c.code()), Some("53200"), "{error}");
    caller.run("ROLLBACK");
    assert_eq!(play.trail.victims(), [holder.pid()]);
    crowd.run("ROLLBACK");
    drop((caller, crowd, application, setup));
    play.is_healthy(true);
}

/// The worker has no room for its own locks at first.
fn with_the_lock_table_full_for_a_while_the_row_comes_after(world: &World) {
    let stage = Stage::with(world, &FEW_LOCKS);
    let play = stage.play();
    let (victim, busy) = play.victim();
    let (caller, crowd) = (
        play.database.session("caller"),
        play.database.session("crowd"),
    );
    // What it takes is known to the session before there is no room.
    caller.run(
        &CALL
            .replace("victim", "nobody")
            .replace("]}'", r#"], "dry_run": true}'"#),
    );
    crowd.run("BEGIN");
    crowd.run(TAKE_ALL_ADVISORY);
    let outcome = caller.try_run(CALL);
    println!(
        "the call: {:?}",
        outcome.err().map(|error| error.to_string())
    );
    assert!(busy.wait(SOON).is_err());
    assert_eq!(play.trail.victims(), [victim.pid()]);
    crowd.run("ROLLBACK");
    drop((caller, crowd));
    play.is_healthy(true);
}

fn with_the_log_s_disk_full_the_row_stays(world: &World) {
    // The file that the log is written to takes nothing.
    let folder = world.installation().new_folder("log").unwrap();
    symlink("/dev/full", folder.join("full.log")).unwrap();
    let stage = Stage::with(
        world,
        &[
            ("logging_collector", "on"),
            ("log_directory", folder.to_str().unwrap()),
            ("log_filename", "full.log"),
        ],
    );
    let play = stage.play();
    let (victim, busy) = play.victim();
    let caller = play.database.session("caller");
    caller.run(CALL);
    assert!(busy.wait(SOON).is_err());
    let rows = rows_once_written(&caller, 1, "SELECT pid, outcome FROM lockguard.preemptions");
    assert_eq!(rows.only().text("pid"), victim.pid().to_string());
    assert_eq!(rows.only().text("outcome"), "cancelled");
    assert_eq!(play.trail.victims(), [0; 0], "the log has nothing of it");
}
