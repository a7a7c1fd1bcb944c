//! An index build is work that somebody wants: not preempted by default, and with its debris told.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Database, Running, Session, wait_until};

use super::scene::{Holder, SOON, Trail, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_concurrent_index_build_is_left_by_default,
        a_concurrent_index_build_that_is_preempted_leaves_an_invalid_index,
    ]
}

/// A CREATE INDEX CONCURRENTLY that waits for a transaction elsewhere in the database.
struct Build {
    session: Session,
    build: Running,
    _snapshot: Holder,
}

impl Build {
    fn start(database: &Database) -> Build {
        table(database, "t", 1_000);
        table(database, "elsewhere", 1);
        let snapshot = Holder::idle(
            database,
            "report",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM elsewhere",
        );
        let session = database.session("builder");
        let build = session.spawn("CREATE INDEX CONCURRENTLY t_i ON t (i)");
        let looker = database.session("looker");
        wait_until("the build waits for old snapshots", SOON, || {
            !looker
                .run("SELECT 1 FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots'")
                .is_empty()
        });
        Build {
            session,
            build,
            _snapshot: snapshot,
        }
    }
}

fn a_concurrent_index_build_is_left_by_default(world: &World) {
    let database = world.database();
    let build = Build::start(&database);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let rows = migration.run(&preempt(
        r#"{"relations": ["t"], "timeout": "400ms", "on_timeout": "report"}"#,
    ));
    let row = row_of(&rows, build.session.pid());
    assert_eq!(row.text("class"), "index_build");
    assert_eq!(row.text("verdict"), "in the way");
    let error = migration.error(&preempt(r#"{"relations": ["t"], "timeout": "200ms"}"#));
    assert_eq!(error.code().code(), "55P03");
    trail.has_no_victim();
    assert!(!build.build.is_finished());
}

fn a_concurrent_index_build_that_is_preempted_leaves_an_invalid_index(world: &World) {
    let database = world.database();
    let build = Build::start(&database);
    let migration = database.session("migration");
    let rows = migration.run(&preempt(
        r#"{"relations": ["t"], "preempt": ["index_build"]}"#,
    ));
    assert_eq!(verdict(&rows, build.session.pid()), "cancelled");
    let reason = row_of(&rows, build.session.pid()).text("reason");
    assert!(reason.contains("invalid index"), "{reason}");
    assert!(build.build.wait(SOON).is_err());
    let index = migration.run("SELECT indisvalid FROM pg_index WHERE indexrelid = 't_i'::regclass");
    assert_eq!(index.value(), Some("f"));
}
