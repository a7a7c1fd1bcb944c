//! The harness itself, against a real server: what the scenarios take for granted.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::interposer::Moment;
use pg_test::process::{self, Ending, Process};
use pg_test::{Cluster, Interposer, OTHER_VARIABLE, SessionOptions, SlowReader, setup, wait_until};

use crate::world::{World, scenarios};

const SOON: Duration = Duration::from_secs(10);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = scenarios![
        world;
        a_fresh_database_has_the_extension,
        a_statement_hangs_in_a_lock_queue_and_goes_on,
        notices_are_collected_as_they_arrive,
        a_session_dropped_mid_statement_lets_go_of_its_locks,
        options_reach_the_session,
        an_error_tells_its_sqlstate,
        a_slowly_read_dump_keeps_its_lock,
        a_dump_read_at_full_speed_ends_well,
        programs_do_not_see_our_environment,
        a_virtual_environment_has_its_packages,
        settings_and_data_survive_a_restart,
        a_crashed_server_recovers,
        a_standby_follows_its_primary,
        a_dropped_process_is_gone,
        a_child_outlives_the_thread_that_asked_for_it,
        a_signal_is_held_up_before_and_after_it_is_sent,
        a_signal_is_as_late_as_asked,
        a_failed_assertion_fails_the_scenario,
    ];
    // Of the same major, and so loaded: `cargo asserted` names Debian's, which has a smaller PGPROC.
    if std::env::var_os(OTHER_VARIABLE).is_some() {
        trials.extend(scenarios![world; a_library_for_another_build_of_the_server_is_refused]);
    }
    trials
}

fn a_fresh_database_has_the_extension(world: &World) {
    let session = world.database().session("app");
    let rows =
        session.run("SELECT extname, extversion FROM pg_extension WHERE extname = 'lockguard'");
    assert_eq!(rows.only().text("extname"), "lockguard");
}

fn a_statement_hangs_in_a_lock_queue_and_goes_on(world: &World) {
    let database = world.database();
    let (holder, waiter) = (database.session("holder"), database.session("waiter"));
    holder.run("CREATE TABLE t ()");
    holder.run("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE");
    let drop = waiter.spawn("DROP TABLE t");
    drop.wait_until_queued();
    assert!(!drop.is_finished());
    let before = Instant::now();
    holder.run("COMMIT");
    drop.wait(SOON).unwrap();
    assert!(before.elapsed() < pg_test::slow(Duration::from_secs(1)));
    assert_eq!(holder.run("SELECT to_regclass('t')").value(), None);
}

fn notices_are_collected_as_they_arrive(world: &World) {
    let session = world.database().session("app");
    let running = session.spawn("DO $$BEGIN RAISE NOTICE 'one' USING DETAIL = 'more'; PERFORM pg_sleep(0.5); RAISE WARNING 'two'; END$$");
    wait_until("the first notice is here", SOON, || {
        session.notices().len() == 1
    });
    assert!(
        !running.is_finished(),
        "the first notice came only with the end of the statement"
    );
    running.wait(SOON).unwrap();
    let notices = session.take_notices();
    let texts: Vec<_> = notices
        .iter()
        .map(|n| (n.severity.as_str(), n.message.as_str(), n.detail.as_deref()))
        .collect();
    assert_eq!(
        texts,
        [("NOTICE", "one", Some("more")), ("WARNING", "two", None)]
    );
    assert!(notices[1].at - notices[0].at >= Duration::from_millis(450));
    assert!(session.notices().is_empty());
}

fn a_session_dropped_mid_statement_lets_go_of_its_locks(world: &World) {
    let database = world.database();
    let observer = database.session("observer");
    observer.run("CREATE TABLE t ()");
    let holder = database.session("holder");
    holder.run("BEGIN; LOCK TABLE t");
    let sleeping = holder.spawn("SELECT pg_sleep(50)");
    drop(holder);
    assert!(sleeping.wait(SOON).is_err());
    wait_until("the lock is free", SOON, || {
        observer
            .run("SELECT count(*) FROM pg_locks WHERE relation = 't'::regclass")
            .value()
            == Some("0")
    });
}

fn options_reach_the_session(world: &World) {
    let database = world.database();
    database.session("app").run("CREATE ROLE clerk LOGIN");
    let options = SessionOptions::named("Heroku Postgres Backups")
        .user("clerk")
        .set("search_path", "a, b")
        .set("statement_timeout", "7s");
    let session = database.connect(options).unwrap();
    let settings = session.run(
        "SELECT current_user AS role, current_setting('application_name') AS name, \
         current_setting('search_path') AS path, current_setting('statement_timeout') AS timeout, pg_backend_pid() AS pid",
    );
    let row = settings.only();
    assert_eq!(row.text("role"), "clerk");
    assert_eq!(row.text("name"), "Heroku Postgres Backups");
    assert_eq!(row.text("path"), "a, b");
    assert_eq!(row.text("timeout"), "7s");
    assert_eq!(row.text("pid"), session.pid().to_string());
    drop(session);
    database.session("app").run("DROP ROLE clerk");
}

fn an_error_tells_its_sqlstate(world: &World) {
    let error = world.database().session("app").error("SELECT 1 / 0");
    assert_eq!(error.code().code(), "22012");
}

/// A table whose dump is larger than all the buffers between the server and a reader that does not read.
const BIG: &str =
    "CREATE TABLE big AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, 20000) i";

fn a_slowly_read_dump_keeps_its_lock(world: &World) {
    let database = world.database();
    let session = database.session("app");
    session.run(BIG);
    let mut backup = database.pg_dump();
    backup.env("PGAPPNAME", "Heroku Postgres Backups");
    let mut dump = SlowReader::spawn(backup, 50_000).unwrap();
    let holds = "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) \
                 WHERE relation = 'big'::regclass AND application_name = 'Heroku Postgres Backups'";
    let stuck = format!("{holds} AND wait_event = 'ClientWrite'");
    wait_until("the server waits for the reader of its dump", SOON, || {
        !session.run(&stuck).is_empty()
    });
    assert!(
        dump.bytes_read() < 1_000_000,
        "{} bytes read",
        dump.bytes_read()
    );
    let slow = dump.bytes_read();
    wait_until("the dump goes on slowly", SOON, || dump.bytes_read() > slow);
    assert_eq!(dump.status(), None);
    let pid = session.run(holds).only().text("pid").to_owned();
    session.run(&format!("SELECT pg_terminate_backend({pid})"));
    wait_until("the lock is free", SOON, || session.run(holds).is_empty());
    dump.set_rate(u64::MAX / 2);
    let status = dump
        .wait(SOON)
        .expect("pg_dump ends when its server side does");
    assert!(!status.success());
    let said = dump.finish();
    assert!(said.contains("error"), "{said}");
}

fn a_dump_read_at_full_speed_ends_well(world: &World) {
    let database = world.database();
    database.session("app").run(BIG);
    let dump = process::run(database.pg_dump()).unwrap().expect_success();
    assert!(
        dump.stdout.len() > 10_000_000,
        "{} bytes",
        dump.stdout.len()
    );
    let copied = process::run({
        let mut psql = database.psql();
        psql.args(["-At", "-c", "SELECT count(*) FROM big"]);
        psql
    });
    assert_eq!(copied.unwrap().expect_success().stdout, "20000\n");
}

fn programs_do_not_see_our_environment(world: &World) {
    let database = world.database();
    let seen = process::run(database.command("/usr/bin/env"))
        .unwrap()
        .expect_success()
        .stdout;
    assert!(
        !seen.contains("RUST_BACKTRACE") && !seen.contains("CARGO"),
        "{seen}"
    );
    assert!(
        seen.contains(&format!("PGDATABASE={}", database.name())),
        "{seen}"
    );
    let who = process::run(database.command("/usr/bin/whoami"))
        .unwrap()
        .expect_success()
        .stdout;
    assert_eq!(who.trim(), world.installation().account().name());
    assert_ne!(who.trim(), "root");
}

fn a_virtual_environment_has_its_packages(world: &World) {
    let python = world
        .installation()
        .virtual_environment(&["sqlparse"])
        .unwrap();
    let mut import = world.installation().command(python);
    import.args(["-c", "import sqlparse; print(sqlparse.__file__)"]);
    let file = process::run(import).unwrap().expect_success().stdout;
    assert!(
        Path::new(&file).starts_with(world.installation().folder()),
        "{file}"
    );
}

fn settings_and_data_survive_a_restart(world: &World) {
    let cluster = world.start_cluster(&[("deadlock_timeout", "123ms")]);
    let database = cluster.create_database().unwrap();
    database
        .session("app")
        .run("CREATE TABLE kept AS SELECT 42 AS answer");
    cluster.set(&[("max_connections", "50")]).unwrap();
    cluster.restart().unwrap();
    let session = database.session("app");
    assert_eq!(session.run("SELECT answer FROM kept").value(), Some("42"));
    assert_eq!(session.run("SHOW deadlock_timeout").value(), Some("123ms"));
    assert_eq!(session.run("SHOW max_connections").value(), Some("50"));
    assert!(
        cluster
            .log()
            .contains("database system is ready to accept connections")
    );
}

fn a_crashed_server_recovers(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = cluster.create_empty_database().unwrap();
    database.session("app").run("CREATE TABLE kept ()");
    cluster.crash();
    assert_eq!(cluster.pid(), None);
    cluster.start_again().unwrap();
    assert_eq!(
        database
            .session("app")
            .run("SELECT to_regclass('kept')")
            .value(),
        Some("kept")
    );
    assert!(
        cluster
            .log()
            .contains("database system was not properly shut down"),
        "{}",
        cluster.log()
    );
}

fn a_standby_follows_its_primary(world: &World) {
    let primary = world.start_cluster(&[]);
    let database = primary.create_database().unwrap();
    let standby = Cluster::standby_of(&primary, &[]).unwrap();
    let copy = standby.database(database.name()).session("app");
    assert_eq!(copy.run("SELECT pg_is_in_recovery()").value(), Some("t"));
    database.session("app").run("CREATE TABLE later ()");
    wait_until("the new table is replayed", SOON, || {
        copy.run("SELECT to_regclass('later')").value() == Some("later")
    });
}

fn a_dropped_process_is_gone(_: &World) {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let process = Process::spawn(sleep, Ending::Client).unwrap();
    let running = format!("/proc/{}", process.pid());
    assert!(std::fs::exists(&running).unwrap());
    drop(process);
    assert!(!std::fs::exists(&running).unwrap());
}

fn a_child_outlives_the_thread_that_asked_for_it(_: &World) {
    let asked = std::thread::spawn(|| {
        let mut sleep = Command::new("sleep");
        sleep.arg("1000");
        Process::spawn(sleep, Ending::Client).unwrap()
    });
    let mut process = asked.join().unwrap();
    assert_eq!(
        process.wait(Duration::from_millis(300)),
        None,
        "ended with the thread"
    );
    assert!(process.end().is_some());
}

fn a_signal_is_held_up_before_and_after_it_is_sent(world: &World) {
    let interposer = Interposer::new(world.installation()).unwrap();
    let cluster = interposer.start(world.installation(), &[]).unwrap();
    let database = cluster.create_database().unwrap();
    let (victim, caller) = (database.session("victim"), database.session("caller"));
    victim.run("CREATE TABLE t ()");
    let by_hand = format!("SELECT pg_cancel_backend({})", victim.pid());
    let by_lockguard = r#"SELECT lockguard.preempt_maintenance(
        '{"relations": ["t"], "preempt": [{"application_name": "victim"}], "signal": "cancel"}')"#;
    for (moment, arrives) in [(Moment::Before, false), (Moment::After, true)] {
        for cancel in [&by_hand, by_lockguard] {
            let sleeping = victim.spawn("BEGIN; LOCK TABLE t; SELECT pg_sleep(50)");
            wait_until("the victim sleeps", SOON, || {
                sleeping
                    .wait_event()
                    .is_some_and(|(_, event)| event == "PgSleep")
            });
            let hits = || cluster.log().matches("canceling statement due to").count();
            let before = hits();
            let hold = interposer.hold(moment).unwrap();
            let call = caller.spawn(cancel);
            wait_until("the caller is held up", SOON, || {
                hold.pid() == Some(caller.pid())
            });
            if arrives {
                // The log tells of it before the victim needs the lock that the caller may have.
                wait_until("the victim is hit", SOON, || hits() > before);
            } else {
                assert_eq!(hits(), before, "{cancel}");
            }
            assert!(!call.is_finished(), "{moment:?}: {cancel}");
            drop(hold);
            assert!(sleeping.wait(SOON).is_err());
            victim.run("ROLLBACK");
            call.rows(SOON);
        }
    }
}

fn a_signal_is_as_late_as_asked(world: &World) {
    let interposer = Interposer::new(world.installation()).unwrap();
    let cluster = interposer.start(world.installation(), &[]).unwrap();
    let database = cluster.create_empty_database().unwrap();
    let (victim, caller) = (database.session("victim"), database.session("caller"));
    let cancel = format!("SELECT pg_cancel_backend({})", victim.pid());
    let late = Duration::from_millis(300);
    interposer.pause(late).unwrap();
    let start = Instant::now();
    caller.run(&cancel);
    assert!(start.elapsed() >= late);
    interposer.pause(Duration::ZERO).unwrap();
    let start = Instant::now();
    caller.run(&cancel);
    assert!(start.elapsed() < pg_test::slow(late));
}

/// Whatever server it happens on, and whatever the scenario looks at.
fn a_failed_assertion_fails_the_scenario(world: &World) {
    assert!(pg_test::complaints().is_empty());
    let cluster = world.start_cluster(&[]);
    let log = cluster.folder().join("server.log");
    let mut log = File::options().append(true).open(log).unwrap();
    writeln!(log, "TRAP: FailedAssertion(\"false\")").unwrap();
    let found = pg_test::complaints();
    assert!(
        matches!(&found[..], [one] if one.contains("TRAP: FailedAssertion")),
        "{found:?}"
    );
    assert!(pg_test::complaints().is_empty(), "told twice");
}

fn a_library_for_another_build_of_the_server_is_refused(world: &World) {
    let built = setup::library_for_another_server(world.installation().toolchain()).unwrap();
    let library = world.installation().copy_in(&built).unwrap();
    let library = library.display().to_string();
    let preempt = format!(
        "CREATE FUNCTION preempt(jsonb) RETURNS SETOF record LANGUAGE c AS '{library}', 'preempt_maintenance_wrapper'"
    );
    let plain = world.start_cluster(&[]);
    let preloaded = world.start_cluster(&[("shared_preload_libraries", &library)]);
    for (cluster, how) in [(plain, "loaded"), (preloaded, "preloaded")] {
        let session = cluster.create_empty_database().unwrap().session("app");
        let error = match how {
            "loaded" => session.error(&preempt),
            _ => {
                session.run(&preempt);
                session.error("SELECT preempt('{}')")
            }
        };
        assert_eq!(error.code().code(), "0A000", "{how}: {error:?}");
        let detail = error.detail().unwrap_or_default();
        assert!(detail.contains("PGPROC has"), "{how}: {error:?}");
        assert!(error.hint().is_some_and(|hint| hint.contains("pg_config")));
        println!("{how}: {}: {detail}", error.message());
        assert_eq!(session.run("SELECT 1").value(), Some("1"));
    }
}
