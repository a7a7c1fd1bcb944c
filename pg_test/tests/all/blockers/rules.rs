//! `lockguard.maintenance_rules`: the built-in rules stay as they are, the user's own are the user's and survive.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Session, SessionOptions, process};

use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        built_in_rules_cannot_be_changed,
        a_user_s_own_rules_can_be_changed,
        rules_that_could_not_work_are_refused,
        only_who_may_change_the_extension_s_tables_changes_rules,
        rules_that_are_locked_are_an_error_at_once,
        a_user_s_rules_survive_dump_and_restore,
        a_user_s_rules_survive_an_update_of_the_extension,
    ]
}

const OWN: &str = "INSERT INTO lockguard.maintenance_rules (name, class, application_name, comment) \
                   VALUES ('nightly', 'backup', 'nightly-*', 'it''s ours')";

fn built_in_rules_cannot_be_changed(world: &World) {
    let session = world.database().session("app");
    let before = session.run("SELECT * FROM lockguard.maintenance_rules ORDER BY name");
    assert!(before.len() > 5 && before.column("builtin").iter().all(|b| *b == Some("t")));
    for statement in [
        "UPDATE lockguard.maintenance_rules SET application_name = '*' WHERE name = 'pg_dump'",
        "UPDATE lockguard.maintenance_rules SET builtin = false WHERE name = 'pg_dump'",
        "DELETE FROM lockguard.maintenance_rules WHERE name = 'pg_dump'",
        "DELETE FROM lockguard.maintenance_rules",
        "INSERT INTO lockguard.maintenance_rules (name, class, application_name, builtin) VALUES ('x', 'backup', 'x', true)",
        "INSERT INTO lockguard.maintenance_rules VALUES ('pg_dump', 'backup', 'x', NULL, NULL, NULL, NULL, NULL, true) \
         ON CONFLICT (builtin, name) DO UPDATE SET application_name = 'x'",
        "TRUNCATE lockguard.maintenance_rules",
    ] {
        let error = session.error(statement);
        assert_eq!(error.code().code(), "42501", "{statement}: {error:?}");
        assert_eq!(
            error.message(),
            "built-in maintenance rules cannot be added, changed or removed"
        );
        assert!(error.hint().is_some());
    }
    let after = session.run("SELECT * FROM lockguard.maintenance_rules ORDER BY name");
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
}

fn a_user_s_own_rules_can_be_changed(world: &World) {
    let session = world.database().session("app");
    session.run(OWN);
    let error = session
        .error("UPDATE lockguard.maintenance_rules SET builtin = true WHERE name = 'nightly'");
    assert_eq!(error.code().code(), "42501");
    let changed = session
        .run("UPDATE lockguard.maintenance_rules SET class = 'copy_out' WHERE name = 'nightly'");
    assert_eq!(changed.affected(), 1);
    let removed = session.run("DELETE FROM lockguard.maintenance_rules WHERE name = 'nightly'");
    assert_eq!(removed.affected(), 1);
}

fn rules_that_could_not_work_are_refused(world: &World) {
    let session = world.database().session("app");
    for (values, code) in [
        ("('x', 'nonsense', 'x')", "23514"),
        // Known by their structure alone.
        ("('x', 'autovacuum', 'x')", "23514"),
        ("('x', 'application', 'x')", "23514"),
        ("('x', 'backup', NULL)", "23514"),
        ("('x', NULL, 'x')", "23502"),
    ] {
        let error = session.error(&format!(
            "INSERT INTO lockguard.maintenance_rules (name, class, application_name) VALUES {values}"
        ));
        assert_eq!(error.code().code(), code, "{values}: {error:?}");
    }
    // A rule of one's own may have a built-in one's name, so that an update may bring any name.
    let own = "INSERT INTO lockguard.maintenance_rules (name, class, application_name) VALUES ('pg_dump', 'backup', 'x')";
    session.run(own);
    assert_eq!(session.error(own).code().code(), "23505");
}

fn only_who_may_change_the_extension_s_tables_changes_rules(world: &World) {
    let database = world.database();
    let admin = database.session("admin");
    admin.run("CREATE ROLE clerk LOGIN");
    let clerk = database
        .connect(SessionOptions::named("clerk").user("clerk"))
        .unwrap();
    assert!(
        !clerk
            .run("SELECT * FROM lockguard.maintenance_rules")
            .is_empty()
    );
    assert_eq!(clerk.error(OWN).code().code(), "42501");
    assert_eq!(
        clerk
            .error("DELETE FROM lockguard.maintenance_rules")
            .code()
            .code(),
        "42501"
    );
    admin.run("GRANT INSERT ON lockguard.maintenance_rules TO clerk");
    clerk.run(OWN);
    drop(clerk);
    admin.run("DROP OWNED BY clerk; DROP ROLE clerk");
}

fn rules_that_are_locked_are_an_error_at_once(world: &World) {
    let database = world.database();
    let (holder, observer) = (database.session("holder"), database.session("observer"));
    holder.run("CREATE TABLE t (); CREATE TABLE free ()");
    holder.run("BEGIN; LOCK TABLE t IN SHARE MODE; LOCK TABLE lockguard.maintenance_rules");
    let error = observer.error("SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass])");
    assert_eq!(error.code().code(), "55P03");
    assert_eq!(error.message(), "lockguard.maintenance_rules is locked");
    // The hint is a statement that works where this one does not.
    let (_, advice) = error.hint().unwrap().split_once(": ").unwrap();
    let rows = observer.run(advice);
    assert_eq!(rows.only().text("pid"), holder.pid().to_string());
    assert!(
        observer
            .run("SELECT * FROM lockguard.blockers_of(ARRAY['free'::regclass])")
            .is_empty()
    );
}

/// The rules that did not come with the extension.
fn own_rules(session: &Session) -> String {
    let rows =
        session.run("SELECT * FROM lockguard.maintenance_rules WHERE NOT builtin ORDER BY name");
    format!("{rows:?}")
}

fn a_user_s_rules_survive_dump_and_restore(world: &World) {
    let original = world.database();
    let session = original.session("app");
    session.run(OWN);
    let dump = process::run(original.pg_dump())
        .unwrap()
        .expect_success()
        .stdout;
    let copy = world.cluster().create_empty_database().unwrap();
    let file = world
        .installation()
        .new_folder("dump")
        .unwrap()
        .join("dump.sql");
    std::fs::write(&file, dump).unwrap();
    let mut restore = copy.psql();
    restore.arg("-q").arg("-f").arg(&file);
    process::run(restore).unwrap().expect_success();
    let restored = copy.session("app");
    assert_eq!(own_rules(&restored), own_rules(&session));
    let built_in = "SELECT * FROM lockguard.maintenance_rules WHERE builtin ORDER BY name";
    assert_eq!(
        format!("{:?}", restored.run(built_in)),
        format!("{:?}", session.run(built_in))
    );
    // And the restored extension still protects its own.
    let error = restored.error("DELETE FROM lockguard.maintenance_rules WHERE builtin");
    assert_eq!(error.code().code(), "42501");
}

fn a_user_s_rules_survive_an_update_of_the_extension(world: &World) {
    let session = world.database().session("app");
    session.run(OWN);
    let before = own_rules(&session);
    let rows = session.run(
        "SELECT c.setting || '/extension' AS folder, e.extversion \
         FROM pg_config c, pg_extension e WHERE c.name = 'SHAREDIR' AND e.extname = 'lockguard'",
    );
    let (folder, version) = (rows.only().text("folder"), rows.only().text("extversion"));
    // The next version, as it might be: it has another built-in rule, and drops one.
    let script = format!("{folder}/lockguard--{version}--next.sql");
    std::fs::write(
        &script,
        "INSERT INTO lockguard.maintenance_rules (name, class, application_name, builtin) VALUES ('new', 'backup', 'new', true); \
         DELETE FROM lockguard.maintenance_rules WHERE name = 'barman'; \
         ALTER TABLE lockguard.maintenance_rules ADD COLUMN more text;",
    )
    .unwrap();
    let updated = session.try_run("ALTER EXTENSION lockguard UPDATE TO 'next'");
    std::fs::remove_file(&script).unwrap();
    updated.unwrap();
    session.run("ALTER TABLE lockguard.maintenance_rules DROP COLUMN more");
    assert_eq!(own_rules(&session), before);
    let names = session.run("SELECT name FROM lockguard.maintenance_rules WHERE name IN ('new', 'barman', 'nightly') ORDER BY 1");
    assert_eq!(names.column("name"), [Some("new"), Some("nightly")]);
    let error = session.error("DELETE FROM lockguard.maintenance_rules WHERE name = 'new'");
    assert_eq!(error.code().code(), "42501", "protected again");
}
