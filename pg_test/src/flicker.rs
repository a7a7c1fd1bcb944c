//! Sessions that flicker: in the way one moment, innocent the next, always under the same pid.
//!
//! Whoever looks first and signals then may hit what the session does next; each counts how often that was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use postgres::{Client, NoTls};

use crate::cluster::Database;
use crate::failure::{During, Failure};

/// What ends a statement that was cancelled.
const QUERY_CANCELED: &str = "57014";

/// What a session does that is in nobody's way.
const INNOCENT: [&str; 2] = [
    "SELECT pg_sleep(0.0005)",
    "BEGIN; SELECT count(*) FROM innocent; SELECT pg_sleep(0.0005); COMMIT",
];

/// The statements of one session, and how many of them a cancel ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// How often it has been in the way.
    pub rounds: usize,
    /// How often a cancel ended the transaction that was in the way.
    pub guilty_hit: usize,
    /// How often one ended something else.
    pub innocents_hit: usize,
}

/// Sessions of `application_name` pg_dump that hold ACCESS SHARE on the table `t` for up to 2 ms, and then
/// run two innocent statements, one of them in a transaction; and so on until this is dropped.
pub struct Flicker {
    stop: Arc<AtomicBool>,
    sessions: Vec<JoinHandle<Result<Tally, Failure>>>,
}

impl Flicker {
    /// Starts so many, in a database where they find the tables `t` and `innocent`.
    pub fn start(database: &Database, sessions: usize) -> Result<Flicker, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut flicker = Flicker {
            stop: Arc::clone(&stop),
            sessions: vec![],
        };
        for _ in 0..sessions {
            let mut config = database.config();
            config
                .application_name("pg_dump")
                .options("-c statement_timeout=60s");
            let client = config.connect(NoTls).during("connect")?;
            let stop = Arc::clone(&stop);
            let thread = std::thread::spawn(move || flicker_until(&stop, client));
            flicker.sessions.push(thread);
        }
        Ok(flicker)
    }

    /// Ends them, and tells what each has suffered.
    pub fn end(mut self) -> Result<Vec<Tally>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let sessions = std::mem::take(&mut self.sessions);
        let tallies = sessions.into_iter().map(|thread| {
            let failed = |_| Err(Failure::new("the thread of a session has failed"));
            thread.join().unwrap_or_else(failed)
        });
        tallies.collect()
    }
}

impl Drop for Flicker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn flicker_until(stop: &AtomicBool, mut client: Client) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        tally.rounds += 1;
        // In one message, so that it is never idle in between.
        let pause = (tally.rounds % 7) as f64 * 0.000_3;
        let guilty =
            format!("BEGIN; LOCK TABLE t IN ACCESS SHARE MODE; SELECT pg_sleep({pause}); COMMIT");
        if is_hit(&mut client, &guilty)? {
            tally.guilty_hit += 1;
            tally.innocents_hit += roll_back(&mut client)?;
        }
        for innocent in INNOCENT {
            if is_hit(&mut client, innocent)? {
                tally.innocents_hit += 1 + roll_back(&mut client)?;
            }
        }
    }
    Ok(tally)
}

/// Whether a cancel ended it.
fn is_hit(client: &mut Client, sql: &str) -> Result<bool, Failure> {
    match client.batch_execute(sql) {
        Ok(()) => Ok(false),
        Err(error) if error.code().is_some_and(|c| c.code() == QUERY_CANCELED) => Ok(true),
        Err(error) => Err(error).during(format!("run {sql}")),
    }
}

/// Its locks went with the error: a ROLLBACK is in nobody's way, and tells how often it was hit itself.
fn roll_back(client: &mut Client) -> Result<usize, Failure> {
    let mut hits = 0;
    while is_hit(client, "ROLLBACK")? {
        hits += 1;
    }
    Ok(hits)
}
