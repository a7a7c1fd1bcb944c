//! A session that calls: by itself, in transaction blocks, between savepoints, through a cursor, and right before the
//! DDL that it calls for.

use std::time::{Duration, Instant};

use fastrand::Rng;
use postgres::Client;

use super::memory::Look;
use super::tally::{Kind, Tally};
use super::{calls, changes, connect, schema};
use crate::{Database, During, Failure};

/// How long a transaction is held open, at the most, before its end.
const HELD: Duration = Duration::from_millis(20);

pub struct Caller {
    client: Client,
    rng: Rng,
    pub pid: i32,
    pub tally: Tally,
    pub calls: u64,
    pub slowest: Duration,
    /// A third of the way, two thirds of it, and at the end.
    pub looks: Vec<Look>,
}

impl Caller {
    pub fn connect(database: &Database, number: usize, seed: u64) -> Result<Caller, Failure> {
        let user = if number % 4 == 3 {
            schema::CLERK
        } else {
            "postgres"
        };
        let mut client = connect(database, &format!("migration {number}"), user)?;
        let pid = client.query_one("SELECT pg_backend_pid()", &[]);
        let mut caller = Caller {
            pid: pid.during("ask for a pid")?.get(0),
            client,
            rng: Rng::with_seed(seed.wrapping_mul(1_000_003) + number as u64),
            tally: Tally::default(),
            calls: 0,
            slowest: Duration::ZERO,
            looks: vec![],
        };
        // What a session remembers of the catalogs it is to have before memory is looked at.
        for _ in 0..20 {
            caller.turn();
        }
        caller.look();
        caller.looks.clear();
        caller.calls = 0;
        Ok(caller)
    }

    /// Calls for `length`, one call in `pause` on average, whatever the calls take.
    pub fn play(&mut self, length: Duration, pause: Duration) {
        let start = Instant::now();
        let mut next = start + pause.mul_f64(self.rng.f64());
        let mut looks = [1, 2]
            .map(|third| start + length * third / 3)
            .into_iter()
            .peekable();
        while next < start + length && !self.client.is_closed() {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if looks.next_if(|at| *at <= Instant::now()).is_some() {
                self.look();
            }
            let before = self.calls;
            self.turn();
            let calls = (self.calls - before) as f64;
            next += pause.mul_f64(2.0 * self.rng.f64() * calls);
        }
        self.look();
    }

    /// Notes the memory that it has now.
    fn look(&mut self) {
        // A cancel may hit that too, and more than once.
        for _ in 0..10 {
            let look = Look::at(&mut self.client, self.pid, self.calls);
            self.tally.note(Kind::Ddl, "look at the memory", &look);
            if let Ok(look) = look {
                self.looks.push(look);
                return;
            }
        }
    }

    fn turn(&mut self) {
        match self.rng.u8(..16) {
            0..4 => drop(self.call()),
            4..8 => self.block(|caller| caller.call()),
            8..10 => self.block(Self::with_savepoints),
            10 => self.block(Self::through_cursor),
            11 => self.block(|caller| {
                caller.run("SET LOCAL statement_timeout = '15ms'") && caller.call()
            }),
            12 => self.caught(),
            13 => self.prepared(),
            _ => self.block(Self::before_ddl),
        }
    }

    /// In a transaction block, that is ended whatever becomes of `work`.
    fn block(&mut self, work: impl FnOnce(&mut Self) -> bool) {
        if !self.run("BEGIN") {
            return;
        }
        let is_well = work(self);
        if is_well && self.rng.bool() {
            std::thread::sleep(HELD.mul_f64(self.rng.f64()));
        }
        let end = if is_well && self.rng.bool() {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        // A cancel may hit the end itself.
        let mut is_over = self.run(end);
        while !is_over && !self.client.is_closed() {
            is_over = self.run("ROLLBACK");
        }
    }

    fn with_savepoints(&mut self) -> bool {
        let mut is_well = self.run("SAVEPOINT s");
        for _ in 0..self.rng.u8(1..4) {
            is_well = is_well && self.call();
            let end = if is_well && self.rng.bool() {
                "RELEASE s"
            } else {
                "ROLLBACK TO s; RELEASE s"
            };
            if !self.run(end) || !self.run("SAVEPOINT s") {
                return false;
            }
            is_well = true;
        }
        true
    }

    fn through_cursor(&mut self) -> bool {
        let (kind, sql) = calls::any(&mut self.rng);
        let count = self.rng.u8(..3);
        self.ask(kind, &format!("DECLARE c CURSOR FOR {sql}"))
            && self.ask(kind, &format!("FETCH {count} FROM c"))
            && (self.rng.bool() || self.run("CLOSE c"))
    }

    /// A migration: the call, then the DDL that it is about.
    fn before_ddl(&mut self) -> bool {
        let ddl = changes::change(&mut self.rng);
        self.ask(Kind::Preempt, &calls::preempt_before(&ddl)) && self.run(&ddl)
    }

    /// Where plpgsql rolls back to before the call.
    fn caught(&mut self) {
        let (kind, sql) = calls::any(&mut self.rng);
        let sql = sql.replacen("SELECT *", "PERFORM *", 1);
        self.ask(
            kind,
            &format!("DO $do$BEGIN {sql}; EXCEPTION WHEN lock_not_available OR deadlock_detected THEN NULL; END$do$"),
        );
    }

    /// Over the extended protocol.
    fn prepared(&mut self) {
        let (kind, sql) = calls::any(&mut self.rng);
        let start = Instant::now();
        let outcome = self.client.query(&sql, &[]);
        self.took(start);
        self.tally.note(kind, &sql, &outcome);
    }

    fn call(&mut self) -> bool {
        let (kind, sql) = calls::any(&mut self.rng);
        self.ask(kind, &sql)
    }

    fn ask(&mut self, kind: Kind, sql: &str) -> bool {
        let start = Instant::now();
        let outcome = self.client.simple_query(sql);
        self.took(start);
        self.tally.note(kind, sql, &outcome)
    }

    fn took(&mut self, start: Instant) {
        self.calls += 1;
        self.slowest = self.slowest.max(start.elapsed());
    }

    /// Anything but a call.
    fn run(&mut self, sql: &str) -> bool {
        let outcome = self.client.batch_execute(sql);
        self.tally.note(Kind::Ddl, sql, &outcome)
    }
}
