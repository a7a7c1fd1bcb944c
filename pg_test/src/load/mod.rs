//! Many sessions that call lockguard at random while the schema changes under them: what the scenario of the load and
//! the benchmark of it have in common.
//!
//! `schema` is what there is to name and to change, `calls` and `changes` make up statements, `caller` and `others`
//! are the sessions, `application` is who must not feel it, `tally` knows which errors are by design, `memory`,
//! `server_log` and `remains` look at the server.

mod application;
mod caller;
mod calls;
mod changes;
mod memory;
mod others;
mod remains;
mod repeated;
mod schema;
mod server_log;
mod tally;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use postgres::{Client, NoTls};

pub use application::{Application, Felt};
use memory::anonymous_kib;
pub use memory::{Look, server_kib};
pub use remains::{Segments, left_over};
pub use repeated::{CONTEXTS_LIMIT, Growth, KINDS, PROCESS_LIMIT_KIB, repeat};
pub use schema::make as make_schema;
pub use server_log::unexpected as unexpected_in_log;
pub use tally::{Kind, Tally};

use crate::{Cluster, Database, During, Failure};
use caller::Caller;

/// How hard it is.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Everything random comes from it; the timing does not.
    pub seed: u64,
    /// How many sessions call.
    pub sessions: usize,
    /// Calls a second, of all of them together.
    pub calls_per_second: f64,
    pub length: Duration,
}

impl Plan {
    /// The settings of a server for it: `name` and value.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        [
            ("max_connections", (self.sessions + 60).to_string()),
            // Autovacuums are around, and may be preempted.
            ("autovacuum", "on".to_owned()),
            ("autovacuum_naptime", "1s".to_owned()),
            ("autovacuum_vacuum_threshold", "20".to_owned()),
            ("autovacuum_analyze_threshold", "20".to_owned()),
            // Its segments are files of this server's own, and can be counted.
            ("dynamic_shared_memory_type", "mmap".to_owned()),
            ("log_line_prefix", server_log::PREFIX.to_owned()),
        ]
        .into()
    }

    /// Starts such a server.
    pub fn start_server(&self, installation: &crate::Installation) -> Result<Cluster, Failure> {
        let settings = self.settings();
        let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (*n, v.as_str())).collect();
        Cluster::start(installation, &settings)
    }

    /// The seed in `LOCKGUARD_SEED`, or any.
    pub fn seed_of_this_run() -> u64 {
        let given = std::env::var("LOCKGUARD_SEED").ok();
        let given = given.and_then(|seed| seed.parse().ok());
        given.unwrap_or_else(|| u64::from(fastrand::u32(..)))
    }
}

/// The callers, connected and with their caches filled.
pub struct Crowd {
    plan: Plan,
    callers: Vec<Caller>,
}

/// What came of it.
pub struct Played {
    pub tally: Tally,
    pub calls: u64,
    pub took: Duration,
    pub slowest_call: Duration,
    /// Of the usual callers.
    pub usual: Looks,
    /// Of those who call more often.
    pub eager: Looks,
}

/// The mean of some callers' memory a third of the way, two thirds of it, and at the end.
pub type Looks = [Look; 3];

/// One caller in so many calls [`EAGER_TIMES`] as often as the others: what grows with each call, and not with what
/// there is to remember, grows faster there.
const EAGER_ONE_IN: usize = 50;
const EAGER_TIMES: u32 = 10;

impl Crowd {
    /// Connects them: three of four are superusers, the others a role with few rights.
    pub fn gather(database: &Database, plan: Plan) -> Result<Crowd, Failure> {
        let callers: Result<Vec<_>, _> = (0..plan.sessions)
            .map(|number| Caller::connect(database, number, plan.seed))
            .collect();
        Ok(Crowd {
            plan,
            callers: callers?,
        })
    }

    /// Has them call, each at its own pace, while others change the schema and hold locks.
    ///
    /// All of them are still connected afterwards, so that what they hold can be looked at.
    pub fn play(&mut self, database: &Database) -> Result<Played, Failure> {
        let plan = self.plan;
        let pids: Vec<i32> = self.callers.iter().map(|caller| caller.pid).collect();
        let start = Instant::now();
        let (eager, usual): (Vec<_>, Vec<_>) = (self.callers.iter_mut().enumerate())
            .partition(|(number, _)| number % EAGER_ONE_IN == 0);
        // In the time of one call of an eager caller and its share of the others', on average.
        let shares = usual.len() as f64 + f64::from(EAGER_TIMES) * eager.len() as f64;
        let pause = Duration::from_secs_f64(shares / plan.calls_per_second);
        let surroundings = Surroundings::start(database, plan.seed, &pids)?;
        std::thread::scope(|scope| {
            let play = |callers: Vec<(usize, _)>, pause| {
                for (_, caller) in callers {
                    let caller: &mut Caller = caller;
                    scope.spawn(move || caller.play(plan.length, pause));
                }
            };
            play(eager, pause / EAGER_TIMES);
            play(usual, pause);
        });
        let took = start.elapsed();
        let mut tally = surroundings.stop();
        for caller in &mut self.callers {
            tally.add(std::mem::take(&mut caller.tally));
        }
        let slowest = self.callers.iter().map(|caller| caller.slowest).max();
        Ok(Played {
            tally,
            calls: self.callers.iter().map(|caller| caller.calls).sum(),
            took,
            slowest_call: slowest.unwrap_or_default(),
            usual: self.looks(false),
            eager: self.looks(true),
        })
    }

    fn looks(&self, is_eager: bool) -> Looks {
        let of = self.callers.iter().enumerate();
        let of = of.filter(|(number, caller)| {
            (number % EAGER_ONE_IN == 0) == is_eager && caller.looks.len() == 3
        });
        let of: Vec<&Vec<Look>> = of.map(|(_, caller)| &caller.looks).collect();
        std::array::from_fn(|at| Look::mean(&of.iter().map(|looks| looks[at]).collect::<Vec<_>>()))
    }
}

/// Everybody who is neither a caller nor the application.
pub struct Surroundings {
    stop: std::sync::Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Tally>>,
}

impl Surroundings {
    /// Sets them to work; `victims` are cancelled now and then, as by a person.
    pub fn start(database: &Database, seed: u64, victims: &[i32]) -> Result<Surroundings, Failure> {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let mut threads = vec![];
        for (number, run) in others::all().into_iter().enumerate() {
            let mut actor = others::Actor {
                database: database.clone(),
                number,
                rng: Rng::with_seed(seed ^ (0x5eed << 32) ^ number as u64),
                tally: Tally::default(),
                stop: std::sync::Arc::clone(&stop),
                victims: victims.to_vec(),
            };
            threads.push(std::thread::spawn(move || {
                run(&mut actor);
                actor.tally
            }));
        }
        Ok(Surroundings { stop, threads })
    }

    /// Ends them, and tells which errors they met.
    pub fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(theirs) => tally.add(theirs),
                Err(_) => tally.complain("a thread beside the callers has panicked".to_owned()),
            }
        }
        tally
    }
}

impl Drop for Surroundings {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A session, without a thread of its own between it and who measures.
fn connect(database: &Database, name: &str, user: &str) -> Result<Client, Failure> {
    let mut config = database.config();
    config
        .application_name(name)
        .user(user)
        .options("-c statement_timeout=20s")
        .notice_callback(|_| ());
    config.connect(NoTls).during(format!("connect as {name}"))
}
