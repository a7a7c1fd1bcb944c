//! Databases and clients of other encodings than UTF-8, and names that these do not have.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process::{Ending, Process};
use pg_test::{Cluster, Database, Running, Session, SessionOptions, wait_until};

use super::hostile::{is_whole, literal, way_in};
use super::{SOON, call};
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_client_that_lacks_the_characters_gets_the_servers_error_and_no_more,
        names_of_a_latin1_database_are_read_matched_and_told,
        the_way_to_end_a_prepared_transaction_is_right_in_any_encoding,
        a_role_whose_name_is_no_text_is_told_as_far_as_it_is_one,
        rules_policies_and_rows_go_through_in_any_encoding,
        a_prepared_transaction_of_another_encoding_is_somebodys_own_business,
    ]
}

/// With the extension and a table t.
pub fn database(cluster: &Cluster, encoding: &str) -> Database {
    let name = format!("{}_names", encoding.to_lowercase());
    cluster.database("postgres").ask(&format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
    ));
    let database = cluster.database(&name);
    database.create_extension().unwrap();
    database.session("admin").run("CREATE TABLE t (i int)");
    database
}

fn asleep(session: &Session, what: &str) -> Running {
    let busy = session.spawn(format!("SELECT {what}, pg_sleep(50)"));
    wait_until("the holder is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    busy
}

fn rules_policies_and_rows_go_through_in_any_encoding(world: &World) {
    let cluster = world.start_cluster(&[]);
    for encoding in ["LATIN1", "SQL_ASCII", "UTF8"] {
        let database = database(&cluster, encoding);
        let caller = database.session("é");
        if encoding == "SQL_ASCII" {
            // Bytes that are no UTF-8.
            caller.run("SET client_encoding = 'SQL_ASCII'");
            caller.run(
                "INSERT INTO lockguard.maintenance_rules (name, class, query) \
                 VALUES (E'\\xe9', 'repack', E'*\\xe9*')",
            );
        }
        caller.run(
            "INSERT INTO lockguard.maintenance_rules (name, class, query) VALUES ('é', 'repack', '*é*'); \
             SELECT lockguard.store_policy('é', '{\"preempt\": [\"repack\"], \"label\": \"é\"}', 'é')",
        );
        let holder = database.session("holder");
        holder.run("BEGIN; SELECT FROM t");
        let busy = asleep(&holder, "'é'");
        assert_eq!(
            caller
                .error("SELECT lockguard.blockers_of('{t}', 'é')")
                .code()
                .code(),
            "22023"
        );
        let rows = caller.run("SELECT class, query FROM lockguard.blockers_of('{t}')");
        assert_eq!(rows.only().text("class"), "repack", "{encoding}");
        let rows = caller.run(&call(r#"{"relations": ["t"], "policy": "é"}"#));
        assert_eq!(rows.len(), 1);
        assert!(busy.wait(SOON).is_err());
        let rows = rows_once_written(
            &caller,
            1,
            "SELECT policy, label, query FROM lockguard.preemptions",
        );
        let row = rows.only();
        assert_eq!(
            (row.text("policy"), row.text("label")),
            ("é", "é"),
            "{encoding}"
        );
        assert_eq!(row.text("query"), "SELECT 'é', pg_sleep(50)", "{encoding}");
        caller.run("SELECT lockguard.drop_policy('é')");
    }
}

fn a_prepared_transaction_of_another_encoding_is_somebodys_own_business(world: &World) {
    let cluster = world.start_cluster(&[]);
    let latin1 = database(&cluster, "LATIN1");
    let foreign = latin1.session("holder");
    foreign.run("BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'é'");
    let here = database(&cluster, "UTF8");
    let session = here.session("holder");
    session.run("BEGIN; LOCK TABLE t; PREPARE TRANSACTION 'own'");
    let rows = session.run("SELECT gid FROM lockguard.blockers_of('{t}')");
    assert_eq!(rows.only().text("gid"), "own");
    session.run("ROLLBACK PREPARED 'own'");
    foreign.run("ROLLBACK PREPARED 'é'");
}

fn a_client_that_lacks_the_characters_gets_the_servers_error_and_no_more(world: &World) {
    // `\u0442` is т, which LATIN1 has not: in a name, in the name of a prepared transaction, in a query.
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let (caller, looker) = (database.session("migration"), database.session("looker"));
    caller.run("CREATE TABLE \"т\" (); CREATE TABLE plain (); CREATE TABLE prepared ()");
    caller.run("BEGIN; LOCK TABLE prepared; PREPARE TRANSACTION 'т'");
    let holder = database.session("pg_dump");
    holder.run("BEGIN; SELECT FROM \"т\"; SELECT FROM plain");
    let busy = asleep(&holder, "'т'");
    let calls = [
        r#"{"relations": ["\"\\u0442\""]}"#,
        r#"{"relations": ["\"\\u0442\""], "dry_run": true}"#,
        r#"{"relations": ["\"\\u0442\""], "preempt": [], "timeout": "5ms", "on_timeout": "report"}"#,
        r#"{"relations": ["prepared"], "timeout": "5ms"}"#,
        r#"{"relations": ["prepared"], "timeout": "5ms", "on_timeout": "report"}"#,
        r#"{"relations": ["plain"], "dry_run": true}"#,
        r#"{"statement": "DROP TABLE \"\\u0442\""}"#,
        r#"{"relations": ["\\u0442\\u0442"]}"#,
        r#"{"\\u0442": 1}"#,
    ];
    let calls = calls.map(|document| call(&document.replace(r"\\u", r"\u")));
    let others = [
        "SELECT * FROM lockguard.blockers_of('{plain}')",
        "SELECT * FROM lockguard.blockers_of('{prepared}')",
        "SELECT * FROM lockguard.locks_of(U&'DROP TABLE \"\\0442\"')",
        "SET lockguard.policy = '{\"preempt\": [], \"timeout\": \"5ms\"}'; \
         DO $$BEGIN EXECUTE U&'DROP TABLE \"\\0442\"'; END$$",
        r#"SET lockguard.policy = '{"\u0442": 1}'; CREATE TABLE x ()"#,
    ];
    caller.run("SET client_encoding = LATIN1");
    let held = format!(
        "SELECT count(*) FROM pg_locks WHERE pid = {} AND (relation >= 16384 OR NOT granted)",
        caller.pid()
    );
    for sql in calls.iter().map(String::as_str).chain(others) {
        for block in ["", "BEGIN; "] {
            let error = caller.error(&format!("{block}{sql}"));
            assert_eq!(error.code().code(), "22P05", "{sql}: {error:?}");
            assert_eq!(looker.run(&held).value(), Some("0"), "{sql}");
            caller.run("ROLLBACK");
        }
        assert!(
            !busy.is_finished(),
            "the backup is cancelled for nothing: {sql}"
        );
    }
    // Whoever can be told is told.
    caller.run("SET client_encoding = UTF8");
    let rows = caller.run(&call(r#"{"relations": ["т"], "preempt": ["backup"]}"#));
    assert_eq!(rows.only().text("verdict"), "cancelled");
    assert_eq!(rows.only().text("query"), "SELECT 'т', pg_sleep(50)");
    assert!(busy.wait(SOON).is_err());
    is_whole(&cluster);
}

fn names_of_a_latin1_database_are_read_matched_and_told(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = database(&cluster, "LATIN1");
    let caller = database.session("migration");
    caller.run(
        "CREATE ROLE \"josé\" LOGIN; CREATE SCHEMA \"à\" CREATE TABLE \"é\" (\"ü\" int PRIMARY KEY); \
         GRANT USAGE ON SCHEMA \"à\" TO PUBLIC; GRANT SELECT ON \"à\".\"é\" TO PUBLIC",
    );
    // As the server has it, a name is in the encoding of whoever made it.
    let mut holder = database.psql();
    holder
        .env("PGUSER", OsStr::from_bytes(b"jos\xe9"))
        .env("PGCLIENTENCODING", "LATIN1")
        .arg("-c")
        .arg(OsStr::from_bytes(
            b"BEGIN; SELECT FROM \"\xe0\".\"\xe9\"; SELECT '\xfc', pg_sleep(60)",
        ))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut holder = Process::spawn(holder, Ending::Client).unwrap();
    let blockers = "SELECT * FROM lockguard.blockers_of('{à.é}')";
    wait_until("it holds its lock", SOON, || {
        !caller.run(blockers).is_empty()
    });
    let rows = caller.run(blockers);
    let row = &rows[0];
    assert_eq!(row.text("usename"), "josé");
    assert_eq!(row.text("relation"), "\"à\".\"é\"");
    assert!(row.text("query").ends_with("SELECT 'ü', pg_sleep(60)"));

    let locks = "SELECT relation, reason FROM lockguard.locks_of('DROP TABLE \"à\".\"é\"')";
    let locks = caller.run(locks);
    assert_eq!(locks[0].text("relation"), "\"à\".\"é\"");
    assert_eq!(locks[1].text("reason"), "it belongs to constraint é_pkey");

    let with = |more: &str| {
        let policy = format!(r#"{{"timeout": "5ms", {more}}}"#);
        caller.try_run(&call(&policy))
    };
    let error = with(r#""relations": ["à.é"], "preempt": []"#).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("55P03"));
    let error = with(r#""statement": "DROP TABLE à.é", "preempt": []"#).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("55P03"));
    let error = with(r#""relations": ["à.éé"]"#).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("42P01"));
    for (rule, verdict) in [
        (r#"{"usename": "josè"}"#, "would wait"),
        (r#"{"query": "*'û'*"}"#, "would wait"),
        (r#"{"usename": "jos?"}"#, "would cancel"),
        (r#"{"usename": "josé", "query": "*'ü'*"}"#, "would cancel"),
    ] {
        let more = format!(r#""relations": ["à.é"], "dry_run": true, "preempt": [{rule}]"#);
        assert_eq!(
            with(&more).unwrap().only().text("verdict"),
            verdict,
            "{rule}"
        );
    }

    caller.run(r#"SET lockguard.policy = '{"preempt": [{"usename": "é"}], "timeout": "5ms"}'"#);
    assert_eq!(caller.error("DROP TABLE à.é").code().code(), "55P03");
    caller.run(r#"SET lockguard.policy = 'é'"#);
    assert_eq!(caller.error("DROP TABLE à.é").code().code(), "22023");
    caller.run(r#"SET lockguard.policy = '{"preempt": [{"usename": "josé"}], "timeout": "20s"}'"#);
    caller.run("DROP TABLE à.é");
    assert!(holder.wait(SOON).is_some());
    is_whole(&cluster);
}

fn the_way_to_end_a_prepared_transaction_is_right_in_any_encoding(world: &World) {
    let cluster = world.start_cluster(&[]);
    for (encoding, gid) in [
        ("LATIN1", "é'\\ü"),
        ("EUC_JP", "あ\\'\n\"い"),
        ("SQL_ASCII", "é'あ\\💥"),
        ("UTF8", "é'あ\\💥"),
    ] {
        let database = database(&cluster, encoding);
        let caller = database.session("migration");
        let prepare = format!(
            "BEGIN; LOCK TABLE t IN SHARE MODE; PREPARE TRANSACTION {}",
            literal(gid)
        );
        let gids = "SELECT gid FROM lockguard.blockers_of('{t}')";
        let ways: [&dyn Fn() -> String; 3] = [
            &|| {
                let policy = r#"{"relations": ["t"], "timeout": "1ms", "on_timeout": "report"}"#;
                caller.run(&call(policy)).only().text("reason").to_owned()
            },
            &|| {
                let error = caller.error(&call(r#"{"relations": ["t"], "timeout": "1ms"}"#));
                error.detail().unwrap_or_default().to_owned()
            },
            &|| {
                let error = caller.error(&call(r#"{"relations": ["t"], "timeout": "1ms"}"#));
                error.hint().unwrap_or_default().to_owned()
            },
        ];
        for way in ways {
            caller.run(&prepare);
            assert_eq!(caller.run(gids).value(), Some(gid), "{encoding}");
            caller.run(way_in(&way()));
            assert!(caller.run(gids).is_empty(), "{encoding}");
        }
    }
    is_whole(&cluster);
}

fn a_role_whose_name_is_no_text_is_told_as_far_as_it_is_one(world: &World) {
    let cluster = world.start_cluster(&[]);
    // There nobody asks what the bytes mean; and roles are everybody's. The longest is cut within a character.
    let maker = database(&cluster, "SQL_ASCII").session("admin");
    let names: [(Vec<u8>, String); 3] = [
        (b"jos\xe9".to_vec(), r"jos\xe9".into()),
        // A `name` has room for so much of what is told.
        (vec![0xff; 63], format!(r"{}\xf", r"\xff".repeat(15))),
        (
            [b"x".repeat(60).as_slice(), b"\xf0\x9f\x92"].concat(),
            format!(r"{}\xf", "x".repeat(60)),
        ),
    ];
    for (number, (bytes, told)) in names.into_iter().enumerate() {
        let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        maker.run(&format!(
            "DO $$BEGIN EXECUTE format('CREATE ROLE %I LOGIN', E'{escaped}'); END$$"
        ));
        let database = match number {
            0 => database(&cluster, "UTF8"),
            _ => cluster.database("utf8_names"),
        };
        let caller = database.session("migration");
        caller.run("GRANT SELECT ON t TO PUBLIC");
        let mut holder = database.psql();
        holder
            .env("PGUSER", OsStr::from_bytes(&bytes))
            .args(["-c", "BEGIN; SELECT FROM t; SELECT pg_sleep(60)"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut holder = Process::spawn(holder, Ending::Client).unwrap();
        let blockers = "SELECT usename FROM lockguard.blockers_of('{t}')";
        wait_until("it holds its lock", SOON, || {
            !caller.run(blockers).is_empty()
        });
        assert_eq!(caller.run(blockers).value(), Some(told.as_str()));
        let policy =
            |rule: &str| format!(r#"{{"relations": ["t"], "preempt": [{{"usename": "{rule}"}}]}}"#);
        let rows = caller.run(&call(&policy(&format!(
            "{}*",
            told[..3].replace('\\', r"\\")
        ))));
        assert_eq!(rows.only().text("usename"), told);
        assert_eq!(rows.only().text("verdict"), "cancelled");
        assert!(holder.wait(SOON).is_some());
        assert!(database.connect(SessionOptions::default()).is_ok());
    }
    is_whole(&cluster);
}
