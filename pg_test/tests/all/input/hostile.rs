//! Names and texts that others choose, made to hurt: whoever reads of them gets them back as they are, and
//! nothing breaks, however they are spelled. Each in a server of its own, for roles and the names of prepared
//! transactions are everybody's.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Row, Running, Session, SessionOptions, wait_until};
use serde_json::json;

use super::SOON;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        hostile_names_come_back_as_they_are,
        hostile_names_are_matched_by_rules_and_policies,
        a_hostile_name_stays_within_its_log_line,
        the_way_to_end_a_prepared_transaction_runs_as_it_is_written,
    ]
}

/// What the server lets be a name.
const HOSTILE: [&str; 15] = [
    "it's \"quoted\"",
    r"back\slash\\n \'",
    "new\nline\r\ttab\u{1}\u{7f}\u{1b}[31m",
    "100%s %n %1$s %",
    "$policy$ $document$ $$",
    "{\"a\": [1, \"}]\\u0000",
    "\u{202e}desrever\u{200b}\u{feff}\u{2066}",
    "💥𝄞e\u{301}",
    "x\n2026-01-01 00:00:00.000 UTC [1] LOG:  lockguard cancels pid 1",
    "'; DROP TABLE t; --",
    "*/ */ /* --",
    " ",
    "?*",
    "\"), pid 1 (backup, \"pg_dump",
    // 66 bytes, of which 62 are kept: the last character does not fit.
    "éééééééééééééééééééééééééééééééé💥",
];

pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// As [`super::call`], for documents that hold its dollar quotes.
fn call(document: &str) -> String {
    format!(
        "SELECT * FROM lockguard.preempt_maintenance({})",
        literal(document)
    )
}

/// A table of such a name in a schema of such a name, and a session of a role of such a name that reads it
/// in the middle of a statement with that name in it.
struct Victim {
    database: Database,
    caller: Session,
    /// As a policy and SQL spell it.
    table: String,
    holder: Session,
    busy: Running,
    /// What the server itself tells of the holder.
    told: Row,
}

impl Victim {
    fn new(cluster: &Cluster, name: &str) -> Victim {
        let database = cluster.create_database().unwrap();
        let caller = database.session("migration");
        let (id, text) = (ident(name), literal(name));
        caller.run(&format!(
            "CREATE ROLE {id} LOGIN; CREATE SCHEMA {id} CREATE TABLE {id} (i int); \
             GRANT USAGE ON SCHEMA {id} TO {id}; GRANT SELECT ON {id}.{id} TO {id}"
        ));
        let role =
            caller.run("SELECT rolname FROM pg_roles WHERE oid = (SELECT max(oid) FROM pg_roles)");
        let table = caller.run(
            "SELECT oid::regclass::text AS t FROM pg_class WHERE relname = (SELECT max(relname) \
             FROM pg_class WHERE relnamespace = (SELECT max(oid) FROM pg_namespace))",
        );
        let (role, table) = (
            role.only().text("rolname"),
            table.only().text("t").to_owned(),
        );
        let holder = database
            .connect(SessionOptions::named(name).user(role))
            .unwrap();
        holder.run(&format!("BEGIN; SELECT FROM {table}"));
        let busy = holder.spawn(format!("SELECT {text}, pg_sleep(50)"));
        wait_until("the holder is in its statement", SOON, || {
            busy.wait_event()
                .is_some_and(|(_, event)| event == "PgSleep")
        });
        caller.take_notices();
        let told = database.ask(&format!(
            "SELECT usename, application_name, query FROM pg_stat_activity WHERE pid = {}",
            holder.pid()
        ));
        Victim {
            told: told.only().clone(),
            database,
            caller,
            table,
            holder,
            busy,
        }
    }

    fn policy(&self, more: serde_json::Value) -> String {
        let mut policy = json!({"relations": [self.table]});
        for (key, value) in more.as_object().into_iter().flatten() {
            policy[key] = value.clone();
        }
        policy.to_string()
    }

    /// The one row of a statement, which must tell of the holder what the server tells.
    #[track_caller]
    fn row(&self, sql: &str) -> Row {
        let rows = self.caller.run(sql);
        let row = rows.only();
        let told = &self.told;
        for column in ["usename", "application_name", "query"] {
            assert_eq!(row.text(column), told.text(column), "{sql}");
        }
        assert_eq!(row.text("relation"), self.table, "{sql}");
        row.clone()
    }

    /// The words of all notices since the last time.
    fn said(&self) -> String {
        let notices = self.caller.take_notices();
        let words = notices.iter().map(|notice| notice.message.clone());
        words.collect::<Vec<_>>().join("\n")
    }
}

pub fn is_whole(cluster: &Cluster) {
    let log = cluster.log();
    for sign in [
        "terminated by signal",
        "PANIC:",
        "FATAL:  ",
        "XX000",
        "panicked",
    ] {
        assert!(!log.contains(sign), "{sign}: {log}");
    }
}

const BLOCKERS: &str = "SELECT * FROM lockguard.blockers_of(ARRAY";

fn hostile_names_come_back_as_they_are(world: &World) {
    let cluster = world.start_cluster(&[]);
    for name in HOSTILE {
        let victim = Victim::new(&cluster, name);
        let (caller, table) = (&victim.caller, &victim.table);
        let application = ident(victim.told.text("application_name"));
        let spelled = literal(table);
        victim.row(&format!("{BLOCKERS}[{spelled}::regclass])"));

        let row = victim.row(&call(&victim.policy(json!({
            "preempt": [], "timeout": "1ms", "on_timeout": "report",
        }))));
        assert_eq!(row.text("verdict"), "in the way");
        let said = victim.said();
        assert!(
            said.contains(&format!("AccessExclusiveLock on {table}")),
            "{said}"
        );
        assert!(
            said.contains(&format!(
                "pid {} (application, {application})",
                victim.holder.pid()
            )),
            "{said}"
        );

        let error = caller.error(&call(
            &victim.policy(json!({"preempt": [], "timeout": "1ms"})),
        ));
        assert_eq!(error.code().code(), "55P03");
        assert!(error.message().contains(table), "{error:?}");
        let detail = error.detail().unwrap_or_default();
        assert!(
            detail.contains(table) && detail.contains(&application),
            "{error:?}"
        );

        let drop = format!("DROP TABLE {table}");
        let locks = caller.run(&format!(
            "SELECT relation FROM lockguard.locks_of({})",
            literal(&drop)
        ));
        assert_eq!(locks.only().text("relation"), table);
        let dry = json!({"statement": drop, "dry_run": true}).to_string();
        assert_eq!(victim.row(&call(&dry)).text("verdict"), "would wait");

        let waiter = victim.database.session(name);
        let waiting = waiter.spawn(drop.as_str());
        waiting.wait_until_queued();
        let dry = json!({"pid": waiter.pid(), "dry_run": true}).to_string();
        assert_eq!(victim.row(&call(&dry)).text("verdict"), "would wait");
        assert!(victim.said().contains(table));
        waiter.cancel();
        assert!(waiting.wait(SOON).is_err());

        let guard = json!({"preempt": [], "timeout": "1ms"}).to_string();
        caller.run(&format!("SET lockguard.policy = {}", literal(&guard)));
        let error = caller.error(&drop);
        assert_eq!(error.code().code(), "55P03", "{error:?}");
        assert!(error.message().contains(table), "{error:?}");
        // What is no policy is told, whatever it is.
        caller.run(&format!("SET lockguard.policy = {}", literal(name)));
        if !name.trim().is_empty() {
            assert_eq!(caller.error(&drop).code().code(), "22023");
        }
        assert!(!victim.busy.is_finished());
    }
    is_whole(&cluster);
}

fn hostile_names_are_matched_by_rules_and_policies(world: &World) {
    let cluster = world.start_cluster(&[]);
    for name in HOSTILE {
        let victim = Victim::new(&cluster, name);
        let told = &victim.told;
        let spelled = literal(&victim.table);
        for key in ["usename", "application_name", "query"] {
            let rule = json!({key: told.text(key)});
            let row = victim.row(&call(
                &victim.policy(json!({"preempt": [rule], "dry_run": true})),
            ));
            assert_eq!(row.text("verdict"), "would cancel", "{key} of {name:?}");
            let other = json!({key: format!("{}x", told.text(key))});
            let row = victim.row(&call(
                &victim.policy(json!({"preempt": [other], "dry_run": true})),
            ));
            assert_eq!(row.text("verdict"), "would wait", "{key} of {name:?}");

            victim.caller.run(&format!(
                "BEGIN; INSERT INTO lockguard.maintenance_rules (name, class, {key}) VALUES ({}, 'repack', {})",
                literal(name),
                literal(told.text(key))
            ));
            let row = victim.row(&format!("{BLOCKERS}[{spelled}::regclass])"));
            assert_eq!(row.text("class"), "repack", "{key} of {name:?}");
            victim.caller.run("ROLLBACK");
        }
    }
    is_whole(&cluster);
}

fn a_hostile_name_stays_within_its_log_line(world: &World) {
    // The usual one of the harness has the role, which breaks it without our doing.
    let cluster = world.start_cluster(&[("log_line_prefix", "'%m [%p] '")]);
    for name in HOSTILE {
        let victim = Victim::new(&cluster, name);
        let from = cluster.log().len();
        let told = &victim.told;
        let rule = json!({"usename": told.text("usename")});
        let row = victim.row(&call(&victim.policy(json!({"preempt": [rule]}))));
        assert_eq!(row.text("verdict"), "cancelled");
        let log = cluster.log().split_off(from);
        let heads = log.lines().filter(|line| !line.starts_with('\t'));
        let heads: Vec<&str> = heads.collect();
        for head in &heads {
            // The prefix that is set: only the server writes it.
            let words: Vec<&str> = head.splitn(5, ' ').collect();
            assert!(
                words.len() == 5 && words[2] == "UTC" && words[3] != "[1]",
                "{head:?} in {log}"
            );
        }
        let of_signals = heads.iter().filter(|line| {
            line.splitn(5, ' ')
                .nth(4)
                .is_some_and(|said| said.starts_with("LOG:  lockguard cancels"))
        });
        let of_signals: Vec<_> = of_signals.collect();
        assert_eq!(of_signals.len(), 1, "{log}");
        let pid = victim.holder.pid();
        assert!(
            of_signals[0].contains(&format!("] LOG:  lockguard cancels pid {pid} for ")),
            "{log}"
        );
        // The whole truth, as the server writes several lines.
        let as_logged = |text: &str| text.replace('\n', "\n\t");
        let [role, application] = ["usename", "application_name"].map(|key| ident(told.text(key)));
        for logged in [
            format!("role {role}, application_name {application}, holding "),
            told.text("query").into(),
        ] {
            assert!(log.contains(&as_logged(&logged)), "{logged} in {log}");
        }
    }
    is_whole(&cluster);
}

/// `ROLLBACK PREPARED …` in a text that says `end it with ROLLBACK PREPARED … or COMMIT PREPARED …`.
pub fn way_in(text: &str) -> &str {
    let (_, way) = text.split_once("end it with ").expect(text);
    way.rsplit_once(" or COMMIT PREPARED ").expect(text).0
}

fn the_way_to_end_a_prepared_transaction_runs_as_it_is_written(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_database().unwrap();
    let caller = database.session("migration");
    caller.run("CREATE TABLE t ()");
    // A name of a prepared transaction may have 199 bytes.
    let long = "é💥'\\".repeat(24);
    for gid in HOSTILE.into_iter().chain([long.as_str()]) {
        let prepare = format!(
            "BEGIN; LOCK TABLE t IN SHARE MODE; PREPARE TRANSACTION {}",
            literal(gid)
        );
        let is_there = || {
            !caller
                .run(&format!("{BLOCKERS}['t'::regclass])"))
                .is_empty()
        };
        caller.run(&prepare);
        let rows = caller.run(&format!("{BLOCKERS}['t'::regclass])"));
        assert_eq!(rows.only().text("gid"), gid);
        let policy = r#"{"relations": ["t"], "timeout": "1ms", "on_timeout": "report"}"#;
        let rows = caller.run(&call(policy));
        for settings in ["on", "off"] {
            caller.run(&format!("SET standard_conforming_strings = {settings}"));
            if !is_there() {
                caller.run(&prepare);
            }
            caller.run(way_in(rows.only().text("reason")));
            assert!(!is_there(), "{rows:?}");
        }
        caller.run("RESET standard_conforming_strings");

        caller.run(&prepare);
        let error = caller.error(&call(r#"{"relations": ["t"], "timeout": "1ms"}"#));
        caller.run(way_in(error.detail().unwrap_or_default()));
        assert!(!is_there(), "{error:?}");
    }
    is_whole(&cluster);
}
