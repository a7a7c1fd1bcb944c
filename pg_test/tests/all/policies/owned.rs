//! A stored policy is lent for what the role could run DDL on itself: relations that it owns.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{POLICY, SOON, Stage, code, preempt};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        what_is_not_owned_is_no_target,
        a_statement_on_what_is_not_owned_is_none_either,
        the_search_path_of_a_script_does_not_get_round_it,
        all_needs_all,
        a_waiting_session_is_helped_on_what_is_owned,
        a_member_of_the_owner_may,
        what_a_definer_owns_is_no_target_of_its_callers,
        who_becomes_the_owner_by_set_role_may,
    ]
}

#[track_caller]
fn is_refused(stage: &Stage, target: &str) {
    for more in ["", r#", "dry_run": true"#] {
        let error = stage
            .session
            .error(&preempt(&format!(r#"{{{target}, "policy": "p"{more}}}"#)));
        assert_eq!(error.code().code(), "42501", "{target}: {error}");
        assert!(error.message().contains("stored policy"), "{error}");
    }
}

fn what_is_not_owned_is_no_target(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = stage.victim("others");
    for target in [
        r#""relations": ["others"]"#,
        r#""relations": ["t", "others"]"#,
        r#""relations": ["others"], "mode": "ACCESS SHARE""#,
    ] {
        is_refused(&stage, target);
    }
    assert!(!busy.is_finished());
}

fn a_statement_on_what_is_not_owned_is_none_either(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run(&format!(
        "CREATE TABLE referenced (i int PRIMARY KEY); GRANT REFERENCES ON referenced TO {}; \
         CREATE SCHEMA their; CREATE TABLE their.big (i int)",
        stage.deployer
    ));
    let (_victim, busy) = stage.victim("others");
    for target in [
        r#""statement": "DROP TABLE others""#,
        r#""statement": "DROP TABLE t; DROP TABLE others""#,
        r#""statement": "TRUNCATE others""#,
        r#""statement": "VACUUM FULL others""#,
        r#""statement": "LOCK TABLE others""#,
        r#""statement": "DROP SCHEMA their CASCADE""#,
        r#""statement": "ALTER TABLE t ADD FOREIGN KEY (i) REFERENCES referenced""#,
    ] {
        is_refused(&stage, target);
    }
    assert!(!busy.is_finished());
    let (_victim, busy) = stage.victim("t");
    stage.session.run(&preempt(
        r#"{"statement": "ALTER TABLE t ADD COLUMN j int", "policy": "p"}"#,
    ));
    assert!(busy.wait(SOON).is_err());
}

fn the_search_path_of_a_script_does_not_get_round_it(world: &World) {
    let stage = Stage::with_loan(world);
    stage
        .admin
        .run("CREATE SCHEMA their; CREATE TABLE their.big (i int); GRANT USAGE ON SCHEMA their TO PUBLIC");
    is_refused(
        &stage,
        r#""statement": "SET search_path = their; DROP TABLE big""#,
    );
}

fn all_needs_all(world: &World) {
    let stage = Stage::with_loan(world);
    is_refused(&stage, r#""relations": "all""#);
    stage
        .admin
        .run(&format!("ALTER TABLE others OWNER TO {}", stage.deployer));
    // The extension's own tables are others', and stay so.
    is_refused(&stage, r#""relations": "all""#);
    let (_, super_user) = stage.role("super", "SUPERUSER");
    let (_victim, busy) = stage.victim("t");
    super_user.run(&preempt(r#"{"relations": "all", "policy": "p"}"#));
    assert!(busy.wait(SOON).is_err());
}

fn a_waiting_session_is_helped_on_what_is_owned(world: &World) {
    let stage = Stage::with_loan(world);
    for (table, is_owned) in [("others", false), ("t", true)] {
        let (_victim, busy) = stage.victim(table);
        let waiter = stage.database.session("waiter");
        let wait = waiter.spawn(format!("LOCK TABLE {table}; SELECT 1"));
        wait.wait_until_queued();
        let target = format!(r#""pid": {}"#, waiter.pid());
        if is_owned {
            stage
                .session
                .run(&preempt(&format!(r#"{{{target}, "policy": "p"}}"#)));
            assert!(busy.wait(SOON).is_err());
            wait.rows(SOON);
        } else {
            is_refused(&stage, &target);
            assert!(!busy.is_finished());
        }
    }
    // A lock that is on no relation is nobody's.
    let holder = stage.database.session("victim");
    holder.run("BEGIN; SELECT pg_advisory_xact_lock(7)");
    let waiter = stage.database.session("waiter");
    let wait = waiter.spawn("SELECT pg_advisory_xact_lock(7)");
    wait.wait_until_queued();
    is_refused(&stage, &format!(r#""pid": {}"#, waiter.pid()));
    holder.run("COMMIT");
    wait.rows(SOON);
}

fn a_member_of_the_owner_may(world: &World) {
    let stage = Stage::new(world);
    stage.store("p", POLICY);
    let (member, session) = stage.role("member", &format!("IN ROLE {}", stage.deployer));
    stage
        .admin
        .run(&format!("SELECT lockguard.lend_policy('p', '{member}')"));
    let (_victim, busy) = stage.victim("t");
    session.run(&preempt(r#"{"relations": ["t"], "policy": "p"}"#));
    assert!(busy.wait(SOON).is_err());
}

/// Whoever lends a role a policy for its own tables has not lent it other people's, which a function of theirs works on.
fn what_a_definer_owns_is_no_target_of_its_callers(world: &World) {
    let stage = Stage::with_loan(world);
    let call = preempt(r#"{"relations": ["public.others"], "policy": "p"}"#);
    stage.admin.run(&format!(
        "CREATE FUNCTION helper() RETURNS void LANGUAGE sql SECURITY DEFINER SET lock_timeout = '300ms' \
         AS 'ALTER TABLE public.others ALTER i SET NOT NULL'; \
         CREATE FUNCTION caller() RETURNS void LANGUAGE sql SECURITY DEFINER AS $f$ {call} $f$"
    ));
    let (_victim, busy) = stage.victim("others");
    stage.session.run("SET lockguard.policy = 'p'");
    assert_eq!(code(&stage.session, "SELECT helper()"), "55P03");
    let error = stage.session.error("SELECT caller()");
    assert_eq!(error.code().code(), "42501");
    assert!(error.message().contains("must be owner"), "{error}");
    assert!(!busy.is_finished());
    // By the definer itself it goes.
    stage.admin.run("SELECT caller()");
    assert!(busy.wait(SOON).is_err());
}

/// A role that does not inherit its owner's rights must become that to run DDL, and has set the policy before.
fn who_becomes_the_owner_by_set_role_may(world: &World) {
    let stage = Stage::with_loan(world);
    let owner = &stage.deployer;
    let (member, session) = stage.role("member", &format!("NOINHERIT IN ROLE {owner}"));
    stage
        .admin
        .run(&format!("SELECT lockguard.lend_policy('p', '{member}')"));
    let (_victim, busy) = stage.victim("t");
    session.run("SET lockguard.policy = 'p'");
    assert_eq!(
        code(&session, &preempt(r#"{"relations": ["t"], "policy": "p"}"#)),
        "42501"
    );
    session.run(&format!(
        "SET ROLE {owner}; ALTER TABLE t ALTER i SET NOT NULL"
    ));
    assert!(busy.wait(SOON).is_err());
}
