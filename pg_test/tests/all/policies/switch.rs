//! `lockguard.signalling`: a superuser's setting that turns signalling off for everybody.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Session, SessionOptions, wait_until};

use super::{SOON, Stage, code, preempt};
use crate::preempt::autovacuum;
use crate::preempt::scene::Trail;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        off_calls_only_look,
        off_no_autovacuum_worker_is_made_to_yield,
        an_ordinary_role_cannot_turn_it_on,
        turned_off_for_the_server_it_holds_from_the_next_statement_on,
        turned_off_while_a_call_waits_it_holds_for_that_call,
    ]
}

const CALL: &str =
    r#"{"relations": ["t"], "preempt": [{"application_name": "victim"}], "timeout": "300ms"}"#;
const OFF: &str = "signalling is turned off by lockguard.signalling";

/// Sees that nobody is signalled in that session, and why.
#[track_caller]
fn is_off(session: &Session, call: &str) {
    let error = session.error(&preempt(call));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap();
    assert!(detail.contains(&format!("in the way, {OFF}")), "{detail}");
}

fn off_calls_only_look(world: &World) {
    let stage = Stage::with_loan(world);
    let name = stage.database.name();
    stage.admin.run(&format!(
        "ALTER DATABASE {name} SET lockguard.signalling = off"
    ));
    let (_victim, busy) = stage.victim("t");
    let trail = Trail::from_now(world.cluster());
    let admin = stage.database.session("migration");
    is_off(&admin, CALL);
    let told = format!("{:?}", admin.take_notices());
    assert!(told.contains(OFF), "{told}");
    let rows = admin.run(&preempt(
        &CALL.replace("}]", "}], \"on_timeout\": \"report\""),
    ));
    assert_eq!(rows.only().text("verdict"), "in the way");
    assert_eq!(rows.only().text("reason"), OFF);
    let rows = admin.run(&preempt(&CALL.replace("}]", "}], \"dry_run\": true")));
    assert_eq!(rows.only().text("verdict"), "would wait");
    let session = stage
        .database
        .connect(SessionOptions::named("deployer").user(&stage.deployer))
        .unwrap();
    is_off(
        &session,
        r#"{"relations": ["t"], "policy": "p", "timeout": "300ms"}"#,
    );
    session.run(r#"SET lockguard.policy = '{"policy": "p", "timeout": "300ms"}'"#);
    assert_eq!(code(&session, "ALTER TABLE t ADD j int"), "55P03");
    trail.has_no_victim();
    assert!(!busy.is_finished());
    // What is free is taken all the same.
    admin.run(&format!(
        "BEGIN; {}",
        preempt(r#"{"relations": ["others"]}"#)
    ));
    let held = stage.admin.run(&format!(
        "SELECT FROM pg_locks WHERE pid = {} AND relation = 'others'::regclass AND mode = 'AccessExclusiveLock'",
        admin.pid()
    ));
    assert_eq!(held.len(), 1);
    // A superuser may turn it on again, for a session of theirs too.
    admin.run("ROLLBACK; SET lockguard.signalling = on");
    admin.run(&preempt(CALL));
    assert!(busy.wait(SOON).is_err());
}

fn off_no_autovacuum_worker_is_made_to_yield(world: &World) {
    let cluster = autovacuum::server(world);
    let database = cluster.create_database().unwrap();
    autovacuum::needy_table(&database, "t");
    let admin = database.session("admin");
    let (name, role) = (database.name(), format!("{}_owner", database.name()));
    admin.run(&format!(
        "CREATE ROLE {role} LOGIN; ALTER TABLE t OWNER TO {role}; ALTER DATABASE {name} SET lockguard.signalling = off"
    ));
    let worker = autovacuum::worker_on(&database, "t");
    let session = database
        .connect(SessionOptions::named("migration").user(&role))
        .unwrap();
    // Much longer than the server takes to have it yield.
    is_off(&session, r#"{"relations": ["t"], "timeout": "1500ms"}"#);
    assert_eq!(autovacuum::worker_now(&admin, "t"), Some(worker));
}

fn an_ordinary_role_cannot_turn_it_on(world: &World) {
    let cluster = world.start_cluster(&[("lockguard.signalling", "off")]);
    let database = cluster.create_database().unwrap();
    let (admin, role) = (
        database.session("admin"),
        format!("{}_mallory", database.name()),
    );
    admin.run(&format!(
        "CREATE ROLE {role} LOGIN; CREATE TABLE t (i int); ALTER TABLE t OWNER TO {role}"
    ));
    let options = || SessionOptions::named("mallory").user(&role);
    let victim = database
        .connect(SessionOptions::named("victim").user(&role))
        .unwrap();
    victim.run("BEGIN; SELECT FROM t");
    let connect = |options| database.connect(options).unwrap();
    let alter = format!("ALTER ROLE {role} SET lockguard.signalling = on");
    for database_too in [false, true] {
        if database_too {
            admin.run(&format!(
                "ALTER DATABASE {} SET lockguard.signalling = off",
                database.name()
            ));
        }
        // Each before the library is loaded, and after.
        let by_set = connect(options());
        by_set.run("SET lockguard.signalling = on");
        let in_block = connect(options());
        in_block.run("BEGIN; SET LOCAL lockguard.signalling = on");
        let by_role = connect(options());
        assert_eq!(code(&by_role, &alter), "42501");
        let by_placeholder = connect(options());
        by_placeholder.run("SET lockguard.signalling = on");
        assert_eq!(code(&by_placeholder, &alter), "42501");
        let by_connection = connect(options().set("lockguard.signalling", "on"));
        let by_nonsense = connect(options().set("lockguard.signalling", "nonsense"));
        for session in [
            &by_set,
            &in_block,
            &by_role,
            &by_placeholder,
            &by_connection,
            &by_nonsense,
        ] {
            is_off(session, CALL);
            session.run("ROLLBACK; RESET ALL");
            is_off(session, CALL);
            for sql in [
                &*alter,
                "SET lockguard.signalling = on",
                "SELECT set_config('lockguard.signalling', 'on', false)",
            ] {
                assert_eq!(code(session, sql), "42501", "{sql}");
            }
        }
    }
    victim.run("SELECT 1");
    // A superuser's connection may.
    let root = connect(SessionOptions::named("root").set("lockguard.signalling", "on"));
    root.run(&preempt(CALL));
    assert!(victim.try_run("SELECT 1").is_err());
}

fn turned_off_for_the_server_it_holds_from_the_next_statement_on(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let (admin, session) = (database.session("admin"), database.session("migration"));
    admin.run("CREATE TABLE t (i int)");
    // The setting is known once the library is loaded.
    session.run("SELECT lockguard.locks_of('')");
    admin.run("SELECT lockguard.locks_of('')");
    let victim = database.session("victim");
    victim.run("BEGIN; SELECT FROM t");
    for (value, is_on) in [("off", false), ("on", true)] {
        admin.run(&format!("ALTER SYSTEM SET lockguard.signalling = {value}"));
        admin.run("SELECT pg_reload_conf()");
        wait_until("the session has read it", SOON, || {
            session.run("SHOW lockguard.signalling").value() == Some(value)
        });
        if is_on {
            session.run(&preempt(CALL));
            assert!(victim.try_run("SELECT 1").is_err());
        } else {
            is_off(&session, CALL);
            victim.run("SELECT 1");
        }
    }
}

/// The session itself reads the files only once its statement has ended.
fn turned_off_while_a_call_waits_it_holds_for_that_call(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let session = |name: &str| database.session(name);
    let (admin, caller, idle) = (session("admin"), session("migration"), session("idle"));
    admin.run("CREATE TABLE t (i int); SELECT lockguard.locks_of('')");
    idle.run("SELECT lockguard.locks_of('')");
    let (victim, somebody) = (session("victim"), session("somebody"));
    victim.run("BEGIN; SELECT FROM t");
    somebody.run("BEGIN; SELECT FROM t");
    let call = caller.spawn(preempt(&CALL.replace("300ms", "4s")));
    wait_until("the call waits", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    admin.run("ALTER SYSTEM SET lockguard.signalling = off");
    admin.run("SELECT pg_reload_conf()");
    // All sessions are told at once; this one, and the one that waits a while later.
    wait_until("another session has read it", SOON, || {
        idle.run("SHOW lockguard.signalling").value() == Some("off")
    });
    admin.run("SELECT pg_sleep(0.3)");
    somebody.run("COMMIT");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03", "{error}");
    let detail = error.as_db_error().unwrap().detail().unwrap();
    assert!(detail.contains(OFF), "{detail}");
    victim.run("SELECT 1");
}
