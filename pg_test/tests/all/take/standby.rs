//! On a standby no lock above ROW EXCLUSIVE can be held: such a call is refused in a block, before
//! anything is done, and clears the way outside of one.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Cluster, wait_until};

use super::scene::{Holder, MODES, SOON, Stage, Trail, call, perform};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_standby_keeps_the_locks_that_it_can_and_refuses_the_others_first,
    ]
}

fn a_standby_keeps_the_locks_that_it_can_and_refuses_the_others_first(world: &World) {
    let primary = world.start_cluster(&[]);
    let origin = primary.create_database().unwrap();
    origin.session("ddl").run(
        "CREATE TABLE t (i int PRIMARY KEY); CREATE TABLE p (i int) PARTITION BY LIST (i); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
    );
    let standby = Cluster::standby_of(&primary, &[("max_standby_streaming_delay", "-1")]).unwrap();
    let copy = standby.database(origin.name());
    let looker = copy.session("looker");
    wait_until("the tables are replayed", SOON, || {
        looker.run("SELECT to_regclass('p1')").value().is_some()
    });
    let stage = Stage::of(copy.clone(), "SELECT 1");
    for (spelled, mode) in MODES {
        let lock = format!("BEGIN; LOCK TABLE t IN {spelled} MODE");
        let core_lets = stage.migration.try_run(&lock).is_ok();
        stage.migration.run("ROLLBACK");
        assert_eq!(
            core_lets,
            mode == "AccessShareLock" || mode.starts_with("Row"),
            "{mode}"
        );
        let more = format!(r#", "mode": "{mode}""#);
        if core_lets {
            stage
                .migration
                .run(&format!("BEGIN; {}", call("t p", &more)));
            stage.holds(mode, "t t_pkey p p1");
            stage.migration.run("COMMIT");
            continue;
        }
        let dump = Holder::busy(&copy, "pg_dump", "SELECT FROM t");
        let trail = Trail::from_now(&standby);
        stage.migration.take_notices();
        stage.migration.run("BEGIN");
        let error = stage.migration.error(&call("t", &more));
        assert_eq!(error.code().code(), "55000", "{error}");
        assert!(
            error.hint().unwrap().contains("\"take_lock\": false"),
            "{error}"
        );
        stage.migration.run("ROLLBACK");
        // Here too a DO block is a transaction that later statements share.
        let error = stage
            .migration
            .error(&format!("DO $do$BEGIN {}; END$do$", perform("t", &more)));
        assert_eq!(error.code().code(), "55000", "{error}");
        stage.holds_nothing("an error");
        assert!(stage.migration.take_notices().is_empty());
        trail.has_no_victim();
        assert!(dump.goes_on());
        if mode != "AccessExclusiveLock" {
            continue;
        }
        for (begin, more) in [
            ("SELECT 1", String::new()),
            ("BEGIN", r#", "take_lock": false"#.into()),
        ] {
            let dump = Holder::busy(&copy, "pg_dump", "SELECT FROM t");
            stage.migration.run(begin);
            stage.migration.run(&call("t", &more));
            stage.holds_nothing("a call that does not take the lock");
            dump.was_cancelled("the call");
        }
        stage.migration.run("COMMIT");
    }
}
