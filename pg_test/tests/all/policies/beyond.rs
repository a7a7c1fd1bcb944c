//! What a borrower may try in order to get further than the loan goes: roundabout ways to others'
//! relations, changes while a call waits, tables and triggers of his own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, Running, Session, SessionOptions, wait_until};

use super::{POLICY, SOON, Stage, code, preempt};
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        whoever_stands_two_steps_away_on_others_relations_is_left_alone,
        whoever_stands_two_steps_away_on_one_s_own_relations_is_not,
        what_the_plan_comes_to_need_must_be_owned_as_well,
        an_empty_table_of_one_s_own_reaches_nobody_s_snapshot,
        a_policy_may_lend_snapshots_and_a_call_may_not_take_them,
        whoever_holds_a_child_that_others_own_is_left_alone,
        a_loan_that_ends_while_the_call_waits_has_ended,
        a_policy_that_is_narrowed_while_the_call_waits_is_narrower,
        a_snapshot_from_before_the_revocation_does_not_bring_it_back,
        default_privileges_give_nobody_the_extension_s_tables,
        triggers_on_the_extension_s_tables_do_not_fire,
        tables_that_are_only_called_so_count_for_nothing,
        a_locked_index_of_a_table_is_not_waited_for,
    ]
}

/// Another session of the borrower's.
fn again(stage: &Stage) -> Session {
    stage
        .database
        .connect(SessionOptions::named("deployer2").user(&stage.deployer))
        .unwrap()
}

fn whoever_stands_two_steps_away_on_others_relations_is_left_alone(world: &World) {
    for (holds, waits) in [
        ("SELECT FROM others", "LOCK TABLE others"),
        (
            "SELECT pg_advisory_xact_lock(7)",
            "SELECT pg_advisory_xact_lock(7)",
        ),
    ] {
        for guard in [false, true] {
            let stage = Stage::with_loan(world);
            let victim = stage.database.session("victim");
            victim.run(&format!("BEGIN; {holds}"));
            let busy = victim.spawn("SELECT pg_sleep(50)");
            let mine = again(&stage);
            mine.run("BEGIN; LOCK TABLE t");
            let hangs = mine.spawn(waits);
            hangs.wait_until_queued();
            if guard {
                stage
                    .session
                    .run(r#"SET lockguard.policy = '{"policy": "p", "timeout": "500ms"}'"#);
                assert_eq!(code(&stage.session, "ALTER TABLE t ADD j int"), "55P03");
            } else {
                let call = r#"{"relations": ["t"], "policy": "p", "timeout": "500ms"}"#;
                assert_eq!(code(&stage.session, &preempt(call)), "55P03");
            }
            assert!(!busy.is_finished(), "{waits}");
        }
    }
}

fn whoever_stands_two_steps_away_on_one_s_own_relations_is_not(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run(&format!(
        "CREATE TABLE u (); ALTER TABLE u OWNER TO {}",
        stage.deployer
    ));
    let (_victim, busy) = stage.victim("u");
    let mine = again(&stage);
    mine.run("BEGIN; LOCK TABLE t");
    let hangs = mine.spawn("LOCK TABLE u; COMMIT");
    hangs.wait_until_queued();
    stage
        .session
        .run(&preempt(r#"{"relations": ["t"], "policy": "p"}"#));
    assert!(busy.wait(SOON).is_err());
    hangs.rows(SOON);
}

fn what_the_plan_comes_to_need_must_be_owned_as_well(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run("ALTER TABLE others ADD PRIMARY KEY (i)");
    let (_victim, busy) = stage.victim("others");
    let mine = again(&stage);
    mine.run("BEGIN; SELECT FROM t");
    stage.session.run("BEGIN");
    let call = stage.session.spawn(preempt(
        r#"{"statement": "DROP TABLE t", "policy": "p", "timeout": "8s"}"#,
    ));
    wait_until("the call waits", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    mine.run("ALTER TABLE t ADD FOREIGN KEY (i) REFERENCES others");
    mine.run("COMMIT");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501", "{error}");
    assert!(!busy.is_finished());
}

/// CREATE INDEX CONCURRENTLY waits for every snapshot in the database.
const BUILD: &str = "CREATE INDEX CONCURRENTLY ON t (i)";

/// A superuser's session with a snapshot and a lock on what the borrower does not own.
fn with_a_snapshot(stage: &Stage) -> (Session, Running) {
    let session = stage.database.session("victim");
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM others");
    let busy = session.spawn("SELECT pg_sleep(50)");
    wait_until("the victim is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    (session, busy)
}

fn an_empty_table_of_one_s_own_reaches_nobody_s_snapshot(world: &World) {
    let stage = Stage::with_loan(world);
    let (victim, busy) = with_a_snapshot(&stage);
    let call = format!(r#"{{"statement": "{BUILD}", "policy": "p", "timeout": "400ms"}}"#);
    let error = stage.session.error(&preempt(&call));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap();
    assert!(
        detail.contains("not permitted") && detail.contains("snapshot"),
        "{detail}"
    );
    stage
        .session
        .run(r#"SET lockguard.policy = '{"policy": "p", "timeout": "400ms"}'"#);
    assert_eq!(code(&stage.session, BUILD), "55P03");
    assert!(!busy.is_finished());
    // What it could signal by itself it may, as without a loan.
    stage.session.run("SET lockguard.policy = ''");
    stage.admin.run(
        "SELECT lockguard.store_policy('p', '{\"preempt\": [{\"application_name\": \"*ours\"}]}')",
    );
    let cancel = format!("SELECT pg_cancel_backend({})", victim.pid());
    stage.admin.run(&cancel);
    assert!(busy.wait(SOON).is_err());
    drop(victim);
    let ours = again(&stage);
    ours.run(
        "SET application_name = 'ours'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM others",
    );
    let busy = ours.spawn("SELECT pg_sleep(50)");
    wait_until("it is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    stage.session.run(&preempt(&format!(
        r#"{{"statement": "{BUILD}", "policy": "p"}}"#
    )));
    assert!(busy.wait(SOON).is_err());
}

fn a_policy_may_lend_snapshots_and_a_call_may_not_take_them(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = with_a_snapshot(&stage);
    for (policy, expected) in [(r#""policy": "p", "#, "42501"), ("", "22023")] {
        let call = preempt(&format!(
            r#"{{"statement": "{BUILD}", {policy}"snapshots": true}}"#
        ));
        let error = stage.session.error(&call);
        assert_eq!(error.code().code(), expected);
        assert_eq!(error.detail(), Some("At $.snapshots in the policy."));
    }
    assert!(!busy.is_finished());
    stage.store(
        "p",
        r#"{"preempt": [{"application_name": "victim"}], "snapshots": true}"#,
    );
    stage.session.run(&preempt(&format!(
        r#"{{"statement": "{BUILD}", "policy": "p"}}"#
    )));
    assert!(busy.wait(SOON).is_err());
}

fn whoever_holds_a_child_that_others_own_is_left_alone(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run("CREATE TABLE child () INHERITS (t)");
    let (victim, busy) = stage.victim("child");
    let call = r#"{"relations": ["t"], "policy": "p", "timeout": "300ms"}"#;
    let error = stage.session.error(&preempt(call));
    assert_eq!(error.code().code(), "55P03");
    assert!(
        error.detail().unwrap().contains("does not own"),
        "{error:?}"
    );
    assert!(!busy.is_finished());
    // Once it is the borrower's own, it is lent for.
    stage
        .admin
        .run(&format!("SELECT pg_cancel_backend({})", victim.pid()));
    assert!(busy.wait(SOON).is_err());
    victim.run("ROLLBACK");
    stage
        .admin
        .run(&format!("ALTER TABLE child OWNER TO {}", stage.deployer));
    stage.admin.run("GRANT SELECT ON child TO PUBLIC");
    let (_victim, busy) = stage.victim("child");
    stage.session.run(&preempt(call));
    assert!(busy.wait(SOON).is_err());
}

fn a_loan_that_ends_while_the_call_waits_has_ended(world: &World) {
    let stage = Stage::with_loan(world);
    let mine = again(&stage);
    mine.run("BEGIN; SELECT FROM t");
    let call = stage.session.spawn(preempt(
        r#"{"relations": ["t"], "policy": "p", "timeout": "8s"}"#,
    ));
    wait_until("the call waits", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    let (_victim, busy) = stage.victim("t");
    stage.admin.run("SELECT lockguard.drop_policy('p')");
    mine.run("COMMIT");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42704", "{error}");
    assert!(!busy.is_finished());
}

fn a_policy_that_is_narrowed_while_the_call_waits_is_narrower(world: &World) {
    let stage = Stage::with_loan(world);
    let mine = again(&stage);
    mine.run("BEGIN; SELECT FROM t");
    let call = stage.session.spawn(preempt(
        r#"{"relations": ["t"], "policy": "p", "timeout": "8s"}"#,
    ));
    wait_until("the call waits", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    let (_victim, busy) = stage.victim("t");
    stage.store("p", r#"{"preempt": ["backup"]}"#);
    mine.run("COMMIT");
    let error = call.wait(SOON).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501", "{error}");
    assert!(!busy.is_finished());
}

fn a_snapshot_from_before_the_revocation_does_not_bring_it_back(world: &World) {
    let stage = Stage::with_loan(world);
    let (_victim, busy) = stage.victim("t");
    stage
        .session
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    stage.admin.run(&format!(
        "SELECT lockguard.revoke_policy('p', '{}')",
        stage.deployer
    ));
    let call = preempt(r#"{"relations": ["t"], "policy": "p"}"#);
    assert_eq!(code(&stage.session, &call), "42501");
    assert!(!busy.is_finished());
}

fn default_privileges_give_nobody_the_extension_s_tables(world: &World) {
    let database = world.cluster().create_empty_database().unwrap();
    let admin = database.session("admin");
    let role = format!("{}_app", database.name());
    admin.run(&format!(
        "CREATE ROLE {role} LOGIN; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {role}; \
         ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC; \
         ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO {role}; CREATE EXTENSION lockguard"
    ));
    let session = database
        .connect(SessionOptions::named("app").user(&role))
        .unwrap();
    for table in ["policies", "policy_loans", "trail", "maintenance_rules"] {
        for sql in [
            format!("INSERT INTO lockguard.{table} DEFAULT VALUES"),
            format!("DELETE FROM lockguard.{table}"),
        ] {
            assert_eq!(code(&session, &sql), "42501", "{sql}");
        }
    }
    assert_eq!(
        code(&session, "SELECT setval('lockguard.trail_id_seq', 1)"),
        "42501"
    );
    assert_eq!(code(&session, "SELECT lockguard.guard()"), "42501");
    // As for the owner's other tables.
    admin.run("CREATE TABLE t (i int)");
    session.run("DELETE FROM t");
}

/// A superuser has given away more than he should.
fn triggers_on_the_extension_s_tables_do_not_fire(world: &World) {
    let stage = Stage::with_loan(world);
    let deployer = &stage.deployer;
    stage.admin.run(&format!(
        "GRANT TRIGGER ON ALL TABLES IN SCHEMA lockguard TO {deployer}; CREATE SCHEMA mine AUTHORIZATION {deployer}"
    ));
    stage.session.run(
        "CREATE FUNCTION mine.f() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN RAISE 'called as %', current_user; END$$",
    );
    for table in ["trail", "policies", "policy_loans"] {
        stage.session.run(&format!(
            "CREATE TRIGGER x BEFORE INSERT OR UPDATE OR DELETE ON lockguard.{table} \
             FOR EACH ROW EXECUTE FUNCTION mine.f(); \
             CREATE CONSTRAINT TRIGGER y AFTER INSERT OR UPDATE OR DELETE ON lockguard.{table} \
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mine.f()"
        ));
    }
    let (_victim, busy) = stage.victim("t");
    stage
        .session
        .run(&preempt(r#"{"relations": ["t"], "policy": "p"}"#));
    assert!(busy.wait(SOON).is_err());
    let rows = rows_once_written(&stage.session, 1, "SELECT id FROM lockguard.preemptions");
    assert_eq!(rows.len(), 1, "the row is there");
    stage.session.run(&format!(
        "SELECT lockguard.settle({})",
        rows.value().unwrap()
    ));
    stage.store("q", POLICY);
    stage.lend("q");
    stage.admin.run("SELECT lockguard.drop_policy('q')");
}

/// The rows that a cursor opened before DROP EXTENSION goes for afterwards.
fn fetch_after_drop(database: &Database, owner: &str, policy: &str, then: &str) -> String {
    let mallory = database
        .connect(SessionOptions::named("mallory").user(owner))
        .unwrap();
    mallory.run(&format!("BEGIN; DECLARE d CURSOR FOR {}", preempt(policy)));
    database.session("admin").run("DROP EXTENSION lockguard");
    let helper = database
        .connect(SessionOptions::named("helper").user(owner))
        .unwrap();
    helper.run(then);
    code(&mallory, "FETCH ALL FROM d")
}

fn tables_that_are_only_called_so_count_for_nothing(world: &World) {
    const RULES: &str = "CREATE SCHEMA lockguard; CREATE TABLE other (); \
        CREATE TABLE lockguard.maintenance_rules (name text, class text, application_name text, usename text, \
            backend_type text, query text, client_addr text); ";
    let policies = format!(
        "{RULES} CREATE TABLE lockguard.policies AS SELECT 'p'::text AS name, 10::oid::regrole AS owner, \
             '{POLICY}'::jsonb AS policy; \
         CREATE TABLE lockguard.policy_loans AS SELECT 'p'::text AS policy, current_user::regrole AS role"
    );
    for (policy, then) in [
        (r#"{"relations": ["public.t"], "policy": "p"}"#, &*policies),
        (
            r#"{"relations": ["public.t"], "preempt": [{"application_name": "victim"}]}"#,
            RULES,
        ),
    ] {
        let stage = Stage::new(world);
        stage.admin.run(&format!(
            "ALTER DATABASE {} OWNER TO {}",
            stage.database.name(),
            stage.deployer
        ));
        let (_victim, busy) = stage.victim("t");
        let code = fetch_after_drop(&stage.database, &stage.deployer, policy, then);
        assert_eq!(code, "42P01", "{policy}");
        assert!(!busy.is_finished());
    }
}

fn a_locked_index_of_a_table_is_not_waited_for(world: &World) {
    let stage = Stage::with_loan(world);
    for index in ["policies_pkey", "maintenance_rules_pkey"] {
        stage
            .admin
            .run(&format!("BEGIN; REINDEX INDEX lockguard.{index}"));
        let holder = stage.database.session("somebody");
        holder.run("BEGIN; SELECT FROM t");
        let start = Instant::now();
        let call = r#"{"relations": ["t"], "policy": "p", "timeout": "1s"}"#;
        assert_eq!(code(&stage.session, &preempt(call)), "55P03");
        assert!(
            start.elapsed() < pg_test::slow(Duration::from_secs(4)),
            "{:?}",
            start.elapsed()
        );
        stage.admin.run("ROLLBACK");
    }
}
