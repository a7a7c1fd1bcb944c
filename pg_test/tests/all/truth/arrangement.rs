//! A handful of sessions and prepared transactions that hold locks and queue for them, and stand still between two steps.
//!
//! Standing still: every statement has ended, waits for a lock, or sleeps in all members of its parallel query. Then
//! nothing moves by itself, because deadlocks are left to stand as well (`deadlock_timeout` is an hour): they are as
//! good an arrangement as any. Which steps are made is decided in `steps`.

use std::collections::HashMap;
use std::time::Duration;

use pg_test::cluster::Running;
use pg_test::{Cluster, Database, Session, SessionOptions, wait_until};

use super::relations::{Relation, Relations};

const PATIENCE: Duration = Duration::from_secs(30);

/// What the server must be started with.
pub const SETTINGS: &[(&str, &str)] = &[
    ("deadlock_timeout", "1h"),
    ("max_worker_processes", "24"),
    ("max_parallel_workers", "24"),
    ("synchronous_commit", "off"),
];

/// How many processes a parallel query has here: the leader and two workers.
const DOZERS: &str = "3";

/// A session of the arrangement.
pub struct Player {
    pub session: Session,
    pub state: State,
    /// Open savepoints, the outermost first.
    pub savepoints: Vec<String>,
    /// Whether the transaction may be committed: it has done nothing but lock.
    pub is_clean: bool,
    /// A table that the transaction has asked to lock.
    pub table: Option<String>,
}

/// What a player is up to.
pub enum State {
    Idle,
    InTransaction,
    /// In a failed transaction or subtransaction.
    Failed,
    /// In a statement that waits for a lock, or in a parallel query whose members all sleep.
    Busy {
        running: Box<Running>,
        is_parallel: bool,
    },
}

/// A prepared transaction.
pub struct Prepared {
    pub gid: String,
    pub is_clean: bool,
}

pub struct Arrangement<'a> {
    pub cluster: &'a Cluster,
    pub database: Database,
    pub relations: Relations,
    pub players: Vec<Player>,
    pub prepared: Vec<Prepared>,
    /// Every step so far, with what came of it.
    pub trail: Vec<String>,
    next_number: u32,
}

impl<'a> Arrangement<'a> {
    /// Idle sessions, in a database of their own.
    pub fn new(cluster: &'a Cluster, players: usize) -> Self {
        let database = cluster.create_database().unwrap();
        let relations = Relations::create(&database);
        let mut arrangement = Self {
            cluster,
            database,
            relations,
            players: Vec::new(),
            prepared: Vec::new(),
            trail: Vec::new(),
            next_number: 1,
        };
        arrangement.players = (0..players).map(|_| arrangement.newcomer()).collect();
        arrangement
    }

    /// A number that has not been given out yet.
    pub fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// A session for the arrangement, or one that looks at it: nothing ends it by itself.
    pub fn session(&self, name: &str) -> Session {
        let options = SessionOptions::named(name)
            .set("statement_timeout", "30min")
            .set("max_parallel_workers_per_gather", "0")
            .set("parallel_setup_cost", "0")
            .set("parallel_tuple_cost", "0")
            .set("min_parallel_table_scan_size", "0");
        self.database.connect(options).unwrap()
    }

    fn newcomer(&self) -> Player {
        Player {
            session: self.session("player"),
            state: State::Idle,
            savepoints: Vec::new(),
            is_clean: true,
            table: None,
        }
    }

    /// Has a player run statements in its transaction, which they open if there is none; they may have to wait.
    pub fn start(&mut self, who: usize, sql: &str) {
        self.begin(who, sql, false);
    }

    /// The same for a query that sleeps in every member of a parallel group once it has its locks.
    pub fn start_parallel(&mut self, who: usize, query: &str) {
        let sql = format!("SET LOCAL max_parallel_workers_per_gather = 2; {query}");
        self.begin(who, &sql, true);
    }

    fn begin(&mut self, who: usize, sql: &str, is_parallel: bool) {
        let player = &mut self.players[who];
        let sql = match player.state {
            State::Idle => format!("BEGIN; {sql}"),
            _ => sql.to_owned(),
        };
        player.state = State::Busy {
            running: Box::new(player.session.spawn(sql.clone())),
            is_parallel,
        };
        self.trail.push(format!("player {who}: {sql}"));
        self.settle();
        let player = &self.players[who];
        self.trail.push(format!("player {who} {}", player.told()));
    }

    /// Has a player run what waits for nothing; says whether it succeeded.
    pub fn run(&mut self, who: usize, sql: &str) -> bool {
        let outcome = self.players[who].session.try_run(sql);
        self.trail.push(match &outcome {
            Ok(_) => format!("player {who}: {sql}"),
            Err(error) => format!("player {who}: {sql} -- {error}"),
        });
        outcome.is_ok()
    }

    /// Ends a player's transaction with a statement that does so even if it fails; says whether it succeeded.
    pub fn end(&mut self, who: usize, how: &str) -> bool {
        let succeeded = self.run(who, how);
        let player = &mut self.players[who];
        player.state = State::Idle;
        player.savepoints.clear();
        player.is_clean = true;
        player.table = None;
        self.settle();
        succeeded
    }

    /// Cancels what a player waits for or sleeps in.
    pub fn cancel(&mut self, who: usize) {
        let player = &mut self.players[who];
        self.trail.push(format!("cancel player {who}"));
        let pid = player.session.pid();
        if let State::Busy { running, .. } = std::mem::replace(&mut player.state, State::Failed) {
            self.database
                .ask(&format!("SELECT pg_cancel_backend({pid})"));
            let outcome = running.wait(PATIENCE);
            assert!(outcome.is_err(), "cancelled, yet it gave {outcome:?}");
        }
        self.settle();
    }

    /// Ends a player's session and opens another, which gets the lowest free backend slot: that of the old one, often.
    pub fn replace(&mut self, who: usize) {
        let pid = self.players[who].session.pid();
        self.trail.push(format!(
            "terminate player {who}; a new session takes its place"
        ));
        self.database
            .ask(&format!("SELECT pg_terminate_backend({pid})"));
        let gone = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} OR leader_pid = {pid}"
        );
        wait_until("the terminated session is gone", PATIENCE, || {
            self.database.ask(&gone).value() == Some("0")
        });
        self.players[who] = self.newcomer();
        self.settle();
    }

    /// Rolls every session back. Prepared transactions stay.
    pub fn clear(&mut self) {
        for who in 0..self.players.len() {
            if matches!(self.players[who].state, State::Busy { .. }) {
                self.cancel(who);
            }
        }
        // A cancelled one may have let another go on.
        for who in 0..self.players.len() {
            if !matches!(self.players[who].state, State::Idle) {
                self.end(who, "ROLLBACK");
            }
        }
    }

    /// Stops and starts the server: sessions are new, prepared transactions remain.
    pub fn restart(&mut self) {
        self.trail.push("restart; every session is new".into());
        let count = self.players.drain(..).count();
        self.cluster.restart().unwrap();
        self.players = (0..count).map(|_| self.newcomer()).collect();
    }

    /// Ends a prepared transaction, as a session that is none of the arrangement.
    pub fn finish_prepared(&mut self, place: usize, commit: bool) {
        let Prepared { gid, is_clean } = self.prepared.swap_remove(place);
        let verb = if commit && is_clean {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        let sql = format!("{verb} PREPARED '{}'", gid.replace('\'', "''"));
        self.trail.push(sql.clone());
        self.database.session("finisher").run(&sql);
        self.settle();
    }

    /// The relations that such sessions (a condition on `pg_stat_activity`) hold or wait for.
    pub fn locked_relations(&self, who: &str) -> Vec<&Relation> {
        let locked = self.database.ask(&format!(
            "SELECT DISTINCT relation FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE relation > 16384 AND {who}"
        ));
        let locked: Vec<&str> = locked.iter().map(|row| row.text("relation")).collect();
        let is_locked = |r: &&Relation| locked.contains(&r.oid.to_string().as_str());
        self.relations.all.iter().filter(is_locked).collect()
    }

    /// Waits until everything stands still.
    pub fn settle(&mut self) {
        wait_until("the arrangement stands still", PATIENCE, || {
            self.players.iter_mut().for_each(Player::reap);
            self.stands_still()
        });
    }

    fn stands_still(&self) -> bool {
        let busy: Vec<(i32, bool)> = self
            .players
            .iter()
            .filter_map(|player| match player.state {
                State::Busy { is_parallel, .. } => Some((player.session.pid(), is_parallel)),
                _ => None,
            })
            .collect();
        if busy.is_empty() {
            return true;
        }
        let pids: Vec<String> = busy.iter().map(|(pid, _)| pid.to_string()).collect();
        let seen = self.database.ask(&format!(
            "WITH waiting AS MATERIALIZED (SELECT pid FROM pg_locks WHERE NOT granted), \
                  dozing AS MATERIALIZED (SELECT coalesce(leader_pid, pid) AS pid FROM pg_stat_activity WHERE wait_event = 'PgSleep') \
             SELECT pid, pid IN (SELECT pid FROM waiting) AS waits, \
                    (SELECT count(*) FROM dozing d WHERE d.pid = p.pid) AS dozing \
             FROM unnest(ARRAY[{}]) AS p (pid)",
            pids.join(", ")
        ));
        let seen: HashMap<&str, (bool, bool)> = seen
            .iter()
            .map(|row| {
                let state = (row.text("waits") == "t", row.text("dozing") == DOZERS);
                (row.text("pid"), state)
            })
            .collect();
        busy.iter().zip(&pids).all(|((_, is_parallel), pid)| {
            seen.get(pid.as_str())
                .is_some_and(|(waits, dozes)| *waits || (*is_parallel && *dozes))
        })
    }
}

impl Player {
    /// Takes note of the end of its statement.
    fn reap(&mut self) {
        if !matches!(&self.state, State::Busy { running, .. } if running.is_finished()) {
            return;
        }
        if let State::Busy { running, .. } = std::mem::replace(&mut self.state, State::Failed)
            && running.wait(PATIENCE).is_ok()
        {
            self.state = State::InTransaction;
        }
    }

    fn told(&self) -> &'static str {
        match self.state {
            State::Idle => "is idle",
            State::InTransaction => "went on",
            State::Failed => "failed",
            State::Busy {
                is_parallel: true, ..
            } => "waits, or sleeps in its parallel query",
            State::Busy { .. } => "waits",
        }
    }
}
