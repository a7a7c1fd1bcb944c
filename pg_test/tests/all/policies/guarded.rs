//! The name of a stored policy as the setting of guard mode.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{SOON, Stage, code};
use crate::preempt::scene::{Trail, rows_once_written};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        ddl_goes_through_a_stored_policy_by_its_name,
        a_narrower_one_may_be_set,
        what_is_unknown_wider_or_not_lent_fails_the_first_ddl,
        what_changes_counts_from_the_next_ddl_on,
        what_others_own_is_left_to_the_statement,
        a_security_definer_function_does_not_lend_its_callers_a_loan,
    ]
}

const DDL: &str = "ALTER TABLE t ALTER i SET NOT NULL";

fn ddl_goes_through_a_stored_policy_by_its_name(world: &World) {
    let stage = Stage::with_loan(world);
    let name = stage.database.name();
    stage.admin.run(&format!(
        "ALTER ROLE {} IN DATABASE {name} SET lockguard.policy = 'p'",
        stage.deployer
    ));
    let session = stage
        .database
        .connect(pg_test::SessionOptions::named("migration").user(&stage.deployer))
        .unwrap();
    let (victim, busy) = stage.victim("t");
    let trail = Trail::from_now(world.cluster());
    session.run(DDL);
    assert!(busy.wait(SOON).is_err());
    assert_eq!(trail.victims(), [victim.pid()]);
    let rows = rows_once_written(&session, 1, "SELECT policy FROM lockguard.preemptions");
    assert_eq!(rows.value(), Some("p"));
}

fn a_narrower_one_may_be_set(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = stage.victim("t");
    stage.session.run(
        r#"SET lockguard.policy = '{"policy": "p", "timeout": "300ms", "label": "m1", "spare": [{"application_name": "victim"}]}'"#,
    );
    assert_eq!(code(&stage.session, DDL), "55P03");
    assert!(!busy.is_finished());
    stage
        .session
        .run(r#"SET lockguard.policy = '{"policy": "p", "label": "m2"}'"#);
    stage.session.run(DDL);
    assert!(busy.wait(SOON).is_err());
    let rows = rows_once_written(&stage.session, 1, "SELECT label FROM lockguard.preemptions");
    assert_eq!(rows.value(), Some("m2"));
}

fn what_is_unknown_wider_or_not_lent_fails_the_first_ddl(world: &World) {
    let stage = Stage::with_loan(world);
    stage.store("q", "{}");
    for (setting, expected) in [
        ("no such", "22023"),
        ("q", "42501"),
        (r#"{"policy": "p", "timeout": "1 h"}"#, "42501"),
        (r#"{"policy": "p", "preempt": ["backup"]}"#, "42501"),
        (r#"{"policy": 1}"#, "22023"),
    ] {
        stage
            .session
            .run(&format!("SET lockguard.policy = '{setting}'"));
        assert_eq!(code(&stage.session, DDL), expected, "{setting}");
    }
    stage.store("nightly", "{}");
    stage.session.run("SET lockguard.policy = 'nigthly'");
    let error = stage.session.error(DDL);
    assert!(
        error
            .message()
            .contains("stored policy \"nigthly\" does not exist"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("nightly"), "{error:?}");
    stage.session.run("SET lockguard.policy = ''");
    stage.session.run(DDL);
}

fn what_changes_counts_from_the_next_ddl_on(world: &World) {
    let stage = Stage::with_loan(world);
    stage.session.run("SET lockguard.policy = 'p'");
    stage.session.run(DDL);
    stage.store("p", r#"{"preempt": [], "timeout": "200ms"}"#);
    let (_victim, busy) = stage.victim("t");
    assert_eq!(code(&stage.session, DDL), "55P03");
    stage.admin.run(&format!(
        "SELECT lockguard.revoke_policy('p', '{}')",
        stage.deployer
    ));
    assert_eq!(code(&stage.session, DDL), "42501");
    assert!(!busy.is_finished());
}

fn what_others_own_is_left_to_the_statement(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run(&format!(
        "CREATE TABLE referenced (i int PRIMARY KEY); GRANT REFERENCES, SELECT ON referenced TO {}",
        stage.deployer
    ));
    stage
        .session
        .run("ALTER TABLE t ADD FOREIGN KEY (i) REFERENCES referenced");
    let (_own, busy) = stage.victim("t");
    let (_others, spared) = stage.victim("referenced");
    stage
        .session
        .run("SET lockguard.policy = 'p'; SET lock_timeout = '300ms'");
    // The way is made free on its own table; for that of others the statement waits itself.
    assert_eq!(code(&stage.session, "DROP TABLE t"), "55P03");
    assert!(busy.wait(SOON).is_err());
    assert!(!spared.is_finished());
}

fn a_security_definer_function_does_not_lend_its_callers_a_loan(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run(&format!(
        "GRANT CREATE ON SCHEMA public TO {}",
        stage.deployer
    ));
    stage.session.run(&format!(
        "CREATE FUNCTION public.change() RETURNS void LANGUAGE sql SECURITY DEFINER AS '{DDL}'"
    ));
    let (_, stranger) = stage.role("stranger", "");
    let (_victim, busy) = stage.victim("t");
    stranger.run("SET lockguard.policy = 'p'");
    assert_eq!(code(&stranger, "SELECT public.change()"), "42501");
    assert!(!busy.is_finished());
}
