//! Settings of a session that say how it fails, what it logs and what it is told: none of them is taken for the
//! failure of a call that only waits.

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Cluster, SessionOptions, wait_until};

use super::scene::{Holder, SOON, is_alive, preempt, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        under_exit_on_error_a_call_waits_and_only_its_own_error_ends_the_session,
        a_server_that_was_started_with_rust_backtrace_tells_no_backtraces,
    ]
}

/// A wait is made of slices, each of which ends in an error that nobody else is to see.
fn under_exit_on_error_a_call_waits_and_only_its_own_error_ends_the_session(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT FROM t");
    let holder = application.pid();
    let report = r#"{"relations": ["t"], "timeout": "1300ms", "on_timeout": "report"}"#;
    let error = r#"{"relations": ["t"], "timeout": "700ms"}"#;
    // Outside the queue, and in it.
    for max_stall in ["1ms", "400ms"] {
        let options = SessionOptions::named("migration").set("exit_on_error", "on");
        let migration = database.connect(options).unwrap();
        let more = |policy: &str| {
            preempt(&policy.replace('}', &format!(r#", "max_stall": "{max_stall}"}}"#)))
        };
        migration.run("BEGIN");
        let rows = migration.run(&more(report));
        assert_eq!(verdict(&rows, holder), "in the way");
        assert_eq!(migration.run("SHOW exit_on_error").value(), Some("on"));
        migration.run("COMMIT");
        let outcome = migration.try_run(&more(error)).unwrap_err();
        if let Some(told) = outcome.as_db_error() {
            assert_eq!((told.severity(), told.code().code()), ("FATAL", "55P03"));
        }
        wait_until("its session has ended", SOON, || {
            !is_alive(&database, migration.pid())
        });
    }
    assert!(application.goes_on());
}

fn a_server_that_was_started_with_rust_backtrace_tells_no_backtraces(world: &World) {
    let on = Path::new("full");
    let environment = [("RUST_BACKTRACE", on), ("RUST_LIB_BACKTRACE", on)];
    let cluster = Cluster::start_with(world.installation(), &[], &environment).unwrap();
    let database = cluster.create_database().unwrap();
    let session = database.session("migration");
    for (call, code, detail) in [
        // Raised by the server, by us, and by the server's own limit.
        ("SELECT lockguard.locks_of('SELEC 1')", "42601", None),
        (
            r#"SELECT lockguard.preempt_maintenance('{"relations": ["t"], "timeout": "soon"}')"#,
            "22023",
            Some("At $.timeout in the policy."),
        ),
        ("SELECT lockguard.blockers_of(NULL)", "22004", None),
    ] {
        let error = session.error(call);
        assert_eq!(error.code().code(), code, "{call}: {error:?}");
        assert_eq!(error.detail(), detail, "{call}");
    }
    assert!(!cluster.log().contains("backtrace"), "{}", cluster.log());
}
