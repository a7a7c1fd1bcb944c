//! Who is there beside the callers: those who change the schema, those who hold locks, maintenance, and who cancels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use postgres::Client;

use super::tally::{Kind, Tally};
use super::{changes, connect, schema};
use crate::Database;

/// One of them.
pub struct Actor {
    pub database: Database,
    pub number: usize,
    pub rng: Rng,
    pub tally: Tally,
    pub stop: Arc<AtomicBool>,
    /// The processes that are cancelled now and then.
    pub victims: Vec<i32>,
}

/// What each of them does.
pub fn all() -> Vec<fn(&mut Actor)> {
    vec![
        Actor::change,
        Actor::change,
        Actor::change,
        Actor::change_under_guard,
        Actor::change_under_guard,
        Actor::hold,
        Actor::hold,
        Actor::hold,
        Actor::forget,
        Actor::back_up,
        Actor::back_up,
        Actor::vacuum,
        Actor::prepare,
        Actor::cancel,
    ]
}

impl Actor {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn connect(&mut self, name: &str) -> Option<Client> {
        let name = format!("{name} {}", self.number);
        match connect(&self.database, &name, "postgres") {
            Ok(client) => Some(client),
            Err(failure) => {
                self.tally.complain(failure.to_string());
                None
            }
        }
    }

    /// A person's time between two things.
    fn pause(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.rng.u64(1..=most)));
    }

    fn run(&mut self, client: &mut Client, kind: Kind, sql: &str) -> bool {
        let outcome = client.batch_execute(sql);
        self.tally.note(kind, sql, &outcome)
    }

    fn change(&mut self) {
        self.change_with("SET lock_timeout = '100ms'");
    }

    fn change_under_guard(&mut self) {
        self.change_with(
            r#"SET lock_timeout = '500ms'; LOAD 'lockguard'; SET lockguard.policy = '{"timeout": "200ms", "max_stall": "20ms"}'"#,
        );
    }

    fn change_with(&mut self, settings: &str) {
        let Some(mut client) = self.connect("changes") else {
            return;
        };
        if !self.run(&mut client, Kind::Ddl, settings) {
            return;
        }
        while self.goes_on() && !client.is_closed() {
            let in_block = self.rng.u8(..4) == 0;
            if in_block {
                self.run(&mut client, Kind::Ddl, "BEGIN");
            }
            let mut is_well = true;
            for _ in 0..if in_block { self.rng.u8(1..4) } else { 1 } {
                let change = changes::change(&mut self.rng);
                is_well = is_well && self.run(&mut client, Kind::Ddl, &change);
            }
            if in_block {
                let end = if is_well && self.rng.bool() {
                    "COMMIT"
                } else {
                    "ROLLBACK"
                };
                self.run(&mut client, Kind::Ddl, end);
            }
            self.pause(100);
        }
    }

    /// Transactions of the application's kind: some statements, with time between them.
    fn hold(&mut self) {
        let Some(mut client) = self.connect("report") else {
            return;
        };
        while self.goes_on() && !client.is_closed() {
            let sql = format!("BEGIN; {}", self.touch());
            if self.run(&mut client, Kind::Ddl, &sql) {
                let held = [5, 50, 300][self.rng.usize(..3)];
                self.pause(held);
                if self.rng.u8(..3) == 0 {
                    let sql = self.touch();
                    self.run(&mut client, Kind::Ddl, &sql);
                }
            }
            self.run(&mut client, Kind::Ddl, "ROLLBACK");
            self.pause(100);
        }
    }

    /// What takes a lock, of a weak mode.
    fn touch(&mut self) -> String {
        let relation = match self.rng.u8(..3) {
            0 => schema::tree(&mut self.rng),
            1 => schema::passing(&mut self.rng),
            _ => schema::table(&mut self.rng),
        };
        match self.rng.u8(..4) {
            0 => format!(
                "UPDATE {relation} SET note = 'held' WHERE id = {}",
                self.rng.u8(..)
            ),
            1 => format!("LOCK TABLE {relation} IN ROW SHARE MODE"),
            _ => format!("SELECT count(*) FROM {relation}"),
        }
    }

    /// Idle in transaction for seconds; some policies name it.
    fn forget(&mut self) {
        while self.goes_on() {
            let Some(mut client) = self.connect("forgotten") else {
                return;
            };
            let sql = format!("BEGIN; {}", self.touch());
            self.run(&mut client, Kind::Maintenance, &sql);
            self.pause(1_000);
            self.run(&mut client, Kind::Maintenance, "ROLLBACK");
            self.pause(500);
        }
    }

    /// What every policy names, as long as it says nothing else.
    fn back_up(&mut self) {
        while self.goes_on() {
            let Some(mut client) = self.connect("pg_dump") else {
                return;
            };
            // The name is to be just this one.
            self.run(
                &mut client,
                Kind::Maintenance,
                "SET application_name = 'pg_dump'",
            );
            let relations = [schema::table(&mut self.rng), schema::tree(&mut self.rng)].join(", ");
            let sql = format!("BEGIN; LOCK TABLE {relations} IN ACCESS SHARE MODE");
            if self.run(&mut client, Kind::Maintenance, &sql) {
                let seconds = self.rng.f64() * 1.5;
                self.run(
                    &mut client,
                    Kind::Maintenance,
                    &format!("SELECT pg_sleep({seconds:.2})"),
                );
            }
            drop(client);
            self.pause(700);
        }
    }

    fn vacuum(&mut self) {
        while self.goes_on() {
            let Some(mut client) = self.connect("nightly") else {
                return;
            };
            let table = schema::table(&mut self.rng);
            let slowly = "SET vacuum_cost_delay = '20ms'; SET vacuum_cost_limit = 10; SET lock_timeout = '300ms'";
            self.run(&mut client, Kind::Maintenance, slowly);
            let what = ["VACUUM", "ANALYZE"][self.rng.usize(..2)];
            self.run(&mut client, Kind::Maintenance, &format!("{what} {table}"));
            self.pause(700);
        }
    }

    fn prepare(&mut self) {
        let Some(mut client) = self.connect("coordinator") else {
            return;
        };
        let mut number = 0;
        while self.goes_on() && !client.is_closed() {
            number += 1;
            let sql = format!(
                "BEGIN; {}; PREPARE TRANSACTION 'load {number}'",
                self.touch()
            );
            if self.run(&mut client, Kind::Ddl, &sql) {
                self.pause(300);
                let end = ["COMMIT", "ROLLBACK"][self.rng.usize(..2)];
                self.run(
                    &mut client,
                    Kind::Ddl,
                    &format!("{end} PREPARED 'load {number}'"),
                );
            } else {
                self.run(&mut client, Kind::Ddl, "ROLLBACK");
            }
            self.pause(500);
        }
    }

    /// Ctrl-C, in the eyes of a caller.
    fn cancel(&mut self) {
        let Some(mut client) = self.connect("operator") else {
            return;
        };
        while self.goes_on() && !self.victims.is_empty() && !client.is_closed() {
            let victim = self.victims[self.rng.usize(..self.victims.len())];
            self.run(
                &mut client,
                Kind::Ddl,
                &format!("SELECT pg_cancel_backend({victim})"),
            );
            self.pause(100);
        }
    }
}
