//! What `pg_stat_activity` hides from a role stays hidden from it here: in what is told, and in what
//! could be concluded from it.

use std::net::TcpListener;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process::{Ending, Process};
use pg_test::{Session, wait_until};

use super::{SOON, Stage, preempt};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        blockers_of_shows_what_pg_stat_activity_shows,
        no_answer_repeats_what_is_hidden,
        a_rule_over_a_hidden_fact_is_no_oracle,
        a_class_told_from_hidden_facts_is_no_oracle,
        the_address_stays_hidden,
        the_log_line_of_a_signal_goes_to_the_log_alone,
    ]
}

/// A session of a role of its own, idle in its transaction after a query that is nobody's business.
struct Secret {
    stage: Stage,
    victim: Session,
    /// Neither sees nor may signal the victim.
    stranger: Session,
}

impl Secret {
    fn kept_by(world: &World, application_name: &str) -> Self {
        let stage = Stage::new(world.database());
        stage.create_table("t");
        let other = stage.create_role("other", "");
        let deployer = stage.create_role("deployer", "");
        let victim = stage.session(&other, application_name);
        victim.run("BEGIN; SELECT 'the secret' FROM t");
        wait_until("its transaction is no longer young", SOON, || {
            victim.run("SELECT 'the secret', clock_timestamp() - now() > '150ms'")[0].values()[1]
                .as_deref()
                == Some("t")
        });
        let stranger = stage.session(&deployer, "migrate");
        Self {
            stage,
            victim,
            stranger,
        }
    }

    /// What a dry run with these entries tells that caller, times aside.
    #[track_caller]
    fn dry_run(&self, caller: &Session, entries: &str) -> String {
        caller.take_notices();
        let rows = caller.run(&preempt(&format!(
            r#"{{"relations": ["t"], "dry_run": true, {entries}}}"#
        )));
        let row = rows.only();
        let told: Vec<Option<&str>> = ["pid", "class", "verdict", "reason", "query"]
            .iter()
            .map(|column| row.get(column))
            .collect();
        let notices: Vec<String> = caller.notices().into_iter().map(|n| n.message).collect();
        format!("{told:?} {notices:?}")
    }
}

fn blockers_of_shows_what_pg_stat_activity_shows(world: &World) {
    let secret = Secret::kept_by(world, "pg_dump");
    let columns = "usename, application_name, client_addr, backend_type, state, wait_event_type, wait_event, \
                   backend_start, xact_start, query_start, query";
    let here = format!("SELECT {columns} FROM lockguard.blockers_of('{{t}}')");
    let there = format!(
        "SELECT {columns} FROM pg_stat_activity WHERE pid = {}",
        secret.victim.pid()
    );
    for caller in [&secret.stranger, &secret.stage.admin] {
        assert_eq!(
            caller.run(&here).only().values(),
            caller.run(&there).only().values()
        );
    }
    let rows = secret
        .stranger
        .run("SELECT class, preempt FROM lockguard.blockers_of('{t}')");
    assert_eq!(rows.only().get("class"), Some("backup"), "told by its name");
    assert_eq!(rows.only().get("preempt"), None, "would tell its state");
    secret.victim.run("COMMIT");
}

fn no_answer_repeats_what_is_hidden(world: &World) {
    // Not a backup by its name: its class is told from its state.
    let secret = Secret::kept_by(world, "psql");
    let hidden = ["the secret", "idle", "SELECT", "client backend", "young"];
    let preempts_it = r#""preempt": ["backup", "idle_in_transaction"]"#;
    let mut told = vec![
        secret.dry_run(&secret.stranger, r#""preempt": ["backup"]"#),
        secret.dry_run(&secret.stranger, preempts_it),
    ];
    for signal in ["escalate", "cancel", "terminate"] {
        for ending in ["error", "report"] {
            secret.stranger.take_notices();
            let call = preempt(&format!(
                r#"{{"relations": ["t"], {preempts_it}, "signal": "{signal}", "timeout": "150ms", "on_timeout": "{ending}"}}"#
            ));
            let said = match secret.stranger.try_run(&call) {
                Ok(rows) => format!("{rows:?}"),
                Err(error) => {
                    let error = error.as_db_error().cloned().unwrap();
                    assert_eq!(error.code().code(), "55P03");
                    let (detail, hint) = (error.detail(), error.hint());
                    format!("{} {detail:?} {hint:?}", error.message())
                }
            };
            told.push(format!("{said} {:?}", secret.stranger.notices()));
        }
    }
    for answer in told {
        for fact in hidden {
            assert!(!answer.contains(fact), "{fact} in {answer}");
        }
    }
    let seen = secret.dry_run(&secret.stage.admin, preempts_it);
    assert!(
        seen.contains("the secret") && seen.contains("idle_in_transaction"),
        "a superuser sees it all: {seen}"
    );
    secret.victim.run("COMMIT");
}

fn a_rule_over_a_hidden_fact_is_no_oracle(world: &World) {
    let secret = Secret::kept_by(world, "psql");
    let pairs = [
        (r#"{"query": "*secret*"}"#, r#"{"query": "*nothing*"}"#),
        (
            r#"{"application_name": "psql", "query": "*secret*"}"#,
            r#"{"application_name": "psql", "query": "*nothing*"}"#,
        ),
        (r#"{"older_than": "1ms"}"#, r#"{"older_than": "1 day"}"#),
        (r#"{"younger_than": "1 day"}"#, r#"{"younger_than": "1ms"}"#),
        (
            r#"{"backend_type": "client*"}"#,
            r#"{"backend_type": "walsender"}"#,
        ),
    ];
    for (yes, no) in pairs {
        for key in ["preempt", "spare"] {
            // What is spared must else be preempted for the rule to make a difference.
            let base = match key {
                "preempt" => "",
                _ => r#""preempt": [{"application_name": "psql"}], "#,
            };
            let entries = |rule: &str| format!(r#"{base}"{key}": [{rule}]"#);
            assert_eq!(
                secret.dry_run(&secret.stranger, &entries(yes)),
                secret.dry_run(&secret.stranger, &entries(no)),
                "{key}: {yes}"
            );
            assert_ne!(
                secret.dry_run(&secret.stage.admin, &entries(yes)),
                secret.dry_run(&secret.stage.admin, &entries(no)),
                "{key}: {yes} decides nothing, so that it shows nothing"
            );
        }
    }
    secret.victim.run("COMMIT");
}

fn a_class_told_from_hidden_facts_is_no_oracle(world: &World) {
    let secret = Secret::kept_by(world, "psql");
    let told = |caller: &Session, key: &str, entry: &str| {
        let base = match key {
            "preempt" => "",
            _ => r#""preempt": [{"application_name": "psql"}], "#,
        };
        secret.dry_run(caller, &format!(r#"{base}"{key}": [{entry}]"#))
    };
    let questions = [
        r#""idle_in_transaction""#,
        r#"{"class": "idle_in_transaction"}"#,
        r#"{"class": "idle_in_transaction", "application_name": "psql"}"#,
    ];
    let idle: Vec<String> = ["preempt", "spare"]
        .iter()
        .flat_map(|key| questions.map(|q| told(&secret.stranger, key, q)))
        .collect();
    let admin = told(&secret.stage.admin, "preempt", questions[0]);
    assert!(admin.contains("would terminate"), "{admin}");

    // The same session, at work.
    let busy = secret
        .victim
        .spawn("SELECT 'the secret', pg_sleep(60) FROM (VALUES (1)) v");
    wait_until("it is active", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    let active: Vec<String> = ["preempt", "spare"]
        .iter()
        .flat_map(|key| questions.map(|q| told(&secret.stranger, key, q)))
        .collect();
    assert_eq!(idle, active);
    let admin = told(&secret.stage.admin, "preempt", questions[0]);
    assert!(admin.contains("would wait"), "{admin}");
    busy.cancel();
    assert!(busy.wait(SOON).is_err());
}

fn the_address_stays_hidden(world: &World) {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port()
        .to_string();
    let cluster = world.start_cluster(&[("listen_addresses", "127.0.0.1"), ("port", &port)]);
    let stage = Stage::new(cluster.create_database().unwrap());
    stage.create_table("t");
    let other = stage.create_role("other", "");
    let deployer = stage.create_role("deployer", "");
    let mut psql = stage.database.psql();
    psql.env("PGHOST", "127.0.0.1")
        .env("PGUSER", &other)
        .args(["-c", "BEGIN; SELECT FROM t; SELECT pg_sleep(60)"]);
    let _client = Process::spawn(psql, Ending::Client).unwrap();
    let address = "SELECT client_addr FROM lockguard.blockers_of('{t}')";
    wait_until("it holds its lock", SOON, || {
        !stage.admin.run(address).is_empty()
    });
    assert_eq!(stage.admin.run(address).value(), Some("127.0.0.1"));
    let stranger = stage.session(&deployer, "migrate");
    assert_eq!(stranger.run(address).only().get("client_addr"), None);

    let asked = |caller: &Session, pattern: &str| {
        let rows = caller.run(&preempt(&format!(
            r#"{{"relations": ["t"], "dry_run": true, "preempt": [{{"client_addr": "{pattern}"}}]}}"#
        )));
        rows.only().text("verdict").to_owned()
    };
    assert_eq!(asked(&stage.admin, "127.*"), "would cancel");
    assert_eq!(asked(&stage.admin, "10.*"), "would wait");
    assert_eq!(asked(&stranger, "127.*"), asked(&stranger, "10.*"));
}

/// Whoever may signal without seeing must not read the victim's query by asking for LOG messages.
fn the_log_line_of_a_signal_goes_to_the_log_alone(world: &World) {
    let secret = Secret::kept_by(world, "pg_dump");
    let signaller = secret
        .stage
        .create_role("signaller", "IN ROLE pg_signal_backend");
    let caller = secret.stage.session(&signaller, "migrate");
    caller.run("SET client_min_messages = log");
    caller.take_notices();
    let rows = caller.run(&preempt(r#"{"relations": ["t"]}"#));
    assert_eq!(rows.only().text("verdict"), "terminated");
    let told = format!("{rows:?} {:?}", caller.notices());
    assert!(!told.contains("the secret"), "{told}");
    assert!(world.cluster().log().contains("Query: SELECT 'the secret'"));
}
