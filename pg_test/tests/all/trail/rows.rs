//! What a row says, and that it stays.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::wait_until;
use postgres::fallible_iterator::FallibleIterator;

use super::{SOON, policy, preempt, table, trail, victim, wait_for_rows};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_row_says_who_did_what_to_whom,
        a_row_stays_when_the_caller_rolls_back,
        a_row_stays_when_the_call_fails,
        each_signal_has_a_row,
        nothing_is_written_where_nothing_is_signalled,
        a_listener_is_told_of_each_row,
        a_row_is_written_where_the_database_is_read_only,
        a_label_that_is_too_long_is_refused,
    ]
}

fn a_row_says_who_did_what_to_whom(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (session, busy) = victim(&database);
    admin.run(&preempt(&policy(r#", "label": "release 42""#)));
    assert!(busy.wait(SOON).is_err());
    let rows = wait_for_rows(&admin, 1);
    let row = rows.only();
    assert_eq!(row.text("label"), "release 42");
    assert_eq!(row.get("policy"), None);
    let me = admin.run("SELECT current_user");
    assert_eq!(row.get("rolname"), me.value());
    assert_eq!(row.text("caller_pid"), admin.pid().to_string());
    assert_eq!(row.text("caller_application_name"), "admin");
    assert_eq!(row.text("target"), "AccessExclusiveLock on t");
    assert_eq!(row.text("relation"), "t");
    assert_eq!(row.text("pid"), session.pid().to_string());
    assert_eq!(row.text("application_name"), "victim");
    assert_eq!(row.text("class"), "application");
    assert_eq!(row.text("query"), "SELECT pg_sleep(50)");
    assert_eq!(row.text("signal"), "cancel");
    assert_eq!(row.text("outcome"), "cancelled");
    let told = admin.run(&format!(
        "SELECT p.usename = a.usename AND p.backend_start = a.backend_start AS same, \
                p.transaction_age > '1 ms' AND p.transaction_age < '1 min' AS age, \
                p.freed_after >= '0' AND p.freed_after < '10 s' AS freed, \
                p.signalled_at BETWEEN now() - interval '1 min' AND clock_timestamp() AS at \
         FROM lockguard.preemptions p, pg_stat_activity a WHERE a.pid = {}",
        session.pid()
    ));
    for column in ["same", "age", "freed", "at"] {
        assert_eq!(told.only().text(column), "t", "{column}: {rows:?}");
    }
}

fn a_row_stays_when_the_caller_rolls_back(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    admin.run("BEGIN");
    admin.run(&preempt(&policy("")));
    assert!(busy.wait(SOON).is_err());
    admin.run("ROLLBACK");
    assert_eq!(wait_for_rows(&admin, 1).only().text("outcome"), "cancelled");
}

fn a_row_stays_when_the_call_fails(world: &World) {
    let database = world.database();
    let admin = table(&database);
    // It is idle, so that a cancel does nothing, and nothing more is allowed.
    let session = database.session("victim");
    session.run("BEGIN; SELECT FROM t");
    let reader = database.session("victim");
    reader.run("BEGIN; SELECT FROM t");
    let busy = reader.spawn("SELECT pg_sleep(50)");
    wait_until("the reader is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    let error = admin
        .try_run(&preempt(&policy(
            r#", "signal": "terminate", "max_victims": 1, "timeout": "300ms""#,
        )))
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03");
    assert_eq!(
        trail(&admin).len(),
        0,
        "more than max_victims: nobody is signalled"
    );
    drop(session);
    let error = admin.error(&format!(
        "DO $$ BEGIN PERFORM lockguard.preempt_maintenance($p${}$p$); RAISE 'no more'; END $$",
        policy("")
    ));
    assert_eq!(error.message(), "no more");
    assert!(busy.wait(SOON).is_err());
    assert_eq!(wait_for_rows(&admin, 1).only().text("outcome"), "cancelled");
}

fn each_signal_has_a_row(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let victims: Vec<_> = (0..3).map(|_| victim(&database)).collect();
    let idle = database.session("victim");
    idle.run("BEGIN; SELECT FROM t");
    admin.run(&preempt(&policy("")));
    let rows = wait_for_rows(&admin, 4);
    let mut told: Vec<(i32, String)> = rows
        .iter()
        .map(|row| (row.text("pid").parse().unwrap(), row.text("outcome").into()))
        .collect();
    told.sort();
    let mut expected: Vec<(i32, String)> = victims
        .iter()
        .map(|(session, _)| (session.pid(), "cancelled".into()))
        .chain([(idle.pid(), "terminated".into())])
        .collect();
    expected.sort();
    assert_eq!(told, expected);
}

fn nothing_is_written_where_nothing_is_signalled(world: &World) {
    let database = world.database();
    let admin = table(&database);
    admin.run(&preempt(&policy("")));
    let (_session, busy) = victim(&database);
    admin.run(&preempt(&policy(r#", "dry_run": true"#)));
    assert!(!busy.is_finished());
    assert_eq!(trail(&admin).len(), 0);
}

fn a_listener_is_told_of_each_row(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (session, busy) = victim(&database);
    let mut listener = database.config().connect(postgres::NoTls).unwrap();
    listener.batch_execute("LISTEN lockguard").unwrap();
    admin.run(&preempt(&policy(r#", "label": "release 42""#)));
    assert!(busy.wait(SOON).is_err());
    let mut notifications = listener.notifications();
    let told = notifications.timeout_iter(SOON).next().unwrap();
    let told: serde_json::Value = serde_json::from_str(told.unwrap().payload()).unwrap();
    let rows = wait_for_rows(&admin, 1);
    let row = rows.only();
    assert_eq!(told["id"].to_string(), row.text("id"));
    assert_eq!(told["pid"], session.pid());
    assert_eq!(told["application_name"], "victim");
    assert_eq!(told["outcome"], "cancelled");
    // Anybody can listen, and is told neither what pg_stat_activity hides nor what the view does.
    for hidden in ["query", "client_addr", "label", "target"] {
        assert!(told.get(hidden).is_none(), "{hidden}");
    }
    assert!(
        told["class"].is_null(),
        "not public for an application: {told}"
    );
}

fn a_row_is_written_where_the_database_is_read_only(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let (_session, busy) = victim(&database);
    admin.run(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on; \
         ALTER DATABASE {name} SET search_path = nowhere; \
         ALTER DATABASE {name} SET lockguard.policy = 'on'",
        name = database.name()
    ));
    let caller = database.session("caller");
    caller.run("SET search_path = public");
    caller.run(&preempt(&policy(r#", "take_lock": false"#)));
    assert!(busy.wait(SOON).is_err());
    assert_eq!(wait_for_rows(&admin, 1).len(), 1);
}

fn a_label_that_is_too_long_is_refused(world: &World) {
    let database = world.database();
    let admin = table(&database);
    let call = |length| preempt(&policy(&format!(r#", "label": "{}""#, "é".repeat(length))));
    admin.run(&call(200));
    let error = admin.try_run(&call(201)).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22023");
}
