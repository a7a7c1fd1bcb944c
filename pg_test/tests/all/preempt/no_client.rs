//! A call in a background worker, which has no client that could be asked after.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{Holder, SOON, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_background_worker_waits_and_preempts_as_a_session_does,
    ]
}

/// A trigger calls, for a row that a subscription's worker applies.
fn a_background_worker_waits_and_preempts_as_a_session_does(world: &World) {
    let cluster = world.start_cluster(&[("wal_level", "logical")]);
    let (from, to) = (
        cluster.create_empty_database().unwrap(),
        cluster.create_database().unwrap(),
    );
    let publisher = from.session("publisher");
    publisher.run("CREATE TABLE feed (i int PRIMARY KEY)");
    publisher.run("CREATE PUBLICATION everything FOR ALL TABLES");
    publisher.run("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')");
    let subscriber = to.session("subscriber");
    subscriber.run(
        "CREATE TABLE feed (i int PRIMARY KEY); CREATE TABLE t (i int); \
         CREATE FUNCTION clear() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
         PERFORM lockguard.preempt_maintenance('{\"relations\": [\"public.t\"]}'); RETURN NEW; END$$; \
         CREATE TRIGGER clear BEFORE INSERT ON feed FOR EACH ROW EXECUTE FUNCTION clear(); \
         ALTER TABLE feed ENABLE ALWAYS TRIGGER clear",
    );
    let application = Holder::idle(&to, "web", "SELECT FROM t");
    let backup = Holder::busy(&to, "pg_dump", "SELECT FROM t");
    subscriber.run(&format!(
        "CREATE SUBSCRIPTION feed CONNECTION 'host={} dbname={} user=postgres' PUBLICATION everything \
         WITH (create_slot = false, slot_name = 'slot', copy_data = false)",
        cluster.folder().display(),
        from.name()
    ));
    let trail = Trail::from_now(&cluster);
    publisher.run("INSERT INTO feed VALUES (1)");
    let waits = "SELECT FROM pg_locks JOIN pg_stat_activity a USING (pid) \
                 WHERE NOT granted AND locktype = 'virtualxid' AND a.backend_type LIKE 'logical replication%'";
    wait_until("the worker waits", SOON, || !to.ask(waits).is_empty());
    trail.has_no_victim();
    assert!(backup.goes_on());
    application.session.run("COMMIT");
    wait_until("the row is there", SOON, || {
        subscriber.run("SELECT count(*) FROM feed").value() == Some("1")
    });
    backup.was_cancelled("it was in the way");
    let text = trail.text();
    assert!(!text.contains("was terminated by signal"), "{text}");
    subscriber
        .run("ALTER SUBSCRIPTION feed DISABLE; ALTER SUBSCRIPTION feed SET (slot_name = NONE)");
    subscriber.run("DROP SUBSCRIPTION feed");
}
