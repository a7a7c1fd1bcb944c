//! A session that goes on to its next statement, in the same transaction, between the judgement and the signal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::interposer::Moment;
use pg_test::{Cluster, Database, Interposer, Running, Session, SessionOptions, wait_until};

use super::scene::{SOON, Trail, preempt, row_of, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        whoever_has_gone_on_to_another_statement_is_left_alone,
        whoever_has_gone_on_to_more_of_the_same_is_preempted_all_the_same,
        whoever_has_been_busy_meanwhile_was_not_idle,
        a_transaction_is_not_idle_between_two_statements,
    ]
}

const NEXT: &str = "SELECT pg_sleep(50)";

/// A statement that lasts until `Gate` opens.
const QUERY: &str = "SELECT stopped(i) FROM t";
const COPY: &str = "COPY (SELECT stopped(i) FROM t) TO '/dev/null'";

/// A table, and a function of its rows that returns only while the gate is open.
struct Gate(Session);

impl Gate {
    fn closed(database: &Database) -> Gate {
        let session = database.session("setup");
        session.run(
            "CREATE FUNCTION stopped(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
                 WHILE NOT pg_try_advisory_xact_lock_shared(1) LOOP PERFORM pg_sleep(0.01); END LOOP; \
                 RETURN i; END $$; \
             CREATE TABLE t (i int); CREATE INDEX ON t (stopped(i)); INSERT INTO t VALUES (1)",
        );
        session.run("SELECT pg_advisory_lock(1)");
        Gate(session)
    }

    fn open(&self) {
        self.0.run("SELECT pg_advisory_unlock(1)");
    }
}

/// A victim of that name in a transaction: in that statement, which does not end by itself, or idle.
fn victim(database: &Database, name: &str, statement: Option<&str>) -> (Session, Option<Running>) {
    let victim = database.connect(SessionOptions::named(name)).unwrap();
    victim.run("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE");
    let busy = statement.map(|statement| {
        let busy = victim.spawn(statement);
        is_asleep(&busy);
        busy
    });
    (victim, busy)
}

fn is_asleep(busy: &Running) {
    wait_until("it is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
}

/// What becomes of a victim that goes from one statement to the next while the call is held up after its
/// judgement: the verdict, whether the second statement goes on, and how many signals were taken back. Sees
/// that each of the others has its row.
#[track_caller]
fn goes_on(
    (interposer, cluster): (&Interposer, &Cluster),
    preempted: &str,
    name: &str,
    first: Option<&str>,
    second: &str,
) -> (String, bool, usize) {
    let database = cluster.create_database().unwrap();
    let gate = Gate::closed(&database);
    let (victim, busy) = victim(&database, name, first);
    let trail = Trail::from_now(cluster);
    let migration = database.session("migration");
    let hold = interposer.hold(Moment::Asking).unwrap();
    let call = migration.spawn(preempt(&format!(
        r#"{{"relations": ["t"], "preempt": [{preempted}], "timeout": "2s", "on_timeout": "report"}}"#
    )));
    wait_until("the call is held up", SOON, || {
        hold.pid() == Some(migration.pid())
    });
    gate.open();
    if let Some(busy) = busy {
        busy.wait(SOON).unwrap();
    }
    let next = victim.spawn(second);
    is_asleep(&next);
    drop(hold);
    let rows = call.rows(SOON);
    let verdict = row_of(&rows, victim.pid()).text("verdict").to_owned();
    let lives = !next.is_finished();
    let taken_back = trail.text().matches("gone on to another statement").count();
    let looker = database.session("looker");
    let recorded = looker.run("SELECT FROM lockguard.trail").len();
    assert_eq!(
        trail.victims().len(),
        recorded + taken_back,
        "{preempted}: {rows:?}"
    );
    assert_eq!(recorded, usize::from(!lives), "{preempted}: {rows:?}");
    (verdict, lives, taken_back)
}

fn whoever_has_gone_on_to_another_statement_is_left_alone(world: &World) {
    let interposer = Interposer::new(world.installation()).unwrap();
    let cluster = interposer.start(world.installation(), &[]).unwrap();
    for (preempted, first) in [
        (r#""idle_in_transaction""#, None),
        (r#""analyze""#, Some("ANALYZE t")),
        (r#""copy_out""#, Some(COPY)),
        (r#"{"query": "*stopped*"}"#, Some(QUERY)),
    ] {
        let seen = goes_on((&interposer, &cluster), preempted, "web", first, NEXT);
        assert_eq!(seen, ("in the way".to_owned(), true, 1), "{preempted}");
    }
}

fn whoever_has_gone_on_to_more_of_the_same_is_preempted_all_the_same(world: &World) {
    let interposer = Interposer::new(world.installation()).unwrap();
    let cluster = interposer.start(world.installation(), &[]).unwrap();
    let more = COPY.replace("stopped(i) FROM t", "pg_sleep(50)");
    for (preempted, name, first, second, taken_back) in [
        (r#""backup""#, "pg_dump", Some(COPY), &*more, 0),
        (r#""backup""#, "pg_dump", Some(COPY), NEXT, 0),
        (r#""copy_out""#, "web", Some(COPY), &more, 0),
        (r#"{"usename": "*"}"#, "web", Some(QUERY), NEXT, 0),
        // Terminating is for who is idle.
        (r#"{"usename": "*"}"#, "web", None, NEXT, 1),
    ] {
        let seen = goes_on((&interposer, &cluster), preempted, name, first, second);
        let expected = ("cancelled".to_owned(), false, taken_back);
        assert_eq!(seen, expected, "{preempted}: {second}");
    }
}

const IDLE: &str = r#"{"relations": ["t"], "preempt": ["idle_in_transaction"], "timeout": "20s"}"#;

fn whoever_has_been_busy_meanwhile_was_not_idle(world: &World) {
    let interposer = Interposer::new(world.installation()).unwrap();
    let cluster = interposer.start(world.installation(), &[]).unwrap();
    let database = cluster.create_database().unwrap();
    let _gate = Gate::closed(&database);
    let (victim, _) = victim(&database, "web", None);
    let trail = Trail::from_now(&cluster);
    let migration = database.session("migration");
    let hold = interposer.hold(Moment::Asking).unwrap();
    let call = migration.spawn(preempt(IDLE));
    wait_until("the call is held up", SOON, || {
        hold.pid() == Some(migration.pid())
    });
    victim.run("SELECT 1");
    drop(hold);
    wait_until("the signal is taken back", SOON, || {
        trail.text().contains("gone on to another statement")
    });
    // It does nothing more.
    assert_eq!(verdict(&call.rows(SOON), victim.pid()), "terminated");
    assert_eq!(trail.victims(), [victim.pid(); 2]);
}

fn a_transaction_is_not_idle_between_two_statements(world: &World) {
    let database = world.database();
    let _gate = Gate::closed(&database);
    let (busy, _) = victim(&database, "web", None);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let call = migration.spawn(preempt(&IDLE.replace("}", r#", "max_stall": "900ms"}"#)));
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        busy.run("SELECT 1");
        // Its client has more to do in between than the server.
        std::thread::sleep(Duration::from_millis(5));
    }
    trail.has_no_victim();
    assert!(!call.is_finished());
    let since = Instant::now();
    assert_eq!(verdict(&call.rows(SOON), busy.pid()), "terminated");
    assert!(
        since.elapsed() >= Duration::from_millis(800),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(trail.victims(), [busy.pid()]);
}
