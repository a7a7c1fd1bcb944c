//! How each one stands in the way: holding or queued, alone or as a parallel query, and what would make it let go.
//!
//! And that asking neither locks the relation nor waits for whoever has it.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{SessionOptions, wait_until};

use super::{SOON, blockers_in, blockers_of, summary};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        asking_neither_waits_nor_locks_while_another_holds_access_exclusive,
        asking_does_not_wait_for_ddl_that_has_not_been_committed,
        a_holder_is_told_with_its_strongest_mode,
        what_does_not_conflict_is_not_told,
        a_queued_request_is_told_with_whom_it_waits_for,
        who_holds_one_mode_and_waits_for_another_is_told_by_what_it_holds,
        a_parallel_query_is_told_once_under_its_leader,
        a_prepared_transaction_is_told_by_its_name,
        a_prepared_transaction_is_not_taken_for_the_session_that_now_has_its_slot,
        what_makes_it_let_go_depends_on_what_it_does,
        one_s_own_locks_are_not_in_one_s_way,
    ]
}

fn asking_neither_waits_nor_locks_while_another_holds_access_exclusive(world: &World) {
    let database = world.database();
    let holder = database.session("holder");
    holder.run("CREATE TABLE t (id int PRIMARY KEY, big text)");
    let relations = [
        "t",
        "t_pkey",
        "(SELECT reltoastrelid FROM pg_class WHERE relname = 't')",
    ];
    let oids = relations.map(|name| match name.starts_with('(') {
        true => holder
            .run(&format!("SELECT {name}"))
            .value()
            .unwrap()
            .to_owned(),
        false => holder
            .run(&format!("SELECT '{name}'::regclass::oid"))
            .value()
            .unwrap()
            .to_owned(),
    });
    // Any wait for a lock would be an error at once.
    let observer = database
        .connect(SessionOptions::named("observer").set("lock_timeout", "1ms"))
        .unwrap();
    holder.run("BEGIN; TRUNCATE t; LOCK TABLE t");
    let taken = holder.run(
        "SELECT relation FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND relation > 16384",
    );
    for oid in &oids {
        assert!(
            taken.column("relation").contains(&Some(oid)),
            "{oid} is not locked: {taken:?}"
        );
    }
    let waiter = database.session("waiter");
    let queued = waiter.spawn("SELECT * FROM t");
    queued.wait_until_queued();

    observer.run("BEGIN");
    for oid in &oids {
        for mode in ["AccessShareLock", "AccessExclusiveLock"] {
            let rows = observer.run(&format!(
                "SELECT * FROM lockguard.blockers_of(ARRAY[{oid}]::regclass[], '{mode}')"
            ));
            assert!(
                rows.iter()
                    .any(|row| row.text("pid") == holder.pid().to_string()),
                "{oid} {mode}: {rows:?}"
            );
        }
    }
    let own = observer.run(&format!(
        "SELECT relation::regclass FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN ({})",
        oids.join(", ")
    ));
    assert!(own.is_empty(), "{own:?}");
    let strong = observer.run(
        "SELECT relation::regclass, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode <> 'AccessShareLock'",
    );
    assert!(strong.is_empty(), "{strong:?}");
    holder.run("ROLLBACK");
    queued.wait(SOON).unwrap();
}

fn asking_does_not_wait_for_ddl_that_has_not_been_committed(world: &World) {
    let database = world.database();
    let (schema, ddl) = (database.session("schema"), database.session("ddl"));
    schema.run(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id); \
         CREATE TABLE a PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE b PARTITION OF t FOR VALUES FROM (10) TO (20); \
         CREATE TABLE c PARTITION OF t FOR VALUES FROM (20) TO (30)",
    );
    let observer = database
        .connect(SessionOptions::named("observer").set("lock_timeout", "1ms"))
        .unwrap();
    ddl.run("BEGIN; DROP TABLE a; ALTER TABLE t DETACH PARTITION b; ALTER TABLE c RENAME TO d; CREATE INDEX ON t (id)");
    let rows = summary(&blockers_of(&observer, "t"));
    let pid = ddl.pid();
    // To others the dropped partition is still there.
    for relation in ["a", "b", "c", "t"] {
        assert!(
            rows.contains(&format!("{relation} {pid} AccessExclusiveLock")),
            "{relation}: {rows:#?}"
        );
    }
    ddl.run("COMMIT");
    assert!(blockers_of(&observer, "t").is_empty());
}

fn a_holder_is_told_with_its_strongest_mode(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run("CREATE TABLE t ()");
    holder.run("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE; LOCK TABLE t IN EXCLUSIVE MODE; LOCK TABLE t IN ROW SHARE MODE");
    let pid = holder.pid();
    assert_eq!(
        summary(&blockers_of(&observer, "t")),
        [format!("t {pid} ExclusiveLock")]
    );
    // Also where a weaker one would be conflict enough.
    assert_eq!(
        summary(&blockers_in(&observer, "t", "EXCLUSIVE")),
        [format!("t {pid} ExclusiveLock")]
    );
}

fn what_does_not_conflict_is_not_told(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run("CREATE TABLE t ()");
    holder.run("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE");
    assert!(blockers_in(&observer, "t", "RowExclusiveLock").is_empty());
    assert_eq!(blockers_in(&observer, "t", "ShareLock").len(), 1);
}

fn a_queued_request_is_told_with_whom_it_waits_for(world: &World) {
    let database = world.database();
    let session = |name: &str| database.session(name);
    let (observer, holder, migration, reader) = (
        session("observer"),
        session("holder"),
        session("migration"),
        session("reader"),
    );
    observer.run("CREATE TABLE t ()");
    holder.run("BEGIN; SELECT * FROM t");
    let drop = migration.spawn("DROP TABLE t");
    drop.wait_until_queued();
    let select = reader.spawn("SELECT * FROM t");
    select.wait_until_queued();

    // The convoy: a reader would wait for the migration alone, not for the reader that holds.
    let rows = blockers_in(&observer, "t", "ACCESS SHARE");
    let queued = rows.only();
    assert_eq!(queued.text("pid"), migration.pid().to_string());
    assert_eq!(queued.text("mode"), "AccessExclusiveLock");
    assert_eq!(queued.text("granted"), "f");
    assert_eq!(queued.get("preempt"), None);
    assert_eq!(queued.text("blocked_by"), format!("{{{}}}", holder.pid()));

    let rows = blockers_of(&observer, "t");
    assert_eq!(rows.len(), 3, "{rows:?}");
    for row in rows.iter() {
        let pid: i32 = row.text("pid").parse().unwrap();
        let (granted, blocked_by) = match pid {
            pid if pid == holder.pid() => ("t", "{}".to_owned()),
            pid if pid == migration.pid() => ("f", format!("{{{}}}", holder.pid())),
            _ => ("f", format!("{{{}}}", migration.pid())),
        };
        assert_eq!(
            (row.text("granted"), row.text("blocked_by")),
            (granted, blocked_by.as_str()),
            "{row:?}"
        );
    }
    holder.run("ROLLBACK");
    drop.wait(SOON).unwrap();
    // The reader finds the table gone.
    assert!(select.wait(SOON).is_err());
}

fn who_holds_one_mode_and_waits_for_another_is_told_by_what_it_holds(world: &World) {
    let database = world.database();
    let session = |name: &str| database.session(name);
    let (observer, holder, both) = (session("observer"), session("holder"), session("both"));
    observer.run("CREATE TABLE t ()");
    holder.run("BEGIN; SELECT * FROM t");
    both.run("BEGIN; LOCK TABLE t IN ROW SHARE MODE");
    let upgrade = both.spawn("LOCK TABLE t");
    upgrade.wait_until_queued();
    let told = |mode: &str| {
        let rows = blockers_in(&observer, "t", mode);
        let row = rows
            .iter()
            .find(|row| row.text("pid") == both.pid().to_string())
            .cloned();
        row.map(|row| {
            (
                row.text("mode").to_owned(),
                row.text("granted").to_owned(),
                row.get("preempt").map(str::to_owned),
            )
        })
    };
    let (held, awaited) = ("RowShareLock".to_owned(), "AccessExclusiveLock".to_owned());
    let (yes, no) = ("t".to_owned(), "f".to_owned());
    assert_eq!(
        told("EXCLUSIVE"),
        Some((held, yes, Some("cancel".to_owned())))
    );
    assert_eq!(told("ROW EXCLUSIVE"), Some((awaited, no, None)));
    holder.run("ROLLBACK");
    upgrade.wait(SOON).unwrap();
}

fn a_parallel_query_is_told_once_under_its_leader(world: &World) {
    let database = world.database();
    let observer = database.session("observer");
    observer.run(
        "CREATE TABLE t AS SELECT i AS id, repeat('x', 500) AS filler FROM generate_series(1, 500) i; \
         CREATE FUNCTION doze(int) RETURNS boolean LANGUAGE plpgsql PARALLEL SAFE COST 100000 \
         AS 'BEGIN PERFORM pg_sleep(50); RETURN true; END'; ANALYZE t",
    );
    let options = [
        "parallel_setup_cost",
        "parallel_tuple_cost",
        "min_parallel_table_scan_size",
    ]
    .into_iter()
    .fold(SessionOptions::named("leader"), |options, name| {
        options.set(name, "0")
    });
    let leader = database.connect(options).unwrap();
    let _scan = leader.spawn("SELECT count(*) FROM t WHERE doze(id)");
    let members = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                   WHERE relation = 't'::regclass AND granted AND backend_type = 'parallel worker'";
    wait_until("two workers hold the table", SOON, || {
        observer.run(members).value() == Some("2")
    });
    let rows = blockers_of(&observer, "t");
    let row = rows.only();
    assert_eq!(row.text("pid"), leader.pid().to_string());
    assert_eq!(
        (row.text("application_name"), row.text("backend_type")),
        ("leader", "client backend")
    );
    // The workers are still there: it was one row for three holders.
    assert_eq!(observer.run(members).value(), Some("2"));
}

fn a_prepared_transaction_is_told_by_its_name(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run("CREATE TABLE t ()");
    holder.run("BEGIN; LOCK TABLE t IN SHARE MODE; PREPARE TRANSACTION 'it''s here'");
    drop(holder);
    let rows = blockers_of(&observer, "t");
    let row = rows.only();
    assert_eq!(row.get("pid"), None);
    assert_eq!(row.text("gid"), "it's here");
    assert_eq!((row.text("mode"), row.text("granted")), ("ShareLock", "t"));
    assert_eq!(row.text("preempt"), "rollback prepared");
    assert_eq!(row.text("usename"), "postgres");
    let view = observer.run("SELECT prepared FROM pg_prepared_xacts WHERE gid = 'it''s here'");
    assert_eq!(row.get("xact_start"), view.value());
    for column in [
        "application_name",
        "state",
        "backend_start",
        "query_start",
        "progress",
        "eta",
        "query",
        "backend_type",
    ] {
        assert_eq!(row.get(column), None, "{column}");
    }
    observer.run("ROLLBACK PREPARED 'it''s here'");
    assert!(blockers_of(&observer, "t").is_empty());
}

fn a_prepared_transaction_is_not_taken_for_the_session_that_now_has_its_slot(world: &World) {
    // With few slots, for all may have to be gone through.
    let cluster = world.start_cluster(&[("max_connections", "30")]);
    let database = cluster.create_database().unwrap();
    let observer = database.session("observer");
    observer.run("CREATE TABLE t ()");
    let holder = database.session("holder");
    holder.run("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE; PREPARE TRANSACTION 'kept'");
    let pid = holder.pid();
    drop(holder);
    wait_until("the session is gone", SOON, || {
        observer
            .run(&format!("SELECT FROM pg_stat_activity WHERE pid = {pid}"))
            .is_empty()
    });
    // The slot goes to the next session before PostgreSQL 17; since, to one after all others.
    let mut innocent = database.session("innocent");
    wait_until("a new session has the slot", SOON, || {
        innocent.run("BEGIN; SELECT 1");
        let slots = observer.run(&format!(
            "SELECT count(DISTINCT split_part(virtualtransaction, '/', 1)) AS slots, count(DISTINCT virtualtransaction) AS transactions \
             FROM pg_locks WHERE pid IS NULL OR pid = {}",
            innocent.pid()
        ));
        assert_eq!(slots.only().text("transactions"), "2");
        let has_it = slots.only().text("slots") == "1";
        if !has_it {
            innocent = database.session("innocent");
        }
        has_it
    });
    let told = || summary(&blockers_of(&observer, "t"));
    assert_eq!(told(), ["t kept RowExclusiveLock"]);
    innocent.run("SELECT * FROM t");
    assert_eq!(
        told(),
        [
            format!("t {} AccessShareLock", innocent.pid()),
            "t kept RowExclusiveLock".to_owned()
        ]
    );

    drop((innocent, observer));
    cluster.restart().unwrap();
    let observer = database.session("observer");
    let told = || summary(&blockers_of(&observer, "t"));
    assert_eq!(told(), ["t kept RowExclusiveLock"], "after a restart");
    observer.run("COMMIT PREPARED 'kept'");
    assert!(told().is_empty());
}

fn what_makes_it_let_go_depends_on_what_it_does(world: &World) {
    let database = world.database();
    let session = |name: &str| database.session(name);
    let (observer, idle, aborted, active, prepared) = (
        session("observer"),
        session("idle"),
        session("aborted"),
        session("active"),
        session("prepared"),
    );
    observer.run("CREATE TABLE t ()");
    idle.run("BEGIN; SELECT * FROM t");
    aborted.run("BEGIN; SELECT * FROM t; SAVEPOINT s");
    aborted.error("SELECT 1 / 0");
    prepared.run("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE; PREPARE TRANSACTION 'p'");
    active.run("BEGIN; SELECT * FROM t");
    let sleep = active.spawn("SELECT pg_sleep(50)");
    let queued = prepared.spawn("BEGIN; LOCK TABLE t IN SHARE MODE");
    queued.wait_until_queued();
    wait_until("the active one sleeps", SOON, || {
        sleep
            .wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    let rows = blockers_of(&observer, "t");
    let told = |who: &str| {
        let row = rows
            .iter()
            .find(|row| row.get("application_name") == Some(who) || row.get("gid") == Some(who));
        row.unwrap().get("preempt").map(str::to_owned)
    };
    assert_eq!(told("idle").as_deref(), Some("terminate"));
    assert_eq!(told("aborted").as_deref(), Some("terminate"));
    assert_eq!(told("active").as_deref(), Some("cancel"));
    assert_eq!(told("p").as_deref(), Some("rollback prepared"));
    assert_eq!(told("prepared"), None, "it only waits");
    assert_eq!(rows.len(), 5);
    observer.run("ROLLBACK PREPARED 'p'");
}

fn one_s_own_locks_are_not_in_one_s_way(world: &World) {
    let database = world.database();
    let (observer, other) = (database.session("observer"), database.session("other"));
    observer.run("CREATE TABLE t ()");
    other.run("BEGIN; SELECT * FROM t");
    observer.run("BEGIN; LOCK TABLE t IN EXCLUSIVE MODE");
    assert_eq!(
        summary(&blockers_of(&observer, "t")),
        [format!("t {} AccessShareLock", other.pid())]
    );
}
