//! In parallel: whatever somebody declares the functions to be, they do nothing in a parallel worker.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::Session;

use super::scene::{Holder, Trail, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_parallel_worker_is_refused_each_function,
        a_parallel_worker_signals_nobody_and_says_nothing_of_it,
    ]
}

/// Has the session do all that it may in a parallel worker.
fn all_in_parallel(session: &Session) {
    let name = "SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')";
    let name = session.run(name).value().unwrap().to_owned();
    session.run(&format!("SET {name} = on"));
}

fn is_refused(session: &Session, call: &str, function: &str) {
    let error = session.error(call);
    assert_eq!(error.code().code(), "25000", "{call}: {error:?}");
    let told = format!("cannot execute lockguard.{function}() during a parallel operation");
    assert_eq!(error.message(), told, "{call}");
}

fn a_parallel_worker_is_refused_each_function(world: &World) {
    let database = world.database();
    let session = database.session("migration");
    // But triggers, which no query can call.
    let functions = session.run(
        "SELECT p.oid::regprocedure AS signature, p.proname AS name, \
         (SELECT string_agg('NULL::' || format_type(t, NULL), ', ') FROM unnest(p.proargtypes::oid[]) t) AS arguments \
         FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e' \
         JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'lockguard' \
         JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'c' \
         WHERE p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)",
    );
    assert!(functions.len() >= 8, "{functions}");
    for function in functions.iter() {
        session.run(&format!(
            "ALTER FUNCTION {} PARALLEL SAFE",
            function.text("signature")
        ));
    }
    all_in_parallel(&session);
    for function in functions.iter() {
        let name = function.text("name");
        let arguments = function.get("arguments").unwrap_or_default();
        is_refused(
            &session,
            &format!("SELECT * FROM lockguard.{name}({arguments})"),
            name,
        );
    }
}

fn a_parallel_worker_signals_nobody_and_says_nothing_of_it(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let session = database.session("migration");
    session.run("ALTER FUNCTION lockguard.preempt_maintenance(jsonb) PARALLEL SAFE");
    let backup = Holder::busy(&database, "pg_dump", "SELECT FROM t");
    let trail = Trail::from_now(world.cluster());
    all_in_parallel(&session);
    let call = r#"SELECT * FROM lockguard.preempt_maintenance('{"relations": ["t"], "take_lock": false}')"#;
    is_refused(&session, call, "preempt_maintenance");
    trail.has_no_victim();
    assert!(!trail.text().contains("lockguard did not signal"));
    assert!(backup.goes_on());
}
