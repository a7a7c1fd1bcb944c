//! Whose rights a lock goes by, and when they are asked for: first, and again once it could be held.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Session, SessionOptions};

use super::scene::{Holder, MODES, SOON, STRONGEST, Stage, Trail, call, pairs, perform};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        an_index_and_a_toast_table_go_by_the_rights_on_their_table,
        the_rights_on_a_parent_are_enough_for_its_children_and_those_on_a_child_are_its_own,
        who_may_not_lock_is_refused_before_anything_is_signalled_or_locked,
        system_catalogs_are_never_locked,
        rights_that_are_revoked_meanwhile_are_missed,
        without_the_lock_no_right_is_needed,
        a_security_definer_function_lends_its_owners_rights,
        what_lock_table_does_not_lock_must_be_ones_own,
    ]
}

pub const TABLES: &str = "CREATE TABLE t (i int PRIMARY KEY, note text); CREATE TABLE u (i int); \
     CREATE TABLE p (i int PRIMARY KEY) PARTITION BY LIST (i); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); \
     CREATE TABLE mother (i int); CREATE TABLE child () INHERITS (mother); CREATE VIEW v AS SELECT i FROM t";

/// Makes a role of this stage's own, and opens a session of it.
pub fn role(stage: &Stage, name: &str, options: &str, grants: &str) -> Session {
    let role = format!("{}_{name}", stage.database.name());
    let grants = grants.replace("$role", &role);
    let sql = format!("CREATE ROLE {role} LOGIN {options}; {grants}");
    stage.looker.run(&sql);
    let options = SessionOptions::named("migration").user(&role);
    stage.database.connect(options).unwrap()
}

/// How a statement ends in a block of its own: with what it has locked, or with a SQLSTATE.
#[track_caller]
pub fn outcome(
    stage: &Stage,
    session: &Session,
    statement: &str,
) -> Result<Vec<(String, String)>, String> {
    session.run("BEGIN");
    let outcome = match session.try_run(statement) {
        Ok(_) => Ok(stage.held_by(session)),
        Err(error) => Err(error.code().unwrap().code().to_owned()),
    };
    session.run("ROLLBACK");
    outcome
}

fn an_index_and_a_toast_table_go_by_the_rights_on_their_table(world: &World) {
    let stage = Stage::new(world, TABLES);
    let writer = role(&stage, "writer", "", "GRANT DELETE ON t TO $role");
    let reader = role(&stage, "reader", "", "GRANT SELECT ON t TO $role");
    // A TOAST table's schema is closed to all but superusers, unless it is opened.
    stage.looker.run("GRANT USAGE ON SCHEMA pg_toast TO PUBLIC");
    let toast = stage.looker.run(
        "SELECT t.oid::regclass::text AS toast, i.indexrelid::regclass::text AS index FROM pg_class t \
         JOIN pg_index i ON i.indrelid = t.oid WHERE t.oid = (SELECT reltoastrelid FROM pg_class WHERE relname = 't')",
    );
    let row = toast.only();
    for (named, held) in [
        ("t_pkey", "t t_pkey"),
        (row.text("toast"), "t/toast t/toast/index"),
        (row.text("index"), "t/toast t/toast/index"),
    ] {
        let call = call(named, "");
        assert_eq!(
            outcome(&stage, &writer, &call),
            Ok(pairs(STRONGEST, held)),
            "{named}"
        );
        assert_eq!(
            outcome(&stage, &reader, &call),
            Err("42501".into()),
            "{named}"
        );
    }
    stage
        .looker
        .run("REVOKE USAGE ON SCHEMA pg_toast FROM PUBLIC");
}

fn the_rights_on_a_parent_are_enough_for_its_children_and_those_on_a_child_are_its_own(
    world: &World,
) {
    let stage = Stage::new(world, TABLES);
    let of_parents = role(
        &stage,
        "of_parents",
        "",
        "GRANT DELETE ON p, mother TO $role",
    );
    let of_children = role(
        &stage,
        "of_children",
        "",
        "GRANT DELETE ON p1, child TO $role",
    );
    for (named, held) in [
        ("p", "p p_pkey p1 p1_pkey"),
        ("mother", "mother child"),
        ("p_pkey", "p p_pkey p1 p1_pkey"),
    ] {
        assert_eq!(
            outcome(&stage, &of_parents, &call(named, "")),
            Ok(pairs(STRONGEST, held)),
            "{named}"
        );
        assert_eq!(
            outcome(&stage, &of_children, &call(named, "")),
            Err("42501".into()),
            "{named}"
        );
    }
    for (named, held) in [
        ("p1", "p1 p1_pkey"),
        ("child", "child"),
        ("p1_pkey", "p1 p1_pkey"),
    ] {
        assert_eq!(
            outcome(&stage, &of_children, &call(named, "")),
            Ok(pairs(STRONGEST, held)),
            "{named}"
        );
        assert_eq!(
            outcome(&stage, &of_parents, &call(named, "")),
            Err("42501".into()),
            "{named}"
        );
    }
}

fn who_may_not_lock_is_refused_before_anything_is_signalled_or_locked(world: &World) {
    let stage = Stage::new(world, TABLES);
    let deployer = role(
        &stage,
        "deployer",
        "IN ROLE pg_signal_backend",
        "GRANT ALL ON u TO $role; GRANT SELECT ON t TO $role",
    );
    let backup = role(&stage, "backup", "", "GRANT SELECT ON t, u TO $role");
    backup.run("SET application_name = 'pg_dump'; BEGIN; SELECT FROM t; SELECT FROM u");
    let trail = Trail::from_now(world.cluster());
    for named in ["t", "u t", "t u", "t_pkey"] {
        assert_eq!(
            outcome(&stage, &deployer, &call(named, "")),
            Err("42501".into()),
            "{named}"
        );
        assert!(deployer.take_notices().is_empty(), "it has begun: {named}");
    }
    trail.has_no_victim();
    assert!(backup.try_run("SELECT 1").is_ok());
    assert_eq!(
        outcome(&stage, &deployer, &call("u", "")),
        Ok(pairs(STRONGEST, "u"))
    );
    assert_eq!(trail.victims(), [backup.pid()]);
}

fn system_catalogs_are_never_locked(world: &World) {
    let stage = Stage::new(world, TABLES);
    for named in [
        "pg_class",
        "pg_catalog.pg_class_oid_index",
        "pg_toast.pg_toast_1255",
        "pg_database",
        "t pg_authid",
    ] {
        for (_, mode) in MODES {
            let call = call(named, &format!(r#", "mode": "{mode}""#));
            assert_eq!(
                outcome(&stage, &stage.migration, &call),
                Err("42501".into()),
                "{named}"
            );
        }
    }
}

fn rights_that_are_revoked_meanwhile_are_missed(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage
        .looker
        .run("CREATE SCHEMA s; CREATE TABLE s.x (i int)");
    let deployer = role(&stage, "deployer", "", "GRANT TRUNCATE ON u TO $role");
    let stage = Stage {
        migration: deployer,
        ..stage
    };
    let name = format!("{}_deployer", stage.database.name());
    let rights = ["TRUNCATE ON s.x", "USAGE ON SCHEMA s"];
    let caught = format!(
        "DO $do$BEGIN BEGIN {}; EXCEPTION WHEN insufficient_privilege THEN RAISE WARNING 'caught'; END; END$do$",
        perform("u s.x", "")
    );
    for revoked in rights {
        for statement in [call("u s.x", ""), caught.clone()] {
            for right in rights {
                stage.looker.run(&format!("GRANT {right} TO {name}"));
            }
            let application = Holder::idle(&stage.database, "web", "SELECT FROM s.x");
            stage.migration.run("BEGIN");
            let running = stage.migration.spawn(statement);
            stage.wait_until_it_waits();
            stage.looker.run(&format!("REVOKE {revoked} FROM {name}"));
            application.session.run("COMMIT");
            match running.wait(SOON) {
                Ok(_) => assert_eq!(stage.migration.notices().pop().unwrap().message, "caught"),
                Err(error) => {
                    assert_eq!(error.code().map(|c| c.code()), Some("42501"), "{error}");
                }
            }
            stage.holds_nothing(revoked);
            stage.migration.run("ROLLBACK");
        }
    }
}

fn without_the_lock_no_right_is_needed(world: &World) {
    let stage = Stage::new(world, TABLES);
    let nobody = role(&stage, "nobody", "", "");
    for more in [
        r#", "take_lock": false"#,
        r#", "dry_run": true, "take_lock": false"#,
    ] {
        assert_eq!(
            outcome(&stage, &nobody, &call("t p", more)),
            Ok(vec![]),
            "{more}"
        );
    }
    nobody.run(&call("t p", ""));
    let told = nobody.take_notices().pop().unwrap().message;
    assert!(told.ends_with("no lock is kept"), "{told}");
}

fn a_security_definer_function_lends_its_owners_rights(world: &World) {
    let stage = Stage::new(world, TABLES);
    let owner = role(
        &stage,
        "owner",
        "",
        "ALTER TABLE u OWNER TO $role; GRANT CREATE ON SCHEMA public TO $role",
    );
    let perform = perform("u", "");
    owner.run(&format!(
        "CREATE FUNCTION take() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $f$BEGIN {perform}; END$f$"
    ));
    let deployer = role(&stage, "deployer", "", "");
    assert_eq!(
        outcome(&stage, &deployer, &call("u", "")),
        Err("42501".into())
    );
    assert_eq!(
        outcome(&stage, &deployer, "SELECT take()"),
        Ok(pairs(STRONGEST, "u"))
    );
}

/// A privilege on a sequence or a materialized view is for reading and writing it, not for locking others
/// out: `LOCK TABLE` refuses these to everybody.
fn what_lock_table_does_not_lock_must_be_ones_own(world: &World) {
    let stage = Stage::new(
        world,
        "CREATE SEQUENCE s; CREATE MATERIALIZED VIEW m AS SELECT 1 AS i",
    );
    let user = role(&stage, "user", "", "GRANT ALL ON s, m TO $role");
    let owner = role(
        &stage,
        "owner",
        "",
        "ALTER SEQUENCE s OWNER TO $role; ALTER MATERIALIZED VIEW m OWNER TO $role",
    );
    for named in ["s", "m"] {
        let call = call(named, "");
        assert_eq!(
            outcome(&stage, &user, &call),
            Err("42501".into()),
            "{named}"
        );
        let held = outcome(&stage, &owner, &call);
        assert_eq!(held, Ok(pairs(STRONGEST, named)), "{named}");
    }
}
