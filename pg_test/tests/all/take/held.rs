//! What is held once the call has returned: the relation and all that belongs to it, in that mode and in
//! no other, so that nobody comes in between and the DDL has nothing to wait for.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{
    Holder, MODES, SOON, STRONGEST, Stage, call, last_told, pairs, preempt, verdict,
};
use crate::preempt::autovacuum;
use crate::world::{World, scenarios};

/// A table with an index and TOAST.
const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, note text); CREATE INDEX t_note ON t (note)";
const ALL_OF_IT: &str = "t t_pkey t_note t/toast t/toast/index";

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        exactly_the_relation_and_what_belongs_to_it_is_held,
        what_is_held_is_what_the_servers_own_ddl_locks,
        each_mode_is_held_as_that_mode,
        the_lock_is_held_whoever_stood_in_the_way,
        who_comes_after_the_call_waits_until_commit,
        autovacuum_finds_no_gap_between_the_call_and_the_ddl,
        the_ddl_does_not_wait_though_others_queue,
        a_relation_created_in_the_same_transaction_is_no_obstacle,
    ]
}

/// A plain table, a tree of partitions, an inheritance tree, and what else can be locked.
fn kinds(world: &World) -> Stage {
    let ddl = format!(
        "{TABLE}; CREATE TABLE bare (i int); \
         CREATE TABLE p (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); \
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id); \
         CREATE TABLE p21 PARTITION OF p2 FOR VALUES IN (1); \
         CREATE TABLE mother (i int); CREATE TABLE father (j text); \
         CREATE TABLE child () INHERITS (mother, father); CREATE TABLE grandchild (k int PRIMARY KEY) INHERITS (child); \
         CREATE MATERIALIZED VIEW m AS SELECT i FROM bare; CREATE UNIQUE INDEX m_i ON m (i); \
         CREATE SEQUENCE s; CREATE VIEW v AS SELECT i FROM bare; \
         CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (i int) SERVER far"
    );
    Stage::new(world, &ddl)
}

const TREE: &str = "p p_pkey p1 p1_pkey p2 p2_pkey p21 p21_pkey";

fn exactly_the_relation_and_what_belongs_to_it_is_held(world: &World) {
    let stage = kinds(world);
    let toast = stage
        .looker
        .run("SELECT reltoastrelid::regclass::text FROM pg_class WHERE relname = 't'");
    let toast = toast.value().unwrap();
    for (named, held) in [
        ("t", ALL_OF_IT),
        ("bare", "bare"),
        ("t_note", "t t_note"),
        (toast, "t/toast t/toast/index"),
        ("p", TREE),
        ("p2", "p2 p2_pkey p21 p21_pkey"),
        ("p21", "p21 p21_pkey"),
        ("p_pkey", TREE),
        ("p1_pkey", "p1 p1_pkey"),
        (
            "mother",
            "mother child child/toast child/toast/index grandchild grandchild_pkey grandchild/toast grandchild/toast/index",
        ),
        ("m", "m m_i"),
        ("s", "s"),
        ("v", "v"),
        ("f", "f"),
        ("p21 bare t_note p21", "p21 p21_pkey bare t t_note"),
        ("public.t t t", ALL_OF_IT),
    ] {
        stage.migration.run("BEGIN");
        let rows = stage.migration.run(&call(named, ""));
        assert!(rows.is_empty(), "{rows:?}");
        assert_eq!(stage.held(), pairs(STRONGEST, held), "{named}");
        let told = last_told(&stage.migration);
        assert!(
            told.starts_with("lockguard: holds AccessExclusiveLock on ")
                && !told.contains("no lock is kept"),
            "{told}"
        );
        stage.migration.run("COMMIT");
        stage.holds_nothing("COMMIT");
    }
}

fn what_is_held_is_what_the_servers_own_ddl_locks(world: &World) {
    let stage = kinds(world);
    for (kind, name) in [
        ("TABLE", "t"),
        ("TABLE", "p"),
        ("TABLE", "mother"),
        ("INDEX", "t_note"),
        ("INDEX", "m_i"),
        ("MATERIALIZED VIEW", "m"),
        ("SEQUENCE", "s"),
        ("VIEW", "v"),
        ("FOREIGN TABLE", "f"),
    ] {
        let strongest = || -> Vec<_> {
            let held = stage.held().into_iter();
            held.filter(|(_, mode)| mode == STRONGEST).collect()
        };
        let drop = format!("DROP {kind} {name} CASCADE");
        stage.migration.run(&format!("BEGIN; {drop}"));
        let by_ddl = strongest();
        stage.migration.run("ROLLBACK");
        stage.migration.run(&format!("BEGIN; {}", call(name, "")));
        let by_us = strongest();
        assert_eq!(by_us, by_ddl, "{drop}");
        stage.migration.run(&drop);
        assert_eq!(strongest(), by_us, "{drop}");
        stage.migration.run("ROLLBACK");
    }
}

fn each_mode_is_held_as_that_mode(world: &World) {
    let stage = Stage::new(world, TABLE);
    for (spelled, mode) in MODES {
        for given in [spelled, mode] {
            let more = format!(r#", "mode": "{given}""#);
            stage.migration.run(&format!("BEGIN; {}", call("t", &more)));
            stage.holds(mode, ALL_OF_IT);
            // A second call adds to the first.
            stage.migration.run(&call("t_note", ""));
            let both = [pairs(mode, ALL_OF_IT), pairs(STRONGEST, "t t_note")].concat();
            let mut held = stage.held();
            held.sort();
            let mut both = both;
            both.sort();
            both.dedup();
            assert_eq!(held, both, "{given}");
            stage.migration.run("ROLLBACK");
        }
    }
}

fn the_lock_is_held_whoever_stood_in_the_way(world: &World) {
    let stage = Stage::new(world, &format!("{TABLE}; CREATE TABLE u (i int)"));
    let dumps = [
        Holder::busy(&stage.database, "pg_dump", "SELECT FROM t"),
        Holder::busy(&stage.database, "pg_dump", "SELECT FROM u"),
    ];
    let application = Holder::idle(&stage.database, "web", "SELECT FROM u");
    stage.migration.run("BEGIN");
    let running = stage.migration.spawn(call("t u", ""));
    stage.wait_until_it_waits();
    application.session.run("COMMIT");
    let rows = running.rows(SOON);
    let verdicts = rows.column("verdict");
    assert_eq!(verdicts.iter().flatten().count(), 3, "{rows:?}");
    stage.holds(STRONGEST, &format!("{ALL_OF_IT} u"));
    for dump in dumps {
        dump.was_cancelled("the call");
    }
    stage.migration.run("DROP TABLE t, u; COMMIT");
    stage.holds_nothing("COMMIT");
}

fn who_comes_after_the_call_waits_until_commit(world: &World) {
    let stage = Stage::new(world, TABLE);
    let newcomers: Vec<_> = [
        "SELECT count(*) FROM t",
        "INSERT INTO t VALUES (1)",
        "VACUUM t",
        "ANALYZE t",
        "LOCK TABLE t IN ACCESS SHARE MODE",
    ]
    .map(|sql| (sql, stage.database.session("newcomer")))
    .into();
    stage.migration.run(&format!("BEGIN; {}", call("t", "")));
    let waiting: Vec<_> = newcomers
        .iter()
        .map(|(sql, session)| match sql.starts_with("LOCK") {
            true => session.spawn(format!("BEGIN; {sql}; COMMIT")),
            false => session.spawn(*sql),
        })
        .collect();
    for newcomer in &waiting {
        newcomer.wait_until_queued();
    }
    // What does not wait is refused.
    let impatient = stage.database.session("impatient");
    let error = impatient.error("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE NOWAIT");
    assert_eq!(error.code().code(), "55P03");
    stage.migration.run("ALTER TABLE t ADD COLUMN more int");
    stage.migration.run("COMMIT");
    for newcomer in waiting {
        newcomer.rows(SOON);
    }
}

fn autovacuum_finds_no_gap_between_the_call_and_the_ddl(world: &World) {
    let cluster = autovacuum::server(world);
    cluster
        .set(&[("log_autovacuum_min_duration", "0")])
        .unwrap();
    let stage = Stage::of(cluster.create_database().unwrap(), "SELECT 1");
    autovacuum::needy_table(&stage.database, "t");
    let worker = autovacuum::worker_on(&stage.database, "t");
    stage.migration.run("BEGIN");
    let rows = stage.migration.run(&preempt(r#"{"relations": ["t"]}"#));
    // Another one may come to the table once that has let go.
    assert_eq!(verdict(&rows, worker), "cancelled");
    // It comes back for the table again and again, and finds it locked.
    let refused = || {
        cluster
            .log()
            .matches("skipping vacuum of \"t\" --- lock not available")
            .count()
    };
    wait_until("autovacuum has come back twice", SOON, || refused() >= 2);
    stage.migration.run("DROP TABLE t; COMMIT");
}

fn the_ddl_does_not_wait_though_others_queue(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run(&format!("BEGIN; {}", call("t", "")));
    let sessions = [(); 3].map(|()| stage.database.session("newcomer"));
    let waiting = ["SELECT FROM t", "DELETE FROM t", "TRUNCATE t"]
        .iter()
        .zip(&sessions)
        .map(|(sql, session)| session.spawn(*sql))
        .collect::<Vec<_>>();
    for newcomer in &waiting {
        newcomer.wait_until_queued();
    }
    // The shortest wait there is.
    stage.migration.run("SET LOCAL lock_timeout = '1ms'");
    stage
        .migration
        .run("ALTER TABLE t ADD COLUMN more int; CREATE INDEX ON t (more); DROP TABLE t");
    stage.migration.run("COMMIT");
    for newcomer in waiting {
        let outcome = newcomer.wait(Duration::from_secs(20));
        let error = outcome.unwrap_err();
        assert_eq!(error.code().map(|c| c.code()), Some("42P01"), "{error}");
    }
}

fn a_relation_created_in_the_same_transaction_is_no_obstacle(world: &World) {
    let stage = Stage::new(world, "CREATE TABLE other ()");
    stage
        .migration
        .run("BEGIN; CREATE TABLE fresh (i int PRIMARY KEY); CREATE TEMP TABLE passing (i int)");
    stage.migration.run(&call("fresh other passing", ""));
    let own = "SELECT count(DISTINCT relation) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' \
               AND relation IN ('fresh'::regclass, 'fresh_pkey'::regclass, 'other'::regclass, 'passing'::regclass)";
    assert_eq!(stage.migration.run(own).value(), Some("4"));
    stage
        .migration
        .run("ALTER TABLE fresh DROP COLUMN i; DROP TABLE other; COMMIT");
}
