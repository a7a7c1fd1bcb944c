//! What an attacker would try: names that hide the system's, code of his own that a superuser's work
//! runs, and roles that change between two steps. Other scenarios of rights are beside the work they
//! are about (`policies`, `trail::readers`, `guard::rights`).

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::{SOON, Stage, preempt, verdict_on};
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        nothing_that_hides_the_system_s_names_is_called,
        a_superuser_s_maintenance_lends_an_index_s_function_no_right,
        a_cursor_goes_by_the_role_that_fetches,
        a_definer_s_function_preempts_for_nobody_who_could_not,
        what_is_owed_leaks_nothing_to_a_cheap_function,
    ]
}

/// Everything that the extension's queries and views call, under the same names, as functions and
/// operators that say who runs them.
const SHADOWS: &str = "\
    CREATE FUNCTION evil.boom() RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'called as %', current_user; END$$; \
    DO $$ \
    DECLARE name text; kind text; \
    BEGIN \
        FOREACH kind IN ARRAY ARRAY['text', 'name', 'oid', 'bigint', 'int', 'regrole', 'bool', '\"char\"'] LOOP \
            EXECUTE format('CREATE FUNCTION evil.compare(%1$s, %1$s) RETURNS bool LANGUAGE sql AS ''SELECT evil.boom()''', kind); \
            FOREACH name IN ARRAY ARRAY['=', '<>', '<', '>'] LOOP \
                EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = evil.compare)', name, kind); \
            END LOOP; \
        END LOOP; \
        FOREACH name IN ARRAY ARRAY['now()', 'getdatabaseencoding()', 'current_database()', 'pg_prepared_xact()', \
                                    'pg_has_role(oid, text)', 'pg_has_role(text, text)', 'convert_to(text, name)', \
                                    'pg_notify(text, text)', 'format(text, bigint)', 'format(text, name, name)'] LOOP \
            EXECUTE format('CREATE FUNCTION evil.%s RETURNS text LANGUAGE sql AS ''SELECT evil.boom()::text''', name); \
        END LOOP; \
        FOREACH name IN ARRAY ARRAY['text', 'jsonb', 'oid', 'regrole', 'inet'] LOOP \
            EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.int4 CHECK (evil.boom())', name); \
        END LOOP; \
        FOREACH name IN ARRAY ARRAY['pg_roles', 'pg_settings', 'pg_index', 'pg_class', 'pg_namespace', 'pg_locks', \
                                    'pg_database', 'pg_prepared_xacts', 'maintenance_rules', 'policies', \
                                    'policy_loans', 'trail', 'preemptions', 'owed'] LOOP \
            EXECUTE format('CREATE VIEW evil.%I AS SELECT evil.boom() AS oid', name); \
        END LOOP; \
    END $$";

/// The same names as temporary relations, which come before all others unless the path says otherwise.
const TEMPORARY: &str = "\
    DO $$ \
    DECLARE name text; \
    BEGIN \
        FOREACH name IN ARRAY ARRAY['pg_roles', 'pg_settings', 'pg_index', 'pg_class', 'pg_namespace', 'pg_locks', \
                                    'pg_database', 'maintenance_rules', 'policies', 'policy_loans', 'trail', \
                                    'preemptions', 'owed'] LOOP \
            EXECUTE format('CREATE TEMP VIEW %I AS SELECT evil.boom() AS oid', name); \
        END LOOP; \
    END $$";

fn nothing_that_hides_the_system_s_names_is_called(world: &World) {
    let stage = Stage::new(world.database());
    let attacker = stage.create_role("attacker", "");
    let deployer = stage.create_role("deployer", "");
    let database = stage.database.name();
    stage.admin.run(&format!(
        "CREATE TABLE t (i int); ALTER TABLE t OWNER TO {deployer}; GRANT SELECT ON t TO PUBLIC; \
         CREATE SCHEMA evil AUTHORIZATION {attacker}; GRANT USAGE ON SCHEMA evil TO PUBLIC; \
         ALTER DATABASE {database} OWNER TO {attacker}; \
         ALTER DATABASE {database} SET lockguard.policy = '{{\"timeout\": \"1s\"}}'"
    ));
    stage.session(&attacker, "attacker").run(SHADOWS);
    let (user, superuser) = (
        stage.session(&deployer, "app"),
        stage.database.session("app"),
    );
    for path in [
        "evil, pg_catalog, public",
        "pg_temp, evil, pg_catalog, public",
    ] {
        for (who, session) in [("the owner", &user), ("a superuser", &superuser)] {
            session.run("SET search_path = public; DISCARD TEMP");
            session.run(TEMPORARY);
            session.run(&format!("SET search_path = {path}"));
            // It would be called, were it not for the names' schemas.
            let called = session.error("SELECT FROM pg_roles WHERE oid");
            assert!(called.message().contains("called as"), "{called}");
            let backup = stage.idle_backup(&deployer, "public.t");
            session
                .run("SELECT FROM lockguard.blockers_of(ARRAY['public.t'::pg_catalog.regclass])");
            session.run("SELECT FROM lockguard.locks_of('DROP TABLE public.t CASCADE')");
            let rows = session.run(&preempt(r#"{"relations": ["public.t"]}"#));
            assert_eq!(verdict_on(&rows, &backup), "terminated", "{path}: {who}");
            // Guard mode asks where its setting comes from, for the database's owner is no superuser.
            session.run("ALTER TABLE public.t ALTER i SET NOT NULL");
            session.run("SELECT FROM lockguard.preemptions; SELECT FROM lockguard.owed");
            session.run("SELECT lockguard.settle(id) FROM lockguard.preemptions");
            let unknown = preempt(r#"{"relations": ["public.t"], "policy": "p"}"#);
            assert_eq!(session.error(&unknown).code().code(), "42704");
        }
    }
    superuser.run(&format!(
        "SELECT lockguard.store_policy('p', '{{}}'); SELECT lockguard.lend_policy('p', '{deployer}')"
    ));
    user.run(&preempt(r#"{"relations": ["public.t"], "policy": "p"}"#));
    superuser.run(&format!(
        "SELECT lockguard.revoke_policy('p', '{deployer}'); SELECT lockguard.drop_policy('p')"
    ));
}

fn a_superuser_s_maintenance_lends_an_index_s_function_no_right(world: &World) {
    let stage = Stage::new(world.database());
    let attacker = stage.create_role("attacker", "");
    stage.admin.run("CREATE TABLE t (i int)");
    stage.admin.run(&format!(
        "ALTER TABLE t OWNER TO {attacker}; GRANT CREATE ON SCHEMA public TO {attacker}"
    ));
    let mallory = stage.session(&attacker, "mallory");
    mallory.run(
        "CREATE TABLE told (who name, verdict text); CREATE TABLE bait (i int); INSERT INTO bait VALUES (1); \
         CREATE FUNCTION g(i int) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN \
             INSERT INTO public.told SELECT current_user, p.verdict FROM lockguard.preempt_maintenance( \
                 '{\"relations\": [\"public.t\"], \"timeout\": \"100ms\", \"on_timeout\": \"report\", \"take_lock\": false}') p; \
             BEGIN PERFORM lockguard.store_policy('mine', '{}'); \
                 INSERT INTO public.told VALUES (current_user, 'stored'); \
             EXCEPTION WHEN insufficient_privilege THEN NULL; END; \
             INSERT INTO public.told SELECT current_user, 'read' FROM lockguard.preemptions; \
             RETURN i; END $f$; \
         CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.g(i); END'; \
         CREATE INDEX ON bait (f(i)); TRUNCATE told",
    );
    let root = stage.create_role("root", "SUPERUSER");
    // A row of the trail that is none of the attacker's business.
    let first = stage.idle_backup(&root, "t");
    stage.admin.run(&preempt(r#"{"relations": ["t"]}"#));
    rows_once_written(&stage.admin, 1, "SELECT FROM lockguard.preemptions");
    // It lets go of its locks before its session has gone.
    wait_until("its session has gone", SOON, || !stage.lives(&first));
    let backup = stage.idle_backup(&root, "t");
    for maintenance in [
        "REINDEX TABLE bait",
        "ANALYZE bait",
        "CLUSTER bait USING bait_f_idx",
    ] {
        stage.admin.run("TRUNCATE told");
        stage.admin.run(maintenance);
        let told = stage.admin.run("SELECT DISTINCT who, verdict FROM told");
        let row = told.only();
        assert_eq!(row.text("who"), attacker, "{maintenance}");
        assert_eq!(row.text("verdict"), "not permitted", "{maintenance}");
    }
    backup.run("SELECT 1");
}

fn a_cursor_goes_by_the_role_that_fetches(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let (other, plain) = (
        stage.create_role("other", ""),
        stage.create_role("plain", ""),
    );
    let backup = stage.idle_backup(&other, "t");
    let call = preempt(
        r#"{"relations": ["t"], "timeout": "100ms", "on_timeout": "report", "take_lock": false}"#,
    );
    for become_ordinary in [
        format!("SET ROLE {plain}"),
        format!("SET SESSION AUTHORIZATION {plain}"),
    ] {
        let session = stage.database.session("superuser");
        session.run(&format!("BEGIN; DECLARE c CURSOR FOR {call}"));
        session.run(&become_ordinary);
        let rows = session.run("FETCH ALL FROM c");
        assert_eq!(
            verdict_on(&rows, &backup),
            "not permitted",
            "{become_ordinary}"
        );
        session.run("ROLLBACK");
    }
    assert!(stage.lives(&backup));
    // And back: the role that calls is the one that counts, whoever has opened it.
    let session = stage.database.session("superuser");
    session.run(&format!(
        "SET ROLE {plain}; BEGIN; DECLARE c CURSOR FOR {call}"
    ));
    session.run("RESET ROLE");
    let rows = session.run("FETCH ALL FROM c");
    assert_eq!(verdict_on(&rows, &backup), "terminated");
}

fn a_definer_s_function_preempts_for_nobody_who_could_not(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let root = stage.create_role("root", "SUPERUSER");
    let plain = stage.create_role("plain", "");
    stage.admin.run(
        "CREATE FUNCTION clear_way(document jsonb) RETURNS SETOF text LANGUAGE sql SECURITY DEFINER \
         AS 'SELECT verdict || query FROM lockguard.preempt_maintenance(document)'",
    );
    let victim = stage.session(&root, "victim");
    victim.run("BEGIN; SELECT FROM t");
    let caller = stage.session(&plain, "caller");
    let document = r#"{"relations": ["public.t"], "preempt": [{"application_name": "victim"}], "timeout": "200ms", "on_timeout": "report"}"#;
    let call = format!("SELECT clear_way('{document}')");
    // Whoever wraps the call so has lent nothing: neither a signal nor a look.
    let verdict = caller.run(&call);
    assert_eq!(
        verdict.value(),
        Some("not permitted<insufficient privilege>")
    );
    assert!(stage.lives(&victim));
    // Nor does SET ROLE, for whoever is a member may do all that the role may.
    let verdict = stage.admin.run(&format!("SET ROLE {plain}; {call}"));
    assert_eq!(
        verdict.value(),
        Some("not permitted<insufficient privilege>")
    );
    let verdict = stage.admin.run(&format!("RESET ROLE; {call}"));
    assert_eq!(verdict.value(), Some("terminatedBEGIN; SELECT FROM t"));
    // The trail has it under the definer's name, and shows it to nobody else.
    let rows = rows_once_written(
        &stage.admin,
        1,
        "SELECT rolname = current_user AS is_definer, caller_application_name FROM lockguard.preemptions",
    );
    assert!(caller.run("SELECT FROM lockguard.preemptions").is_empty());
    assert_eq!(rows.only().text("is_definer"), "t");
    assert_eq!(rows.only().text("caller_application_name"), "admin");
}

fn what_is_owed_leaks_nothing_to_a_cheap_function(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let root = stage.create_role("root", "SUPERUSER");
    let plain = stage.create_role("plain", "");
    let gone = stage.idle_backup(&root, "t");
    let pid = gone.pid();
    drop(gone);
    wait_until("its session has gone", SOON, || {
        let found = format!("SELECT FROM pg_stat_activity WHERE pid = {pid}");
        stage.database.ask(&found).is_empty()
    });
    let _backup = stage.idle_backup(&root, "t");
    stage
        .admin
        .run(&preempt(r#"{"relations": ["t"], "label": "a secret"}"#));
    let owed = rows_once_written(&stage.admin, 1, "SELECT FROM lockguard.owed");
    assert_eq!(owed.len(), 1);
    let stranger = stage.session(&plain, "stranger");
    stranger.run(
        "CREATE FUNCTION pg_temp.leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 \
         AS $$BEGIN RAISE 'leaked %', $1; END$$; \
         CREATE OPERATOR pg_temp.<<< (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq)",
    );
    for view in ["owed", "preemptions"] {
        let all = format!("SELECT FROM lockguard.{view} WHERE pg_temp.leak(label)");
        assert!(stranger.run(&all).is_empty(), "{view}");
        // Nor by an error that depends on what is in the row.
        let by_error = format!("SELECT FROM lockguard.{view} WHERE 1 / (length(label) - 8) > 0");
        assert!(stranger.run(&by_error).is_empty(), "{view}");
    }
}
