//! Who may store what, and what becomes of it.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{POLICY, Stage, code, store};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_stored_policy_is_shown_with_its_owner,
        what_is_no_policy_is_not_stored,
        what_is_no_name_is_refused,
        only_the_database_s_owner_stores,
        only_its_owner_changes_and_drops_it,
        whoever_replaces_it_lends_no_rights_of_his_own,
        a_renamed_owner_stays_the_owner,
        a_dropped_owner_lends_nothing_any_more,
        the_tables_are_written_by_the_functions_alone,
        a_null_is_refused,
    ]
}

fn a_stored_policy_is_shown_with_its_owner(world: &World) {
    let stage = Stage::new(world);
    stage.admin.run(&format!(
        "SELECT lockguard.store_policy('nightly', '{POLICY}', 'for the nightly backup')"
    ));
    let rows = stage
        .session
        .run("SELECT name, owner = 'postgres'::regrole OR owner::text = (SELECT rolname FROM pg_roles WHERE oid = owner) AS is_role, policy, comment FROM lockguard.policies");
    let row = rows.only();
    assert_eq!(row.text("name"), "nightly");
    assert_eq!(row.text("is_role"), "t");
    assert_eq!(row.text("policy"), POLICY);
    assert_eq!(row.text("comment"), "for the nightly backup");
    stage.admin.run(&store("nightly", "{}"));
    let rows = stage
        .session
        .run("SELECT policy, comment FROM lockguard.policies");
    assert_eq!(rows.only().text("policy"), "{}", "it was replaced");
    stage.admin.run("SELECT lockguard.drop_policy('nightly')");
    assert_eq!(stage.session.run("SELECT FROM lockguard.policies").len(), 0);
    assert_eq!(
        code(&stage.admin, "SELECT lockguard.drop_policy('nightly')"),
        "42704"
    );
}

fn what_is_no_policy_is_not_stored(world: &World) {
    let stage = Stage::new(world);
    for (policy, path) in [
        (r#"{"preempt": ["backups"]}"#, "$.preempt[0]"),
        (r#"{"timeout": 5}"#, "$.timeout"),
        (r#"{"tiemout": "5s"}"#, "$"),
        (r#"{"relations": ["t"]}"#, "$.relations"),
        (r#"{"statement": "DROP TABLE t"}"#, "$.statement"),
        (r#"{"pid": 1}"#, "$.pid"),
        (r#"{"policy": "other"}"#, "$.policy"),
        ("[]", "$"),
        ("null", "$"),
    ] {
        let error = stage.admin.error(&store("p", policy));
        assert_eq!(error.code().code(), "22023", "{policy}");
        let detail = error.detail().unwrap();
        assert_eq!(detail, format!("At {path} in the policy."), "{policy}");
    }
    assert_eq!(stage.admin.run("SELECT FROM lockguard.policies").len(), 0);
}

fn what_is_no_name_is_refused(world: &World) {
    let stage = Stage::new(world);
    let long = "x".repeat(64);
    for name in ["", " ", " p", "p ", "on", "OFF", "{", "{\"a\": 1}", &long] {
        assert_eq!(code(&stage.admin, &store(name, "{}")), "22023", "{name}");
    }
    for name in ["p", "two words", "Ünï-cöde", "o''clock", &long[1..]] {
        stage.admin.run(&store(name, "{}"));
    }
}

fn only_the_database_s_owner_stores(world: &World) {
    let stage = Stage::new(world);
    assert_eq!(code(&stage.session, &store("p", "{}")), "42501");
    let (owner, session) = stage.owner();
    session.run(&store("p", "{}"));
    let (_, member) = stage.role("member", &format!("IN ROLE {owner}"));
    member.run(&store("q", "{}"));
}

fn only_its_owner_changes_and_drops_it(world: &World) {
    let stage = Stage::with_loan(world);
    // He may store, but this one is not his.
    let (owner, session) = stage.owner();
    for sql in [
        store("p", "{}"),
        "SELECT lockguard.drop_policy('p')".into(),
        format!("SELECT lockguard.lend_policy('p', '{owner}')"),
        format!("SELECT lockguard.revoke_policy('p', '{}')", stage.deployer),
    ] {
        assert_eq!(code(&session, &sql), "42501", "{sql}");
        assert_eq!(code(&stage.session, &sql), "42501", "{sql}");
    }
}

fn whoever_replaces_it_lends_no_rights_of_his_own(world: &World) {
    let stage = Stage::new(world);
    let (owner, session) = stage.owner();
    session.run(&store("p", "{}"));
    let told = format!("{:?}", session.take_notices());
    assert!(told.contains("no member of pg_signal_backend"), "{told}");
    // A superuser who mends it does not lend it his own rights, and is told so.
    stage.admin.take_notices();
    stage.admin.run(&store("p", POLICY));
    let told = format!("{:?}", stage.admin.take_notices());
    assert!(
        told.contains(&format!("still lends the rights of {owner}")),
        "{told}"
    );
    let rows = stage
        .admin
        .run("SELECT owner::text, policy FROM lockguard.policies");
    assert_eq!(rows.only().text("owner"), owner);
    assert_eq!(rows.only().text("policy"), POLICY);
}

fn a_renamed_owner_stays_the_owner(world: &World) {
    let stage = Stage::new(world);
    let (owner, session) = stage.owner();
    session.run(&store("p", "{}"));
    stage
        .admin
        .run(&format!("ALTER ROLE {owner} RENAME TO {owner}_anew"));
    session.run(&store("p", POLICY));
    // Another role of the old name is not.
    let (_, other) = stage.role("owner", "");
    assert_eq!(code(&other, "SELECT lockguard.drop_policy('p')"), "42501");
    session.run("SELECT lockguard.drop_policy('p')");
}

fn a_dropped_owner_lends_nothing_any_more(world: &World) {
    let stage = Stage::new(world);
    let (lender, session) = stage.role("lender", "SUPERUSER");
    session.run(&store("p", POLICY));
    session.run(&format!(
        "SELECT lockguard.lend_policy('p', '{}')",
        stage.deployer
    ));
    drop(session);
    stage.admin.run(&format!("DROP ROLE {lender}"));
    let (_victim, busy) = stage.victim("t");
    let error = stage
        .session
        .error(&super::preempt(r#"{"relations": ["t"], "policy": "p"}"#));
    assert_eq!(error.code().code(), "42501");
    assert!(error.message().contains("dropped"), "{error}");
    assert!(!busy.is_finished());
    let lend = format!("SELECT lockguard.lend_policy('p', '{}')", stage.deployer);
    assert_eq!(
        code(&stage.admin, &lend),
        "42501",
        "there is nothing to lend"
    );
    // Whoever stores it anew lends it anew: the loans were not his.
    stage.admin.take_notices();
    stage.admin.run(&store("p", POLICY));
    let told = format!("{:?}", stage.admin.take_notices());
    assert!(told.contains("all its loans have ended"), "{told}");
    let call = super::preempt(r#"{"relations": ["t"], "policy": "p"}"#);
    assert_eq!(code(&stage.session, &call), "42501");
    assert!(!busy.is_finished());
    stage.lend("p");
    stage.session.run(&call);
    assert!(busy.wait(super::SOON).is_err());
}

fn the_tables_are_written_by_the_functions_alone(world: &World) {
    let stage = Stage::with_loan(world);
    for sql in [
        "UPDATE lockguard.policies SET policy = '{}'",
        "DELETE FROM lockguard.policies",
        "INSERT INTO lockguard.policies VALUES ('x', current_user::regrole, '{}')",
        "UPDATE lockguard.policy_loans SET policy = 'p'",
        "DELETE FROM lockguard.policy_loans",
        "TRUNCATE lockguard.policy_loans",
    ] {
        assert_eq!(code(&stage.session, sql), "42501", "{sql}");
    }
}

fn a_null_is_refused(world: &World) {
    let stage = Stage::new(world);
    for sql in [
        "SELECT lockguard.store_policy(NULL, '{}')",
        "SELECT lockguard.store_policy('p', NULL)",
        "SELECT lockguard.drop_policy(NULL)",
        "SELECT lockguard.lend_policy(NULL, 'postgres')",
        "SELECT lockguard.lend_policy('p', NULL)",
        "SELECT lockguard.revoke_policy('p', NULL)",
    ] {
        assert!(
            ["22004", "42704"].contains(&&*code(&stage.admin, sql)),
            "{sql}"
        );
    }
}
