//! Who does his work in several transactions holds his lock between them too; so does whoever has ended his
//! transaction, until he lets go. To be in none is neither to be gone nor to be a newcomer.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::interposer::{Hold, Interposer, Moment};
use pg_test::{Cluster, Database, Running, Session, wait_until};

use super::scene::{Holder, SOON, Trail, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_vacuum_between_its_transactions_is_named_as_a_blocker,
        nobody_is_signalled_in_vain_beside_a_vacuum_between_its_transactions,
        a_table_is_not_told_free_while_a_vacuum_is_between_its_transactions,
        a_vacuum_that_comes_between_its_transactions_meanwhile_stays_in_the_way,
        a_table_is_not_told_free_while_a_prepared_transaction_is_being_ended,
        whoever_comes_back_for_a_moment_has_finished_what_he_was_waited_for,
    ]
}

/// A server whose sessions can be held up between two transactions.
struct Stage {
    interposer: Interposer,
    cluster: Cluster,
    database: Database,
}

impl Stage {
    fn new(world: &World) -> Stage {
        let interposer = Interposer::new(world.installation()).unwrap();
        let settings = [("max_prepared_transactions", "5"), ("autovacuum", "off")];
        let cluster = interposer.start(world.installation(), &settings).unwrap();
        let database = cluster.create_database().unwrap();
        table(&database, "t", 10);
        table(&database, "u", 10);
        Stage {
            interposer,
            cluster,
            database,
        }
    }

    /// `VACUUM FULL t`, in no transaction, and with the session's own lock on t.
    fn vacuum(&self) -> Between<'_> {
        let hold = self.interposer.hold(Moment::Truncate).unwrap();
        let session = self.database.session("vacuumdb");
        let running = session.spawn("VACUUM FULL t");
        wait_until("the vacuum is held up", SOON, || {
            hold.pid() == Some(session.pid())
        });
        let looker = self.database.session("looker");
        let rows = looker.run(&format!(
            "SELECT mode, virtualtransaction FROM pg_locks WHERE pid = {} AND relation = 't'::regclass",
            session.pid()
        ));
        let row = rows.only();
        assert_eq!(row.text("mode"), "AccessExclusiveLock");
        assert!(row.text("virtualtransaction").ends_with("/0"), "{row:?}");
        Between {
            hold,
            session,
            running,
        }
    }
}

struct Between<'a> {
    hold: Hold<'a>,
    session: Session,
    running: Running,
}

impl Between<'_> {
    /// Lets it go on, and sees that nobody has ended it.
    fn goes_on(self) {
        drop(self.hold);
        self.running.rows(SOON);
    }
}

fn a_vacuum_between_its_transactions_is_named_as_a_blocker(world: &World) {
    let stage = Stage::new(world);
    let vacuum = stage.vacuum();
    let looker = stage.database.session("looker");
    for relations in [
        "'{t}'",
        "'{t,u}'",
        "(SELECT array_agg(c) FROM (SELECT 't'::regclass c UNION ALL SELECT oid FROM pg_class WHERE oid < 2000 LIMIT 60) c)",
    ] {
        let rows = looker.run(&format!(
            "SELECT pid, mode, granted FROM lockguard.blockers_of({relations}) WHERE relation = 't'::regclass"
        ));
        let row = rows.only();
        assert_eq!(row.text("pid"), vacuum.session.pid().to_string());
        assert_eq!(row.text("mode"), "AccessExclusiveLock");
        assert_eq!(row.text("granted"), "t");
    }
    vacuum.goes_on();
}

fn nobody_is_signalled_in_vain_beside_a_vacuum_between_its_transactions(world: &World) {
    let stage = Stage::new(world);
    let dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM u LIMIT 1");
    let vacuum = stage.vacuum();
    let trail = Trail::from_now(&stage.cluster);
    let migration = stage.database.session("migration");
    let policy = r#"{"relations": ["t", "u"], "preempt": ["backup"], "timeout": "500ms", "on_timeout": "report"}"#;
    for begin in ["BEGIN", "ROLLBACK"] {
        migration.run(begin);
        let rows = migration.run(&preempt(policy));
        assert_eq!(verdict(&rows, vacuum.session.pid()), "in the way");
        assert_eq!(verdict(&rows, dump.pid()), "in the way");
    }
    trail.has_no_victim();
    assert!(dump.goes_on());
    vacuum.goes_on();
}

fn a_table_is_not_told_free_while_a_vacuum_is_between_its_transactions(world: &World) {
    let stage = Stage::new(world);
    let vacuum = stage.vacuum();
    let migration = stage.database.session("migration");
    for targets in [r#"["t"]"#, r#""all""#] {
        let error = migration.error(&preempt(&format!(
            r#"{{"relations": {targets}, "preempt": ["backup"], "timeout": "300ms"}}"#
        )));
        assert_eq!(error.code().code(), "55P03");
        let detail = error.detail().unwrap_or_default();
        let pid = format!("pid {} ", vacuum.session.pid());
        assert!(detail.contains(&pid), "{detail}");
    }
    let call = migration.spawn(preempt(
        r#"{"relations": ["t"], "preempt": ["backup"], "timeout": "20s"}"#,
    ));
    wait_until("the call looks again and again", SOON, || {
        call.wait_event()
            .is_some_and(|(kind, _)| kind == "Extension")
    });
    let pid = vacuum.session.pid();
    vacuum.goes_on();
    assert_eq!(verdict(&call.rows(SOON), pid), "finished");
}

/// It is in a transaction at the first look, and in none at the next.
fn a_vacuum_that_comes_between_its_transactions_meanwhile_stays_in_the_way(world: &World) {
    let stage = Stage::new(world);
    let dump = Holder::busy(&stage.database, "pg_dump", "SELECT FROM u LIMIT 1");
    // The vacuum waits for this one in its transaction, with the lock on its table.
    let reader = Holder::idle(&stage.database, "web", "SELECT 1");
    let before = stage.interposer.hold(Moment::Truncate).unwrap();
    let session = stage.database.session("vacuumdb");
    session.run(
        "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
                 'BEGIN PERFORM pg_advisory_xact_lock(3); RETURN $1; END'; \
                 CREATE INDEX ON t (slow(i))",
    );
    reader.session.run("SELECT pg_advisory_xact_lock(3)");
    let running = session.spawn("VACUUM FULL t");
    running.wait_until_queued();
    let trail = Trail::from_now(&stage.cluster);
    let migration = stage.database.session("migration");
    migration.run("BEGIN");
    let call = migration.spawn(preempt(
        r#"{"relations": ["t", "u"], "preempt": ["backup"], "timeout": "20s"}"#,
    ));
    wait_until("the call waits for the vacuum", SOON, || {
        call.wait_event()
            .is_some_and(|(_, event)| event == "virtualxid")
    });
    reader.session.run("COMMIT");
    wait_until("the vacuum is held up", SOON, || {
        before.pid() == Some(session.pid())
    });
    // More than it takes to be a newcomer and then long.
    stage.database.ask("SELECT pg_sleep(0.5)");
    trail.has_no_victim();
    assert!(!call.is_finished() && dump.goes_on());
    drop(before);
    running.rows(SOON);
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, session.pid()), "finished");
    assert_eq!(row_of(&rows, session.pid()).text("class"), "cluster");
    assert_eq!(verdict(&rows, dump.pid()), "cancelled");
}

fn a_table_is_not_told_free_while_a_prepared_transaction_is_being_ended(world: &World) {
    let stage = Stage::new(world);
    let session = stage.database.session("web");
    session.run("CREATE TABLE dropped (i int)");
    session.run("BEGIN; SELECT FROM t LIMIT 1; LOCK TABLE t IN SHARE MODE; DROP TABLE dropped");
    session.run("PREPARE TRANSACTION 'p'");
    let migration = stage.database.session("migration");
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    wait_until("the call waits for it", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    let hold = stage.interposer.hold(Moment::Truncate).unwrap();
    let commit = session.spawn("COMMIT PREPARED 'p'");
    wait_until("its end is held up", SOON, || {
        hold.pid() == Some(session.pid())
    });
    // A look at least.
    stage.database.ask("SELECT pg_sleep(1.5)");
    assert!(!call.is_finished());
    let nowait = stage.database.session("looker");
    assert!(nowait.try_run("BEGIN; LOCK TABLE t NOWAIT").is_err());
    drop(hold);
    commit.rows(SOON);
    call.rows(SOON);
}

/// As an application with a pool of connections does.
fn whoever_comes_back_for_a_moment_has_finished_what_he_was_waited_for(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    let web = Holder::idle(&database, "web", "SELECT FROM t LIMIT 1");
    database.ask("SELECT pg_sleep(0.2)");
    let call = migration.spawn(preempt(
        r#"{"relations": ["t"], "timeout": "20s", "max_stall": "900ms"}"#,
    ));
    wait_until("the call waits for it", SOON, || {
        call.wait_event()
            .is_some_and(|(_, event)| event == "virtualxid")
    });
    let again = web
        .session
        .spawn("COMMIT; BEGIN; SELECT FROM t LIMIT 1; SELECT pg_sleep(0.8); COMMIT");
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, web.pid()), "finished");
    assert!(!again.is_finished(), "it has not been waited for again");
    again.rows(SOON);
}
