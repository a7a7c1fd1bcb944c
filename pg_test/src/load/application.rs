//! The application: statements at set times, most of them on tables of its own and some on tables that the callers
//! lock. A statement that is late is sent at once, and its time counts from when it was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fastrand::Rng;
use postgres::Client;

use super::tally::{Kind, Tally};
use super::{connect, schema};
use crate::{Database, Failure};

/// Connections that have their tables to themselves, and how many statements each sends a second.
const APART: (u32, u32) = (6, 45);

/// Those on the tables that the callers lock.
const SHARING: (u32, u32) = (3, 10);

/// At work until it is stopped.
pub struct Application {
    stop: Arc<AtomicBool>,
    started: Instant,
    threads: Vec<JoinHandle<(Tally, Vec<Answer>)>>,
}

#[derive(Clone, Copy)]
struct Answer {
    is_shared: bool,
    took: Duration,
}

/// What it felt.
pub struct Felt {
    pub tally: Tally,
    /// Answers a second.
    pub throughput: f64,
    /// The slowest answers: of its own tables, and of those that it shares.
    pub worst: (Duration, Duration),
    pub median: (Duration, Duration),
}

impl Application {
    /// How many statements a second it sends.
    pub fn rate() -> u32 {
        APART.0 * APART.1 + SHARING.0 * SHARING.1
    }

    pub fn start(database: &Database) -> Result<Application, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = vec![];
        for (is_shared, (connections, rate)) in [(false, APART), (true, SHARING)] {
            for number in 0..connections {
                let client = connect(database, &format!("shop {number}"), "postgres")?;
                clients.push((client, is_shared, Duration::from_secs(1) / rate));
            }
        }
        let started = Instant::now();
        let start =
            |(number, (mut client, is_shared, interval)): (usize, (Client, bool, Duration))| {
                let stop = Arc::clone(&stop);
                let mut rng = Rng::with_seed(number as u64);
                std::thread::spawn(move || {
                    let (mut tally, mut answers) = (Tally::default(), vec![]);
                    let mut due = started + interval.mul_f64(rng.f64());
                    while !stop.load(Ordering::Relaxed) && !client.is_closed() {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let sql = statement(is_shared, &mut rng);
                        let outcome = client.simple_query(&sql);
                        if tally.note(Kind::Application, &sql, &outcome) {
                            let took = due.elapsed();
                            answers.push(Answer { is_shared, took });
                        }
                        due += interval;
                    }
                    (tally, answers)
                })
            };
        let threads = clients.into_iter().enumerate().map(start).collect();
        Ok(Application {
            stop,
            started,
            threads,
        })
    }

    /// Ends it.
    pub fn stop(mut self) -> Felt {
        self.stop.store(true, Ordering::Relaxed);
        let lasted = self.started.elapsed();
        let (mut tally, mut answers) = (Tally::default(), vec![]);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok((theirs, more)) => {
                    tally.add(theirs);
                    answers.extend(more);
                }
                Err(_) => tally.complain("a thread of the application has panicked".to_owned()),
            }
        }
        let times = |is_shared| {
            let of = answers
                .iter()
                .filter(|answer| answer.is_shared == is_shared);
            let mut times: Vec<Duration> = of.map(|answer| answer.took).collect();
            times.sort();
            let worst = times.last().copied().unwrap_or_default();
            (
                worst,
                times.get(times.len() / 2).copied().unwrap_or_default(),
            )
        };
        let (apart, shared) = (times(false), times(true));
        Felt {
            throughput: answers.len() as f64 / lasted.as_secs_f64(),
            worst: (apart.0, shared.0),
            median: (apart.1, shared.1),
            tally,
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn statement(is_shared: bool, rng: &mut Rng) -> String {
    let (table, row) = if is_shared {
        (
            format!("t{}", rng.usize(..schema::SHARED)),
            rng.u32(1..=200),
        )
    } else {
        (format!("own_{}", rng.u8(..4)), rng.u32(1..=5000))
    };
    match (rng.u8(..3), is_shared) {
        (0, true) => format!("UPDATE {table} SET note = 'new' WHERE id = {row}"),
        (0, false) => format!("UPDATE {table} SET hits = hits + 1 WHERE id = {row}"),
        _ => format!("SELECT note FROM {table} WHERE id = {row}"),
    }
}
