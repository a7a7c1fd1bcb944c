//! Several relations, several sessions, opposite orders: nobody is ever the victim of a deadlock because
//! of a call, and every call gets through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::scene::{Holder, SOON, STRONGEST, Stage, Trail, call, pairs};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        two_callers_in_opposite_orders_both_get_through_beside_traffic,
        an_application_that_locks_in_the_other_order_is_never_the_victim,
        an_application_that_runs_into_a_call_goes_on_once_its_stay_is_over,
        the_order_is_the_same_whatever_is_named_first,
    ]
}

const TABLES: &str = "CREATE TABLE a (i int); CREATE TABLE b (i int PRIMARY KEY); \
     CREATE TABLE c (i int) PARTITION BY LIST (i); CREATE TABLE c1 PARTITION OF c DEFAULT; CREATE INDEX ON c (i); \
     CREATE TABLE d (i int)";

fn has_deadlock(trail: &Trail<'_>) -> bool {
    trail.text().contains("deadlock detected")
}

fn two_callers_in_opposite_orders_both_get_through_beside_traffic(world: &World) {
    const ROUNDS: u32 = 30;
    let stage = Stage::new(world, TABLES);
    let trail = Trail::from_now(world.cluster());
    let sessions: Vec<_> = ["web", "web", "first", "second"]
        .map(|name| stage.database.session(name))
        .into();
    let is_over = AtomicBool::new(false);
    let answers = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for traffic in &sessions[..2] {
            let (is_over, answers) = (&is_over, &answers);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    traffic.run(
                        "SELECT count(*) FROM c; INSERT INTO a VALUES (1); SELECT count(*) FROM d",
                    );
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let callers = [("a b c d", 2), ("d c b a", 3)].map(|(relations, session)| {
            let session = &sessions[session];
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    session.run(&format!("BEGIN; {}; COMMIT", call(relations, "")));
                }
            })
        });
        let outcomes = callers.map(|caller| caller.join());
        is_over.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok), "a call has failed");
    });
    assert!(!has_deadlock(&trail), "{}", trail.text());
    trail.has_no_victim();
    println!(
        "{ROUNDS} rounds each, beside {} of traffic",
        answers.into_inner()
    );
}

fn an_application_that_locks_in_the_other_order_is_never_the_victim(world: &World) {
    const CALLS: u32 = 8;
    let stage = Stage::new(world, TABLES);
    // Soon, so that a stay in the queue that is far too long is found out.
    let deadlock_timeout = "SET deadlock_timeout = '400ms'";
    let applications = [(); 3].map(|()| stage.database.session("web"));
    stage.migration.run(deadlock_timeout);
    let trail = Trail::from_now(world.cluster());
    let is_over = AtomicBool::new(false);
    let done = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for application in &applications {
            let (is_over, done) = (&is_over, &done);
            scope.spawn(move || {
                application.run(deadlock_timeout);
                while !is_over.load(Ordering::Relaxed) {
                    application.run(
                        "BEGIN; INSERT INTO d VALUES (1); SELECT pg_sleep(0.002); INSERT INTO c VALUES (1); \
                         INSERT INTO b VALUES (1) ON CONFLICT DO NOTHING; INSERT INTO a VALUES (1); COMMIT",
                    );
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let migration = &stage.migration;
        let caller = scope.spawn(move || {
            for _ in 0..CALLS {
                migration.run(&format!("BEGIN; {}; COMMIT", call("a b c d", "")));
            }
        });
        let outcome = caller.join();
        is_over.store(true, Ordering::Relaxed);
        assert!(outcome.is_ok(), "a call has failed");
    });
    assert!(!has_deadlock(&trail), "{}", trail.text());
    println!(
        "{CALLS} calls, beside {} of the application",
        done.into_inner()
    );
}

fn an_application_that_runs_into_a_call_goes_on_once_its_stay_is_over(world: &World) {
    let stage = Stage::new(world, TABLES);
    let trail = Trail::from_now(world.cluster());
    stage.migration.run("SET deadlock_timeout = '8s'; BEGIN");
    let application = Holder::idle(
        &stage.database,
        "web",
        "SET deadlock_timeout = '8s'; INSERT INTO d VALUES (1)",
    );
    let running = stage.migration.spawn(call("a d", r#", "max_stall": "4s""#));
    wait_until("it holds the one and queues for the other", SOON, || {
        stage.awaited() == pairs(STRONGEST, "d")
    });
    assert_eq!(stage.held(), pairs(STRONGEST, "a"));
    // Each waits for the other now, until the call gives way.
    let insert = application
        .session
        .spawn("INSERT INTO a VALUES (1); COMMIT");
    insert.wait_until_queued();
    insert.rows(Duration::from_secs(7));
    running.rows(SOON);
    stage.holds(STRONGEST, "a d");
    stage.migration.run("COMMIT");
    assert!(!has_deadlock(&trail), "{}", trail.text());
}

fn the_order_is_the_same_whatever_is_named_first(world: &World) {
    let stage = Stage::new(world, TABLES);
    stage.migration.run("SET deadlock_timeout = '60s'");
    for named in ["a b c d", "d c b a", "c1 d a b c", "c_i_idx b_pkey d a"] {
        for (in_way, before) in [("b", "a"), ("c", "a b"), ("d", "a b c")] {
            stage.migration.run("BEGIN");
            let application = Holder::idle(
                &stage.database,
                "web",
                &format!("LOCK TABLE ONLY {in_way} IN SHARE MODE"),
            );
            let running = stage
                .migration
                .spawn(call(named, r#", "max_stall": "50s""#));
            wait_until("it waits in the queue", SOON, || {
                stage.awaited() == pairs(STRONGEST, in_way)
            });
            assert_eq!(stage.held(), pairs(STRONGEST, before), "{named}");
            application.session.run("COMMIT");
            running.rows(SOON);
            stage.migration.run("COMMIT");
        }
    }
}
