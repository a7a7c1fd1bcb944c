//! A server: started from an [`Installation`], reachable through a Unix socket alone, gone when dropped.

mod backup;
mod database;
mod parallel_dump;
mod rows;
mod running;
mod session;
mod slow_reader;
mod table;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use postgres::{Client, NoTls};

pub use backup::Backup;
pub use database::Database;
pub use parallel_dump::ParallelDump;
pub use rows::{Row, Rows};
pub use running::Running;
pub use session::{Notice, Session, SessionOptions};
pub use slow_reader::SlowReader;

use crate::failure::{During, Failure};
use crate::installation::Installation;
use crate::process::{Ending, Process};
use crate::slowness::slow;
use crate::wait::becomes_true;
use crate::{complaints, memcheck};

/// The superuser that initdb creates.
pub const SUPERUSER: &str = "postgres";

/// The port of a server that is not given another; nobody listens there but on its own socket.
const DEFAULT_PORT: &str = "5432";

/// What a throw-away server is started with; what the caller gives comes after, and wins.
const DEFAULTS: &[(&str, &str)] = &[
    ("listen_addresses", "''"),
    ("unix_socket_permissions", "0700"),
    // Nothing here need survive a power failure.
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "200"),
    ("max_prepared_transactions", "20"),
    // A scenario that wants an autovacuum turns it on; others must not meet one by chance.
    ("autovacuum", "off"),
    ("timezone", "'UTC'"),
    ("log_timezone", "'UTC'"),
    ("lc_messages", "'C'"),
    ("logging_collector", "off"),
    ("log_line_prefix", "'%m [%p] %q%a %u@%d '"),
];

/// How long a server may take to come up or to go down.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Cluster(Arc<Server>);

/// What sessions and databases keep of their server.
pub(crate) struct Server {
    installation: Installation,
    folder: PathBuf,
    /// It names the socket too.
    port: String,
    /// What the server finds in its environment beside what every program does.
    environment: Vec<(String, PathBuf)>,
    /// Options of `prlimit`, which it is started under if there are any.
    limits: Vec<String>,
    postmaster: Mutex<Option<Process>>,
    /// A superuser's connection for looking at the server from outside a scenario.
    monitor: Mutex<Option<Client>>,
    next_database: AtomicU32,
}

impl Cluster {
    /// Initialises and starts a server; `settings` are lines of `postgresql.conf`: names and values.
    ///
    /// Values are quoted as needed: give `500ms`, not `'500ms'`.
    pub fn start(installation: &Installation, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_with(installation, settings, &[])
    }

    /// [`Cluster::start`] with these variables in the server's environment, now and when it is started again.
    pub fn start_with(
        installation: &Installation,
        settings: &[(&str, &str)],
        environment: &[(&str, &Path)],
    ) -> Result<Self, Failure> {
        let folder = installation.new_folder("c")?;
        installation.init_data_directory(&folder.join("data"))?;
        Self::start_in(installation, folder, settings, environment, &[])
    }

    /// [`Cluster::start`] under limits of the kernel's, as `ulimit` sets them: options of util-linux's
    /// `prlimit`, such as `--as=1000000000` and `--stack=1048576`, in bytes.
    pub fn start_limited(
        installation: &Installation,
        settings: &[(&str, &str)],
        limits: &[&str],
    ) -> Result<Self, Failure> {
        let folder = installation.new_folder("c")?;
        installation.init_data_directory(&folder.join("data"))?;
        Self::start_in(installation, folder, settings, &[], limits)
    }

    /// A streaming standby of `primary`, read-only until promoted.
    pub fn standby_of(primary: &Cluster, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        let installation = primary.installation();
        let folder = installation.new_folder("c")?;
        let mut copy = primary.command("pg_basebackup", "postgres");
        copy.args(["-X", "stream", "-c", "fast", "--write-recovery-conf", "-D"])
            .arg(folder.join("data"));
        let captured = crate::process::run(copy).during("run pg_basebackup")?;
        if !captured.status.success() {
            return Err(Failure::new(format!(
                "pg_basebackup failed: {}",
                captured.stderr
            )));
        }
        Self::start_in(installation, folder, settings, &[], &[])
    }

    fn start_in(
        installation: &Installation,
        folder: PathBuf,
        settings: &[(&str, &str)],
        environment: &[(&str, &Path)],
        limits: &[&str],
    ) -> Result<Self, Failure> {
        let variable = |(name, value): &(&str, &Path)| ((*name).to_owned(), value.to_path_buf());
        let port = settings
            .iter()
            .rfind(|(name, _)| *name == "port")
            .map_or(DEFAULT_PORT, |(_, port)| port);
        let server = Server {
            installation: installation.clone(),
            folder,
            port: port.to_owned(),
            environment: environment.iter().map(variable).collect(),
            limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
            postmaster: Mutex::new(None),
            monitor: Mutex::new(None),
            next_database: AtomicU32::new(1),
        };
        let sockets = server.folder.display().to_string();
        let socket_setting = [("unix_socket_directories", sockets.as_str())];
        server.write_settings(DEFAULTS.iter().chain(&socket_setting).chain(settings))?;
        complaints::watch(&server.folder);
        let cluster = Self(Arc::new(server));
        cluster.start_again()?;
        Ok(cluster)
    }

    /// Starts the server after [`Cluster::stop`] or a crash.
    pub fn start_again(&self) -> Result<(), Failure> {
        let server = &self.0;
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(server.log_path())
            .during("open the server log")?;
        let log_again = log.try_clone().during("open the server log")?;
        let mut command = match server.limits.is_empty() {
            true => memcheck::server(&server.installation, &server.folder)?,
            // valgrind itself needs more.
            false => {
                let mut command = server.installation.command("/usr/bin/prlimit");
                command.args(&server.limits);
                command.arg(server.installation.command("postgres").get_program());
                command
            }
        };
        command.arg("-D").arg(server.data());
        command.envs(server.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log).stderr(log_again);
        let process = Process::spawn(command, Ending::Postmaster).during("start postgres")?;
        *lock(&server.postmaster) = Some(process);
        let mut died = false;
        let up = becomes_true(PATIENCE, || {
            died = lock(&server.postmaster)
                .as_mut()
                .is_none_or(|postmaster| postmaster.try_wait().is_some());
            died || server.is_ready()
        });
        if up && !died {
            return Ok(());
        }
        lock(&server.postmaster).take();
        let outcome = if died {
            "ended at once"
        } else {
            "did not come up"
        };
        Err(Failure::new(format!(
            "the server {outcome}; its log says:\n{}",
            self.log()
        )))
    }

    /// Stops the server: sessions are ended, everything is written out (a fast shutdown).
    pub fn stop(&self) -> Result<(), Failure> {
        lock(&self.0.monitor).take();
        let Some(mut postmaster) = lock(&self.0.postmaster).take() else {
            return Ok(());
        };
        postmaster.signal(Signal::SIGINT);
        match postmaster.wait(PATIENCE) {
            Some(_) => Ok(()),
            None => Err(Failure::new(format!(
                "the server did not stop; its log says:\n{}",
                self.log()
            ))),
        }
    }

    /// Ends the server as a crash would: nothing is written out, the next start recovers.
    pub fn crash(&self) {
        lock(&self.0.monitor).take();
        lock(&self.0.postmaster).take();
    }

    /// Stops and starts the server.
    pub fn restart(&self) -> Result<(), Failure> {
        self.stop()?;
        self.start_again()
    }

    /// Adds settings and has the server read them; those that need a restart wait for it.
    pub fn set(&self, settings: &[(&str, &str)]) -> Result<(), Failure> {
        self.0.write_settings(settings.iter())?;
        self.reload();
        Ok(())
    }

    /// Has the server read its configuration again; it does so soon, not at once.
    pub fn reload(&self) {
        if let Some(postmaster) = lock(&self.0.postmaster).as_mut() {
            postmaster.signal(Signal::SIGHUP);
        }
    }

    /// The whole server log so far.
    pub fn log(&self) -> String {
        std::fs::read(self.0.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The process id of the postmaster, while it runs.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.0.postmaster).as_ref().map(Process::pid)
    }

    /// The installation it was started from.
    pub fn installation(&self) -> &Installation {
        &self.0.installation
    }

    /// The folder of its socket; its data directory is `data` below it.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// A fresh empty database.
    pub fn create_empty_database(&self) -> Result<Database, Failure> {
        let number = self.0.next_database.fetch_add(1, Ordering::Relaxed);
        let name = format!("db{number}");
        self.0
            .ask(&format!("CREATE DATABASE {name}"))
            .during(format!("create database {name}"))?;
        Ok(self.database(&name))
    }

    /// A fresh database with the extension in it, and guard mode enabled.
    pub fn create_database(&self) -> Result<Database, Failure> {
        let database = self.create_empty_database()?;
        database.create_extension()?;
        Ok(database)
    }

    /// A database that exists.
    pub fn database(&self, name: &str) -> Database {
        Database::new(Arc::clone(&self.0), name)
    }

    /// A command for a client program, with the connection in its environment.
    pub fn command(&self, program: impl AsRef<Path>, database: &str) -> Command {
        self.0.command(program.as_ref(), database)
    }
}

impl Server {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Whether it accepts connections: the postmaster says so on the last line of its lock file.
    fn is_ready(&self) -> bool {
        std::fs::read_to_string(self.data().join("postmaster.pid")).is_ok_and(|text| {
            text.lines()
                .nth(7)
                .is_some_and(|status| matches!(status.trim(), "ready" | "standby"))
        })
    }

    fn write_settings<'a>(
        &self,
        settings: impl Iterator<Item = &'a (&'a str, &'a str)>,
    ) -> Result<(), Failure> {
        let path = self.data().join("postgresql.conf");
        let mut text = std::fs::read_to_string(&path).during(format!("read {}", path.display()))?;
        for (name, value) in settings {
            let value = value.trim_matches('\'').replace('\'', "''");
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} = '{value}'");
        }
        // Written in place, so that the file stays the servers' account's.
        std::fs::write(&path, text).during(format!("write {}", path.display()))
    }

    pub(crate) fn command(&self, program: &Path, database: &str) -> Command {
        let mut command = self.installation.command(program);
        command
            .env("PGHOST", &self.folder)
            .env("PGPORT", &self.port)
            .env("PGUSER", SUPERUSER)
            .env("PGDATABASE", database);
        command
    }

    pub(crate) fn config(&self, database: &str) -> postgres::Config {
        let mut config = Client::configure();
        config
            .host_path(&self.folder)
            .port(self.port.parse().unwrap_or_default())
            .user(SUPERUSER)
            .dbname(database);
        config
    }

    /// Runs a statement as superuser in database `postgres`, outside every scenario's sessions.
    pub(crate) fn ask(&self, sql: &str) -> Result<Rows, postgres::Error> {
        let mut monitor = lock(&self.monitor);
        if monitor.as_ref().is_none_or(Client::is_closed) {
            let mut config = self.config("postgres");
            config.application_name("pg_test monitor").options(&format!(
                "-c statement_timeout={}",
                slow(PATIENCE).as_millis()
            ));
            *monitor = Some(config.connect(NoTls)?);
        }
        match monitor.as_mut() {
            Some(client) => client.simple_query(sql).map(Rows::from_messages),
            None => Ok(Rows::default()),
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
