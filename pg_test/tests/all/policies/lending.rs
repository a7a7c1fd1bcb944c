//! What a loan gives, to whom, and that it gives nothing else.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{POLICY, SOON, Stage, code, preempt, store};
use crate::preempt::scene::{Trail, rows_once_written};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        through_a_loan_a_role_preempts_whom_it_could_not_signal,
        members_of_the_borrower_borrow_too,
        without_a_loan_nothing_is_lent,
        a_loan_that_is_revoked_is_gone,
        only_what_the_policy_names_is_preempted,
        nobody_lends_more_than_he_has,
        an_ad_hoc_policy_has_no_more_rights_than_before,
        the_rights_are_put_back_after_a_call_and_after_an_error,
        an_error_in_a_notice_puts_the_rights_back,
        what_is_hidden_from_the_caller_stays_hidden,
        what_the_caller_spares_tells_him_nothing,
        a_dropped_borrower_is_forgotten,
        a_renamed_borrower_keeps_his_loan,
        an_unknown_policy_or_role_is_told_with_the_nearest,
        nothing_of_the_caller_s_search_path_is_called,
    ]
}

const CALL: &str = r#"{"relations": ["t"], "policy": "p"}"#;

fn through_a_loan_a_role_preempts_whom_it_could_not_signal(world: &World) {
    let stage = Stage::with_loan(world);
    let (victim, busy) = stage.victim("t");
    let trail = Trail::from_now(world.cluster());
    let pid = victim.pid();
    assert_eq!(
        code(&stage.session, &format!("SELECT pg_cancel_backend({pid})")),
        "42501"
    );
    let rows = stage.session.run(&preempt(CALL));
    assert_eq!(rows.only().text("verdict"), "cancelled");
    assert!(busy.wait(SOON).is_err());
    assert_eq!(trail.victims(), [pid]);
    let rows = rows_once_written(
        &stage.session,
        1,
        "SELECT policy FROM lockguard.preemptions",
    );
    assert_eq!(rows.value(), Some("p"));
    assert_eq!(
        code(&stage.session, &format!("SELECT pg_cancel_backend({pid})")),
        "42501"
    );
}

fn members_of_the_borrower_borrow_too(world: &World) {
    let stage = Stage::with_loan(world);
    let (_, member) = stage.role("member", &format!("IN ROLE {}", stage.deployer));
    let (_victim, busy) = stage.victim("t");
    member.run(&preempt(CALL));
    assert!(busy.wait(SOON).is_err());
}

fn without_a_loan_nothing_is_lent(world: &World) {
    let stage = Stage::new(world);
    stage.store("p", POLICY);
    let (_victim, busy) = stage.victim("t");
    let error = stage.session.error(&preempt(CALL));
    assert_eq!(error.code().code(), "42501");
    let hint = error.hint().unwrap();
    assert!(!busy.is_finished());
    // The hint says what its owner is to run.
    let (_, lend) = hint.split_once(": ").unwrap();
    stage.admin.run(lend);
    stage.session.run(&preempt(CALL));
    assert!(busy.wait(SOON).is_err());
}

fn a_loan_that_is_revoked_is_gone(world: &World) {
    let stage = Stage::with_loan(world);
    let revoke = format!("SELECT lockguard.revoke_policy('p', '{}')", stage.deployer);
    stage.admin.run(&revoke);
    assert_eq!(code(&stage.session, &preempt(CALL)), "42501");
    stage.admin.take_notices();
    stage.admin.run(&revoke);
    let notices = stage.admin.take_notices();
    assert!(notices[0].message.contains("was not lent"), "{notices:?}");
}

fn only_what_the_policy_names_is_preempted(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = stage.victim("t");
    let other = stage.database.session("somebody");
    other.run("BEGIN; SELECT FROM t");
    let trail = Trail::from_now(world.cluster());
    let call = r#"{"relations": ["t"], "policy": "p", "timeout": "500ms"}"#;
    assert_eq!(code(&stage.session, &preempt(call)), "55P03");
    trail.has_no_victim();
    assert!(!busy.is_finished());
}

fn nobody_lends_more_than_he_has(world: &World) {
    let stage = Stage::new(world);
    let (owner, session) = stage.owner();
    session.run(&store("p", POLICY));
    session.run(&format!(
        "SELECT lockguard.lend_policy('p', '{}')",
        stage.deployer
    ));
    // A superuser's session, which the owner could not signal either.
    let (_victim, busy) = stage.victim("t");
    let call = r#"{"relations": ["t"], "policy": "p", "timeout": "300ms"}"#;
    let error = stage.session.error(&preempt(call));
    assert_eq!(error.code().code(), "55P03");
    let (detail, hint) = (error.detail().unwrap(), error.hint().unwrap());
    let why = format!("not permitted, the owner of the stored policy, {owner}, may not signal it");
    assert!(detail.contains(&why), "{detail}");
    assert!(
        hint.contains(&format!("the rights of {owner} count")),
        "{hint}"
    );
    assert!(!busy.is_finished());
    // What a superuser uses goes with the owner's rights, too.
    assert_eq!(code(&stage.admin, &preempt(call)), "55P03");
    assert!(!busy.is_finished());
}

fn an_ad_hoc_policy_has_no_more_rights_than_before(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = stage.victim("t");
    let ad_hoc =
        r#"{"relations": ["t"], "preempt": [{"application_name": "victim"}], "timeout": "300ms"}"#;
    let error = stage.session.error(&preempt(ad_hoc));
    assert_eq!(error.code().code(), "55P03");
    assert!(!busy.is_finished());
}

fn the_rights_are_put_back_after_a_call_and_after_an_error(world: &World) {
    let stage = Stage::with_loan(world);
    let ad_hoc = r#"{"relations": ["t"], "preempt": [{"application_name": "victim"}], "timeout": "100ms", "on_timeout": "report"}"#;
    let (_victim, busy) = stage.victim("t");
    let somebody = stage.database.session("somebody");
    somebody.run("BEGIN; SELECT FROM t");
    let through = r#"{"relations": ["t"], "policy": "p", "timeout": "200ms"}"#;
    // Caught or not, cancelled, in one transaction or in the next.
    stage.session.run(&format!(
        "DO $$ BEGIN PERFORM lockguard.preempt_maintenance('{through}'); \
         EXCEPTION WHEN lock_not_available THEN \
             PERFORM FROM lockguard.preempt_maintenance('{ad_hoc}') WHERE verdict = 'cancelled'; \
             IF FOUND THEN RAISE 'preempted'; END IF; \
         END $$"
    ));
    stage.session.run("SET statement_timeout = '150ms'");
    assert_eq!(code(&stage.session, &preempt(through)), "57014");
    stage.session.run("SET statement_timeout = 0");
    stage.session.run(&preempt(ad_hoc));
    assert!(!busy.is_finished(), "rights were left over");
    let user = stage.session.run("SELECT current_user");
    assert_eq!(user.value(), Some(&*stage.deployer));
}

/// The client's encoding has no such letter, so that the server cannot send what the call says.
fn an_error_in_a_notice_puts_the_rights_back(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run(&format!(
        "CREATE TABLE \"т\" (i int); ALTER TABLE \"т\" OWNER TO {}; GRANT SELECT ON \"т\" TO PUBLIC",
        stage.deployer
    ));
    let (_first, spared) = stage.victim("\"т\"");
    let (_second, busy) = stage.victim("t");
    stage.session.run("SET client_encoding = 'LATIN1'");
    let call = preempt(r#"{"relations": ["\"\u0442\""], "policy": "p"}"#);
    assert_eq!(code(&stage.session, &call), "22P05");
    let ad_hoc =
        r#"{"relations": ["t"], "preempt": [{"application_name": "victim"}], "timeout": "300ms"}"#;
    assert_eq!(code(&stage.session, &preempt(ad_hoc)), "55P03");
    assert!(!busy.is_finished(), "rights were left over");
    assert!(!spared.is_finished());
}

fn what_is_hidden_from_the_caller_stays_hidden(world: &World) {
    let stage = Stage::new(world);
    // The owner sees the query by which the policy names the victim.
    stage.store("p", r#"{"preempt": [{"query": "SELECT pg_sleep*"}]}"#);
    stage.lend("p");
    let (_victim, busy) = stage.victim("t");
    stage.session.take_notices();
    let rows = stage.session.run(&preempt(CALL));
    assert!(busy.wait(SOON).is_err());
    let row = rows.only();
    assert_eq!(row.text("verdict"), "cancelled");
    assert_eq!(row.get("class"), None);
    let hidden = "<insufficient privilege>";
    assert_eq!(row.get("query"), Some(hidden));
    let notices = format!("{:?}", stage.session.take_notices());
    assert!(!notices.contains("pg_sleep"), "{notices}");
}

fn what_the_caller_spares_tells_him_nothing(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = stage.victim("t");
    // Whether it matches or not, he is told the same.
    let told = |query: &str| {
        let call = format!(
            r#"{{"relations": ["t"], "policy": "p", "dry_run": true, "spare": [{{"query": "{query}"}}]}}"#
        );
        let rows = stage.session.run(&preempt(&call));
        (
            rows.only().text("verdict").to_owned(),
            rows.only().text("reason").to_owned(),
        )
    };
    assert_eq!(told("SELECT pg_sleep*"), told("no such"));
    assert_eq!(told("no such").0, "spared");
    // By what everybody sees he spares whom he likes.
    let call = r#"{"relations": ["t"], "policy": "p", "timeout": "200ms", "spare": [{"application_name": "vic*"}]}"#;
    assert_eq!(code(&stage.session, &preempt(call)), "55P03");
    assert!(!busy.is_finished());
}

fn a_dropped_borrower_is_forgotten(world: &World) {
    let stage = Stage::with_loan(world);
    let (borrower, session) = stage.role("borrower", "");
    drop(session);
    stage
        .admin
        .run(&format!("SELECT lockguard.lend_policy('p', '{borrower}')"));
    stage.admin.run(&format!("DROP ROLE {borrower}"));
    stage.lend("p");
    let rows = stage
        .admin
        .run("SELECT role::text FROM lockguard.policy_loans");
    assert_eq!(rows.only().text("role"), stage.deployer);
}

fn a_renamed_borrower_keeps_his_loan(world: &World) {
    let stage = Stage::with_loan(world);
    let deployer = &stage.deployer;
    stage
        .admin
        .run(&format!("ALTER ROLE {deployer} RENAME TO {deployer}_anew"));
    // Whoever gets the old name has borrowed nothing.
    let (_, other) = stage.role("deployer", "");
    let (_victim, busy) = stage.victim("t");
    assert_eq!(code(&other, &preempt(CALL)), "42501");
    assert!(!busy.is_finished());
    stage.session.run(&preempt(CALL));
    assert!(busy.wait(SOON).is_err());
}

fn an_unknown_policy_or_role_is_told_with_the_nearest(world: &World) {
    let stage = Stage::new(world);
    stage.store("nightly-backups", POLICY);
    let error = stage.admin.error(&preempt(
        r#"{"relations": ["t"], "policy": "nightly-backup"}"#,
    ));
    assert_eq!(error.code().code(), "42704");
    assert!(error.hint().unwrap().contains("nightly-backups"));
    let error = stage
        .admin
        .error("SELECT lockguard.lend_policy('nightly-backups', 'no such role')");
    assert_eq!(error.code().code(), "42704");
}

fn nothing_of_the_caller_s_search_path_is_called(world: &World) {
    let stage = Stage::with_loan(world);
    let deployer = &stage.deployer;
    // Operators, functions and types under the names that the extension's own queries use.
    stage.admin.run(&format!(
        "CREATE SCHEMA evil AUTHORIZATION {deployer}; GRANT CREATE ON DATABASE {} TO {deployer}",
        stage.database.name()
    ));
    stage.session.run(
        "CREATE FUNCTION evil.boom() RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'called as %', current_user; END$$; \
         CREATE FUNCTION evil.eq(text, text) RETURNS bool LANGUAGE sql AS 'SELECT evil.boom()'; \
         CREATE FUNCTION evil.eq(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT evil.boom()'; \
         CREATE FUNCTION evil.eq(bigint, bigint) RETURNS bool LANGUAGE sql AS 'SELECT evil.boom()'; \
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq); \
         CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq); \
         CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.eq); \
         CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT CASE WHEN evil.boom() THEN pg_catalog.now() END$$; \
         CREATE FUNCTION evil.pg_has_role(oid, text) RETURNS bool LANGUAGE sql AS 'SELECT evil.boom()'; \
         CREATE FUNCTION evil.format(text, bigint) RETURNS text LANGUAGE sql AS $$SELECT CASE WHEN evil.boom() THEN 'x' END$$; \
         CREATE TABLE evil.pg_roles (oid oid); \
         SET search_path = evil, pg_catalog, public",
    );
    let (_victim, busy) = stage.victim("t");
    stage
        .session
        .run(&preempt(r#"{"relations": ["public.t"], "policy": "p"}"#));
    assert!(busy.wait(SOON).is_err());
    rows_once_written(&stage.session, 1, "SELECT FROM lockguard.preemptions");
    stage.session.run("SELECT FROM lockguard.owed");
    stage
        .session
        .run("SELECT lockguard.settle(id) FROM lockguard.preemptions");
    stage
        .admin
        .run("SET search_path = evil, pg_catalog, public");
    stage.store("p", POLICY);
    stage.lend("p");
    stage.admin.run(&format!(
        "SELECT lockguard.revoke_policy('p', '{deployer}'); SELECT lockguard.drop_policy('p')"
    ));
}
