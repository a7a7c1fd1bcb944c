//! The columns that describe a session: those of `pg_stat_activity`, with the same values and the same NULLs.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process::{Ending, Process};
use pg_test::{Database, Session, SessionOptions, wait_until};

use super::SOON;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        the_columns_are_those_of_pg_stat_activity,
        a_session_that_is_hidden_in_pg_stat_activity_is_hidden_here,
        a_hidden_session_s_name_tells_its_class_still,
        whoever_may_see_sessions_sees_them_here,
        a_client_on_the_network_has_its_address,
    ]
}

const COLUMNS: [&str; 11] = [
    "usename",
    "application_name",
    "client_addr",
    "backend_type",
    "state",
    "wait_event_type",
    "wait_event",
    "backend_start",
    "xact_start",
    "query_start",
    "query",
];

/// Compares each column with the view that this role sees, for as many sessions as expected.
#[track_caller]
fn same_as_the_view(observer: &Session, sessions: usize) {
    let differences: Vec<String> = COLUMNS
        .iter()
        .map(|c| format!("CASE WHEN b.{c} IS DISTINCT FROM a.{c} THEN format('{c}: %s, not %s', b.{c}, a.{c}) END"))
        .collect();
    let rows = observer.run(&format!(
        "SELECT b.application_name, concat_ws('; ', {}) AS differences FROM lockguard.blockers_of(ARRAY['t'::regclass]) b \
         JOIN pg_stat_activity a USING (pid) WHERE b.relation = 't'::regclass",
        differences.join(", ")
    ));
    assert_eq!(
        rows.column("differences"),
        vec![Some(""); sessions],
        "{rows:?}"
    );
}

/// Sessions in every state that holds a lock on `t`; each is as it is for as long as it stays.
fn in_every_state(world: &World) -> (Database, Vec<Session>) {
    let database = world.database();
    let session = |name: &str| database.session(name);
    session("schema").run("CREATE TABLE t (id int PRIMARY KEY)");
    let (idle, aborted, silent, sleeping, waiting) = (
        session("idle"),
        session("aborted"),
        session("silent"),
        session("sleeping"),
        session("waiting"),
    );
    idle.run("BEGIN; SELECT * FROM t; SELECT pg_advisory_xact_lock(1)");
    aborted.run("BEGIN; SELECT * FROM t; SAVEPOINT s");
    aborted.error("SELECT 1 / 0");
    silent.run("SET track_activities = off; BEGIN; SELECT * FROM t");
    // Longer than track_activity_query_size, which cuts it in the middle of a character.
    let long = format!(
        "SELECT pg_sleep(50) FROM (SELECT count(*) FROM t) x /* {} */",
        "é→😀".repeat(300)
    );
    let sleep = sleeping.spawn(long);
    let lock = waiting.spawn("BEGIN; SELECT * FROM t; SELECT pg_advisory_xact_lock(1)");
    lock.wait_until_queued();
    wait_until("the long query sleeps", SOON, || {
        sleep
            .wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    for session in [&idle, &aborted, &silent] {
        waits_for_its_client(&database, session);
    }
    (
        database.clone(),
        vec![idle, aborted, silent, sleeping, waiting],
    )
}

/// Its client hears of the end of a statement a little before the session waits for the next.
fn waits_for_its_client(database: &Database, session: &Session) {
    wait_until("the session waits for its client", SOON, || {
        let found = format!(
            "SELECT FROM pg_stat_activity WHERE pid = {} AND wait_event = 'ClientRead'",
            session.pid()
        );
        !database.ask(&found).is_empty()
    });
}

fn the_columns_are_those_of_pg_stat_activity(world: &World) {
    let (database, sessions) = in_every_state(world);
    same_as_the_view(&database.session("observer"), sessions.len());
}

fn a_session_that_is_hidden_in_pg_stat_activity_is_hidden_here(world: &World) {
    let (database, sessions) = in_every_state(world);
    let schema = database.session("schema");
    schema.run("CREATE ROLE clerk LOGIN; GRANT SELECT ON t TO clerk");
    let clerk = |name: &str| {
        database
            .connect(SessionOptions::named(name).user("clerk"))
            .unwrap()
    };
    let (observer, own) = (clerk("observer"), clerk("own"));
    own.run("BEGIN; SELECT * FROM t");
    waits_for_its_client(&database, &own);
    same_as_the_view(&observer, sessions.len() + 1);
    let rows = observer.run(
        "SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass]) WHERE application_name = 'idle' AND relation = 't'::regclass",
    );
    let hidden = rows.only();
    assert_eq!(hidden.text("usename"), "postgres");
    assert_eq!(hidden.text("query"), "<insufficient privilege>");
    assert_eq!(hidden.text("mode"), "AccessShareLock");
    // What it would take, and the class, would tell that it is idle in transaction.
    for column in [
        "class",
        "preempt",
        "state",
        "xact_start",
        "backend_type",
        "client_addr",
    ] {
        assert_eq!(hidden.get(column), None, "{column}");
    }
    let seen = observer.run(
        "SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass]) WHERE application_name = 'own' AND relation = 't'::regclass",
    );
    assert_eq!(seen.only().text("class"), "idle_in_transaction");
    assert_eq!(seen.only().text("preempt"), "terminate");
    drop((observer, own, sessions));
    schema.run("DROP OWNED BY clerk; DROP ROLE clerk");
}

fn a_hidden_session_s_name_tells_its_class_still(world: &World) {
    let database = world.database();
    let (schema, dump) = (database.session("schema"), database.session("pg_dump"));
    schema.run("CREATE TABLE t (); CREATE ROLE clerk LOGIN");
    dump.run("BEGIN; SELECT * FROM t");
    let observer = database
        .connect(SessionOptions::named("observer").user("clerk"))
        .unwrap();
    let rows = observer.run("SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass])");
    assert_eq!(rows.only().text("class"), "backup");
    assert_eq!(rows.only().get("state"), None);
    drop(observer);
    schema.run("DROP ROLE clerk");
}

fn whoever_may_see_sessions_sees_them_here(world: &World) {
    let (database, sessions) = in_every_state(world);
    let schema = database.session("schema");
    schema.run("CREATE ROLE monitor LOGIN IN ROLE pg_read_all_stats");
    let observer = database
        .connect(SessionOptions::named("observer").user("monitor"))
        .unwrap();
    same_as_the_view(&observer, sessions.len());
    let rows = observer.run(
        "SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass]) WHERE application_name = 'idle' AND relation = 't'::regclass",
    );
    assert_eq!(rows.only().text("class"), "idle_in_transaction");
    drop((observer, sessions));
    schema.run("DROP ROLE monitor");
}

fn a_client_on_the_network_has_its_address(world: &World) {
    // Any address of 127.0.0.0/8 will do; this one has the default port to itself.
    let number = std::process::id();
    let address = format!(
        "127.{}.{}.{}",
        100 + (number >> 16) % 100,
        (number >> 8) % 256,
        number % 254 + 1
    );
    let cluster = world.start_cluster(&[("listen_addresses", &address)]);
    let access = cluster.folder().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&access).unwrap();
    std::fs::write(&access, rules + "host all all 127.0.0.0/8 trust\n").unwrap();
    cluster.reload();
    let database = cluster.create_database().unwrap();
    let observer = database.session("observer");
    observer.run("CREATE TABLE t (id int PRIMARY KEY)");
    let _client = wait_for_client(
        || {
            let mut psql = database.psql();
            psql.env("PGHOST", &address);
            psql.args(["-c", "SELECT pg_sleep(50) FROM (SELECT count(*) FROM t) x"]);
            Process::spawn(psql, Ending::Client).unwrap()
        },
        || {
            !observer
                .run("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
                .is_empty()
        },
    );
    same_as_the_view(&observer, 1);
    let rows = observer.run(
        "SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass]) WHERE relation = 't'::regclass",
    );
    assert_eq!(rows.only().text("client_addr"), "127.0.0.1");
}

/// A client that is there: the server reads its access rules again soon, not at once.
fn wait_for_client(spawn: impl Fn() -> Process, mut is_there: impl FnMut() -> bool) -> Process {
    let mut client = spawn();
    wait_until("the client is in its statement", SOON, || {
        if client.try_wait().is_some() {
            client = spawn();
        }
        is_there()
    });
    client
}
