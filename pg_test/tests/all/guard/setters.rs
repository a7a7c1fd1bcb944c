//! Who has set `lockguard.policy` counts: code that somebody else's statement runs gains nothing by setting it,
//! though what it calls afterwards runs DDL with a superuser's rights.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Database, Session, SessionOptions, wait_until};

use crate::preempt::autovacuum;
use crate::take::scene::{Holder, SOON, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        an_index_s_function_that_analyze_runs_guards_nothing,
        an_index_s_function_that_autovacuum_runs_guards_nothing,
        a_security_definer_function_s_setting_is_its_owner_s,
        a_security_definer_trigger_s_setting_is_its_owner_s,
        a_setting_that_outlives_its_function_is_its_owner_s_still,
        a_stored_policy_is_used_only_where_the_setter_may_use_it,
        a_role_s_own_setting_is_the_role_s,
        a_call_that_an_index_s_function_makes_signals_nobody,
    ]
}

/// Ends sessions of that name, whoever they are of.
const POLICY: &str = r#"{"preempt": [{"application_name": "victim"}], "timeout": "200ms"}"#;

/// A superuser's table, a function of the superuser's that runs DDL on it for everybody, and a role that would
/// have it preempt.
struct Stage {
    database: Database,
    admin: Session,
    attacker: String,
    mallory: Session,
}

impl Stage {
    fn of(database: Database) -> Stage {
        let admin = database.session("admin");
        let attacker = format!("{}_attacker", database.name());
        admin.run(&format!(
            "CREATE ROLE {attacker} LOGIN; CREATE TABLE t (i int); \
             CREATE SCHEMA evil AUTHORIZATION {attacker}; \
             CREATE FUNCTION helper() RETURNS void LANGUAGE sql SECURITY DEFINER SET lock_timeout = '200ms' \
             AS 'ALTER TABLE public.t ALTER i SET NOT NULL'"
        ));
        let mallory = database
            .connect(SessionOptions::named("mallory").user(&attacker))
            .unwrap();
        Stage {
            database,
            admin,
            attacker,
            mallory,
        }
    }

    /// Has the attacker make a function that sets the setting and calls the helper; `options` of it. What
    /// that told is in `evil.told`.
    fn lure(&self, value: &str, is_local: bool, options: &str) {
        self.mallory.run(&format!(
            "CREATE TABLE evil.told (state text); \
             CREATE FUNCTION evil.g() RETURNS void LANGUAGE plpgsql {options} AS $f$ BEGIN \
                 PERFORM set_config('lockguard.policy', $v${value}$v$, {is_local}); \
                 BEGIN PERFORM public.helper(); INSERT INTO evil.told VALUES ('done'); \
                 EXCEPTION WHEN OTHERS THEN INSERT INTO evil.told VALUES (SQLSTATE); END; \
             END $f$"
        ));
    }

    /// The same as an index's function, once the index is made.
    fn bait(&self) {
        self.lure(POLICY, true, "");
        self.mallory.run(
            "CREATE FUNCTION evil.f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \
             'BEGIN PERFORM evil.g(); RETURN i; END'; \
             CREATE TABLE evil.bait (i int) WITH (autovacuum_enabled = off); \
             CREATE INDEX ON evil.bait (evil.f(i)); SET lockguard.policy = ''; \
             INSERT INTO evil.bait VALUES (1); TRUNCATE evil.told",
        );
    }

    /// A superuser's session that holds the table.
    fn victim(&self) -> Holder {
        Holder::busy(&self.database, "victim", "SELECT FROM t")
    }

    /// Sees that the helper was called, did not get past the victim, and that nobody was signalled.
    #[track_caller]
    fn was_in_vain(&self, trail: &Trail<'_>, victim: &Holder) {
        let told = self.admin.run("SELECT DISTINCT state FROM evil.told");
        assert_eq!(told.column("state"), [Some("55P03")]);
        trail.has_no_victim();
        assert!(victim.goes_on());
    }
}

fn an_index_s_function_that_analyze_runs_guards_nothing(world: &World) {
    let stage = Stage::of(world.database());
    stage.bait();
    let trail = Trail::from_now(world.cluster());
    let victim = stage.victim();
    stage.admin.run("ANALYZE evil.bait");
    stage.was_in_vain(&trail, &victim);
}

fn an_index_s_function_that_autovacuum_runs_guards_nothing(world: &World) {
    let cluster = autovacuum::server(world);
    let stage = Stage::of(cluster.create_database().unwrap());
    stage.bait();
    let trail = Trail::from_now(&cluster);
    let victim = stage.victim();
    stage.mallory.run(
        "ALTER TABLE evil.bait SET (autovacuum_enabled = on, autovacuum_analyze_threshold = 0, \
             autovacuum_analyze_scale_factor = 0); INSERT INTO evil.bait VALUES (2)",
    );
    // The call that would have signalled is over by then, though the worker's transaction may not be.
    wait_until("autovacuum has analyzed it", SOON, || {
        !stage
            .admin
            .run("SELECT FROM pg_stat_user_tables WHERE relname = 'bait' AND last_autoanalyze IS NOT NULL")
            .is_empty()
    });
    stage.was_in_vain(&trail, &victim);
}

fn a_security_definer_function_s_setting_is_its_owner_s(world: &World) {
    let stage = Stage::of(world.database());
    stage.lure(POLICY, true, "SECURITY DEFINER");
    let trail = Trail::from_now(world.cluster());
    let victim = stage.victim();
    stage.admin.run("SELECT evil.g()");
    stage.was_in_vain(&trail, &victim);
}

fn a_security_definer_trigger_s_setting_is_its_owner_s(world: &World) {
    let stage = Stage::of(world.database());
    stage.lure(POLICY, false, "SECURITY DEFINER");
    stage.mallory.run(
        "CREATE FUNCTION evil.h() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS \
         'BEGIN PERFORM evil.g(); RETURN new; END'; CREATE TABLE evil.orders (i int); \
         CREATE TRIGGER x BEFORE INSERT ON evil.orders FOR EACH ROW EXECUTE FUNCTION evil.h()",
    );
    let trail = Trail::from_now(world.cluster());
    let victim = stage.victim();
    stage.admin.run("INSERT INTO evil.orders VALUES (1)");
    stage.was_in_vain(&trail, &victim);
}

fn a_setting_that_outlives_its_function_is_its_owner_s_still(world: &World) {
    let stage = Stage::of(world.database());
    stage.lure(POLICY, false, "SECURITY DEFINER");
    stage
        .admin
        .run("SELECT evil.g(); SET lock_timeout = '200ms'");
    let trail = Trail::from_now(world.cluster());
    let victim = stage.victim();
    let error = stage.admin.error("ALTER TABLE t ALTER i DROP NOT NULL");
    assert_eq!(error.code().code(), "55P03");
    assert!(
        error.detail().unwrap().contains("not permitted"),
        "{error:?}"
    );
    trail.has_no_victim();
    assert!(victim.goes_on());
    // The same by the superuser's own hand is the superuser's, whatever was read before under the other's.
    stage.admin.run(&format!(
        "SET lockguard.policy = '{POLICY}'; ALTER TABLE t ALTER i DROP NOT NULL"
    ));
    assert_eq!(trail.victims(), [victim.pid()]);
}

fn a_stored_policy_is_used_only_where_the_setter_may_use_it(world: &World) {
    let stage = Stage::of(world.database());
    stage
        .admin
        .run(&format!("SELECT lockguard.store_policy('p', '{POLICY}')"));
    stage.lure("p", false, "SECURITY DEFINER");
    let trail = Trail::from_now(world.cluster());
    let victim = stage.victim();
    stage.admin.run("SELECT evil.g()");
    let told = stage.admin.run("SELECT DISTINCT state FROM evil.told");
    assert_eq!(told.column("state"), [Some("42501")]);
    let error = stage.admin.error("ALTER TABLE t ALTER i DROP NOT NULL");
    assert_eq!(error.code().code(), "42501", "it is in force still");
    assert!(error.hint().unwrap().contains(&stage.attacker), "{error:?}");
    trail.has_no_victim();
    assert!(victim.goes_on());
    // Once it is lent to who has set it, it is used for what that role owns, and for nothing else.
    let role = &stage.attacker;
    stage.admin.run(&format!(
        "SELECT lockguard.lend_policy('p', '{role}'); SET lock_timeout = '200ms'"
    ));
    let error = stage.admin.error("ALTER TABLE t ALTER i DROP NOT NULL");
    assert_eq!(error.code().code(), "55P03");
    trail.has_no_victim();
    assert!(victim.goes_on());
    stage.mallory.run("CREATE TABLE evil.own (i int)");
    let other = Holder::busy(&stage.database, "victim", "SELECT FROM evil.own");
    stage.admin.run("ALTER TABLE evil.own ALTER i SET NOT NULL");
    assert_eq!(trail.victims(), [other.pid()]);
}

/// Becoming a superuser does not make it theirs.
fn a_role_s_own_setting_is_the_role_s(world: &World) {
    let stage = Stage::of(world.database());
    let role = &stage.attacker;
    stage.mallory.run(&format!(
        "SELECT lockguard.locks_of(''); ALTER ROLE {role} SET lockguard.policy = '{POLICY}'; \
         ALTER ROLE {role} SET lock_timeout = '300ms'"
    ));
    let trail = Trail::from_now(world.cluster());
    let victim = stage.victim();
    stage.admin.run(&format!(
        "CREATE ROLE {role}_root SUPERUSER; GRANT {role}_root TO {role}"
    ));
    let options = || SessionOptions::named("migration").user(role);
    for session in [
        stage.database.connect(options()).unwrap(),
        stage
            .database
            .connect(options().set("lockguard.policy", POLICY))
            .unwrap(),
    ] {
        session.run(&format!("SET ROLE {role}_root"));
        let error = session.error("ALTER TABLE public.t ALTER i DROP NOT NULL");
        assert_eq!(error.code().code(), "55P03");
        trail.has_no_victim();
        assert!(victim.goes_on());
    }
    // What it sets itself by then is the superuser's.
    let session = stage.database.connect(options()).unwrap();
    session.run(&format!(
        "SET ROLE {role}_root; SET lockguard.policy = '{POLICY}'; ALTER TABLE public.t ALTER i DROP NOT NULL"
    ));
    assert_eq!(trail.victims(), [victim.pid()]);
}

/// Not even through a function that a superuser has made for everybody.
fn a_call_that_an_index_s_function_makes_signals_nobody(world: &World) {
    let stage = Stage::of(world.database());
    stage.admin.run(
        r#"CREATE OR REPLACE FUNCTION helper() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $f$ BEGIN
           PERFORM lockguard.preempt_maintenance('{"relations": ["public.t"], "timeout": "200ms", "take_lock": false,
               "preempt": [{"application_name": "victim"}]}'); END $f$"#,
    );
    stage.bait();
    let trail = Trail::from_now(world.cluster());
    let victim = stage.victim();
    stage.admin.run("ANALYZE evil.bait");
    stage.was_in_vain(&trail, &victim);
}
