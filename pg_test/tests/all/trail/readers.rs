//! Who may read which rows, and that nobody else writes them.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Database, Session, SessionOptions};

use super::{SOON, policy, preempt, table, trail, victim, wait_for_rows};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        rows_are_for_their_caller_the_policy_s_owner_and_pg_monitor,
        a_caller_reads_no_more_than_pg_stat_activity_showed,
        nobody_but_the_extension_s_owner_rewrites_the_trail,
        a_renamed_role_keeps_its_rows,
    ]
}

fn role(database: &Database, name: &str, more: &str) -> (String, Session) {
    let role = format!("{}_{name}", database.name());
    database
        .session("admin")
        .run(&format!("CREATE ROLE {role} LOGIN {more}"));
    let session = database
        .connect(SessionOptions::named(name).user(&role))
        .unwrap();
    (role, session)
}

/// A role that owns the table, uses a stored policy of another one and has preempted a superuser's session
/// through it.
struct Stage {
    database: Database,
    admin: Session,
    caller: (String, Session),
    lender: (String, Session),
}

fn stage(world: &World) -> Stage {
    let database = world.database();
    let admin = table(&database);
    let caller = role(&database, "caller", "");
    let lender = role(&database, "lender", "SUPERUSER");
    admin.run(&format!("ALTER TABLE t OWNER TO {}", caller.0));
    lender.1.run(&format!(
        "SELECT lockguard.store_policy('p', '{{\"preempt\": [{{\"application_name\": \"victim\"}}]}}'); \
         SELECT lockguard.lend_policy('p', '{}')",
        caller.0
    ));
    let (_session, busy) = victim(&database);
    caller
        .1
        .run(&preempt(r#"{"relations": ["t"], "policy": "p"}"#));
    assert!(busy.wait(SOON).is_err());
    wait_for_rows(&admin, 1);
    Stage {
        database,
        admin,
        caller,
        lender,
    }
}

fn rows_are_for_their_caller_the_policy_s_owner_and_pg_monitor(world: &World) {
    let stage = stage(world);
    let count = |session: &Session| trail(session).len();
    assert_eq!(count(&stage.caller.1), 1);
    assert_eq!(count(&stage.lender.1), 1);
    assert_eq!(count(&stage.admin), 1);
    let (_, monitor) = role(&stage.database, "monitor", "IN ROLE pg_monitor");
    assert_eq!(count(&monitor), 1);
    let (_, member) = role(
        &stage.database,
        "member",
        &format!("IN ROLE {}", stage.caller.0),
    );
    assert_eq!(count(&member), 1);
    let (_, stranger) = role(&stage.database, "stranger", "");
    assert_eq!(count(&stranger), 0);
    // A function of the reader's own that is cheap is not asked before the view's condition.
    stranger.run(
        "CREATE FUNCTION pg_temp.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 \
         AS $$BEGIN RAISE 'leaked %', $1; END$$",
    );
    let rows = stranger.run("SELECT FROM lockguard.preemptions WHERE pg_temp.leak(target)");
    assert_eq!(rows.len(), 0);
    let error = stranger.error("SELECT FROM lockguard.trail");
    assert_eq!(error.code().code(), "42501");
}

fn a_caller_reads_no_more_than_pg_stat_activity_showed(world: &World) {
    let stage = stage(world);
    let hidden = ["backend_start", "transaction_age", "query", "class"];
    let rows = trail(&stage.caller.1);
    assert_eq!(rows.only().text("application_name"), "victim");
    for column in hidden {
        assert_eq!(rows.only().get(column), None, "{column}");
    }
    let rows = trail(&stage.lender.1);
    for column in hidden {
        assert!(rows.only().get(column).is_some(), "{column}");
    }
    // With a policy of one's own, one's own sight counts.
    let (name, _) = role(&stage.database, "signaller", "IN ROLE pg_signal_backend");
    stage
        .admin
        .run(&format!("GRANT {name} TO {}", stage.caller.0));
    let (victims, session) = role(&stage.database, "victim", "");
    drop(session);
    stage.admin.run("TRUNCATE lockguard.trail");
    let session = stage
        .database
        .connect(SessionOptions::named("victim").user(&victims))
        .unwrap();
    stage.admin.run("GRANT SELECT ON t TO PUBLIC");
    session.run("BEGIN; SELECT FROM t");
    stage
        .caller
        .1
        .run(&preempt(&policy(r#", "signal": "terminate""#)));
    let rows = wait_for_rows(&stage.admin, 1);
    assert_eq!(
        rows.only().get("query"),
        None,
        "the caller could not see it"
    );
}

fn nobody_but_the_extension_s_owner_rewrites_the_trail(world: &World) {
    let stage = stage(world);
    for (name, session) in [
        ("caller", &stage.caller.1),
        (
            "monitor",
            &role(&stage.database, "monitor", "IN ROLE pg_monitor").1,
        ),
    ] {
        for sql in [
            "UPDATE lockguard.preemptions SET label = 'x'",
            "DELETE FROM lockguard.preemptions",
            "INSERT INTO lockguard.preemptions (label) VALUES ('x')",
            "UPDATE lockguard.trail SET label = 'x'",
            "DELETE FROM lockguard.trail",
            "TRUNCATE lockguard.trail",
            "SELECT setval('lockguard.trail_id_seq', 1)",
        ] {
            let code = session.error(sql).code().code().to_owned();
            // The view is one that nobody can write through.
            let expected = if sql.contains("preemptions") {
                "55000"
            } else {
                "42501"
            };
            assert_eq!(code, expected, "{name}: {sql}");
        }
    }
    stage.admin.run("DELETE FROM lockguard.trail");
}

fn a_renamed_role_keeps_its_rows(world: &World) {
    let stage = stage(world);
    let (name, session) = &stage.caller;
    stage
        .admin
        .run(&format!("ALTER ROLE {name} RENAME TO {name}_anew"));
    assert_eq!(trail(session).only().text("rolname"), name);
    // Whoever gets the old name is somebody else.
    let (_, other) = role(&stage.database, "caller", "");
    assert_eq!(trail(&other).len(), 0);
}
