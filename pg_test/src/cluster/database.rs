//! A database of a cluster: sessions into it, and client programs that work on it.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use super::{Rows, Server, Session, SessionOptions};
use crate::failure::{During, Failure};
use crate::installation::Installation;
use crate::process;

/// A database. It stays when this value is dropped; the cluster takes it along.
#[derive(Clone)]
pub struct Database {
    server: Arc<Server>,
    name: String,
}

impl Database {
    pub(super) fn new(server: Arc<Server>, name: &str) -> Self {
        Self {
            server,
            name: name.to_owned(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The installation that the server runs from.
    pub fn installation(&self) -> &Installation {
        &self.server.installation
    }

    /// For a client of one's own, where the way through a session's thread would be measured too.
    pub fn config(&self) -> postgres::Config {
        self.server.config(&self.name)
    }

    /// Opens a session.
    pub fn connect(&self, options: SessionOptions) -> Result<Session, Failure> {
        Session::open(Arc::clone(&self.server), &self.name, options)
            .during(format!("connect to {}", self.name))
    }

    /// Creates the extension in it, and enables guard mode for it.
    pub fn create_extension(&self) -> Result<(), Failure> {
        let session = self.connect(SessionOptions::default())?;
        session
            .try_run("CREATE EXTENSION lockguard; SELECT lockguard.enable_guard()")
            .during("create the extension")?;
        Ok(())
    }

    /// Opens a superuser's session under this `application_name`.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn session(&self, application_name: &str) -> Session {
        match self.connect(SessionOptions::named(application_name)) {
            Ok(session) => session,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Runs a statement as superuser in database `postgres`, outside every scenario's sessions.
    ///
    /// For looking at `pg_stat_activity`, `pg_locks` and the like, which show all databases.
    ///
    /// # Panics
    /// When the statement fails.
    #[track_caller]
    pub fn ask(&self, sql: &str) -> Rows {
        match self.server.ask(sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{}\n{sql}", super::rows::describe(&error)),
        }
    }

    /// Cancels what that process runs, with `pg_cancel_backend`: with exactly one signal. A client's own
    /// request has the server send two (to the process and to its process group), and the second
    /// may hit the statement after the one that the first has ended.
    ///
    /// # Panics
    /// When there is no such process.
    #[track_caller]
    pub fn cancel(&self, pid: i32) {
        let sent = self.ask(&format!("SELECT pg_cancel_backend({pid})"));
        assert_eq!(sent.value(), Some("t"), "pid {pid} is signalled");
    }

    /// A command for one of PostgreSQL's client programs, or any other, with the connection in its environment.
    ///
    /// Start it with [`process::run`], [`process::Process::spawn`] or [`super::SlowReader::spawn`], which
    /// see to its end.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.server.command(program.as_ref(), &self.name)
    }

    /// `psql` without the user's start-up file, stopping at the first error.
    pub fn psql(&self) -> Command {
        let mut command = self.command("psql");
        command.args(["-X", "-v", "ON_ERROR_STOP=1"]);
        command
    }

    /// `pg_dump`.
    pub fn pg_dump(&self) -> Command {
        self.command("pg_dump")
    }

    /// `pgbench`.
    pub fn pgbench(&self) -> Command {
        self.command("pgbench")
    }

    /// Opens psql on our terminal and waits until the user leaves it.
    pub fn open_psql(&self) -> Result<ExitStatus, Failure> {
        let mut command = self.command("psql");
        // The clean environment lacks what a person at a terminal expects.
        for name in [
            "TERM", "LANG", "LC_ALL", "COLUMNS", "LINES", "PAGER", "LESS", "EDITOR", "VISUAL",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        process::run_interactively(command).during("run psql")
    }
}
