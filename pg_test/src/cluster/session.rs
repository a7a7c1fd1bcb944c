//! A session: a connection that lives on a thread of its own, so that it can hang while the test goes on.
//!
//! The thread owns the connection and runs one statement after the other. Notices are collected as they
//! arrive, each with its time; a connection is read only while a statement runs, so what the server sends
//! to an idle session is seen with the next statement.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postgres::error::DbError;
use postgres::{CancelToken, Client, NoTls};

use super::running::{Finish, Running};
use super::{Rows, Server, lock, rows};
use crate::slowness::slow;
use crate::wait::becomes_true;

/// What ends a statement that nobody bounds otherwise.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// How to open a session. The default is a superuser's, with a `statement_timeout` of 60 s.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// `application_name`, by which lockguard's rules know a session.
    pub application_name: String,
    /// The role; `None` is the superuser.
    pub user: Option<String>,
    /// Settings for the session, as `-c name=value` would give them.
    pub settings: Vec<(String, String)>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::named("pg_test")
    }
}

impl SessionOptions {
    /// A superuser's session with this `application_name`.
    pub fn named(application_name: &str) -> Self {
        Self {
            application_name: application_name.to_owned(),
            user: None,
            settings: Vec::new(),
        }
    }

    /// The same for another role.
    pub fn user(mut self, role: &str) -> Self {
        self.user = Some(role.to_owned());
        self
    }

    /// The same with one more setting; a later one wins.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A message that the server sent beside the result.
#[derive(Clone, Debug)]
pub struct Notice {
    /// When it arrived here.
    pub at: Instant,
    /// `NOTICE`, `WARNING`, `INFO`, …
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// DETAIL.
    pub detail: Option<String>,
    /// HINT.
    pub hint: Option<String>,
}

impl From<DbError> for Notice {
    fn from(error: DbError) -> Self {
        Self {
            at: Instant::now(),
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// A statement for the session's thread, and where its outcome goes.
struct Job {
    sql: String,
    finish: Finish,
}

/// A session. Dropping it cancels what it still runs, and closes the connection.
pub struct Session {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    notices: Arc<Mutex<Vec<Notice>>>,
    cancel: CancelToken,
    pid: i32,
    server: Arc<Server>,
}

impl Session {
    pub(super) fn open(
        server: Arc<Server>,
        database: &str,
        options: SessionOptions,
    ) -> Result<Self, postgres::Error> {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let mut config = server.config(database);
        config
            .application_name(&options.application_name)
            .connect_timeout(slow(Duration::from_secs(30)));
        if let Some(user) = &options.user {
            config.user(user);
        }
        let timeout = slow(STATEMENT_TIMEOUT).as_millis().to_string();
        let default = ("statement_timeout".to_owned(), timeout);
        let settings: String = std::iter::once(&default)
            .chain(&options.settings)
            .map(|(name, value)| start_option(name, value))
            .collect();
        config.options(&settings);
        let collected = Arc::clone(&notices);
        config.notice_callback(move |notice| lock(&collected).push(Notice::from(notice)));

        let mut client = config.connect(NoTls)?;
        let cancel = client.cancel_token();
        let pid = Rows::from_messages(client.simple_query("SELECT pg_backend_pid()")?);
        let pid = pid
            .value()
            .and_then(|pid| pid.parse().ok())
            .unwrap_or_default();
        let (jobs, queue) = mpsc::channel::<Job>();
        let thread = std::thread::spawn(move || {
            for Job { sql, finish } in queue {
                finish.with(run(&mut client, &sql));
            }
        });
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            notices,
            cancel,
            pid,
            server,
        })
    }

    /// The process id of its backend.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Starts a statement and returns at once. Statements of one session run one after the other.
    pub fn spawn(&self, sql: impl Into<String>) -> Running {
        let sql = sql.into();
        let (running, finish) = Running::new(
            sql.clone(),
            self.pid,
            self.cancel.clone(),
            Arc::clone(&self.server),
        );
        if let Some(jobs) = &self.jobs {
            // If the thread is gone the job is dropped, and `running` reports that.
            let _ = jobs.send(Job { sql, finish });
        }
        running
    }

    /// Runs one or several statements and returns their rows, or the server's error.
    ///
    /// Several statements in one text share one transaction, as with `psql -c`; a `BEGIN` among them
    /// makes that transaction the one it opens.
    pub fn try_run(&self, sql: &str) -> Result<Rows, postgres::Error> {
        self.spawn(sql).outcome()
    }

    /// [`Session::try_run`] for statements that must succeed.
    ///
    /// # Panics
    /// When one fails, with the server's message, detail and hint.
    #[track_caller]
    pub fn run(&self, sql: &str) -> Rows {
        match self.try_run(sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{}\n{sql}", rows::describe(&error)),
        }
    }

    /// The error that running `sql` gives.
    ///
    /// # Panics
    /// When it succeeds, or the connection breaks.
    #[track_caller]
    pub fn error(&self, sql: &str) -> DbError {
        match self.try_run(sql) {
            Ok(rows) => panic!("an error was expected, but it returned {rows:?}\n{sql}"),
            Err(error) => match error.as_db_error() {
                Some(db) => db.clone(),
                None => panic!("an error of the server was expected: {error}\n{sql}"),
            },
        }
    }

    /// Everything the server has sent beside results, oldest first.
    pub fn notices(&self) -> Vec<Notice> {
        lock(&self.notices).clone()
    }

    /// The same, and forgets it.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *lock(&self.notices))
    }

    /// Asks the server to cancel what the session runs, as Ctrl-C in psql does.
    pub fn cancel(&self) {
        // The server answers nothing to such a request; whoever calls looks at what the statement does.
        let _ = self.cancel.cancel_query(NoTls);
    }

    /// For cancelling from another thread.
    pub fn cancel_token(&self) -> CancelToken {
        self.cancel.clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.jobs.take();
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A cancel can come too early for its statement: ask until the thread has closed the connection.
        let mut next_cancel = Instant::now() + Duration::from_millis(20);
        let closed = becomes_true(Duration::from_secs(5), || {
            if !thread.is_finished() && Instant::now() >= next_cancel {
                self.cancel();
                next_cancel = Instant::now() + Duration::from_millis(200);
            }
            thread.is_finished()
        });
        if closed {
            let _ = thread.join();
        } else {
            // It stays with its thread; the end of the server ends it.
            let _ = self
                .server
                .ask(&format!("SELECT pg_terminate_backend({})", self.pid));
        }
    }
}

fn run(client: &mut Client, sql: &str) -> Result<Rows, postgres::Error> {
    let outcome = client.simple_query(sql).map(Rows::from_messages);
    if outcome.is_err() {
        // The server tells of an error before it lets go of the transaction's locks, and the client returns as soon
        // as it hears: the statement is over only once the server is ready for the next.
        let _ = client.simple_query("");
    }
    outcome
}

/// `-c name=value` for the start-up packet, where backslashes protect spaces and themselves.
fn start_option(name: &str, value: &str) -> String {
    let protected: String = value
        .chars()
        .flat_map(|c| {
            (c == ' ' || c == '\\')
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect();
    format!("-c {name}={protected} ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_backslashes_in_settings_are_protected() {
        assert_eq!(
            start_option("search_path", r"a, b\c"),
            r"-c search_path=a,\ b\\c "
        );
    }
}
