//! A holder that waits, at whatever distance, for this very transaction will never let go: that is said
//! at once, by us, so that it is not the application that the server ends for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Running, Session, interposer, wait_until};

use super::LOCK;
use super::oracle::{Oracle, mode_held};
use crate::preempt::scene::{Holder, SOON, Trail, preempt, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_holder_that_waits_for_us_is_a_deadlock,
        a_young_holder_that_waits_for_us_is_a_deadlock,
        a_holder_that_waits_for_us_through_another_is_a_deadlock,
        a_holder_that_waits_for_a_row_of_ours_is_a_deadlock,
        a_holder_that_comes_to_wait_for_us_is_a_deadlock,
        a_holder_of_one_table_queued_behind_us_for_another_is_a_deadlock,
        a_request_queued_behind_our_own_weaker_lock_is_none,
        a_holder_behind_the_request_of_one_who_waits_for_us_goes_on,
        sessions_that_go_from_one_transaction_to_the_next_are_none,
        a_backup_that_waits_for_us_is_preempted,
        a_backup_that_waits_for_us_and_holds_up_a_holder_is_preempted,
        no_backup_is_preempted_for_a_holder_that_waits_for_us_as_well,
        a_deadlock_is_seen_whatever_memory_contained_before,
    ]
}

const POLICY: &str = r#"{"relations": ["t"], "timeout": "20s"}"#;

/// Well before the server looks for deadlocks itself (`deadlock_timeout`, a second).
const AT_ONCE: Duration = Duration::from_millis(500);
const DEADLOCK_TIMEOUT: Duration = Duration::from_secs(1);

struct Scene<'a> {
    trail: Trail<'a>,
    database: Database,
    migration: Session,
    application: Session,
}

impl Scene<'_> {
    /// Tables t and u, and a migration that holds a row of u, and u.
    fn new(world: &World) -> Scene<'_> {
        Scene::on(world.cluster())
    }

    fn on(cluster: &Cluster) -> Scene<'_> {
        let database = cluster.create_database().unwrap();
        for name in ["t", "u", "v"] {
            table(&database, name, 10);
        }
        let migration = database.session("migration");
        migration.run("BEGIN; UPDATE u SET t = 'ours' WHERE i = 1");
        let application = database.session("web");
        Scene {
            trail: Trail::from_now(cluster),
            migration,
            application,
            database,
        }
    }

    fn holds(&self, sql: &str) {
        self.application.run(&format!("BEGIN; {sql}"));
    }

    /// Sees that the call tells of a deadlock with the application, which goes on after it.
    #[track_caller]
    fn ends_in_a_deadlock(self, policy: &str, wait: Running) {
        let call = self.migration.spawn(preempt(policy));
        let start = call.started();
        self.ended_in_a_deadlock(call, wait, start, AT_ONCE);
    }

    #[track_caller]
    fn ended_in_a_deadlock(self, call: Running, wait: Running, since: Instant, limit: Duration) {
        let error = call.wait(SOON).unwrap_err();
        let elapsed = since.elapsed();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "40P01", "{error:?}");
        println!("a deadlock after {elapsed:?}: {}", error.message());
        assert!(elapsed < pg_test::slow(limit), "{elapsed:?}");
        let text = format!("{} {}", error.message(), error.detail().unwrap_or_default());
        for (pid, word) in [
            (self.application.pid(), "pid"),
            (self.migration.pid(), "process"),
        ] {
            assert!(text.contains(&format!("{word} {pid} ")), "{text}");
        }
        self.trail.has_no_victim();
        self.migration.run("ROLLBACK");
        wait.rows(SOON);
        assert!(!self.trail.text().contains("deadlock detected"));
    }
}

fn a_holder_that_waits_for_us_is_a_deadlock(world: &World) {
    let scene = Scene::new(world);
    scene.holds("SELECT FROM t LIMIT 1");
    let wait = scene.application.spawn("LOCK TABLE u; COMMIT");
    wait.wait_until_queued();
    wait_until("the application's transaction is long", SOON, || {
        wait.elapsed() > Duration::from_millis(200)
    });
    scene.ends_in_a_deadlock(POLICY, wait);
}

/// Nobody would call it long, and from the queue it could be waited for.
fn a_young_holder_that_waits_for_us_is_a_deadlock(world: &World) {
    let scene = Scene::new(world);
    let oracle = Oracle::start(&scene.database);
    let pid = scene.migration.pid();
    scene.holds("SELECT FROM t LIMIT 1");
    let wait = scene.application.spawn("LOCK TABLE u; COMMIT");
    wait.wait_until_queued();
    scene.ends_in_a_deadlock(
        r#"{"relations": ["t"], "timeout": "20s", "max_stall": "900ms"}"#,
        wait,
    );
    let stays = oracle.end().of(pid);
    assert!(stays.is_empty(), "{stays:?}");
}

fn a_holder_that_waits_for_us_through_another_is_a_deadlock(world: &World) {
    for policy in [
        POLICY,
        r#"{"relations": ["t"], "timeout": "20s", "max_stall": "900ms"}"#,
    ] {
        let scene = Scene::new(world);
        let between = scene.database.session("web");
        between.run("BEGIN; SELECT FROM v LIMIT 1");
        let first = between.spawn("LOCK TABLE u; COMMIT");
        first.wait_until_queued();
        scene.holds("SELECT FROM t LIMIT 1");
        let wait = scene.application.spawn("LOCK TABLE v; COMMIT");
        wait.wait_until_queued();
        scene.ends_in_a_deadlock(policy, wait);
        first.rows(SOON);
    }
}

fn a_holder_that_waits_for_a_row_of_ours_is_a_deadlock(world: &World) {
    let scene = Scene::new(world);
    scene.holds("UPDATE t SET t = 'theirs' WHERE i = 1");
    let wait = scene
        .application
        .spawn("UPDATE u SET t = 'theirs' WHERE i = 1; COMMIT");
    wait.wait_until_queued();
    scene.ends_in_a_deadlock(POLICY, wait);
}

/// While we wait for it already.
fn a_holder_that_comes_to_wait_for_us_is_a_deadlock(world: &World) {
    let scene = Scene::new(world);
    scene.holds("SELECT FROM t LIMIT 1");
    let call = scene.migration.spawn(preempt(POLICY));
    // With that, another second of waiting has begun.
    wait_until("the call says that it still waits", SOON, || {
        scene.migration.notices().len() >= 2
    });
    let wait = scene.application.spawn("LOCK TABLE u; COMMIT");
    let since = wait.started();
    // It is seen after the slice of half a deadlock_timeout that is waited in at the moment.
    scene.ended_in_a_deadlock(call, wait, since, Duration::from_millis(800));
}

fn a_holder_of_one_table_queued_behind_us_for_another_is_a_deadlock(world: &World) {
    let scene = Scene::new(world);
    scene.migration.run("SELECT FROM v LIMIT 1");
    scene.holds("SELECT FROM t LIMIT 1");
    let wait = scene.application.spawn("LOCK TABLE v; COMMIT");
    wait.wait_until_queued();
    scene.ends_in_a_deadlock(r#"{"relations": ["t", "v"], "timeout": "20s"}"#, wait);
}

fn a_request_queued_behind_our_own_weaker_lock_is_none(world: &World) {
    let scene = Scene::new(world);
    scene.migration.run("SELECT FROM t LIMIT 1");
    scene.holds("SELECT 1");
    let wait = scene.application.spawn("LOCK TABLE t; COMMIT");
    wait.wait_until_queued();
    let reader = scene.database.session("web");
    let read = reader.spawn("SELECT FROM t LIMIT 1");
    read.wait_until_queued();
    let before = Instant::now();
    scene.migration.run(&preempt(POLICY));
    let elapsed = before.elapsed();
    let held = scene.database.ask(&format!(
        "SELECT FROM pg_locks WHERE pid = {} AND mode = '{LOCK}' AND locktype = 'relation' AND granted",
        scene.migration.pid()
    ));
    assert!(!held.is_empty());
    assert!(elapsed < pg_test::slow(AT_ONCE), "{elapsed:?}");
    assert!(!wait.is_finished() && !read.is_finished());
    scene.migration.run("COMMIT");
    wait.rows(SOON);
    read.rows(SOON);
    scene.trail.has_no_victim();
}

/// Nobody holds a lock that conflicts with the holder's request: the server moves it ahead in the queue once
/// somebody in the circle has waited for `deadlock_timeout`, and that is us where the others have done so before.
fn a_holder_behind_the_request_of_one_who_waits_for_us_goes_on(world: &World) {
    for (moment, queued_for) in [
        ("at once", Duration::ZERO),
        (
            "after their own checks",
            DEADLOCK_TIMEOUT + Duration::from_millis(200),
        ),
    ] {
        let scene = Scene::new(world);
        let ddl = scene.database.session("other migration");
        let drop = ddl.spawn("DROP TABLE u");
        drop.wait_until_queued();
        scene.holds("SELECT FROM t LIMIT 1");
        let read = scene.application.spawn("SELECT FROM u LIMIT 1; COMMIT");
        read.wait_until_queued();
        wait_until("the queue has lasted", SOON, || read.elapsed() > queued_for);
        let before = Instant::now();
        scene.migration.run(&preempt(POLICY));
        let elapsed = before.elapsed();
        println!("the lock {moment} after {elapsed:?}");
        let held = mode_held(&scene.database, scene.migration.pid(), "t");
        assert_eq!(held.as_deref(), Some(LOCK));
        assert!(
            elapsed < pg_test::slow(DEADLOCK_TIMEOUT + AT_ONCE),
            "{elapsed:?}"
        );
        read.rows(SOON);
        assert!(!drop.is_finished());
        scene.trail.has_no_victim();
        assert!(!scene.trail.text().contains("deadlock detected"));
        scene.migration.run("COMMIT");
        drop.rows(SOON);
    }
}

/// They hold t, let go of it with their transaction, and wait for u, which is ours, in the next one, under
/// the same pid: nobody waits for us who is in the way.
fn sessions_that_go_from_one_transaction_to_the_next_are_none(world: &World) {
    let scene = Scene::new(world);
    scene.migration.run("LOCK TABLE u; SAVEPOINT s");
    // Within the server, so that the next transaction begins microseconds after the last.
    let pass = "DO $$BEGIN LOOP
            PERFORM FROM t LIMIT 1; PERFORM pg_sleep(0.001); COMMIT;
            SET lock_timeout = '3ms';
            BEGIN PERFORM FROM u LIMIT 1; EXCEPTION WHEN lock_not_available THEN NULL; END; COMMIT;
            SET lock_timeout = 0;
        END LOOP; END$$";
    let sessions: Vec<Session> = (0..12).map(|_| scene.database.session("web")).collect();
    let passing: Vec<Running> = sessions.iter().map(|web| web.spawn(pass)).collect();
    let policy = r#"{"relations": ["t"], "timeout": "30ms", "on_timeout": "report"}"#;
    let (start, mut calls, mut deadlocks) = (Instant::now(), 0, vec![]);
    while start.elapsed() < Duration::from_secs(10) && calls < 2000 {
        if let Err(error) = scene.migration.try_run(&preempt(policy)) {
            deadlocks.push(error.as_db_error().map(ToString::to_string));
        }
        scene.migration.run("ROLLBACK TO s");
        calls += 1;
    }
    println!(
        "{} deadlocks in {calls} calls, {:?}",
        deadlocks.len(),
        start.elapsed()
    );
    assert!(passing.iter().all(|running| !running.is_finished()));
    assert!(deadlocks.is_empty(), "{deadlocks:#?}");
    scene.trail.has_no_victim();
}

/// Once it has gone it waits for nobody.
fn a_backup_that_waits_for_us_is_preempted(world: &World) {
    let scene = Scene::new(world);
    let dump = scene.database.session("pg_dump");
    dump.run("BEGIN; SELECT FROM t LIMIT 1");
    let wait = dump.spawn("LOCK TABLE u");
    wait.wait_until_queued();
    let before = Instant::now();
    scene.migration.run(&preempt(POLICY));
    assert!(before.elapsed() < pg_test::slow(AT_ONCE));
    assert!(wait.wait(SOON).is_err());
    assert_eq!(scene.trail.victims(), [dump.pid()]);
    let held = mode_held(&scene.database, scene.migration.pid(), "t");
    assert_eq!(held.as_deref(), Some(LOCK));
}

/// The holder waits for us only through it.
fn a_backup_that_waits_for_us_and_holds_up_a_holder_is_preempted(world: &World) {
    let scene = Scene::new(world);
    let dump = scene.database.session("pg_dump");
    dump.run("BEGIN; SELECT FROM v LIMIT 1");
    let wait = dump.spawn("LOCK TABLE u");
    wait.wait_until_queued();
    scene.holds("SELECT FROM t LIMIT 1");
    let held_up = scene.application.spawn("LOCK TABLE v; COMMIT");
    held_up.wait_until_queued();
    scene.migration.run(&preempt(POLICY));
    assert!(wait.wait(SOON).is_err());
    held_up.rows(SOON);
    assert_eq!(scene.trail.victims(), [dump.pid()]);
    let held = mode_held(&scene.database, scene.migration.pid(), "t");
    assert_eq!(held.as_deref(), Some(LOCK));
}

fn no_backup_is_preempted_for_a_holder_that_waits_for_us_as_well(world: &World) {
    let scene = Scene::new(world);
    let dumps = ["t", "u"].map(|name| {
        let sql = format!("SELECT FROM {name} LIMIT 1");
        Holder::busy(&scene.database, "pg_dump", &sql)
    });
    scene.holds("SELECT FROM t LIMIT 1");
    let wait = scene.application.spawn("LOCK TABLE u; COMMIT");
    wait.wait_until_queued();
    let error = scene.migration.error(&preempt(POLICY));
    assert_eq!(error.code().code(), "40P01", "{error:?}");
    scene.trail.has_no_victim();
    assert!(dumps.iter().all(Holder::goes_on));
}

/// Two looks see the same wait, though `GetBlockerStatusData` does not write when it began.
fn a_deadlock_is_seen_whatever_memory_contained_before(world: &World) {
    let cluster = interposer::start_on_dirty_memory(world.installation(), &[]).unwrap();
    let scene = Scene::on(&cluster);
    scene.holds("SELECT FROM t LIMIT 1");
    let wait = scene.application.spawn("LOCK TABLE u; COMMIT");
    wait.wait_until_queued();
    scene.ends_in_a_deadlock(POLICY, wait);
}
