//! Table 6: from the release of the last lock to ours.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use pg_test::{Database, During, Failure};
use postgres::{Client, NoTls};

use crate::figures::{Spread, ms, spread};
use crate::sheet::Sheet;
use crate::world::{TABLE, World};

/// A holder older than this is waited for, and no passing traffic.
const LONG: Duration = Duration::from_millis(110);

const RELEASES: usize = 200;

/// For the comparison fewer are enough.
const RELEASES_OF_PEERS: usize = 60;

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    sheet.heading(
        "6. Reaction",
        &format!(
            "A session of the application holds the table for more than 100 ms and commits. From the moment at which \
             it sends its COMMIT until the waiting session hears that it has the lock: {RELEASES} releases \
             ({RELEASES_OF_PEERS} for the comparison)."
        ),
    );
    let database = world.database()?;
    let call = format!(r#"SELECT lockguard.preempt_maintenance('{{"relations": ["{TABLE}"]}}')"#);
    let lock = format!("LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE");
    let ours = releases(&database, RELEASES, |client| client.batch_execute(&call))?;
    let plain = releases(&database, RELEASES_OF_PEERS, |client| {
        client.batch_execute(&lock)
    })?;
    let polling = releases(&database, RELEASES_OF_PEERS, |client| poll(client, &lock))?;
    let empty = round_trips(&database)?;
    let row = |name: &str, spread: Spread| vec![name.to_owned(), ms(spread.median), ms(spread.max)];
    sheet.table(
        &["", "median", "maximum"],
        &[
            row("lockguard", ours),
            row("LOCK TABLE, in the queue all the while", plain),
            row("LOCK TABLE NOWAIT every 10 ms", polling),
            row("an empty statement", empty),
        ],
    );
    sheet.target(
        ours.median < Duration::from_millis(1),
        "median under 1 ms",
        &ms(ours.median),
    );
    sheet.end_targets();
    Ok(())
}

/// Tries that never queue.
fn poll(client: &mut Client, lock: &str) -> Result<(), postgres::Error> {
    client.batch_execute("SAVEPOINT s")?;
    while client.batch_execute(&format!("{lock} NOWAIT")).is_err() {
        client.batch_execute("ROLLBACK TO s")?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Has `wait` wait for a holder in a transaction of its own, again and again.
fn releases(
    database: &Database,
    count: usize,
    wait: impl Fn(&mut Client) -> Result<(), postgres::Error> + Sync,
) -> Result<Spread, Failure> {
    let mut holder = connect(database, "shop: report")?;
    let mut waiter = connect(database, "migration")?;
    let (begin, begun) = mpsc::channel::<()>();
    let (have, had) = mpsc::channel::<Instant>();
    let mut dice = fastrand::Rng::with_seed(1);
    let wait = &wait;
    // Its own, so that a failure drops `begin` and ends the thread.
    std::thread::scope(move |scope| {
        let thread = scope.spawn(move || {
            for () in begun {
                waiter.batch_execute("BEGIN")?;
                wait(&mut waiter)?;
                // Nobody listens any more where the holder has failed.
                let _ = have.send(Instant::now());
                waiter.batch_execute("ROLLBACK")?;
            }
            Ok::<(), postgres::Error>(())
        });
        let mut times = vec![];
        for _ in 0..count {
            let sql = format!("BEGIN; SELECT count(*) FROM {TABLE} WHERE id < 10");
            holder.batch_execute(&sql).during("hold the table")?;
            let _ = begin.send(());
            // At any point of whatever rhythm the waiting has.
            std::thread::sleep(LONG + Duration::from_micros(dice.u64(0..30_000)));
            let released = Instant::now();
            holder
                .batch_execute("COMMIT")
                .during("let go of the table")?;
            let Ok(at) = had.recv_timeout(Duration::from_secs(30)) else {
                return Err(Failure::new("the waiting session did not get the lock"));
            };
            times.push(at.saturating_duration_since(released));
        }
        drop(begin);
        match thread.join() {
            Ok(outcome) => outcome.during("wait for the lock")?,
            Err(_) => return Err(Failure::new("the waiting session's thread has failed")),
        }
        Ok(spread(times))
    })
}

fn round_trips(database: &Database) -> Result<Spread, Failure> {
    let mut client = connect(database, "pg_test")?;
    let mut times = vec![];
    for _ in 0..RELEASES {
        let start = Instant::now();
        client.batch_execute("").during("send an empty statement")?;
        times.push(start.elapsed());
    }
    Ok(spread(times))
}

fn connect(database: &Database, name: &str) -> Result<Client, Failure> {
    let mut config = database.config();
    config.application_name(name);
    config.connect(NoTls).during("connect")
}
