//! A statement in flight: whether it is done, how long it took, what came of it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use postgres::{CancelToken, NoTls};

use super::{Rows, Server, lock, rows};
use crate::slowness::slow;
use crate::wait::wait_until;

type Outcome = Result<Rows, postgres::Error>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    /// When it ended; set also when the session's thread died without an outcome.
    ended: Option<Instant>,
}

/// The end of the line where the outcome is put in. Dropping it without one tells that the session is gone.
pub(super) struct Finish(Arc<Shared>);

impl Finish {
    pub(super) fn with(self, outcome: Outcome) {
        lock(&self.0.state).outcome = Some(outcome);
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        lock(&self.0.state).ended = Some(Instant::now());
        self.0.changed.notify_all();
    }
}

/// A statement that a session runs while the test goes on. Dropping it leaves the statement to its session.
pub struct Running {
    shared: Arc<Shared>,
    sql: String,
    pid: i32,
    cancel: CancelToken,
    server: Arc<Server>,
    started: Instant,
}

impl Running {
    pub(super) fn new(
        sql: String,
        pid: i32,
        cancel: CancelToken,
        server: Arc<Server>,
    ) -> (Self, Finish) {
        let shared = Arc::new(Shared::default());
        let finish = Finish(Arc::clone(&shared));
        (
            Self {
                shared,
                sql,
                pid,
                cancel,
                server,
                started: Instant::now(),
            },
            finish,
        )
    }

    /// The process id of the backend that runs it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether it has ended, well or not.
    pub fn is_finished(&self) -> bool {
        lock(&self.shared.state).ended.is_some()
    }

    /// From its start to its end, or to now.
    pub fn elapsed(&self) -> Duration {
        lock(&self.shared.state)
            .ended
            .unwrap_or_else(Instant::now)
            .duration_since(self.started)
    }

    /// Asks the server to cancel it, as Ctrl-C in psql does.
    pub fn cancel(&self) {
        let _ = self.cancel.cancel_query(NoTls);
    }

    /// Its rows or the server's error, once it has ended.
    ///
    /// # Panics
    /// When it has not ended after `timeout`, stretched where servers are slow; it is cancelled then.
    #[track_caller]
    pub fn wait(self, timeout: Duration) -> Outcome {
        let state = lock(&self.shared.state);
        let (state, _) =
            match self
                .shared
                .changed
                .wait_timeout_while(state, slow(timeout), |state| state.ended.is_none())
            {
                Ok(both) => both,
                Err(poisoned) => poisoned.into_inner(),
            };
        let ended = state.ended.is_some();
        drop(state);
        if !ended {
            self.cancel();
            panic!("not done within {:?}: {}", slow(timeout), self.sql);
        }
        self.take()
    }

    /// Its rows, once it has ended.
    ///
    /// # Panics
    /// When it fails, or has not ended after `timeout`.
    #[track_caller]
    pub fn rows(self, timeout: Duration) -> Rows {
        let sql = self.sql.clone();
        match self.wait(timeout) {
            Ok(rows) => rows,
            Err(error) => panic!("{}\n{sql}", rows::describe(&error)),
        }
    }

    /// Its outcome, however long it takes; the session's `statement_timeout` bounds it.
    #[track_caller]
    pub(super) fn outcome(self) -> Outcome {
        let state = lock(&self.shared.state);
        drop(
            self.shared
                .changed
                .wait_while(state, |state| state.ended.is_none()),
        );
        self.take()
    }

    #[track_caller]
    fn take(self) -> Outcome {
        let outcome = lock(&self.shared.state).outcome.take();
        match outcome {
            Some(outcome) => outcome,
            None => panic!("the session ended without running: {}", self.sql),
        }
    }

    /// What its backend waits for: `wait_event_type` and `wait_event` of `pg_stat_activity`.
    pub fn wait_event(&self) -> Option<(String, String)> {
        let sql = format!(
            "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = {} AND wait_event IS NOT NULL",
            self.pid
        );
        let rows = self.server.ask(&sql).ok()?;
        let row = rows.first()?;
        Some((
            row.get("wait_event_type")?.to_owned(),
            row.get("wait_event")?.to_owned(),
        ))
    }

    /// Waits until it hangs in a lock queue.
    ///
    /// # Panics
    /// When it does not within ten seconds, or ends instead.
    #[track_caller]
    pub fn wait_until_queued(&self) {
        wait_until(
            &format!("waits for a lock: {}", self.sql),
            Duration::from_secs(10),
            || {
                if let Some(outcome) = &lock(&self.shared.state).outcome {
                    panic!(
                        "did not wait for a lock, but gave {outcome:?}: {}",
                        self.sql
                    );
                }
                self.wait_event().is_some_and(|(kind, _)| kind == "Lock")
            },
        );
    }
}
