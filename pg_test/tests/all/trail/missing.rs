//! Where a row cannot be written: the log line stays, the call goes on, and a WARNING says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Cluster, Session, SessionOptions, wait_until};

use super::{SOON, policy, preempt, table, trail, victim, wait_for_rows};
use crate::preempt::scene::Trail;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        without_a_free_worker_slot_the_call_goes_on,
        on_a_standby_the_call_goes_on,
        without_the_trail_s_table_the_call_goes_on,
        an_extension_that_is_dropped_meanwhile_takes_its_row_along,
        an_extension_that_is_not_committed_has_no_trail_yet,
        while_the_trail_s_table_is_locked_the_call_goes_on,
    ]
}

/// The one warning of a session since the last look.
#[track_caller]
fn warning(session: &Session) -> String {
    let notices = session.take_notices();
    let mut warnings = notices.iter().filter(|n| n.severity == "WARNING");
    let (first, second) = (warnings.next(), warnings.next());
    match (first, second) {
        (Some(only), None) => only.message.clone(),
        _ => panic!("not one warning: {notices:?}"),
    }
}

fn without_a_free_worker_slot_the_call_goes_on(world: &World) {
    let cluster = world.start_cluster(&[("max_worker_processes", "0")]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let (session, busy) = victim(&database);
    let log = Trail::from_now(&cluster);
    admin.run(&preempt(&policy("")));
    assert!(busy.wait(SOON).is_err());
    assert_eq!(log.victims(), [session.pid()]);
    let warning = warning(&admin);
    assert!(warning.contains("1 row"), "{warning}");
    assert!(warning.contains("worker slot"), "{warning}");
    assert_eq!(trail(&admin).len(), 0);
}

fn on_a_standby_the_call_goes_on(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let standby = Cluster::standby_of(&cluster, &[]).unwrap();
    let there = standby.database(database.name());
    wait_until("the table is there", SOON, || {
        there
            .connect(SessionOptions::named("looker"))
            .is_ok_and(|s| s.run("SELECT to_regclass('t')").value().is_some())
    });
    let (session, busy) = victim(&there);
    let caller = there.session("caller");
    let log = Trail::from_now(&standby);
    caller.run(&preempt(&policy(r#", "take_lock": false"#)));
    assert!(busy.wait(SOON).is_err());
    assert_eq!(log.victims(), [session.pid()]);
    let warning = warning(&caller);
    assert!(warning.contains("recovery"), "{warning}");
    assert_eq!(trail(&admin).len(), 0);
}

fn without_the_trail_s_table_the_call_goes_on(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (session, busy) = victim(&database);
    let log = Trail::from_now(world.cluster());
    admin.run(
        "ALTER EXTENSION lockguard DROP TABLE lockguard.trail; \
         ALTER TABLE lockguard.trail RENAME TO elsewhere",
    );
    admin.take_notices();
    admin.run(&preempt(&policy("")));
    assert!(busy.wait(SOON).is_err());
    assert_eq!(log.victims(), [session.pid()]);
    let warning = warning(&admin);
    let is_told = |words| warning.contains(words);
    assert!(
        is_told("server log tells why") || is_told("not come to it yet"),
        "{warning}"
    );
    wait_until("the log tells why", SOON, || {
        log.text().contains("table lockguard.trail does not exist")
    });
}

fn an_extension_that_is_dropped_meanwhile_takes_its_row_along(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let admin = table(&database);
    let (session, busy) = victim(&database);
    let log = Trail::from_now(&cluster);
    let caller = database.session("caller");
    // The worker waits for the table, and finds it gone.
    admin.run("BEGIN; LOCK TABLE lockguard.trail IN ACCESS EXCLUSIVE MODE");
    caller.run(&preempt(&policy("")));
    assert!(busy.wait(SOON).is_err());
    let warning = warning(&caller);
    assert!(warning.contains("1 row"), "{warning}");
    admin.run("DROP EXTENSION lockguard; COMMIT");
    assert_eq!(log.victims(), [session.pid()]);
    wait_until("the worker has gone", SOON, || {
        admin
            .run("SELECT FROM pg_stat_activity WHERE backend_type LIKE 'lockguard%'")
            .is_empty()
    });
    assert!(
        !log.text().contains("terminated by signal"),
        "{}",
        log.text()
    );
    caller.run("SELECT 1");
}

fn an_extension_that_is_not_committed_has_no_trail_yet(world: &World) {
    let database = world.cluster().create_empty_database().unwrap();
    let admin = table(&database);
    let (session, busy) = victim(&database);
    let log = Trail::from_now(world.cluster());
    admin.run("BEGIN; CREATE EXTENSION lockguard");
    admin.take_notices();
    admin.run(&preempt(&policy("")));
    assert!(busy.wait(SOON).is_err());
    admin.run("COMMIT");
    assert_eq!(log.victims(), [session.pid()]);
    warning(&admin);
    assert_eq!(trail(&admin).len(), 0);
}

fn while_the_trail_s_table_is_locked_the_call_goes_on(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    admin.run("BEGIN; LOCK TABLE lockguard.trail IN ACCESS EXCLUSIVE MODE");
    let start = Instant::now();
    admin.run(&preempt(&policy("")));
    assert!(
        start.elapsed() < pg_test::slow(Duration::from_secs(4)),
        "{:?}",
        start.elapsed()
    );
    assert!(busy.wait(SOON).is_err());
    let warning = warning(&admin);
    assert!(warning.contains("not come to it yet"), "{warning}");
    admin.run("COMMIT");
    assert_eq!(wait_for_rows(&admin, 1).len(), 1, "it comes to it now");
}
