//! Never in vain: maintenance dies only where its death frees the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::process;

use super::scene::{
    Backup, Holder, SLOWLY, SOON, Trail, is_alive, preempt, row_of, stays_true, table, verdict,
};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_backup_beside_an_application_transaction_lives,
        a_backup_dies_only_once_the_application_has_let_go,
        steady_application_traffic_does_not_keep_a_backup_alive,
        traffic_that_tracks_no_activity_does_not_either,
    ]
}

fn a_backup_beside_an_application_transaction_lives(world: &World) {
    let database = world.database();
    table(&database, "t", 10_000);
    let mut backup = Backup::start(&database, SLOWLY);
    let application = Holder::busy(&database, "web", "SELECT count(*) FROM t");
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let error = migration.error(&preempt(r#"{"relations": ["t"], "timeout": "700ms"}"#));
    assert_eq!(error.code().code(), "55P03");
    assert!(
        error
            .message()
            .contains("AccessExclusiveLock on t within 700 ms"),
        "{error}"
    );
    let detail = error.detail().unwrap_or_default();
    for part in [
        format!(
            "pid {} (backup, \"Heroku Postgres Backups\") holds AccessShareLock on t",
            backup.pid
        ),
        format!(
            "pid {} (application, \"web\") holds AccessShareLock on t",
            application.pid()
        ),
    ] {
        assert!(detail.contains(&part), "no {part} in: {detail}");
    }
    assert!(error.hint().is_some());
    trail.has_no_victim();
    assert!(backup.is_running());
    assert!(is_alive(&database, backup.pid));
    assert!(application.goes_on());
}

fn a_backup_dies_only_once_the_application_has_let_go(world: &World) {
    let database = world.database();
    table(&database, "t", 20_000);
    let mut backup = Backup::start(&database, SLOWLY);
    let application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    // The backup's wait is counted from the first look.
    pg_test::wait_until("the call has looked", SOON, || {
        !migration.notices().is_empty()
    });
    stays_true(
        "the backup lives while the application stays",
        Instant::now() + Duration::from_millis(1_500),
        || backup.is_running() && trail.victims().is_empty(),
    );
    let waiting = migration.notices();
    assert!(
        waiting.len() >= 2
            && waiting[1].message.contains("is left alone")
            && waiting[1]
                .message
                .contains(&format!("pid {}", application.pid())),
        "{waiting:?}"
    );
    let released =
        database.ask("SELECT extract(epoch FROM clock_timestamp() - current_date) AS at");
    let released = Duration::from_secs_f64(released.only().text("at").parse().unwrap());
    application.session.run("COMMIT");
    let rows = call.rows(SOON);
    migration.run("DROP TABLE t; COMMIT");
    assert_eq!(verdict(&rows, application.pid()), "finished");
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    let waited: u32 = row_of(&rows, backup.pid).text("waited_ms").parse().unwrap();
    assert!(waited >= 1_400, "{waited} ms");
    let signals = trail.signals();
    assert_eq!(signals.len(), 1, "{signals:?}");
    assert_eq!(signals[0].pid, backup.pid);
    // The log tells milliseconds.
    assert!(
        signals[0].at + Duration::from_millis(1) >= released,
        "{signals:?} before {released:?}"
    );
}

fn steady_application_traffic_does_not_keep_a_backup_alive(world: &World) {
    beside_steady_traffic(world, "on");
}

/// How old their transactions are is then known only by watching them.
fn traffic_that_tracks_no_activity_does_not_either(world: &World) {
    beside_steady_traffic(world, "off");
}

/// Six clients leave a holder on the table at nearly every instant.
fn beside_steady_traffic(world: &World, track_activities: &str) {
    let database = world.database();
    table(&database, "t", 10_000);
    database.session("setup").run("CREATE INDEX ON t (i)");
    let backup = Backup::start(&database, SLOWLY);
    let script = world
        .installation()
        .new_folder("script")
        .unwrap()
        .join("traffic.sql");
    std::fs::write(
        &script,
        "BEGIN;\nSELECT i FROM t WHERE i = 1;\n\\sleep 20 ms\nSELECT i FROM t WHERE i = 2;\nEND;\n",
    )
    .unwrap();
    let mut pgbench = database.pgbench();
    pgbench
        .env("PGAPPNAME", "web")
        .env(
            "PGOPTIONS",
            format!("-c track_activities={track_activities}"),
        )
        .args(["-n", "-c", "6", "-T", "4", "-f"])
        .arg(&script);
    let traffic = std::thread::spawn(move || process::run(pgbench));
    let looker = database.session("looker");
    pg_test::wait_until("the traffic flows", SOON, || {
        let clients =
            looker.run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'web'");
        clients
            .value()
            .is_some_and(|n| n.parse::<u32>().unwrap() >= 3)
    });
    let trail = Trail::from_now(world.cluster());
    let start = Instant::now();
    let rows = database
        .session("migration")
        .run(&preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    let elapsed = start.elapsed();
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    println!("a backup beside six clients: {elapsed:?}");
    assert!(
        elapsed < pg_test::slow(Duration::from_secs(2)),
        "{elapsed:?}"
    );
    let traffic = traffic.join().unwrap().unwrap().expect_success();
    assert!(
        traffic.stdout.contains("number of failed transactions: 0 "),
        "{}",
        traffic.stdout
    );
    assert!(!traffic.stderr.contains("abort"), "{}", traffic.stderr);
    assert_eq!(trail.victims(), [backup.pid], "no application session");
    assert!(!backup.end().0.success());
}
