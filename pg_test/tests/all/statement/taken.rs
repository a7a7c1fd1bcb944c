//! Which locks are held after the call: each relation's own, and none that the role could not take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::Backup;

use super::{TABLES, call, on_tables};
use crate::preempt::scene::{SLOWLY, exists, preempt, table, verdict};
use crate::take::rights::role;
use crate::take::scene::{Holder, SOON, STRONGEST, Stage, Trail, last_told, pairs};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        dropping_a_table_gets_past_a_backup_of_the_table_that_it_references,
        each_relation_is_taken_at_its_own_mode,
        a_relation_that_several_statements_lock_is_taken_at_what_covers_all_of_them,
        what_the_role_could_not_lock_is_cleared_and_not_taken,
        what_the_statement_has_come_to_need_meanwhile_is_held_too,
        by_itself_the_call_clears_the_way_and_keeps_nothing,
        without_take_lock_nothing_is_held,
        many_toast_tables_are_taken_about_as_fast_as_by_name,
    ]
}

fn dropping_a_table_gets_past_a_backup_of_the_table_that_it_references(world: &World) {
    let stage = Stage::new(world, "");
    table(&stage.database, "users", 20_000);
    stage.migration.run(
        "ALTER TABLE users ADD PRIMARY KEY (i); CREATE TABLE events (user_id int REFERENCES users)",
    );
    let backup = Backup::of_table(&stage.database, "users", SLOWLY);
    stage.migration.run("BEGIN");
    let rows = stage.migration.run(&call("DROP TABLE events", ""));
    assert_eq!(rows.only().text("relation"), "users");
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    let held = stage.held();
    for name in ["events", "users"] {
        assert!(held.contains(&(name.into(), STRONGEST.into())), "{held:?}");
    }
    let told = last_told(&stage.migration);
    assert!(
        told.starts_with("lockguard: holds the locks of DROP TABLE events after "),
        "{told}"
    );
    stage
        .migration
        .run("SET LOCAL lock_timeout = '1ms'; DROP TABLE events; COMMIT");
    assert!(!exists(&stage.database, "events"));
    assert!(!backup.end().0.success());
}

fn each_relation_is_taken_at_its_own_mode(world: &World) {
    let stage = Stage::new(world, TABLES);
    let statements = [
        (
            "CREATE INDEX ON other (i); ALTER TABLE events ADD COLUMN k int",
            vec![("events", STRONGEST), ("other", "ShareLock")],
        ),
        (
            "ALTER TABLE other ADD CONSTRAINT f FOREIGN KEY (i) REFERENCES users",
            vec![
                ("other", "ShareRowExclusiveLock"),
                ("users", "ShareRowExclusiveLock"),
            ],
        ),
        (
            "ALTER TABLE events VALIDATE CONSTRAINT events_user_id_fkey; DROP TABLE other",
            vec![("events", "ShareUpdateExclusiveLock"), ("other", STRONGEST)],
        ),
    ];
    for (statement, expected) in statements {
        stage.migration.run("BEGIN");
        stage.migration.run(&call(statement, ""));
        let held = on_tables(stage.held());
        for (name, mode) in expected {
            let modes: Vec<&str> = held
                .iter()
                .filter(|(held, _)| held == name)
                .map(|(_, mode)| mode.as_str())
                .collect();
            assert_eq!(modes, [mode], "{statement}: {name}");
        }
        stage.migration.run("ROLLBACK");
    }
}

fn a_relation_that_several_statements_lock_is_taken_at_what_covers_all_of_them(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.migration.run("BEGIN");
    stage.migration.run(&call(
        "CREATE INDEX ON other (i); ALTER TABLE other ALTER i SET STATISTICS 10",
        "",
    ));
    assert_eq!(
        on_tables(stage.held()),
        pairs("ShareRowExclusiveLock", "other")
    );
    stage.migration.run("ROLLBACK");
}

fn what_the_role_could_not_lock_is_cleared_and_not_taken(world: &World) {
    let stage = Stage::new(world, TABLES);
    let deployer = role(
        &stage,
        "deployer",
        "IN ROLE pg_signal_backend",
        "ALTER TABLE events OWNER TO $role",
    );
    // Whoever may be signalled by a role that is no superuser is none himself.
    let backup = role(&stage, "backup", "", "GRANT SELECT ON users TO $role");
    backup.run("SET application_name = 'pg_dump'; BEGIN; SELECT FROM users");
    deployer.run("BEGIN");
    let rows = deployer.run(&call("DROP TABLE events", ""));
    assert_eq!(verdict(&rows, backup.pid()), "terminated");
    assert_eq!(
        on_tables(stage.held_by(&deployer)),
        pairs(STRONGEST, "events")
    );
    let told = last_told(&deployer);
    let left = "; not locked beforehand, for this role could not by LOCK TABLE: users";
    assert!(told.contains(left), "{told}");
    deployer.run("DROP TABLE events; COMMIT");
}

fn what_the_statement_has_come_to_need_meanwhile_is_held_too(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.migration.run("ALTER TABLE other ADD PRIMARY KEY (i)");
    let change = "ALTER TABLE events ADD CONSTRAINT f FOREIGN KEY (j) REFERENCES other";
    let application = Holder::idle(&stage.database, "web", change);
    stage.migration.run("BEGIN");
    let running = stage.migration.spawn(call("DROP TABLE events", ""));
    stage.wait_until_it_waits();
    application.session.run("COMMIT");
    running.wait(SOON).unwrap();
    assert_eq!(
        on_tables(stage.held()),
        pairs(STRONGEST, "events other users")
    );
}

fn by_itself_the_call_clears_the_way_and_keeps_nothing(world: &World) {
    let stage = Stage::new(world, TABLES);
    let trail = Trail::from_now(world.cluster());
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM users");
    stage.migration.run(&call("DROP TABLE events", ""));
    assert_eq!(trail.victims(), [backup.pid()]);
    stage.holds_nothing("after the call");
    let told = last_told(&stage.migration);
    assert!(told.ends_with("no lock is kept"), "{told}");
}

fn without_take_lock_nothing_is_held(world: &World) {
    let stage = Stage::new(world, TABLES);
    let backup = Holder::busy(&stage.database, "pg_dump", "SELECT FROM users");
    stage.migration.run("BEGIN");
    let rows = stage
        .migration
        .run(&call("DROP TABLE events", r#", "take_lock": false"#));
    assert_eq!(verdict(&rows, backup.pid()), "cancelled");
    stage.holds_nothing("without take_lock");
}

/// A table that has a TOAST table, so that thousands of partitions have thousands of these and of their
/// indexes.
const TREE: &str = "CREATE TABLE pp (i int, body text) PARTITION BY LIST (i); \
     DO $$BEGIN FOR i IN 1..3000 LOOP \
     EXECUTE format('CREATE TABLE pp%s PARTITION OF pp FOR VALUES IN (%s)', i, i); \
     IF i % 100 = 0 THEN COMMIT; END IF; END LOOP; END$$";

fn many_toast_tables_are_taken_about_as_fast_as_by_name(world: &World) {
    let cluster = world.start_cluster(&[("max_locks_per_transaction", "1000")]);
    let stage = Stage::of(cluster.create_database().unwrap(), "");
    // As long as it takes beside whatever else the machine does.
    stage.migration.run("SET statement_timeout = '10min'");
    for part in TREE.split_inclusive("(i); ") {
        stage.migration.run(part);
    }
    stage.migration.run("RESET statement_timeout");
    let timed = |call: &str| {
        let start = Instant::now();
        stage.migration.run("BEGIN");
        stage.migration.run(call);
        let took = start.elapsed();
        stage.migration.run("ROLLBACK");
        took
    };
    // By turns, for what else the machine does to slow both, and the shortest of each.
    let (mut by_name, mut by_statement) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        by_name = by_name.min(timed(&preempt(r#"{"relations": ["pp"]}"#)));
        by_statement = by_statement.min(timed(&call("TRUNCATE pp", "")));
    }
    println!("by name {by_name:?}, by the statement {by_statement:?}");
    assert!(
        by_statement < by_name * 3,
        "{by_statement:?} against {by_name:?}"
    );
}
