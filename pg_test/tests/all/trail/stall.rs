//! Waiting for the row while the call holds the lock that the application needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::{SOON, policy, preempt, table, victim, wait_for_rows};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_row_is_waited_for_no_longer_than_max_stall_while_the_lock_is_held,
    ]
}

fn a_row_is_waited_for_no_longer_than_max_stall_while_the_lock_is_held(world: &World) {
    const CALLS: u32 = 5;
    let database = world.database();
    let admin = table(&database);
    let (locker, looker) = (database.session("locker"), database.session("looker"));
    locker.run("BEGIN; LOCK TABLE lockguard.trail IN ACCESS EXCLUSIVE MODE");
    let mut shortest = Duration::MAX;
    for _ in 0..CALLS {
        let (_session, busy) = victim(&database);
        admin.run("BEGIN");
        let call = admin.spawn(preempt(&policy(r#", "max_stall": "10ms""#)));
        // From when the application would have to wait for it.
        let held = "SELECT FROM pg_locks WHERE relation = 't'::regclass AND mode = 'AccessExclusiveLock' AND granted";
        let mut since = Instant::now();
        wait_until("the call holds the lock", SOON, || {
            since = Instant::now();
            !looker.run(held).is_empty() || call.is_finished()
        });
        call.wait(SOON).unwrap();
        shortest = shortest.min(since.elapsed());
        admin.run("COMMIT");
        assert!(busy.wait(SOON).is_err());
    }
    println!("with the lock held, at least {shortest:?}");
    assert!(
        shortest < pg_test::slow(Duration::from_millis(100)),
        "{shortest:?}"
    );
    let warnings = admin.take_notices();
    let warnings = warnings.iter().filter(|n| n.severity == "WARNING").count();
    assert_eq!(
        warnings, CALLS as usize,
        "each says that its row is missing"
    );
    locker.run("COMMIT");
    wait_for_rows(&admin, CALLS as usize);
}
