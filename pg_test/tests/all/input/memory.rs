//! More than the server has memory for: 53200 or 22023, as PostgreSQL itself answers, and the server goes on.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Session, SessionOptions};

use super::call;
use super::hostile::is_whole;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        without_memory_a_call_fails_and_the_server_goes_on,
        large_trees_without_memory_end_no_server,
        what_is_too_long_is_refused,
    ]
}

/// A server whose processes may have so many megabytes of address space each, the shared memory included.
fn limited(world: &World, megabytes: usize) -> (Cluster, Database) {
    let space = format!("--as={}", megabytes << 20);
    let settings = [("shared_buffers", "1MB"), ("max_connections", "20")];
    let cluster = Cluster::start_limited(
        world.installation(),
        &settings,
        &[&space, "--stack=2097152"],
    )
    .unwrap();
    let database = cluster.create_database().unwrap();
    (cluster, database)
}

/// What a statement gives: its SQLSTATE, or `works`.
fn outcome(session: &Session, sql: &str) -> String {
    match session.try_run(sql) {
        Ok(_) => "works".into(),
        Err(error) => match error.as_db_error() {
            Some(error) if error.code().code().starts_with("XX") => format!("{error:?}"),
            Some(error) => error.code().code().to_owned(),
            None => panic!("the session has ended: {error}"),
        },
    }
}

/// Sees that the same server still runs, and that lockguard works in that very session.
fn goes_on(cluster: &Cluster, session: &Session, started: &str) {
    let start = session.run("SELECT pg_postmaster_start_time()");
    assert_eq!(start.value(), Some(started));
    let works = session.run("SELECT count(*) FROM lockguard.locks_of('DROP TABLE t')");
    assert_eq!(works.value(), Some("1"));
    session.run("BEGIN");
    session.run(&call(r#"{"relations": ["t"]}"#));
    session.run("ROLLBACK");
    let log = cluster.log();
    for sign in [
        "memory allocation of",
        "terminated by signal",
        "all server processes terminated",
    ] {
        assert!(!log.contains(sign), "{sign}: {log}");
    }
}

fn without_memory_a_call_fails_and_the_server_goes_on(world: &World) {
    let mut told = std::collections::BTreeMap::new();
    for megabytes in [200, 300] {
        let (cluster, database) = limited(world, megabytes);
        let session = database.session("app");
        session.run("CREATE TABLE t (i int); SET statement_timeout = '120s'");
        let started = session.run("SELECT pg_postmaster_start_time()");
        let started = started.value().unwrap();
        // Each of these takes more than there is, somewhere on the way up.
        for size in [20_000, 200_000, 1_000_000, 3_000_000] {
            for statement in [
                format!(
                    "SELECT count(*) FROM lockguard.locks_of(repeat('SELECT * FROM t;', {size} / 16))"
                ),
                format!(
                    "SELECT count(*) FROM lockguard.locks_of(repeat('DROP TABLE IF EXISTS n;', {size} / 23))"
                ),
                format!(
                    "SELECT count(*) FROM lockguard.locks_of('SELECT ' || repeat('x', {size}))"
                ),
                format!(
                    "SELECT count(*) FROM lockguard.locks_of('CREATE TABLE made (' || repeat('c int, ', {size} / 7) || 'd int)')"
                ),
                format!(
                    "SELECT lockguard.preempt_maintenance(jsonb_build_object('relations', (SELECT jsonb_agg('t'::text) FROM generate_series(1, {size} / 5))))"
                ),
                format!(
                    "SELECT lockguard.preempt_maintenance(jsonb_build_object('relations', (SELECT jsonb_agg(i) FROM generate_series(1, {size} / 5) i)))"
                ),
                format!(
                    "SELECT lockguard.preempt_maintenance(jsonb_build_object('statement', repeat('SELECT * FROM t;', {size} / 16), 'dry_run', true))"
                ),
                format!(
                    "SELECT lockguard.preempt_maintenance(jsonb_build_object('relations', 't', repeat('x', {size}), 1))"
                ),
                format!(
                    "SELECT count(*) FROM lockguard.blockers_of((SELECT array_agg('t'::regclass) FROM generate_series(1, {size})))"
                ),
                format!(
                    "SELECT lockguard.store_policy('p', jsonb_build_object('spare', (SELECT jsonb_agg('backup'::text) FROM generate_series(1, {size}))))"
                ),
            ] {
                let answer = outcome(&session, &statement);
                assert!(
                    ["works", "53200", "22023", "42601", "54001"].contains(&&*answer),
                    "{answer}: {statement}"
                );
                *told.entry(answer).or_insert(0) += 1;
                goes_on(&cluster, &session, started);
            }
            session.run(&format!(
                "SELECT set_config('lockguard.policy', '{{' || repeat(' ', {size}) || '}}', false)"
            ));
            let answer = outcome(&session, "CREATE TABLE IF NOT EXISTS t (i int)");
            assert!(["works", "53200"].contains(&&*answer), "{answer}");
            session.run("RESET lockguard.policy");
            goes_on(&cluster, &session, started);
        }
        is_whole(&cluster);
    }
    println!("{told:?}");
    assert!(
        told.get("53200").is_some_and(|times| *times > 3),
        "{told:?}"
    );
}

fn large_trees_without_memory_end_no_server(world: &World) {
    const RELATIONS: usize = 3_000;
    let space = format!("--as={}", 1usize << 30);
    let settings = [
        ("shared_buffers", "1MB"),
        ("max_connections", "20"),
        ("max_locks_per_transaction", "500"),
    ];
    let cluster = Cluster::start_limited(world.installation(), &settings, &[&space]).unwrap();
    let database = cluster.create_database().unwrap();
    let schema = database.session("schema");
    schema.run("SET statement_timeout = '5min'; CREATE TABLE t (i int)");
    schema.run(&format!(
        "DO $$BEGIN FOR i IN 1..{RELATIONS} LOOP \
           EXECUTE format('CREATE TABLE t%s () INHERITS (t)', i); \
           IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END$$"
    ));
    let started = schema.run("SELECT pg_postmaster_start_time()");
    let mut told = std::collections::BTreeMap::new();
    // Each in a session of its own, whose limit is drawn in more and more.
    for more in [0usize, 1, 2, 4, 8, 16, 32] {
        for statement in [
            "SELECT count(*) FROM lockguard.blockers_of('{t}')",
            r#"SELECT lockguard.preempt_maintenance('{"relations": ["t"]}')"#,
            r#"BEGIN; SELECT lockguard.preempt_maintenance('{"statement": "DROP TABLE t"}'); ROLLBACK"#,
            r#"SELECT lockguard.preempt_maintenance('{"relations": "all"}')"#,
            "SELECT count(*) FROM lockguard.locks_of('DROP TABLE t')",
            "BEGIN; ALTER TABLE t ADD COLUMN j int; ROLLBACK",
        ] {
            let session = database
                .connect(SessionOptions::named("app").set("lockguard.policy", "on"))
                .unwrap();
            session.run("SELECT count(*) FROM lockguard.locks_of('')");
            draw_in(&database, session.pid(), more << 20);
            let answer = outcome(&session, statement);
            assert!(
                ["works", "53200"].contains(&&*answer),
                "{answer}: {statement}"
            );
            *told.entry(answer).or_insert(0) += 1;
        }
    }
    println!("{told:?}");
    assert!(told.len() == 2, "{told:?}");
    let start = schema.run("SELECT pg_postmaster_start_time()");
    assert_eq!(start.value(), started.value());
    is_whole(&cluster);
}

/// Leaves a process so many bytes beside what it has.
fn draw_in(database: &Database, pid: i32, more: usize) {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let space = pages * 4096 + more;
    let limit = format!("--as={space}:{}", 1usize << 30);
    // As the account that the server runs under.
    let mut command = database.command("/usr/bin/prlimit");
    command.args(["--pid", &pid.to_string(), &limit]);
    let done = pg_test::process::run(command).unwrap();
    assert!(done.status.success(), "{}", done.stderr);
}

fn what_is_too_long_is_refused(world: &World) {
    let database = world.database();
    let session = database.session("app");
    session.run("CREATE TABLE t (i int)");
    for (statement, message) in [
        (
            "SELECT lockguard.preempt_maintenance(jsonb_build_object('relations', 't', 'label', repeat('x', 9000000)))",
            "longer than the 8388608 that are allowed",
        ),
        (
            "SELECT lockguard.preempt_maintenance(jsonb_build_object('relations', (SELECT jsonb_agg('t' || i) FROM generate_series(1, 100001) i)))",
            "more than the 100000 different names",
        ),
        (
            "SELECT * FROM lockguard.blockers_of((SELECT array_agg(i::oid::regclass) FROM generate_series(1, 100001) i))",
            "more than 100000 relations are given",
        ),
        (
            "SELECT * FROM lockguard.locks_of(repeat('x', 70000000))",
            "longer than the 67108864 that are allowed",
        ),
    ] {
        let error = session.error(statement);
        assert_eq!(error.code().code(), "22023", "{error}");
        assert!(error.message().contains(message), "{error}");
    }
    // The same one a million times is one.
    session.run("SELECT * FROM lockguard.blockers_of((SELECT array_agg('t'::regclass) FROM generate_series(1, 1000000)))");
}
