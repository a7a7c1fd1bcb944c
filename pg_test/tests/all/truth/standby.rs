//! On a standby: queries there hold locks, and the startup process holds what the primary's DDL has locked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Session, wait_until};

use super::many::in_the_way;
use super::mode::Mode;
use super::probe::{Answer, Who, ask};
use crate::world::{World, scenarios};

const SOON: Duration = Duration::from_secs(20);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_standby_tells_its_queries_and_the_locks_that_it_replays,
    ]
}

fn a_standby_tells_its_queries_and_the_locks_that_it_replays(world: &World) {
    let primary = world.start_cluster(&[]);
    let origin = primary.create_database().unwrap();
    let ddl = origin.session("ddl");
    ddl.run("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    // Replay waits for a query as long as it takes.
    let standby = Cluster::standby_of(&primary, &[("max_standby_streaming_delay", "-1")]).unwrap();
    let copy = standby.database(origin.name());
    let (observer, reader, writer) = (
        copy.session("observer"),
        copy.session("reader"),
        copy.session("would-be writer"),
    );
    wait_until("the tables are replayed", SOON, || {
        observer.run("SELECT to_regclass('u')").value() == Some("u")
    });
    let oid = |name: &str| -> u32 {
        let rows = observer.run(&format!("SELECT '{name}'::regclass::oid"));
        rows.value().unwrap().parse().unwrap()
    };
    let (t, u) = (oid("t"), oid("u"));
    reader.run("BEGIN; SELECT * FROM t");
    writer.run("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE; LOCK TABLE u IN ROW SHARE MODE");
    agree(&copy, &observer, &[t, u]);
    let of_t = ask(&observer, "'t'", t, Mode::ACCESS_EXCLUSIVE).unwrap();
    assert_eq!(of_t.len(), 2, "{of_t:?}");

    // The primary's lock arrives, and waits for the standby's queries.
    ddl.run("BEGIN; LOCK TABLE u IN ACCESS EXCLUSIVE MODE");
    flush(&origin);
    let startup = observer.run("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'");
    let startup = Who::Pid(startup.value().unwrap().parse().unwrap());
    let replays = |granted: bool| {
        let sql = format!(
            "SELECT count(*) FROM pg_locks WHERE relation = {u} AND mode = 'AccessExclusiveLock' AND granted = {granted}"
        );
        observer.run(&sql).value() == Some("1")
    };
    wait_until("the replay waits for the query", SOON, || replays(false));
    agree(&copy, &observer, &[t, u]);
    let queued = Answer {
        mode: Mode::ACCESS_EXCLUSIVE,
        granted: false,
    };
    let of_u = ask(&observer, "'u'", u, Mode::ACCESS_SHARE).unwrap();
    assert_eq!(of_u, BTreeMap::from([(startup.clone(), queued)]));

    writer.run("ROLLBACK");
    wait_until("the replay has its lock", SOON, || replays(true));
    agree(&copy, &observer, &[t, u]);
    let held = Answer {
        mode: Mode::ACCESS_EXCLUSIVE,
        granted: true,
    };
    let of_u = ask(&observer, "'u'", u, Mode::ACCESS_SHARE).unwrap();
    assert_eq!(of_u, BTreeMap::from([(startup, held)]));
    let shown = observer.run(
        "SELECT b.backend_type = a.backend_type AS same, b.preempt, b.usename, a.backend_type \
         FROM lockguard.blockers_of(ARRAY['u'::regclass]) b JOIN pg_stat_activity a USING (pid) WHERE b.relation = 'u'::regclass",
    );
    assert_eq!(shown.only().text("same"), "t");
    assert_eq!(
        shown.only().get("preempt"),
        None,
        "no signal ends a lock of the primary"
    );

    ddl.run("ROLLBACK");
    flush(&origin);
    wait_until("nothing is left on u", SOON, || {
        ask(&observer, "'u'", u, Mode::ACCESS_EXCLUSIVE)
            .unwrap()
            .is_empty()
    });
}

/// Has the primary write out its log, which it does for a commit, but neither for a lock nor for a rollback.
fn flush(primary: &Database) {
    primary
        .session("flush")
        .run("SELECT pg_logical_emit_message(true, 'flush', '')");
}

/// Asks in every mode, and where a standby lets one lock in that mode, really requests it.
fn agree(database: &Database, observer: &Session, relations: &[u32]) {
    for (oid, mode) in relations
        .iter()
        .flat_map(|oid| Mode::all().map(move |mode| (*oid, mode)))
    {
        let told = ask(observer, &oid.to_string(), oid, mode).unwrap();
        assert_eq!(
            told,
            in_the_way(observer, oid, mode),
            "relation {oid}, {mode:?}"
        );
        if mode > Mode::ROW_EXCLUSIVE {
            continue;
        }
        let probe = database.session("probe");
        let name = observer.run(&format!("SELECT {oid}::regclass"));
        let name = name.value().unwrap();
        let running = probe.spawn(format!("BEGIN; LOCK TABLE {name} IN {} MODE", mode.sql()));
        let waits = format!(
            "SELECT unnest(pg_blocking_pids(pid)) FROM pg_locks WHERE pid = {} AND NOT granted",
            probe.pid()
        );
        let mut blocking = BTreeSet::new();
        wait_until("the probe has its lock or waits", SOON, || {
            let rows = observer.run(&waits);
            blocking = rows
                .iter()
                .map(|row| row.text("unnest").to_owned())
                .collect();
            running.is_finished() || !blocking.is_empty()
        });
        let pids = told.keys().map(|who| match who {
            Who::Pid(pid) => pid.to_string(),
            Who::Gid(gid) => panic!("a prepared transaction on a standby: {gid}"),
        });
        assert_eq!(
            pids.collect::<BTreeSet<_>>(),
            blocking,
            "relation {oid}, {mode:?}"
        );
    }
}
