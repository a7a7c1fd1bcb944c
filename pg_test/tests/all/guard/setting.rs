//! Where the setting comes from, and what values it may have.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Session, SessionOptions};

use super::TABLE;
use crate::take::scene::{Holder, Stage, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        off_it_does_nothing,
        it_is_turned_on_by_set_by_a_role_by_a_database_and_by_a_connection,
        a_policy_of_ones_own_is_followed,
        an_invalid_value_is_an_error_at_the_first_ddl,
        an_invalid_value_from_before_the_library_was_loaded_is_one_too,
        a_setting_that_does_not_exist_is_refused,
    ]
}

/// Drops an index that a backup holds, or does not get to.
const DDL: &str =
    "SET lock_timeout = '100ms'; DROP INDEX events_i; CREATE INDEX events_i ON events (i)";

/// Whether DDL in that session gets past a backup.
#[track_caller]
pub fn gets_past_a_backup(stage: &Stage, session: &Session) -> bool {
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM events");
    let outcome = session.try_run(DDL);
    match outcome {
        Ok(_) => {
            backup.was_cancelled("it was in the way");
            true
        }
        Err(error) => {
            assert_eq!(error.code().unwrap().code(), "55P03", "{error}");
            assert!(backup.goes_on());
            false
        }
    }
}

fn off_it_does_nothing(world: &World) {
    let stage = Stage::new(world, TABLE);
    let trail = Trail::from_now(world.cluster());
    assert!(!gets_past_a_backup(&stage, &stage.migration));
    for off in ["''", "'off'", "' OFF '", "DEFAULT"] {
        stage
            .migration
            .run(&format!("SET lockguard.policy = {off}"));
        assert!(!gets_past_a_backup(&stage, &stage.migration), "{off}");
    }
    stage.migration.run("RESET lockguard.policy");
    assert!(!gets_past_a_backup(&stage, &stage.migration));
    trail.has_no_victim();
    assert!(stage.migration.take_notices().is_empty());
}

fn it_is_turned_on_by_set_by_a_role_by_a_database_and_by_a_connection(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("SET lockguard.policy = 'on'");
    assert!(gets_past_a_backup(&stage, &stage.migration));
    stage.migration.run("SET lockguard.policy = 'off'");
    assert!(!gets_past_a_backup(&stage, &stage.migration));

    let options = SessionOptions::named("migration").set("lockguard.policy", "{}");
    let session = stage.database.connect(options).unwrap();
    assert!(gets_past_a_backup(&stage, &session));

    let database = stage.database.name().to_owned();
    stage.looker.run(&format!(
        "ALTER DATABASE {database} SET lockguard.policy = 'on'"
    ));
    assert!(gets_past_a_backup(
        &stage,
        &stage.database.session("migration")
    ));
    stage.looker.run(&format!(
        "ALTER DATABASE {database} RESET lockguard.policy; CREATE ROLE {database}_deployer LOGIN SUPERUSER; \
         ALTER ROLE {database}_deployer SET lockguard.policy = 'on'"
    ));
    let options = SessionOptions::named("migration").user(&format!("{database}_deployer"));
    let session = stage.database.connect(options).unwrap();
    assert!(gets_past_a_backup(&stage, &session));
    assert!(!gets_past_a_backup(
        &stage,
        &stage.database.session("migration")
    ));
}

fn a_policy_of_ones_own_is_followed(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage
        .migration
        .run(r#"SET lockguard.policy = '{"spare": ["backup"], "timeout": "200ms"}'"#);
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM events");
    let error = stage.migration.error("DROP TABLE events");
    assert_eq!(error.code().code(), "55P03");
    assert_eq!(
        error.message(),
        "could not take the locks of DROP TABLE on events within 200 ms"
    );
    // Going on is what the statement would have done anyway.
    stage.migration.run(
        r#"SET lock_timeout = '100ms'; SET lockguard.policy = '{"spare": ["backup"], "timeout": "200ms", "on_timeout": "report"}'"#,
    );
    let error = stage.migration.error("DROP TABLE events");
    assert_eq!(error.code().code(), "55P03");
    assert!(
        error
            .message()
            .starts_with("canceling statement due to lock timeout")
    );
    assert!(backup.goes_on());
}

const INVALID: [(&str, &str); 8] = [
    ("nightly", "$"),
    ("true", "$"),
    ("[]", "$"),
    ("{", "$"),
    (r#"{"timeout": 5}"#, "$.timeout"),
    (r#"{"preempt": ["backups"]}"#, "$.preempt[0]"),
    (r#"{"statement": "DROP TABLE events"}"#, "$.statement"),
    (r#"{"dry_run": true}"#, "$.dry_run"),
];

#[track_caller]
fn assert_refused(session: &Session, value: &str, path: &str) {
    // Nothing but DDL asks.
    session.run("SELECT 1");
    for _ in 0..2 {
        let error = session.error("CREATE TABLE made (i int)");
        assert_eq!(error.code().code(), "22023", "{value}");
        let begins = "invalid value for parameter \"lockguard.policy\": ";
        assert!(error.message().starts_with(begins), "{}", error.message());
        let detail = format!("At {path} in the policy.");
        assert_eq!(error.detail(), Some(&*detail), "{value}");
        assert!(error.hint().unwrap().contains("SET lockguard.policy"));
    }
    session.run("SET lockguard.policy = ''; CREATE TABLE made (i int); DROP TABLE made");
}

fn an_invalid_value_is_an_error_at_the_first_ddl(world: &World) {
    let stage = Stage::new(world, TABLE);
    for (value, path) in INVALID {
        stage
            .migration
            .run(&format!("SET lockguard.policy = $v${value}$v$"));
        assert_refused(&stage.migration, value, path);
    }
}

fn an_invalid_value_from_before_the_library_was_loaded_is_one_too(world: &World) {
    let stage = Stage::new(world, TABLE);
    let database = stage.database.name().to_owned();
    for (value, path) in INVALID {
        stage.looker.run(&format!(
            "ALTER DATABASE {database} SET lockguard.policy = $v${value}$v$"
        ));
        assert_refused(&stage.database.session("migration"), value, path);
    }
}

fn a_setting_that_does_not_exist_is_refused(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run("CREATE TABLE loads (i int)");
    let error = stage.migration.error("SET lockguard.polcy = 'on'");
    assert_eq!(error.code().code(), "42602");
}
