//! The background worker: in nobody's way, and not to be talked out of its rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, Running, Session, wait_until};

use super::{SOON, policy, preempt, table, trail, victim, wait_for_rows};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_worker_that_waits_holds_up_no_drop_database,
        a_worker_does_not_wait_for_ever_for_what_came_of_a_signal,
        a_role_set_for_the_database_is_not_the_worker_s,
        a_worker_ends_when_it_is_told_to,
        one_worker_serves_all_calls_of_a_database,
        a_database_is_dropped_renamed_and_copied_right_after_a_call,
        notifications_that_cannot_go_out_cost_no_row,
    ]
}

/// A victim that hears a cancel and goes on.
fn stubborn(database: &Database) -> (Session, Running) {
    let session = database.session("victim");
    session.run("BEGIN; SELECT FROM t");
    let busy = session.spawn(
        "DO $$ BEGIN LOOP \
             BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END; \
         END LOOP; END $$",
    );
    wait_until("the victim is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    (session, busy)
}

/// A call that cancels it, and waits.
fn call_in_vain(session: &Session) -> Running {
    session.spawn(preempt(&policy(
        r#", "signal": "cancel", "grace": "60s", "timeout": "60s""#,
    )))
}

fn workers(database: &Database) -> usize {
    database
        .ask("SELECT FROM pg_stat_activity WHERE backend_type = 'lockguard trail'")
        .len()
}

fn a_worker_that_waits_holds_up_no_drop_database(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let (_victim, _busy) = stubborn(&database);
    let caller = database.session("caller");
    let call = call_in_vain(&caller);
    wait_until("the worker is there", SOON, || workers(&database) == 1);
    admin.run("CREATE DATABASE unrelated");
    let start = Instant::now();
    admin.run("DROP DATABASE unrelated");
    assert!(
        start.elapsed() < pg_test::slow(Duration::from_secs(3)),
        "{:?}",
        start.elapsed()
    );
    assert!(!call.is_finished());
    call.cancel();
    assert!(call.wait(SOON).is_err());
}

fn a_worker_does_not_wait_for_ever_for_what_came_of_a_signal(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let (_victim, _busy) = stubborn(&database);
    let caller = database.session("caller");
    let call = call_in_vain(&caller);
    wait_until("the row is there though the call goes on", 2 * SOON, || {
        trail(&admin).len() == 1
    });
    assert!(!call.is_finished());
    assert_eq!(trail(&admin).only().text("outcome"), "in the way");
    wait_until("the worker has gone", SOON, || workers(&database) == 0);
    call.cancel();
    assert!(call.wait(SOON).is_err());
}

fn one_worker_serves_all_calls_of_a_database(world: &World) {
    // One slot is the logical replication launcher's.
    let cluster = world.start_cluster(&[("max_worker_processes", "2")]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    admin.run("CREATE TABLE u (i int)");
    // One call goes on and on, and has a row to come.
    let (_stubborn, _busy) = stubborn(&database);
    let hanging = database.session("hanging");
    let hangs = call_in_vain(&hanging);
    wait_until("the worker is there", SOON, || workers(&database) == 1);
    // Others have theirs meanwhile.
    let caller = database.session("caller");
    for rows in 1..=3 {
        let session = database.session("other");
        session.run("BEGIN; SELECT FROM u");
        caller.take_notices();
        caller.run(&preempt(
            r#"{"relations": ["u"], "preempt": [{"application_name": "other"}]}"#,
        ));
        let notices = caller.take_notices();
        assert!(
            notices.iter().all(|notice| notice.severity != "WARNING"),
            "{notices:?}"
        );
        assert_eq!(
            trail(&admin).len(),
            rows,
            "it is there when the call returns"
        );
        assert_eq!(workers(&database), 1);
    }
    assert!(!hangs.is_finished());
    hangs.cancel();
    assert!(hangs.wait(SOON).is_err());
    wait_for_rows(&admin, 4);
    wait_until("the worker has gone", SOON, || workers(&database) == 0);
}

fn a_database_is_dropped_renamed_and_copied_right_after_a_call(world: &World) {
    let cluster = world.start_cluster(&[]);
    let elsewhere = cluster.create_database().unwrap();
    let elsewhere = elsewhere.session("elsewhere");
    for change in [
        "CREATE DATABASE a_copy TEMPLATE $",
        "ALTER DATABASE $ RENAME TO renamed",
        "DROP DATABASE $",
    ] {
        for fails in [false, true] {
            let database = cluster.create_database().unwrap();
            let admin = table(&database);
            let (session, busy) = victim(&database);
            match fails {
                false => _ = admin.run(&preempt(&policy(""))),
                true => {
                    let policy = policy(r#", "take_lock": false"#);
                    admin.error(&format!(
                        "DO $do$ BEGIN PERFORM lockguard.preempt_maintenance($p${policy}$p$); RAISE 'no more'; END $do$"
                    ));
                }
            }
            assert!(busy.wait(SOON).is_err());
            drop((session, admin));
            let start = Instant::now();
            elsewhere.run(&change.replace('$', database.name()));
            println!("{change}: {:?}", start.elapsed());
            for made in ["a_copy", "renamed"] {
                elsewhere.run(&format!("DROP DATABASE IF EXISTS {made}"));
            }
        }
    }
}

fn a_role_set_for_the_database_is_not_the_worker_s(world: &World) {
    for setting in ["role", "session_authorization"] {
        let database = world.database();
        let admin = table(&database);
        let (_session, busy) = victim(&database);
        let name = database.name();
        admin.run(&format!(
            "CREATE ROLE {name}_nobody; ALTER DATABASE {name} SET {setting} = '{name}_nobody'"
        ));
        admin.run(&preempt(&policy("")));
        assert!(busy.wait(SOON).is_err());
        assert_eq!(wait_for_rows(&admin, 1).len(), 1, "{setting}");
    }
}

fn a_worker_ends_when_it_is_told_to(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    let locker = database.session("locker");
    locker.run("BEGIN; LOCK TABLE lockguard.trail IN SHARE MODE");
    let caller = database.session("caller");
    caller.run(&preempt(&policy("")));
    assert!(busy.wait(SOON).is_err());
    let ended = admin.run(
        "SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity WHERE backend_type = 'lockguard trail'",
    );
    assert_eq!(ended.value(), Some("t"));
}

fn notifications_that_cannot_go_out_cost_no_row(world: &World) {
    // A standby that never answers: whoever commits a notification waits with the queue in his hands.
    let cluster = world.start_cluster(&[("synchronous_standby_names", "nobody")]);
    cluster.set(&[("synchronous_commit", "local")]).unwrap();
    cluster.reload();
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let hangs = database.session("hangs");
    hangs.run("SET synchronous_commit = on");
    let stuck = hangs.spawn("CREATE TABLE made (); NOTIFY lockguard");
    wait_until("it hangs", SOON, || {
        stuck
            .wait_event()
            .is_some_and(|(_, event)| event == "SyncRep")
    });
    let (_session, busy) = victim(&database);
    admin.run(&preempt(&policy("")));
    assert!(busy.wait(SOON).is_err());
    assert_eq!(wait_for_rows(&admin, 1).len(), 1);
    // Nor does the worker wait for long: it would hold up DROP DATABASE.
    wait_until("the worker has gone", SOON, || workers(&database) == 0);
    assert!(!stuck.is_finished());
    stuck.cancel();
    let _ = stuck.wait(SOON);
}
