//! What `locks_of` answers beside the locks themselves: what cannot be seen ahead, errors, the course of a script;
//! and that it neither waits nor runs anything.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::Session;

use crate::take::scene::{Holder, STRONGEST, Stage};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        it_tells_statement_relation_mode_and_reason,
        what_cannot_be_seen_ahead_is_a_row_without_a_relation,
        what_hides_nothing_is_no_such_row,
        event_triggers_cannot_be_seen_ahead_and_ours_is_none_of_them,
        what_is_rolled_back_in_a_script_was_never_made,
        a_syntax_error_has_its_code_and_position,
        null_is_refused,
        it_waits_for_nobody_and_runs_nothing,
        types_run_nothing_and_lock_nothing,
        operators_of_the_search_path_are_not_called,
        it_works_without_any_right_to_the_relations,
        it_works_on_whatever_the_search_path_makes_of_names,
        a_setting_counts_however_it_is_written,
        explain_locks_what_the_statement_reads,
        an_empty_body_locks_nothing,
        a_name_in_another_database_locks_nothing_and_is_told_of,
    ]
}

const SCHEMA: &str = "
    CREATE TABLE users (id int PRIMARY KEY, name text);
    CREATE TABLE events (id int, user_id int CONSTRAINT events_user_id_fkey REFERENCES users);
    CREATE FUNCTION hidden() RETURNS int LANGUAGE plpgsql AS 'BEGIN DROP TABLE users CASCADE; RETURN 1; END';
    CREATE FUNCTION pure(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
    CREATE PROCEDURE hidden_too() LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION add(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1 + $2; END';
    CREATE AGGREGATE added(int) (SFUNC = add, STYPE = int);
    CREATE TABLE noted (id int DEFAULT hidden(), n int CHECK (hidden() > n));
    CREATE TABLE fires (id int);
    CREATE TRIGGER t BEFORE INSERT ON fires FOR EACH ROW EXECUTE FUNCTION fired();
    CREATE TABLE emptied (id int);
    CREATE TRIGGER t BEFORE TRUNCATE ON emptied EXECUTE FUNCTION fired();
    CREATE TABLE quiet (id int);
    CREATE TRIGGER t BEFORE INSERT ON quiet FOR EACH ROW EXECUTE FUNCTION fired();
    ALTER TABLE quiet DISABLE TRIGGER t;
    CREATE VIEW looks AS SELECT hidden() AS id;
    CREATE VIEW looks_on AS SELECT id FROM looks;
    CREATE MATERIALIZED VIEW kept AS SELECT id FROM looks WITH NO DATA;
    CREATE TABLE watched (id int);
    CREATE POLICY p ON watched USING (hidden() = id)";

/// Of each row: statement, relation, mode, reason.
fn locks_of(session: &Session, statement: &str) -> Vec<[Option<String>; 4]> {
    let rows = session.run(&format!(
        "SELECT statement, relation, mode, reason FROM lockguard.locks_of($locks${statement}$locks$)"
    ));
    let columns = ["statement", "relation", "mode", "reason"];
    let row = |row: &pg_test::Row| columns.map(|column| row.get(column).map(str::to_owned));
    rows.iter().map(row).collect()
}

/// The reasons of those rows that have no relation.
fn unseen(session: &Session, statement: &str) -> Vec<String> {
    let rows = locks_of(session, statement).into_iter();
    rows.filter(|[_, relation, _, _]| relation.is_none())
        .map(|[_, _, mode, reason]| {
            assert_eq!(mode, None, "{statement}");
            reason.unwrap()
        })
        .collect()
}

/// The relations of the others.
fn seen(session: &Session, statement: &str) -> Vec<String> {
    let rows = locks_of(session, statement).into_iter();
    rows.filter_map(|[_, relation, _, _]| relation).collect()
}

fn it_tells_statement_relation_mode_and_reason(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    let rows = locks_of(
        &stage.migration,
        "/* two */ SELECT 1; -- the one that counts\nDROP TABLE IF EXISTS nothing, events;;",
    );
    let expected = [
        ("events", STRONGEST, "dropped"),
        (
            "users",
            STRONGEST,
            "referenced by foreign key events_user_id_fkey",
        ),
    ];
    let expected = expected.map(|(relation, mode, reason)| {
        ["2", relation, mode, reason].map(|value| Some(value.to_owned()))
    });
    assert_eq!(rows, expected);
}

fn what_cannot_be_seen_ahead_is_a_row_without_a_relation(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    for (statement, reason) in [
        ("DO 'BEGIN DROP TABLE events; END'", "a DO block"),
        ("CALL hidden_too()", "a procedure"),
        ("EXECUTE prepared", "a prepared statement"),
        (
            "CREATE TABLE made AS EXECUTE prepared",
            "a prepared statement",
        ),
        ("EXPLAIN ANALYZE EXECUTE prepared", "a prepared statement"),
        ("CREATE EXTENSION hstore", "the extension's script"),
        ("SELECT hidden()", "function hidden()"),
        (
            "SELECT 1 FROM users WHERE id IN (SELECT public.hidden())",
            "function hidden()",
        ),
        (
            "WITH w AS (SELECT hidden()) SELECT * FROM w",
            "function hidden()",
        ),
        ("SELECT * FROM hidden() h(i)", "function hidden()"),
        ("SELECT added(id) FROM users", "function added()"),
        (
            "SELECT query_to_xml('DROP TABLE events', true, true, '')",
            "function query_to_xml()",
        ),
        ("INSERT INTO users VALUES (hidden())", "function hidden()"),
        ("UPDATE users SET id = hidden()", "function hidden()"),
        ("DELETE FROM users WHERE id = hidden()", "function hidden()"),
        ("CREATE TABLE made AS SELECT hidden()", "function hidden()"),
        ("SELECT hidden() INTO made", "function hidden()"),
        ("DECLARE c CURSOR FOR SELECT hidden()", "function hidden()"),
        ("COPY (SELECT hidden()) TO STDOUT", "function hidden()"),
        ("EXPLAIN ANALYZE SELECT hidden()", "function hidden()"),
        (
            "ALTER TABLE users ADD c int DEFAULT hidden()",
            "function hidden()",
        ),
        (
            "ALTER TABLE users ADD c int CHECK (hidden() > 0)",
            "function hidden()",
        ),
        (
            "ALTER TABLE users ALTER id TYPE int USING hidden()",
            "function hidden()",
        ),
        (
            "ALTER TABLE users ADD CHECK (id < hidden())",
            "function hidden()",
        ),
        ("SELECT * FROM looks", "function hidden(), called by looks"),
        (
            "SELECT * FROM looks_on",
            "function hidden(), called by looks",
        ),
        (
            "REFRESH MATERIALIZED VIEW kept",
            "function hidden(), called by looks",
        ),
        (
            "SELECT * FROM watched",
            "function hidden(), called by policies on watched",
        ),
        (
            "INSERT INTO noted (n) VALUES (1)",
            "function hidden(), called by defaults of noted",
        ),
        (
            "COPY noted FROM STDIN",
            "function hidden(), called by constraints of noted",
        ),
        ("INSERT INTO fires VALUES (1)", "triggers on fires"),
        ("TRUNCATE emptied", "triggers on emptied"),
        ("DROP TABLE nothing", "relation \"nothing\" does not exist"),
    ] {
        let told = unseen(&stage.migration, statement);
        assert!(
            told.iter().any(|row| row.starts_with(reason)),
            "{statement}: {told:?}"
        );
    }
}

fn what_hides_nothing_is_no_such_row(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    for statement in [
        "",
        "SELECT now(), max(id), count(*), lower(min(name)) FROM users",
        "SELECT pure(1)",
        "EXPLAIN SELECT hidden()",
        "EXPLAIN (ANALYZE off) SELECT hidden()",
        "PREPARE p AS SELECT hidden()",
        "CREATE VIEW made AS SELECT hidden()",
        "CREATE TABLE made AS SELECT hidden() WITH NO DATA",
        "CREATE TABLE made (id int DEFAULT hidden(), CHECK (hidden() > 0))",
        "ALTER TABLE users ALTER id SET DEFAULT hidden()",
        "ALTER TABLE users ADD CHECK (id < hidden()) NOT VALID",
        "INSERT INTO quiet VALUES (1)",
        "INSERT INTO emptied VALUES (1)",
        "TRUNCATE fires",
        "SELECT * FROM noted",
        "DROP TABLE IF EXISTS nothing, nowhere.nothing",
        "CREATE INDEX ON users (pure(id))",
        "COMMENT ON TABLE users IS 'hidden()'",
    ] {
        let told = unseen(&stage.migration, statement);
        assert!(told.is_empty(), "{statement}: {told:?}");
    }
    stage
        .migration
        .run("SET session_replication_role = replica");
    assert!(unseen(&stage.migration, "INSERT INTO fires VALUES (1)").is_empty());
}

fn event_triggers_cannot_be_seen_ahead_and_ours_is_none_of_them(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    let ddl = "ALTER TABLE users ADD c int";
    assert!(unseen(&stage.migration, ddl).is_empty());
    stage.migration.run(
        "CREATE FUNCTION heard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER every ON ddl_command_end EXECUTE FUNCTION heard();
         CREATE EVENT TRIGGER drops ON sql_drop EXECUTE FUNCTION heard();
         CREATE EVENT TRIGGER rewrites ON table_rewrite EXECUTE FUNCTION heard();
         CREATE EVENT TRIGGER views ON ddl_command_start WHEN TAG IN ('CREATE VIEW', 'DROP VIEW') EXECUTE FUNCTION heard();
         CREATE EVENT TRIGGER silent ON ddl_command_start EXECUTE FUNCTION heard();
         ALTER EVENT TRIGGER silent DISABLE",
    );
    for (statement, names) in [
        (ddl, &["drops", "every", "rewrites"][..]),
        ("DROP TABLE events", &["drops", "every"]),
        ("CREATE VIEW made AS SELECT 1", &["every", "views"]),
        ("CREATE INDEX ON users (name)", &["every"]),
        ("TRUNCATE users CASCADE", &[]),
        ("SELECT 1", &[]),
    ] {
        let names = names
            .iter()
            .map(|name| format!("event trigger {name}: what it runs cannot be seen ahead"));
        let expected: Vec<String> = names.collect();
        assert_eq!(unseen(&stage.migration, statement), expected, "{statement}");
    }
    stage
        .migration
        .run("DROP EVENT TRIGGER every, drops, rewrites, views, silent");
}

fn what_is_rolled_back_in_a_script_was_never_made(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    stage
        .migration
        .run("CREATE SCHEMA other; CREATE TABLE other.users (id int)");
    let renamed = "ALTER TABLE events RENAME TO renamed";
    for (script, last) in [
        (
            format!("BEGIN; {renamed}; ROLLBACK; DROP TABLE events"),
            Some("events"),
        ),
        (format!("BEGIN; {renamed}; COMMIT; DROP TABLE events"), None),
        (
            format!("BEGIN; {renamed}; COMMIT; DROP TABLE renamed"),
            Some("events"),
        ),
        (
            format!("BEGIN; SAVEPOINT s; {renamed}; ROLLBACK TO s; DROP TABLE events"),
            Some("events"),
        ),
        (
            format!("BEGIN; SAVEPOINT s; {renamed}; RELEASE s; DROP TABLE renamed"),
            Some("events"),
        ),
        (
            format!(
                "BEGIN; SAVEPOINT s; {renamed}; SAVEPOINT t; ROLLBACK TO t; DROP TABLE renamed"
            ),
            Some("events"),
        ),
        (
            format!("BEGIN; {renamed}; ROLLBACK AND CHAIN; {renamed}; ROLLBACK; DROP TABLE events"),
            Some("events"),
        ),
        (
            "BEGIN; SET search_path = other; ROLLBACK; DROP TABLE users CASCADE".into(),
            Some("users"),
        ),
        (
            "BEGIN; SET search_path = other; COMMIT; DROP TABLE users CASCADE".into(),
            Some("other.users"),
        ),
        (
            "BEGIN; CREATE TABLE made (id int); ROLLBACK; DROP TABLE made".into(),
            None,
        ),
    ] {
        let rows = locks_of(&stage.migration, &script).into_iter();
        let number = script.matches(';').count() + 1;
        let dropped = rows
            .filter(|[statement, _, _, reason]| {
                *statement == Some(number.to_string()) && reason.as_deref() == Some("dropped")
            })
            .find_map(|[_, relation, _, _]| relation);
        assert_eq!(dropped.as_deref(), last, "{script}");
    }
    // Where there is nothing to roll back, nothing is.
    let script = format!("{renamed}; ROLLBACK; DROP TABLE renamed");
    assert!(unseen(&stage.migration, &script).is_empty(), "{script}");
}

fn a_syntax_error_has_its_code_and_position(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    let ask = |statement: &str| {
        let ask = format!("SELECT FROM lockguard.locks_of($locks${statement}$locks$)");
        stage.migration.error(&ask)
    };
    for (statement, position) in [
        ("DROP TABLEX events", 6),
        ("SELECT 1; SELECT 'ä', FROM users", 23),
        ("CREATE", 7),
    ] {
        let error = ask(statement);
        assert_eq!(error.code().code(), "42601", "{statement}");
        let told = format!("{:?}", error.position());
        assert!(
            told.contains(&format!("position: {position}")) && told.contains(statement),
            "{statement}: {told}"
        );
    }
    // The session is as before.
    assert_eq!(seen(&stage.migration, "DROP TABLE fires"), ["fires"]);
}

fn null_is_refused(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    let error = stage.migration.error("SELECT lockguard.locks_of(NULL)");
    assert_eq!(error.code().code(), "22004");
}

fn it_waits_for_nobody_and_runs_nothing(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    let all = "users, events, noted, fires, emptied, quiet, looks, kept, watched";
    let tables = all.replace("looks, kept, ", "");
    let locked = format!(
        "LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE; LOCK TABLE looks IN ACCESS EXCLUSIVE MODE"
    );
    let _holder = Holder::idle(&stage.database, "web", &locked);
    stage
        .migration
        .run("BEGIN; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '1ms'");
    for statement in [
        &format!("DROP TABLE {tables} CASCADE"),
        "ALTER TABLE users ALTER id TYPE bigint, ADD c int DEFAULT hidden()",
        "ALTER TABLE events VALIDATE CONSTRAINT events_user_id_fkey",
        "VACUUM FULL; REINDEX TABLE users; CLUSTER; ANALYZE",
        "REFRESH MATERIALIZED VIEW kept",
        "INSERT INTO users SELECT id FROM looks_on",
        "CREATE VIEW made AS SELECT * FROM users, events",
        "DROP SCHEMA public CASCADE; DROP OWNED BY CURRENT_USER CASCADE",
        "CREATE TABLE made (LIKE users INCLUDING ALL, r int REFERENCES users) INHERITS (events)",
        "DO 'BEGIN DROP TABLE events; END'",
    ] {
        locks_of(&stage.migration, statement);
        stage.holds_nothing("after locks_of");
    }
    stage.migration.run("COMMIT");
    let tables = stage
        .migration
        .run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
    assert_eq!(tables.value(), Some("7"));
}

fn types_run_nothing_and_lock_nothing(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    stage.migration.run(
        "CREATE FUNCTION boom(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''run''; END';
         CREATE DOMAIN checked AS int CHECK (value > boom(1));
         CREATE DOMAIN more_checked AS checked;
         CREATE TYPE computed AS (i int);
         CREATE FUNCTION compute(int) RETURNS computed IMMUTABLE LANGUAGE sql AS 'SELECT row(boom(2))::computed';
         CREATE CAST (int AS computed) WITH FUNCTION compute(int) AS ASSIGNMENT;
         CREATE TABLE unrelated (id int);
         CREATE FUNCTION read(text) RETURNS computed LANGUAGE sql AS 'SELECT row(id)::computed FROM unrelated';
         CREATE CAST (text AS computed) WITH FUNCTION read(text) AS ASSIGNMENT",
    );
    let _holder = Holder::idle(
        &stage.database,
        "web",
        "LOCK TABLE unrelated IN ACCESS EXCLUSIVE MODE",
    );
    stage.migration.run("BEGIN; SET LOCAL lock_timeout = '1ms'");
    for statement in [
        "ALTER TABLE users ADD c checked",
        "ALTER TABLE users ADD c more_checked DEFAULT 1",
        "ALTER TABLE users ALTER id TYPE checked",
        "ALTER TABLE users ALTER id TYPE more_checked",
        "ALTER TABLE users ALTER id TYPE computed",
        "ALTER TABLE users ALTER name TYPE computed",
        "CREATE DOMAIN made AS more_checked; ALTER TABLE users ADD c made",
        "ALTER DOMAIN checked SET NOT NULL; ALTER DOMAIN checked ADD CHECK (value > boom(3))",
        "CREATE TABLE made (c more_checked, d computed)",
        "CREATE INDEX ON users (compute(id)); CREATE INDEX ON users ((id::computed)) WHERE boom(1) > id",
    ] {
        locks_of(&stage.migration, statement);
        stage.holds_nothing("after locks_of");
    }
    stage.migration.run("COMMIT");
}

fn operators_of_the_search_path_are_not_called(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    stage.migration.run(
        "CREATE SCHEMA evil;
         CREATE FUNCTION evil.equal(text, text) RETURNS boolean LANGUAGE plpgsql
             AS 'BEGIN RAISE EXCEPTION ''run''; END';
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal);
         CREATE FUNCTION heard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER later ON ddl_command_end EXECUTE FUNCTION heard();
         CREATE EVENT TRIGGER copied ON ddl_command_end EXECUTE FUNCTION heard();
         ALTER EVENT TRIGGER copied ENABLE REPLICA;
         CREATE EVENT TRIGGER always ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION heard();
         ALTER EVENT TRIGGER always ENABLE ALWAYS",
    );
    let script = "SET search_path = evil, pg_catalog; CREATE TABLE made (); TRUNCATE public.users CASCADE; \
         CREATE VIEW seen AS SELECT 1; ANALYZE";
    for (role, names) in [
        ("origin", ["always", "later", "later"]),
        ("replica", ["always", "copied", "copied"]),
    ] {
        stage.migration.run(&format!(
            "BEGIN; SET LOCAL session_replication_role = {role}"
        ));
        let expected = names
            .map(|name| format!("event trigger {name}: what it runs cannot be seen ahead"))
            .to_vec();
        assert_eq!(unseen(&stage.migration, script), expected, "{role}");
        let left = stage.migration.run(
            "SELECT count(*) FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid() \
             AND relation = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass",
        );
        assert_eq!(left.value(), Some("0"), "{role}");
        stage.migration.run("COMMIT");
    }
    stage
        .migration
        .run("DROP EVENT TRIGGER later, copied, always");
}

fn it_works_without_any_right_to_the_relations(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    let nobody = crate::take::rights::role(&stage, "nobody", "", "");
    let told = seen(&nobody, "DROP TABLE events; SELECT * FROM looks");
    assert_eq!(told, ["events", "users", "looks"]);
}

fn it_works_on_whatever_the_search_path_makes_of_names(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    stage
        .migration
        .run("CREATE SCHEMA other; CREATE TABLE other.fires (id int)");
    let drop = "DROP TABLE fires";
    for (path, found) in [("other, public", "fires"), ("public", "fires"), ("''", "")] {
        stage.migration.run(&format!("SET search_path = {path}"));
        let expected: Vec<&str> = [found]
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect();
        assert_eq!(seen(&stage.migration, drop), expected, "{path}");
    }
    stage
        .migration
        .run("SET search_path = public; CREATE TEMP TABLE fires (id int)");
    let oid = "SELECT relation::oid::text FROM lockguard.locks_of('DROP TABLE fires')";
    let temporary = stage
        .migration
        .run("SELECT 'pg_temp.fires'::regclass::oid::text");
    assert_eq!(stage.migration.run(oid).value(), temporary.value());
}

fn a_setting_counts_however_it_is_written(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    stage
        .migration
        .run("CREATE SCHEMA other; CREATE TABLE other.fires (id int)");
    let body = "LANGUAGE sql AS 'SELECT id FROM fires'";
    let function = format!("CREATE FUNCTION f() RETURNS int {body}");
    let with = |setting: &str| format!("CREATE FUNCTION f() RETURNS int SET {setting} {body}");
    for (script, found) in [
        (
            "SET \"Search_Path\" = other; DROP TABLE fires".into(),
            Some("other.fires"),
        ),
        (
            "SET search_path = other; SET SEARCH_PATH TO DEFAULT; DROP TABLE fires".into(),
            Some("fires"),
        ),
        (
            "SET search_path = other; RESET \"SEARCH_path\"; DROP TABLE fires".into(),
            Some("fires"),
        ),
        (
            "SET search_path = other; RESET ALL; DROP TABLE fires".into(),
            Some("fires"),
        ),
        (function.clone(), Some("fires")),
        (with("search_path = other"), Some("other.fires")),
        (with("\"Search_Path\" = other"), Some("other.fires")),
        (format!("SET check_function_bodies = off; {function}"), None),
        (
            format!("SET \"Check_Function_Bodies\" = 0; {function}"),
            None,
        ),
        (
            format!("SET check_function_bodies = nonsense; {function}"),
            Some("fires"),
        ),
        (
            format!("SET check_function_bodies = off; RESET check_function_bodies; {function}"),
            Some("fires"),
        ),
        (
            format!(
                "SET check_function_bodies = off; SET check_function_bodies TO DEFAULT; {function}"
            ),
            Some("fires"),
        ),
        (
            format!("SET check_function_bodies = off; RESET ALL; {function}"),
            Some("fires"),
        ),
        (
            format!("SET check_function_bodies = off; DISCARD ALL; {function}"),
            Some("fires"),
        ),
        (
            format!("BEGIN; SET check_function_bodies = off; ROLLBACK; {function}"),
            Some("fires"),
        ),
    ] {
        let found: Vec<&str> = found.into_iter().collect();
        assert_eq!(seen(&stage.migration, &script), found, "{script}");
    }
    let shown = stage.migration.run(
        "SELECT current_setting('search_path') || ' ' || current_setting('check_function_bodies')",
    );
    assert_eq!(shown.value(), Some("\"$user\", public on"));
}

fn explain_locks_what_the_statement_reads(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    let path = "set_config('search_path', 'nowhere', false)";
    for (statement, relations, reason) in [
        (
            format!("SELECT {path} FROM users; DROP TABLE fires"),
            &["users"][..],
            Some("relation"),
        ),
        (
            format!("EXPLAIN SELECT {path} FROM users; DROP TABLE fires"),
            &["users", "fires"],
            None,
        ),
        (
            format!("EXPLAIN ANALYZE SELECT {path} FROM users; DROP TABLE fires"),
            &["users"],
            Some("relation"),
        ),
        (
            "EXPLAIN SELECT id FROM users WHERE hidden() = 1".into(),
            &["users"],
            None,
        ),
        (
            "EXPLAIN CREATE TABLE made AS EXECUTE prepared".into(),
            &[],
            Some("a prepared statement"),
        ),
        (
            "EXPLAIN ANALYZE CREATE TABLE made AS EXECUTE prepared; DROP TABLE made".into(),
            &[],
            Some("a prepared statement"),
        ),
        (
            "EXPLAIN CREATE TABLE made AS SELECT id FROM users; DROP TABLE made".into(),
            &["users"],
            Some("relation"),
        ),
        (
            "EXPLAIN DECLARE c CURSOR FOR SELECT id FROM users".into(),
            &["users"],
            None,
        ),
        ("EXPLAIN REFRESH MATERIALIZED VIEW kept".into(), &[], None),
    ] {
        assert_eq!(seen(&stage.migration, &statement), relations, "{statement}");
        let told = unseen(&stage.migration, &statement);
        let is_told = match reason {
            Some(reason) => matches!(&told[..], [one] if one.starts_with(reason)),
            None => told.is_empty(),
        };
        assert!(is_told, "{statement}: {told:?}");
    }
}

fn an_empty_body_locks_nothing(world: &World) {
    // What goes wrong here takes the whole server along.
    let cluster = world.start_cluster(&[]);
    let stage = Stage::of(cluster.create_database().unwrap(), SCHEMA);
    for (body, found) in [
        ("BEGIN ATOMIC END", &[][..]),
        ("BEGIN ATOMIC ; END", &[]),
        ("BEGIN ATOMIC ;; SELECT id FROM users;; END", &["users"]),
        ("RETURN 1", &[]),
        ("RETURN (SELECT max(id) FROM users)", &["users"]),
    ] {
        for head in ["CREATE PROCEDURE p()", "CREATE FUNCTION f() RETURNS int"] {
            let statement = format!("{head} {body}");
            assert_eq!(seen(&stage.migration, &statement), found, "{statement}");
        }
    }
    for body in ["", ";", " -- nothing"] {
        let statement = format!("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS '{body}'");
        assert!(seen(&stage.migration, &statement).is_empty(), "{statement}");
    }
}

fn a_name_in_another_database_locks_nothing_and_is_told_of(world: &World) {
    let stage = Stage::new(world, SCHEMA);
    stage.migration.run("CREATE SEQUENCE numbers");
    let own = stage.migration.run("SELECT current_database()");
    let own = own.value().unwrap();
    for (statement, relation) in [
        ("DROP TABLE {d}.public.events", "events"),
        ("DROP TABLE IF EXISTS {d}.public.events", "events"),
        ("SELECT * FROM {d}.public.quiet", "quiet"),
        ("SELECT * FROM {d}.public.quiet FOR UPDATE", "quiet"),
        ("INSERT INTO {d}.public.quiet VALUES (1)", "quiet"),
        ("ALTER TABLE {d}.public.quiet ADD c int", "quiet"),
        (
            "ALTER TABLE IF EXISTS {d}.public.quiet RENAME TO renamed",
            "quiet",
        ),
        ("COMMENT ON COLUMN {d}.public.quiet.id IS 'it'", "quiet"),
        ("COMMENT ON TABLE {d}.public.quiet IS 'it'", "quiet"),
        ("CREATE INDEX ON {d}.public.quiet (id)", "quiet"),
        ("LOCK TABLE {d}.public.quiet", "quiet"),
        ("VACUUM {d}.public.quiet", "quiet"),
        ("TRUNCATE {d}.public.quiet", "quiet"),
        ("SELECT nextval('{d}.public.numbers')", "numbers"),
        (
            "ALTER SEQUENCE numbers OWNED BY {d}.public.quiet.id",
            "quiet",
        ),
        ("CREATE TABLE {d}.public.made (id int); DROP TABLE made", ""),
        (
            "CREATE VIEW {d}.public.made AS SELECT 1; DROP VIEW made",
            "",
        ),
    ] {
        // With its own in front a name is none of another database.
        let ours = statement.replace("{d}", own);
        let found = seen(&stage.migration, &ours);
        assert!(
            relation.is_empty() || found.iter().any(|name| name == relation),
            "{ours}: {found:?}"
        );
        assert_eq!(unseen(&stage.migration, &ours), [""; 0], "{ours}");
        let others = statement.replace("{d}", "nosuchdb");
        let found = seen(&stage.migration, &others);
        assert!(
            !found.iter().any(|name| name == relation),
            "{others}: {found:?}"
        );
        let told = unseen(&stage.migration, &others);
        let is_told = |row: &String| {
            row.starts_with("relation \"nosuchdb.public.")
                && row.ends_with("\" is in another database")
        };
        assert!(told.iter().any(is_told), "{others}: {told:?}");
    }
}
