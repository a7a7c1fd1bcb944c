//! The server's clock is set while a call waits: nobody is older for that.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::interposer::Interposer;
use pg_test::wait_until;

use super::scene::{Holder, SOON, Trail, preempt, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        nobody_is_older_for_a_clock_that_is_set_forward,
    ]
}

/// By how much: less than the sessions' `statement_timeout`, which the server itself counts by that clock.
const STEP: Duration = Duration::from_secs(40);

fn nobody_is_older_for_a_clock_that_is_set_forward(world: &World) {
    let clock = Interposer::new(world.installation()).unwrap();
    let cluster = clock.start(world.installation(), &[]).unwrap();
    let database = cluster.create_database().unwrap();
    database.session("setup").run("CREATE TABLE t (i int)");
    let application = Holder::busy(&database, "web", "SELECT FROM t");
    let migration = database.session("migration");
    let trail = Trail::from_now(&cluster);
    let call = migration.spawn(preempt(
        r#"{"relations": ["t"], "timeout": "4s", "on_timeout": "report",
            "preempt": [{"class": "application", "older_than": "20s"}]}"#,
    ));
    wait_until("it waits", SOON, || {
        call.wait_event()
            .is_some_and(|(kind, event)| kind == "Lock" && event == "virtualxid")
    });
    clock.set_clock(migration.pid(), STEP).unwrap();
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, application.pid()), "in the way");
    trail.has_no_victim();
    assert!(application.goes_on());
    // It has been set, and for that session alone.
    let hour = "SELECT clock_timestamp() - $1::timestamptz > '30s'";
    let other = database.session("other");
    let time = other.run("SELECT clock_timestamp()");
    let hour = hour.replace("$1", &format!("'{}'", time.value().unwrap()));
    assert_eq!(migration.run(&hour).value(), Some("t"));
    assert_eq!(other.run(&hour).value(), Some("f"));
}
