//! A database opts in to guard mode by one call. Until then nothing of its DDL needs the library, and who
//! relies on guard mode is told.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Notice, Session, SessionOptions};

use super::TABLE;
use super::setting::gets_past_a_backup;
use crate::take::rights::role;
use crate::take::scene::{Holder, Stage, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        guard_mode_is_off_until_a_superuser_enables_it,
        nobody_but_superusers_enables_and_disables_it,
        a_policy_that_nothing_obeys_is_told_once_by_whatever_runs_first,
        an_event_trigger_that_does_not_fire_here_is_told_as_well,
        guarded_tells_what_is_missing_and_the_call_that_mends_it,
        without_the_library_only_who_opted_in_is_stopped,
        the_warning_stops_no_ddl_and_calls_nothing_of_a_user_s,
        whoever_may_not_call_preempt_maintenance_is_not_guarded,
    ]
}

/// A database with the extension as it comes, and `TABLE`.
fn as_it_comes(world: &World) -> Stage {
    Stage::of(with_extension(world.cluster()), TABLE)
}

fn with_extension(cluster: &Cluster) -> Database {
    let database = cluster.create_empty_database().unwrap();
    database.session("admin").run("CREATE EXTENSION lockguard");
    database
}

const NOTHING_OBEYS: &str = "lockguard.policy is set, but nothing guards the DDL of this session";

/// How often a session has been told since this was last asked, and the last detail and hint.
#[track_caller]
fn told(session: &Session) -> (usize, String) {
    let is_it = |notice: &Notice| notice.severity == "WARNING" && notice.message == NOTHING_OBEYS;
    let told = session.take_notices();
    let words = told.iter().rfind(|n| is_it(n)).map(|n| {
        let (detail, hint) = (n.detail.as_deref(), n.hint.as_deref());
        format!(
            "{} {}",
            detail.unwrap_or_default(),
            hint.unwrap_or_default()
        )
    });
    (
        told.iter().filter(|n| is_it(n)).count(),
        words.unwrap_or_default(),
    )
}

fn guard_mode_is_off_until_a_superuser_enables_it(world: &World) {
    let stage = as_it_comes(world);
    let session = &stage.migration;
    session.run("SET lockguard.policy = 'on'");
    assert!(!gets_past_a_backup(&stage, session));
    stage.looker.run("SELECT lockguard.enable_guard()");
    assert!(gets_past_a_backup(&stage, session));
    let row = stage.looker.run(
        "SELECT enabled_by, enabled_at BETWEEN now() - interval '1 min' AND now() AS is_new FROM lockguard.guarding",
    );
    assert_eq!(row.only().text("enabled_by"), "postgres");
    assert_eq!(row.only().text("is_new"), "t");
    // Once more changes nothing.
    stage.looker.run("SELECT lockguard.enable_guard()");
    assert!(gets_past_a_backup(&stage, session));
    stage.looker.run("SELECT lockguard.disable_guard()");
    assert!(!gets_past_a_backup(&stage, session));
    let rows = stage.looker.run("SELECT FROM lockguard.guarding");
    assert!(rows.is_empty());
    // Whatever the event trigger is called.
    stage.looker.run(
        "ALTER EVENT TRIGGER zzz_lockguard RENAME TO \"zzzz Last\"; SELECT lockguard.enable_guard()",
    );
    assert!(gets_past_a_backup(&stage, session));
}

fn nobody_but_superusers_enables_and_disables_it(world: &World) {
    let stage = as_it_comes(world);
    let name = stage.database.name().to_owned();
    let owner = role(
        &stage,
        "owner",
        "",
        &format!("ALTER DATABASE {name} OWNER TO $role"),
    );
    for call in ["enable_guard()", "disable_guard()"] {
        let error = owner.error(&format!("SELECT lockguard.{call}"));
        assert_eq!(error.code().code(), "42501", "{call}");
        // Nor by a grant alone.
        stage.looker.run(&format!(
            "GRANT EXECUTE ON FUNCTION lockguard.{call} TO {name}_owner"
        ));
        let error = owner.error(&format!("SELECT lockguard.{call}"));
        assert_eq!(error.code().code(), "42501", "{call}");
    }
    let states = stage
        .looker
        .run("SELECT string_agg(evtenabled::text, '' ORDER BY evtname) FROM pg_event_trigger");
    assert_eq!(states.value(), Some("AD"));
}

fn a_policy_that_nothing_obeys_is_told_once_by_whatever_runs_first(world: &World) {
    let stage = as_it_comes(world);
    for first in [
        "CREATE TABLE first ()",
        "SELECT lockguard.locks_of('')",
        "SELECT FROM lockguard.blockers_of('{events}')",
        r#"SELECT FROM lockguard.preempt_maintenance('{"relations": ["events"]}')"#,
        "SELECT lockguard.store_policy('first', '{}')",
        "SELECT lockguard.lend_policy('first', 'postgres')",
        "SELECT lockguard.revoke_policy('first', 'postgres')",
        "SELECT lockguard.drop_policy('first')",
        "SELECT FROM lockguard.guarded()",
    ] {
        for (policy, times) in [
            ("on", 1),
            ("{\"timeout\": \"1s\"}", 1),
            (" OFF ", 0),
            ("", 0),
        ] {
            let options = SessionOptions::named("first").set("lockguard.policy", policy);
            let session = stage.database.connect(options).unwrap();
            stage.looker.run(
                "SELECT lockguard.store_policy('first', '{}'); SELECT lockguard.lend_policy('first', 'postgres')",
            );
            let statement = match first.starts_with("CREATE") {
                true => format!("BEGIN; {first}; COMMIT; DROP TABLE first"),
                false => first.to_owned(),
            };
            session.run(&statement);
            let (count, words) = told(&session);
            assert_eq!(count, times, "{first} under {policy:?}");
            assert!(
                times == 0 || words.contains("lockguard.enable_guard()"),
                "{words}"
            );
            session.run("SELECT lockguard.locks_of(''); CREATE TABLE more (); DROP TABLE more; SELECT lockguard.locks_of('')");
            assert_eq!(told(&session).0, 0, "{first} under {policy:?}, then more");
        }
    }
}

fn an_event_trigger_that_does_not_fire_here_is_told_as_well(world: &World) {
    let stage = Stage::new(world, TABLE);
    // As a superuser may have it: for sessions that replay nothing.
    stage.looker.run("ALTER EVENT TRIGGER zzz_lockguard ENABLE");
    let session = |role: &str| {
        let session = stage.database.session("replays");
        session.run(&format!(
            "SET session_replication_role = {role}; SET lockguard.policy = 'on'; SELECT lockguard.locks_of('')"
        ));
        session
    };
    assert_eq!(told(&session("replica")).0, 1);
    assert_eq!(told(&session("origin")).0, 0);
    if world.installation().major() >= 17 {
        let off = stage.database.session("off");
        off.run(
            "SET event_triggers = off; SET lockguard.policy = 'on'; SELECT lockguard.locks_of('')",
        );
        assert_eq!(told(&off).0, 1);
    }
    stage.looker.run("SELECT lockguard.enable_guard()");
    assert_eq!(told(&session("replica")).0, 0);
}

/// The one row of `guarded`, but for its source.
#[track_caller]
fn guarded(session: &Session) -> (Option<String>, Option<String>, Option<String>) {
    let rows = session.run("SELECT * FROM lockguard.guarded()");
    let row = rows.only();
    let text = |name: &str| row.get(name).map(str::to_owned);
    (text("guarded_by"), text("missing"), text("remedy"))
}

fn guarded_tells_what_is_missing_and_the_call_that_mends_it(world: &World) {
    let stage = as_it_comes(world);
    let name = stage.database.name().to_owned();
    let deployer = role(&stage, "deployer", "", "");
    let says = |missing: &str, remedy: &str| {
        let (by, told, how) = guarded(&deployer);
        assert_eq!((by, told.as_deref()), (None, Some(missing)));
        let how = how.unwrap();
        assert!(how.contains(remedy), "{how}");
    };
    says(
        "guard mode is not enabled in this database",
        "SELECT lockguard.enable_guard()",
    );
    stage
        .looker
        .run("SELECT lockguard.enable_guard(); ALTER EVENT TRIGGER zzz_lockguard DISABLE");
    let (_, missing, remedy) = guarded(&deployer);
    let missing = missing.unwrap();
    let begins = "guard mode is off in this database, though postgres enabled it at ";
    assert!(missing.starts_with(begins), "{missing}");
    assert!(remedy.unwrap().contains("SELECT lockguard.enable_guard()"));
    stage.looker.run(
        "SELECT lockguard.enable_guard(); ALTER EVENT TRIGGER zzz_lockguard ENABLE REPLICA; \
         REVOKE EXECUTE ON FUNCTION lockguard.preempt_maintenance FROM PUBLIC",
    );
    says(
        "event trigger zzz_lockguard does not fire under session_replication_role = origin",
        "SELECT lockguard.enable_guard()",
    );
    stage.looker.run("SELECT lockguard.enable_guard()");
    let grant = format!(
        "GRANT EXECUTE ON FUNCTION lockguard.preempt_maintenance(jsonb) TO {name}_deployer"
    );
    says(
        &format!("role {name}_deployer may not execute lockguard.preempt_maintenance(jsonb)"),
        &grant,
    );
    stage.looker.run(&grant);
    says("lockguard.policy is not set", "SET lockguard.policy = 'on'");
    deployer.run("SET lockguard.policy = 'off'");
    says("lockguard.policy is not set", "SET lockguard.policy = 'on'");
    deployer.run("SET lockguard.policy = 'on'");
    let by = Some("event trigger zzz_lockguard".to_owned());
    assert_eq!(guarded(&deployer), (by, None, None));

    // From which source the value is.
    stage.looker.run(&format!(
        "ALTER DATABASE {name} SET lockguard.policy = '{{\"timeout\": \"1s\"}}'"
    ));
    let connected = SessionOptions::named("app").set("lockguard.policy", "on");
    for (options, policy, source) in [
        (
            SessionOptions::named("app"),
            "{\"timeout\": \"1s\"}",
            "database",
        ),
        (connected, "on", "client"),
    ] {
        let session = stage.database.connect(options).unwrap();
        let rows = session.run("SELECT * FROM lockguard.guarded()");
        assert_eq!(rows.only().text("policy"), policy);
        assert_eq!(rows.only().text("source"), source);
    }
}

fn without_the_library_only_who_opted_in_is_stopped(world: &World) {
    let installation = world.installation().copy().unwrap();
    let cluster = Cluster::start(&installation, &[]).unwrap();
    let (guarded, plain) = (cluster.create_database().unwrap(), with_extension(&cluster));
    std::fs::remove_file(installation.library()).unwrap();

    let session = plain.session("migration");
    session.run("CREATE TABLE t (i int); SET lockguard.policy = 'on'; ALTER TABLE t ADD j int; DROP TABLE t");
    assert_eq!(told(&session).0, 1, "by what needs no library");
    let rows = session.run("SELECT * FROM lockguard.guarded()");
    let missing = rows.only().text("missing").to_owned();
    assert!(
        missing.starts_with("the library cannot be loaded: could not access file"),
        "{missing}"
    );
    assert_eq!(rows.only().text("policy"), "on");
    // Nobody opts in to what would stop all DDL.
    let error = session.error("SELECT lockguard.enable_guard()");
    assert_eq!(error.code().code(), "58P01");
    session.run("CREATE TABLE t (); DROP EXTENSION lockguard; DROP TABLE t");

    let session = guarded.session("migration");
    for statement in ["CREATE TABLE t ()", "DROP EXTENSION lockguard"] {
        assert_eq!(session.error(statement).code().code(), "58P01");
    }
    // The way out is in the comment, for who looks up what the server's own error is about.
    let rows = session.run(
        "SELECT obj_description(oid, 'pg_event_trigger') FROM pg_event_trigger WHERE evtname = 'zzz_lockguard'",
    );
    let comment = rows.value().unwrap().to_owned();
    for way_out in [
        "ALTER EVENT TRIGGER zzz_lockguard DISABLE",
        "SELECT lockguard.disable_guard()",
    ] {
        assert!(comment.contains(way_out), "{comment}");
        session.run(&format!(
            "BEGIN; {way_out}; CREATE TABLE t (); DROP EXTENSION lockguard; ROLLBACK"
        ));
    }
    let rows = session.run("SELECT remedy FROM lockguard.guarded()");
    let remedy = rows.value().unwrap();
    assert!(
        remedy.contains("SELECT lockguard.disable_guard()"),
        "{remedy}"
    );
    session.run("SELECT lockguard.disable_guard(); CREATE TABLE t (); DROP EXTENSION lockguard");
}

/// What hides the system's names, and fails where it is called.
const EVIL: &str = "CREATE SCHEMA evil; \
    CREATE FUNCTION evil.fail() RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE FUNCTION evil.fail(text, text) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE FUNCTION evil.fail(name, name) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE FUNCTION evil.fail(oid, oid) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE FUNCTION evil.fail(\"char\", \"char\") RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE FUNCTION evil.current_setting(text, bool) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE FUNCTION evil.format(text, VARIADIC \"any\") RETURNS text LANGUAGE internal AS 'text_format'; \
    CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'called'; END$$; \
    CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.fail); \
    CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.fail); \
    CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.fail); \
    CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.fail); \
    CREATE OPERATOR evil.= (LEFTARG = \"char\", RIGHTARG = \"char\", FUNCTION = evil.fail); \
    CREATE TABLE evil.pg_event_trigger (); CREATE TABLE evil.pg_settings ()";

fn the_warning_stops_no_ddl_and_calls_nothing_of_a_user_s(world: &World) {
    let stage = as_it_comes(world);
    stage.migration.run(EVIL);
    let path = "SET search_path = evil, pg_catalog, public; SET lockguard.policy = 'on'";
    let session = stage.database.session("evil");
    session.run(&format!("{path}; CREATE TABLE made ()"));
    assert_eq!(told(&session).0, 1);
    assert_eq!(
        guarded(&session).1.as_deref(),
        Some("guard mode is not enabled in this database")
    );
    session.run("SELECT lockguard.enable_guard()");
    assert_eq!(guarded(&session).1, None);
    session.run("DROP TABLE made; SELECT lockguard.disable_guard()");
    // What cannot be read or set does not matter.
    let stranger = role(
        &stage,
        "stranger",
        "",
        "CREATE SCHEMA own AUTHORIZATION $role",
    );
    stage.looker.run(
        "REVOKE ALL ON lockguard.guarding FROM PUBLIC; REVOKE ALL ON SCHEMA lockguard FROM PUBLIC",
    );
    stranger.run("SET lockguard.policy = 'on'; CREATE TABLE own.made ()");
    assert_eq!(told(&stranger).0, 1);
    stage
        .looker
        .run("REVOKE SELECT ON pg_catalog.pg_event_trigger FROM PUBLIC");
    let stranger = role(
        &stage,
        "other",
        "",
        "CREATE SCHEMA other AUTHORIZATION $role",
    );
    stranger.run("SET lockguard.policy = 'on'; CREATE TABLE other.made ()");
    // Under any isolation level, in a transaction that has just begun, and for what runs in no block.
    for begin in [
        "",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; ",
        "BEGIN READ ONLY; SET TRANSACTION READ WRITE; ",
    ] {
        let session = stage.database.session("block");
        session.run(&format!(
            "SET lockguard.policy = 'on'; {begin}ALTER TABLE events ADD k int; COMMIT; ALTER TABLE events DROP k"
        ));
        assert_eq!(told(&session).0, 1, "{begin}");
    }
    let session = stage.database.session("concurrently");
    session.run("SET lockguard.policy = 'on'");
    session.run("DROP INDEX CONCURRENTLY events_i");
    assert_eq!(told(&session).0, 1);
}

fn whoever_may_not_call_preempt_maintenance_is_not_guarded(world: &World) {
    let stage = Stage::new(world, "");
    let name = stage.database.name().to_owned();
    let deployer = role(
        &stage,
        "deployer",
        "IN ROLE pg_signal_backend",
        "GRANT CREATE ON SCHEMA public TO $role",
    );
    deployer.run(
        "SET lockguard.policy = 'on'; SET lock_timeout = '100ms'; CREATE TABLE events (i int)",
    );
    let backup = role(&stage, "backup", "IN ROLE pg_read_all_data", "");
    backup.run("SET application_name = 'pg_dump'; BEGIN; SELECT FROM events");
    let trail = Trail::from_now(world.cluster());
    let function = "lockguard.preempt_maintenance(jsonb)";
    stage.looker.run(&format!(
        "REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"
    ));
    let says = format!(
        "nothing guards the DDL of this session: role \"{name}_deployer\" may not execute {function}"
    );
    for times in [1, 0] {
        let error = deployer.error("ALTER TABLE events ADD j int");
        let message = error.message();
        assert!(
            message.starts_with("canceling statement due to lock timeout"),
            "{message}"
        );
        let told = deployer.take_notices();
        assert_eq!(told.len(), times, "{told:?}");
        for warning in told {
            assert_eq!((&*warning.severity, &*warning.message), ("WARNING", &*says));
            assert!(warning.hint.unwrap().contains("EXECUTE"));
        }
    }
    // Nor through a superuser's function: the caller's right counts as well.
    stage.looker.run(
        "CREATE FUNCTION add() RETURNS void LANGUAGE sql SECURITY DEFINER SET lock_timeout = '100ms' \
         AS 'ALTER TABLE events ADD j int'",
    );
    deployer.error("SELECT add()");
    trail.has_no_victim();
    backup.run("SELECT FROM events");
    // An invalid policy is nobody's concern then; off, there is nothing to say.
    let quiet = role(
        &stage,
        "quiet",
        "",
        "CREATE SCHEMA quiet AUTHORIZATION $role",
    );
    quiet.run("SET lockguard.policy = 'off'; CREATE TABLE quiet.t ()");
    assert!(quiet.take_notices().is_empty());
    quiet.run("SET lockguard.policy = 'nonsense'; CREATE TABLE quiet.u ()");
    // And back.
    stage.looker.run(&format!(
        "GRANT EXECUTE ON FUNCTION {function} TO {name}_deployer"
    ));
    drop(backup);
    let backup = Holder::busy(&stage.database, "web", "SELECT FROM events");
    let error = deployer
        .error("SET lockguard.policy = '{\"timeout\": \"200ms\"}'; ALTER TABLE events ADD j int");
    assert!(
        error.message().starts_with("could not take the locks"),
        "{error}"
    );
    assert!(backup.goes_on());
}
