//! The application: connections that ask one thing after another, and how long each answer took.
//!
//! A connection that is broken or whose statement is cancelled goes on with a new one, as a pool would; who
//! ended it is for `trail` to tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pg_test::{Database, During, Failure, wait_until};
use postgres::{Client, NoTls};

use crate::world::{ROWS, TABLE};

/// The beginning of the `application_name` of every session of the application.
pub const NAME: &str = "shop";

/// What is beyond this of an answer's time is counted as lost.
const PATIENCE: Duration = Duration::from_millis(50);

/// What a connection does.
#[derive(Clone, Copy)]
pub enum Load {
    /// Reads and writes single rows in turn, with a pause of 10 ms.
    Points,
    /// Transactions of 20 ms, one after the other without a pause.
    Transactions,
}

impl Load {
    fn connections(self) -> usize {
        match self {
            Load::Points => 6,
            Load::Transactions => 16,
        }
    }

    fn pause(self) -> Duration {
        match self {
            Load::Points => Duration::from_millis(10),
            Load::Transactions => Duration::ZERO,
        }
    }

    /// What an answer takes by its own nature.
    fn own(self) -> Duration {
        match self {
            Load::Points => Duration::ZERO,
            Load::Transactions => Duration::from_millis(20),
        }
    }

    fn request(self, turn: usize, row: u64) -> String {
        match self {
            Load::Points if turn.is_multiple_of(2) => {
                format!("SELECT note FROM {TABLE} WHERE id = {row}")
            }
            Load::Points => format!("UPDATE {TABLE} SET hits = hits + 1 WHERE id = {row}"),
            Load::Transactions => {
                format!(
                    "BEGIN; SELECT note FROM {TABLE} WHERE id = {row}; SELECT pg_sleep(0.02); COMMIT"
                )
            }
        }
    }
}

/// One request, answered.
#[derive(Clone, Copy)]
pub struct Answer {
    pub asked: Instant,
    /// Less what it takes by its own nature.
    pub took: Duration,
    pub answered: Instant,
}

/// The connections at work. Dropping it stops them.
pub struct Application {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Answer>>>,
}

impl Application {
    /// Sets it to work; returns once every connection has had some answers.
    pub fn start(database: &Database, load: Load) -> Result<Application, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicUsize::new(0));
        let mut threads = vec![];
        for number in 0..load.connections() {
            let mut visitor = Visitor::new(database, load, number)?;
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            threads.push(std::thread::spawn(move || {
                let mut log = vec![];
                while !stop.load(Ordering::Relaxed) {
                    log.extend(visitor.ask());
                    answers.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(load.pause());
                }
                log
            }));
        }
        wait_until(
            "the application is at work",
            Duration::from_secs(20),
            || answers.load(Ordering::Relaxed) >= 20 * load.connections(),
        );
        Ok(Application { stop, threads })
    }

    /// Stops it once all have their answers, and tells what it felt from `since` on.
    pub fn stop(mut self, since: Instant) -> Felt {
        self.stop.store(true, Ordering::Relaxed);
        let logs = self
            .threads
            .drain(..)
            .filter_map(|thread| thread.join().ok());
        Felt {
            answers: logs.flatten().collect(),
            since,
        }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Visitor {
    config: postgres::Config,
    client: Client,
    load: Load,
    turn: usize,
    dice: fastrand::Rng,
}

impl Visitor {
    fn new(database: &Database, load: Load, number: usize) -> Result<Visitor, Failure> {
        let mut config = database.config();
        config.application_name(&format!("{NAME} {number}"));
        let client = config.connect(NoTls).during("connect the application")?;
        Ok(Visitor {
            config,
            client,
            load,
            // Half of them begin with a read, half with a write.
            turn: number,
            dice: fastrand::Rng::with_seed(number as u64),
        })
    }

    fn ask(&mut self) -> Option<Answer> {
        let request = self.load.request(self.turn, self.dice.u64(1..=ROWS));
        self.turn += 1;
        let asked = Instant::now();
        let outcome = self.client.simple_query(&request);
        let answered = Instant::now();
        if outcome.is_err() {
            match self.config.connect(NoTls) {
                Ok(client) => self.client = client,
                Err(_) => return None,
            }
        }
        let took = (answered - asked).saturating_sub(self.load.own());
        Some(Answer {
            asked,
            took,
            answered,
        })
    }
}

/// What the application felt.
pub struct Felt {
    /// Those from before the migration began too.
    answers: Vec<Answer>,
    since: Instant,
}

impl Felt {
    fn times(&self) -> impl Iterator<Item = Duration> {
        let counted = self
            .answers
            .iter()
            .filter(|answer| answer.answered >= self.since);
        counted.map(|answer| answer.took)
    }

    /// The slowest answer.
    pub fn worst(&self) -> Duration {
        self.times().max().unwrap_or_default()
    }

    /// The sum over all answers of what is beyond patience.
    pub fn lost(&self) -> Duration {
        self.times().map(|took| took.saturating_sub(PATIENCE)).sum()
    }

    /// For each tenth of a second, from `lead` before the migration began, in seconds and milliseconds:
    /// the slowest request that was asked in it, or that still waited in it for its answer.
    pub fn curve(&self, lead: Duration) -> Vec<(f64, f64)> {
        const STEP: f64 = 0.1;
        let lead = lead.as_secs_f64();
        let seconds = |moment: Instant| match moment.checked_duration_since(self.since) {
            Some(after) => lead + after.as_secs_f64(),
            None => lead - (self.since - moment).as_secs_f64(),
        };
        let mut slowest: Vec<Duration> = vec![];
        for answer in &self.answers {
            let (asked, answered) = (seconds(answer.asked), seconds(answer.answered));
            if asked < 0.0 {
                continue;
            }
            let (first, last) = ((asked / STEP) as usize, (answered / STEP) as usize);
            slowest.resize(slowest.len().max(last + 1), Duration::ZERO);
            for slot in &mut slowest[first..=last] {
                *slot = answer.took.max(*slot);
            }
        }
        let points = slowest.iter().enumerate();
        points
            .map(|(i, took)| (i as f64 * STEP - lead, took.as_secs_f64() * 1000.0))
            .collect()
    }
}
