//! The ways to a DDL that stands before an occupied table: ours, and those of the tools that people use.
//!
//! Each is written as its tool does it, with the tool's defaults. A way ends with the DDL done, or when the
//! server ends its statement at the cap.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use pg_test::Database;
use postgres::error::SqlState;
use postgres::{Client, Error, NoTls};

use crate::world::{DDL, TABLE};

/// A way, and the tool that goes it.
#[derive(Clone, Copy)]
pub struct Way {
    pub name: &'static str,
    go: fn(&mut Migration) -> Result<(), Stop>,
}

/// Nobody's precaution.
pub const PLAIN: Way = Way {
    name: "plain",
    go: plain,
};
/// `lock_timeout` of 500 ms, backoff from 1 s to 60 s with jitter, for ever.
pub const RETRY_500: Way = Way {
    name: "500 ms and retry (pgroll)",
    go: retry_500,
};
/// `lock_timeout` of 200 ms, backoff from 10 ms with jitter, rounded up to whole seconds, as there.
pub const RETRY_200: Way = Way {
    name: "200 ms and retry (online_migrations)",
    go: retry_200,
};
/// `lock_timeout` growing to 1 s without a pause; cancels after 60 s, terminates after 120 s.
pub const REPACK: Way = Way {
    name: "growing timeout, no pause (pg_repack)",
    go: repack,
};
/// A side thread that terminates whoever blocks, each second.
pub const TERMINATE: Way = Way {
    name: "terminate blockers (django-pgmigrate)",
    go: terminate_blockers,
};
/// Tries that never queue.
pub const NOWAIT: Way = Way {
    name: "NOWAIT every 10 ms",
    go: nowait,
};
/// A person who knows the pid already, and whose DDL follows in the next breath.
pub const FLOOR: Way = Way {
    name: "the floor: pid known beforehand",
    go: floor,
};
/// Ours.
pub const LOCKGUARD: Way = Way {
    name: "lockguard",
    go: lockguard,
};

/// The session that is to do the DDL.
pub struct Migration {
    client: Client,
    config: postgres::Config,
    deadline: Instant,
    /// What the person of the floor does.
    kill: String,
}

impl Migration {
    /// Its statements end at `cap` at the latest; `kill` is the floor's.
    pub fn connect(database: &Database, cap: Duration, kill: String) -> Result<Migration, Error> {
        let mut config = database.config();
        config.application_name("migration");
        config.options(&format!("-c statement_timeout={}", cap.as_millis()));
        Ok(Migration {
            client: config.connect(NoTls)?,
            config,
            deadline: Instant::now() + cap,
            kill,
        })
    }

    /// Goes that way; says how long it took until the DDL was done, `None` if it was not at the cap.
    pub fn go(&mut self, way: Way, cap: Duration) -> Result<Option<Duration>, Error> {
        let start = Instant::now();
        self.deadline = start + cap;
        match (way.go)(self) {
            Ok(()) => Ok(Some(start.elapsed())),
            Err(Stop::TimeUp) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql)
    }

    /// A pause between two tries.
    fn pause(&self, time: Duration) -> Result<(), Stop> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        std::thread::sleep(time.min(left));
        if time < left {
            Ok(())
        } else {
            Err(Stop::TimeUp)
        }
    }
}

/// How a way ends before the DDL is done.
enum Stop {
    TimeUp,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        // 55P03 is how our own call ends; those that retry see to theirs themselves.
        let timeouts = [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE];
        if timeouts.iter().any(|code| error.code() == Some(code)) {
            Stop::TimeUp
        } else {
            Stop::Failed(error)
        }
    }
}

/// Of the longest pause: both take any from 0 to 1, and this is the mean, so that luck decides nothing.
const JITTER: f64 = 0.5;

fn plain(migration: &mut Migration) -> Result<(), Stop> {
    Ok(migration.run(DDL)?)
}

fn retry_500(migration: &mut Migration) -> Result<(), Stop> {
    migration.run("SET lock_timeout = '500ms'")?;
    retry(migration, |tries| {
        let longest = 2f64.powi(tries).min(60.0);
        Duration::from_secs_f64(JITTER * longest)
    })
}

fn retry_200(migration: &mut Migration) -> Result<(), Stop> {
    migration.run("SET lock_timeout = '200ms'")?;
    retry(migration, |tries| {
        let longest = (0.01 * 2f64.powi(tries)).min(60.0);
        Duration::from_secs_f64((JITTER * longest).ceil())
    })
}

/// `pause` is told how many tries failed before this one, from 0 on.
fn retry(migration: &mut Migration, mut pause: impl FnMut(i32) -> Duration) -> Result<(), Stop> {
    for tries in 0.. {
        match migration.run(DDL) {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                migration.pause(pause(tries))?;
            }
            outcome => return Ok(outcome?),
        }
    }
    Ok(())
}

/// pg_repack.c, `lock_exclusive`.
fn repack(migration: &mut Migration) -> Result<(), Stop> {
    let start = Instant::now();
    for tries in 1.. {
        migration.run("BEGIN ISOLATION LEVEL READ COMMITTED")?;
        let signal = match start.elapsed().as_secs() {
            0..=60 => None,
            61..=120 => Some("pg_cancel_backend"),
            _ => Some("pg_terminate_backend"),
        };
        if let Some(signal) = signal {
            migration.run(&format!(
                "SELECT {signal}(pid) FROM pg_locks WHERE locktype = 'relation' \
                 AND relation = '{TABLE}'::regclass AND pid <> pg_backend_pid()"
            ))?;
        }
        let timeout = 1000.min(tries * 100);
        migration.run(&format!("SET LOCAL lock_timeout = {timeout}"))?;
        match migration.run(&format!("LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")) {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                migration.run("ROLLBACK")?;
                migration.pause(Duration::ZERO)?;
            }
            Err(error) => return Err(error.into()),
            Ok(()) => break,
        }
    }
    migration.run(DDL)?;
    Ok(migration.run("COMMIT")?)
}

fn terminate_blockers(migration: &mut Migration) -> Result<(), Stop> {
    let pid: i32 = migration
        .client
        .query_one("SELECT pg_backend_pid()", &[])?
        .get(0);
    let mut helper = migration.config.connect(NoTls)?;
    let (done, is_done) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        while is_done.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            helper.batch_execute(&format!(
                "SELECT pg_terminate_backend(b) FROM unnest(pg_blocking_pids({pid})) b"
            ))?;
        }
        Ok::<(), Error>(())
    });
    let outcome = migration.run(DDL);
    drop(done);
    match thread.join() {
        Ok(helped) => Ok(outcome.and(helped)?),
        Err(_) => Ok(outcome?),
    }
}

fn nowait(migration: &mut Migration) -> Result<(), Stop> {
    loop {
        migration.run("BEGIN")?;
        match migration.run(&format!(
            "LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE NOWAIT"
        )) {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                migration.run("ROLLBACK")?;
                migration.pause(Duration::from_millis(10))?;
            }
            Err(error) => return Err(error.into()),
            Ok(()) => break,
        }
    }
    migration.run(DDL)?;
    Ok(migration.run("COMMIT")?)
}

fn floor(migration: &mut Migration) -> Result<(), Stop> {
    let kill = std::mem::take(&mut migration.kill);
    migration.run(&kill)?;
    Ok(migration.run(DDL)?)
}

fn lockguard(migration: &mut Migration) -> Result<(), Stop> {
    migration.run("BEGIN")?;
    migration.run(&format!(
        r#"SELECT lockguard.preempt_maintenance('{{"relations": ["{TABLE}"]}}')"#
    ))?;
    migration.run(DDL)?;
    Ok(migration.run("COMMIT")?)
}
