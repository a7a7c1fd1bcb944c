//! A holder that waits itself is followed to what it waits for: the maintenance to preempt may be two
//! steps away, and the holder then lets go by itself.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Database, Rows, Running, Session, wait_until};

use super::LOCK;
use super::oracle::mode_held;
use crate::preempt::scene::{Holder, SOON, Trail, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        the_maintenance_that_a_holder_waits_for_with_a_table_is_preempted,
        the_maintenance_that_a_holder_waits_for_with_a_row_is_preempted,
        the_maintenance_that_a_holder_waits_for_with_an_advisory_lock_is_preempted,
        the_maintenance_three_steps_away_is_preempted,
        the_maintenance_behind_a_queue_is_preempted,
        a_dry_run_tells_of_the_maintenance_two_steps_away,
        nothing_two_steps_away_is_signalled_in_vain,
        spared_maintenance_two_steps_away_is_not_signalled,
        max_victims_counts_those_two_steps_away,
        with_all_relations_a_holder_that_waits_is_followed_too,
        with_all_relations_a_helped_holder_has_gone_when_the_way_is_free,
        without_the_lock_a_helped_holder_has_gone_when_the_way_is_free,
    ]
}

const POLICY: &str = r#"{"relations": ["t"], "timeout": "20s"}"#;

/// A deployment, and an application session that holds t and waits.
struct Scene<'a> {
    trail: Trail<'a>,
    database: Database,
    migration: Session,
    application: Session,
}

impl Scene<'_> {
    fn new(world: &World) -> Scene<'_> {
        let database = world.database();
        table(&database, "t", 10);
        table(&database, "u", 10);
        table(&database, "v", 10);
        let migration = database.session("migration");
        migration.run("BEGIN");
        let application = database.session("web");
        application.run("BEGIN; SELECT FROM t LIMIT 1");
        Scene {
            trail: Trail::from_now(world.cluster()),
            migration,
            application,
            database,
        }
    }

    fn dump(&self, sql: &str) -> Holder {
        Holder::busy(&self.database, "pg_dump", sql)
    }

    /// Has the application wait by that statement, and then be done.
    fn wait(&self, sql: &str) -> Running {
        wait_by(&self.application, sql)
    }

    /// Calls, and sees that this one is preempted, the application is done, and the lock held.
    fn has_the_lock_through(self, wait: Running, dump: Holder) -> Rows {
        let rows = self.migration.run(&preempt(POLICY));
        let row = row_of(&rows, dump.pid());
        assert_eq!(row.text("verdict"), "cancelled");
        assert_eq!(verdict(&rows, self.application.pid()), "finished");
        wait.rows(SOON);
        let held = mode_held(&self.database, self.migration.pid(), "t");
        assert_eq!(held.as_deref(), Some(LOCK));
        assert_eq!(self.trail.victims(), [dump.pid()]);
        dump.was_cancelled("by us");
        rows
    }
}

fn wait_by(session: &Session, sql: &str) -> Running {
    let wait = session.spawn(format!("{sql}; COMMIT"));
    wait.wait_until_queued();
    wait
}

/// Through whom somebody is in the way, as his row has it.
fn through(pid: i32) -> String {
    format!("; pid {pid} (application, \"web\"), which is in the way, waits for it")
}

fn is_preempted_through(world: &World, holds: &str, waits: &str) {
    let scene = Scene::new(world);
    let dump = scene.dump(holds);
    let wait = scene.wait(waits);
    let (pid, application) = (dump.pid(), scene.application.pid());
    let rows = scene.has_the_lock_through(wait, dump);
    let reason = row_of(&rows, pid).text("reason");
    assert!(reason.ends_with(&through(application)), "{reason}");
    assert_eq!(rows.len(), 2, "{rows:?}");
}

fn the_maintenance_that_a_holder_waits_for_with_a_table_is_preempted(world: &World) {
    is_preempted_through(
        world,
        "LOCK TABLE u IN ACCESS SHARE MODE",
        "ALTER TABLE u ADD COLUMN c int",
    );
}

fn the_maintenance_that_a_holder_waits_for_with_a_row_is_preempted(world: &World) {
    let update = "UPDATE u SET t = 'x' WHERE i = 1";
    is_preempted_through(world, update, update);
}

fn the_maintenance_that_a_holder_waits_for_with_an_advisory_lock_is_preempted(world: &World) {
    let lock = "SELECT pg_advisory_xact_lock(7, 7)";
    is_preempted_through(world, lock, lock);
}

fn the_maintenance_three_steps_away_is_preempted(world: &World) {
    let scene = Scene::new(world);
    let between = scene.database.session("web");
    between.run("BEGIN; SELECT FROM u LIMIT 1");
    let dump = scene.dump("SELECT FROM v LIMIT 1");
    let first = wait_by(&between, "DROP TABLE v");
    let wait = scene.wait("ALTER TABLE u ADD COLUMN c int");
    let pid = dump.pid();
    let rows = scene.has_the_lock_through(wait, dump);
    first.rows(SOON);
    let reason = row_of(&rows, pid).text("reason");
    assert!(reason.ends_with(&through(between.pid())), "{reason}");
}

/// What the holder waits for is no lock of the maintenance's, but a request that is queued behind it.
fn the_maintenance_behind_a_queue_is_preempted(world: &World) {
    let scene = Scene::new(world);
    let dump = scene.dump("SELECT FROM u LIMIT 1");
    let other = scene.database.session("web");
    other.run("BEGIN");
    let queued = wait_by(&other, "ALTER TABLE u ADD COLUMN c int");
    let wait = scene.wait("SELECT FROM u LIMIT 1");
    scene.has_the_lock_through(wait, dump);
    queued.rows(SOON);
}

fn a_dry_run_tells_of_the_maintenance_two_steps_away(world: &World) {
    let scene = Scene::new(world);
    let dump = scene.dump("SELECT FROM u LIMIT 1");
    let wait = scene.wait("ALTER TABLE u ADD COLUMN c int");
    let rows = scene
        .migration
        .run(&preempt(r#"{"relations": ["t"], "dry_run": true}"#));
    assert_eq!(verdict(&rows, scene.application.pid()), "would wait");
    let row = row_of(&rows, dump.pid());
    assert_eq!(row.text("verdict"), "would cancel");
    let reason = row.text("reason");
    assert!(
        reason.ends_with(&through(scene.application.pid())),
        "{reason}"
    );
    scene.trail.has_no_victim();
    assert!(dump.goes_on() && !wait.is_finished());
    scene.has_the_lock_through(wait, dump);
}

fn nothing_two_steps_away_is_signalled_in_vain(world: &World) {
    let scene = Scene::new(world);
    let dump = scene.dump("SELECT FROM u LIMIT 1");
    let other = Holder::idle(&scene.database, "report", "SELECT FROM u LIMIT 1");
    let wait = scene.wait("ALTER TABLE u ADD COLUMN c int");
    let error = scene
        .migration
        .error(&preempt(r#"{"relations": ["t"], "timeout": "700ms"}"#));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap_or_default();
    for pid in [dump.pid(), other.pid(), scene.application.pid()] {
        assert!(detail.contains(&format!("pid {pid} ")), "{detail}");
    }
    scene.trail.has_no_victim();
    assert!(dump.goes_on() && !wait.is_finished());

    // It is signalled once that is not in vain any more.
    scene.migration.run("ROLLBACK; BEGIN");
    let call = scene.migration.spawn(preempt(POLICY));
    wait_until("the call waits for the other one", SOON, || {
        call.wait_event()
            .is_some_and(|(_, event)| event == "virtualxid")
    });
    scene.trail.has_no_victim();
    other.session.run("COMMIT");
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, other.pid()), "finished");
    assert_eq!(verdict(&rows, dump.pid()), "cancelled");
    wait.rows(SOON);
    assert_eq!(scene.trail.victims(), [dump.pid()]);
}

fn spared_maintenance_two_steps_away_is_not_signalled(world: &World) {
    let scene = Scene::new(world);
    let dump = scene.dump("SELECT FROM u LIMIT 1");
    let wait = scene.wait("ALTER TABLE u ADD COLUMN c int");
    let rows = scene.migration.run(&preempt(
        r#"{"relations": ["t"], "spare": ["backup"], "timeout": "700ms", "on_timeout": "report"}"#,
    ));
    let row = row_of(&rows, scene.application.pid());
    assert_eq!(row.text("verdict"), "in the way");
    let waits = format!("it waits itself for pid {} (backup", dump.pid());
    assert!(row.text("reason").contains(&waits), "{row:?}");
    scene.trail.has_no_victim();
    assert!(dump.goes_on() && !wait.is_finished());
}

fn with_all_relations_a_holder_that_waits_is_followed_too(world: &World) {
    let scene = Scene::new(world);
    let lock = "SELECT pg_advisory_xact_lock(8, 8)";
    let dump = scene.dump(lock);
    let wait = scene.wait(lock);
    let rows = scene
        .migration
        .run(&preempt(r#"{"relations": "all", "timeout": "20s"}"#));
    assert_eq!(verdict(&rows, dump.pid()), "cancelled");
    assert_eq!(verdict(&rows, scene.application.pid()), "finished");
    wait.rows(SOON);
    assert_eq!(scene.trail.victims(), [dump.pid()]);
}

/// The one who waited for the maintenance goes on for a while when that is gone, and is young: the
/// way is not free before he is done.
fn a_helped_holder_has_gone(world: &World, begin: &str, policy: &str) {
    let scene = Scene::new(world);
    let lock = "SELECT pg_advisory_xact_lock(8, 8)";
    let dump = scene.dump(lock);
    scene
        .application
        .run("ROLLBACK; BEGIN; SELECT FROM t LIMIT 1");
    let wait = scene.wait("SELECT pg_advisory_xact_lock(8, 8); SELECT pg_sleep(0.4)");
    scene.migration.run(begin);
    let rows = scene.migration.run(&preempt(policy));
    assert_eq!(verdict(&rows, dump.pid()), "cancelled");
    assert_eq!(verdict(&rows, scene.application.pid()), "finished");
    let held = mode_held(&scene.database, scene.application.pid(), "t");
    assert_eq!(held, None, "the way is free");
    wait.rows(SOON);
    assert_eq!(scene.trail.victims(), [dump.pid()]);
}

fn with_all_relations_a_helped_holder_has_gone_when_the_way_is_free(world: &World) {
    a_helped_holder_has_gone(
        world,
        "SELECT",
        r#"{"relations": "all", "timeout": "20s", "max_stall": "900ms"}"#,
    );
}

fn without_the_lock_a_helped_holder_has_gone_when_the_way_is_free(world: &World) {
    a_helped_holder_has_gone(
        world,
        "ROLLBACK",
        r#"{"relations": ["t"], "timeout": "20s", "max_stall": "900ms"}"#,
    );
}

fn max_victims_counts_those_two_steps_away(world: &World) {
    let scene = Scene::new(world);
    let dumps = [
        scene.dump("SELECT FROM t LIMIT 1"),
        scene.dump("SELECT FROM u LIMIT 1"),
    ];
    let wait = scene.wait("ALTER TABLE u ADD COLUMN c int");
    let error = scene.migration.error(&preempt(
        r#"{"relations": ["t"], "max_victims": 1, "timeout": "20s"}"#,
    ));
    assert_eq!(error.code().code(), "55P03");
    assert!(error.message().contains("takes 2 victims"), "{error:?}");
    scene.trail.has_no_victim();
    assert!(dumps.iter().all(Holder::goes_on) && !wait.is_finished());
}
