//! Maintenance that comes back as soon as it is preempted does not win by that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, Rows, Session, wait_until};

use super::LOCK;
use super::oracle::mode_held;
use crate::preempt::autovacuum::{needy_table, server, worker_on};
use crate::preempt::scene::{Backup, SLOWLY, SOON, Trail, preempt, row_of, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_backup_that_repeats_its_statement_at_once_does_not_keep_the_lock,
        backups_that_reconnect_at_once_do_not_keep_the_lock,
        an_autovacuum_that_comes_back_does_not_keep_the_lock,
        max_victims_counts_those_that_come_later,
    ]
}

/// Backups that begin again whenever they are stopped.
struct Persistent {
    stop: Arc<AtomicBool>,
    starts: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Persistent {
    /// `reconnects`: each time in a new session.
    fn start(database: &Database, count: usize, reconnects: bool) -> Persistent {
        let stop = Arc::new(AtomicBool::new(false));
        let starts = Arc::new(AtomicUsize::new(0));
        let threads = (0..count).map(|_| {
            let (database, stop) = (database.clone(), Arc::clone(&stop));
            let starts = Arc::clone(&starts);
            std::thread::spawn(move || {
                let mut session: Option<Session> = None;
                while !stop.load(Ordering::Relaxed) {
                    let this = session
                        .take()
                        .unwrap_or_else(|| database.session("pg_dump"));
                    starts.fetch_add(1, Ordering::Relaxed);
                    let work = this.spawn("SELECT pg_sleep(50) FROM t LIMIT 1");
                    while !work.is_finished() && !stop.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_micros(100));
                    }
                    session = (!reconnects).then_some(this);
                }
            })
        });
        let threads = threads.collect();
        let looker = database.session("looker");
        wait_until("all of the backups are at work", SOON, || {
            let found = looker.run(
                "SELECT FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event = 'PgSleep' \
                 AND datname = current_database()",
            );
            found.len() == count
        });
        Persistent {
            stop,
            starts,
            threads,
        }
    }

    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().unwrap();
        }
        self.starts.load(Ordering::Relaxed)
    }
}

impl Drop for Persistent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sees that the lock is had in the end, with a row for everybody who was preempted for it.
fn is_had_from(world: &World, count: usize, reconnects: bool, signal: &str) {
    let database = world.database();
    table(&database, "t", 10);
    let backups = Persistent::start(&database, count, reconnects);
    let migration = database.session("migration");
    for round in 1..=3 {
        migration.run("BEGIN");
        let trail = Trail::from_now(world.cluster());
        let before = Instant::now();
        let rows = migration.run(&preempt(&format!(
            r#"{{"relations": ["t"], "signal": "{signal}", "timeout": "20s"}}"#
        )));
        let elapsed = before.elapsed();
        let held = mode_held(&database, migration.pid(), "t");
        assert_eq!(held.as_deref(), Some(LOCK));
        println!(
            "{count} that come back after each {signal}, round {round}: {elapsed:?}, {} rows, {} signals",
            rows.len(),
            trail.signals().len()
        );
        has_a_row_for_each(&trail, &rows);
        assert!(
            elapsed < pg_test::slow(Duration::from_secs(20)),
            "{elapsed:?}"
        );
        // Each of them some times at most, and not for as long as they come back.
        assert!(rows.len() <= 200 * count, "{} rows", rows.len());
        wait_until("a backup is queued behind the migration", SOON, || {
            let queued = "SELECT FROM pg_locks WHERE locktype = 'relation' AND NOT granted";
            !database.ask(queued).is_empty()
        });
        migration.run("COMMIT");
        wait_until("a backup is at work again", SOON, || {
            let at_work = "SELECT FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event = 'PgSleep' \
                           AND xact_start < clock_timestamp() - interval '200 ms'";
            database.ask(at_work).len() >= count
        });
    }
    let starts = backups.end();
    println!("{starts} starts");
}

/// Each signalled transaction has its row.
#[track_caller]
fn has_a_row_for_each(trail: &Trail<'_>, rows: &Rows) {
    let not_sent = trail.text().matches("lockguard did not signal").count();
    let verdicts = rows.column("verdict");
    let gone = verdicts.iter().flatten();
    let gone = gone.filter(|v| ["cancelled", "terminated"].contains(v));
    let (sent, gone) = (trail.signals().len() - not_sent, gone.count());
    assert!(gone >= 1 && gone == sent, "{sent} signals, and {rows:#?}");
}

fn a_backup_that_repeats_its_statement_at_once_does_not_keep_the_lock(world: &World) {
    is_had_from(world, 1, false, "cancel");
    is_had_from(world, 5, false, "cancel");
}

fn backups_that_reconnect_at_once_do_not_keep_the_lock(world: &World) {
    is_had_from(world, 1, true, "terminate");
    is_had_from(world, 5, true, "terminate");
}

fn an_autovacuum_that_comes_back_does_not_keep_the_lock(world: &World) {
    let cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let migration = database.session("migration");
    for _ in 0..2 {
        let worker = worker_on(&database, "t");
        migration.run("BEGIN");
        let rows = migration.run(&preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
        assert_eq!(verdict(&rows, worker), "cancelled");
        let held = mode_held(&database, migration.pid(), "t");
        assert_eq!(held.as_deref(), Some(LOCK));
        migration.run("COMMIT");
    }
}

/// The first one does not read what it is sent, and so does not hear the cancel.
fn max_victims_counts_those_that_come_later(world: &World) {
    let database = world.database();
    table(&database, "t", 20_000);
    let stalled = Backup::start(&database, 0);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    migration.run("BEGIN");
    let call = migration.spawn(preempt(
        r#"{"relations": ["t"], "max_victims": 1, "grace": "15s", "timeout": "20s"}"#,
    ));
    wait_until("the first one is signalled", SOON, || {
        trail.victims() == [stalled.pid]
    });
    let newcomer = Backup::start(&database, SLOWLY);
    let error = call.wait(SOON).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "55P03");
    assert!(error.message().contains("takes 2 victims"), "{error:?}");
    let detail = error.detail().unwrap_or_default();
    assert!(
        detail.contains(&format!("pid {} ", newcomer.pid)),
        "{detail}"
    );
    assert_eq!(trail.victims(), [stalled.pid]);
    drop(stalled);
    migration.run("ROLLBACK");
    let rows = migration.run(&preempt(r#"{"relations": ["t"], "max_victims": 2}"#));
    assert_eq!(row_of(&rows, newcomer.pid).text("verdict"), "cancelled");
}
