//! What others see of a call that waits, and its client: whom for, and nothing of it afterwards.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Database, Row, Session, SessionOptions, wait_until};

use crate::preempt::scene::{Backup, Holder, SLOWLY, SOON, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        while_it_waits_its_query_names_whom_for,
        after_a_success_the_query_is_the_clients_own,
        after_an_error_that_is_caught_the_query_is_the_clients_own,
        what_it_waits_for_is_noticed_each_second,
        a_name_that_others_have_chosen_is_not_in_the_comment,
    ]
}

const CALL: &str =
    r#"SELECT * FROM lockguard.preempt_maintenance('{"relations": ["t"], "timeout": "20s"}')"#;

/// A session that has its queries identified.
fn migration(database: &Database) -> Session {
    database
        .connect(SessionOptions::named("migration").set("compute_query_id", "on"))
        .unwrap()
}

/// What everybody sees of a session.
fn shown(database: &Database, session: &Session) -> Row {
    let rows = database.ask(&format!(
        "SELECT query, query_id, wait_event_type, state FROM pg_stat_activity WHERE pid = {}",
        session.pid()
    ));
    rows.only().clone()
}

fn while_it_waits_its_query_names_whom_for(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let application = Holder::idle(&database, "web", "SELECT FROM t LIMIT 1");
    let backup = Backup::start(&database, SLOWLY);
    let migration = migration(&database);
    migration.run("BEGIN");
    let call = migration.spawn(CALL);
    let named = format!(
        "/* lockguard waits for pid {} (idle_in_transaction), which stays */ {CALL}",
        application.pid()
    );
    wait_until("the query names whom it waits for", SOON, || {
        let row = shown(&database, &migration);
        let wait = row.get("wait_event_type");
        row.text("query") == named && matches!(wait, Some("Lock" | "Extension"))
    });
    let row = shown(&database, &migration);
    assert_eq!(row.text("state"), "active");
    let id = row.text("query_id").to_owned();
    assert!(!row.text("query").contains(&backup.pid.to_string()));
    application.session.run("COMMIT");
    call.rows(SOON);
    let row = shown(&database, &migration);
    assert_eq!(row.text("query_id"), id, "as it was before");
    migration.run("ROLLBACK");
    // As it is without anybody in the way.
    migration.run(CALL);
    assert_eq!(shown(&database, &migration).text("query_id"), id);
}

fn after_a_success_the_query_is_the_clients_own(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT FROM t LIMIT 1");
    let migration = migration(&database);
    migration.run("BEGIN");
    // The same statement goes on after the call.
    let sql = format!("DO $do$BEGIN PERFORM ({CALL}); PERFORM pg_sleep(50); END$do$");
    let sql = sql.replace("SELECT *", "SELECT count(*)");
    let call = migration.spawn(sql.as_str());
    wait_until("the query says that it waits", SOON, || {
        let row = shown(&database, &migration);
        row.text("query").starts_with("/* lockguard waits for pid ")
    });
    application.session.run("COMMIT");
    wait_until("the call is over, and its statement goes on", SOON, || {
        call.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    assert_eq!(shown(&database, &migration).text("query"), sql);
    database.cancel(migration.pid());
    assert!(call.wait(SOON).is_err());
}

fn after_an_error_that_is_caught_the_query_is_the_clients_own(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT FROM t LIMIT 1");
    let migration = migration(&database);
    for (timeout, is_cancelled) in [("700ms", false), ("20s", true)] {
        let call = CALL
            .replace("SELECT *", "SELECT count(*)")
            .replace("20s", timeout);
        let sql = format!(
            "DO $do$BEGIN BEGIN PERFORM ({call}); EXCEPTION WHEN lock_not_available OR query_canceled THEN NULL; END; \
             PERFORM pg_sleep(50); END$do$"
        );
        let call = migration.spawn(sql.as_str());
        wait_until("the query says that it waits", SOON, || {
            let row = shown(&database, &migration);
            row.text("query").starts_with("/* lockguard waits for pid ")
        });
        if is_cancelled {
            database.cancel(migration.pid());
        }
        wait_until(
            "the error is caught, and the statement goes on",
            SOON,
            || {
                call.wait_event()
                    .is_some_and(|(_, event)| event == "PgSleep")
            },
        );
        let row = shown(&database, &migration);
        assert_eq!(row.text("query"), sql);
        assert_eq!(row.text("state"), "active");
        database.cancel(migration.pid());
        assert!(call.wait(SOON).is_err());
    }
    assert!(application.goes_on());
}

fn what_it_waits_for_is_noticed_each_second(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT FROM t LIMIT 1");
    let migration = migration(&database);
    migration.run("BEGIN");
    migration.error(&CALL.replace("20s", "3700ms"));
    let notices = migration.take_notices();
    let name = format!("pid {} (idle_in_transaction, \"web\")", application.pid());
    let naming: Vec<_> = notices
        .iter()
        .filter(|notice| notice.message.contains(&name))
        .collect();
    assert_eq!(
        naming.len(),
        4,
        "at the start, and each second: {notices:#?}"
    );
    for pair in naming.windows(2) {
        let pause = pair[1].at.duration_since(pair[0].at);
        assert!(pause > Duration::from_millis(700), "{notices:#?}");
        assert!(
            pause < pg_test::slow(Duration::from_millis(1_900)),
            "{notices:#?}"
        );
    }
}

/// It could end the comment, and it would have this session fall under rules that look for it there.
fn a_name_that_others_have_chosen_is_not_in_the_comment(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let evil = Holder::idle(&database, "*/ DROP TABLE t; /*", "SELECT FROM t LIMIT 1");
    let migration = migration(&database);
    migration.run("BEGIN");
    let call = migration.spawn(CALL);
    wait_until("the query names whom it waits for", SOON, || {
        let row = shown(&database, &migration);
        let query = row.text("query");
        assert!(!query.contains("DROP TABLE"), "{query}");
        query.starts_with(&format!("/* lockguard waits for pid {} (", evil.pid()))
    });
    evil.session.run("COMMIT");
    call.rows(SOON);
}
