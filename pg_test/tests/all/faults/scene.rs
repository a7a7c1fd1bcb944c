//! A server whose signals can be held up, a call in it, and what must be true of the server afterwards.

use std::process::{Child, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::interposer::Interposer;
use pg_test::{Cluster, Database, Running, Session, SessionOptions, wait_until};

use super::SOON;
use crate::preempt::scene::Trail;
use crate::world::World;

/// What is in the server's log when something has not been given back.
const COMPLAINTS: [&str; 6] = [
    "PANIC",
    "TRAP:",
    "leak:",
    "you don't own a lock",
    "stuck spinlock",
    "not closed",
];

/// A server of its own for faults.
pub struct Stage {
    // The server is dropped before the folder that controls it.
    pub cluster: Cluster,
    pub signals: Interposer,
}

impl Stage {
    pub fn new(world: &World) -> Stage {
        Stage::with(world, &[])
    }

    pub fn with(world: &World, more: &[(&str, &str)]) -> Stage {
        let signals = Interposer::new(world.installation()).unwrap();
        let mut settings = vec![
            // Its segments are files of the data directory, where no other server's are.
            ("dynamic_shared_memory_type", "mmap"),
            // So that a call may stay in a queue for as long as a fault takes.
            ("deadlock_timeout", "60s"),
            ("restart_after_crash", "on"),
        ];
        settings.extend_from_slice(more);
        let cluster = signals.start(world.installation(), &settings).unwrap();
        Stage { cluster, signals }
    }

    /// How many segments of dynamic shared memory there are.
    fn segments(&self) -> usize {
        let folder = self.cluster.folder().join("data/pg_dynshmem");
        std::fs::read_dir(folder).unwrap().count()
    }

    /// A database with two tables, before anything has happened.
    pub fn play(&self) -> Play<'_> {
        let database = self.cluster.create_database().unwrap();
        database
            .session("setup")
            .run("CREATE TABLE first (i int); CREATE TABLE second (i int)");
        Play {
            segments: self.segments(),
            trail: Trail::from_now(&self.cluster),
            database,
            stage: self,
        }
    }
}

/// One fault.
pub struct Play<'a> {
    pub stage: &'a Stage,
    pub database: Database,
    pub trail: Trail<'a>,
    segments: usize,
}

impl Play<'_> {
    /// A session in a statement of its own that has locked the first table, and may be preempted.
    pub fn victim(&self) -> (Session, Running) {
        self.holder("victim", "first")
    }

    /// The same as a program of its own, whose end cuts its socket.
    pub fn program_as_victim(&self) -> Caller {
        let what = "SELECT pg_sleep(300)";
        self.program("victim", &["BEGIN", "SELECT FROM first", what], what)
    }

    /// A session in a statement of its own that has locked a table.
    pub fn holder(&self, name: &str, table: &str) -> (Session, Running) {
        let session = self.database.session(name);
        session.run(&format!("BEGIN; SELECT FROM {table}"));
        let busy = session.spawn("SELECT pg_sleep(300)");
        wait_until("it is in its statement", SOON, || {
            busy.wait_event()
                .is_some_and(|(_, event)| event == "PgSleep")
        });
        (session, busy)
    }

    /// A call that preempts the victim, as a program of its own whose end cuts its socket.
    pub fn call(&self, more: &str) -> Caller {
        let policy = format!(
            r#"{{"relations": ["first", "second"], "timeout": "200s",
                "preempt": [{{"application_name": "victim"}}]{more}}}"#
        );
        let call = format!("SELECT * FROM lockguard.preempt_maintenance('{policy}')");
        self.program(
            "caller",
            &["BEGIN", &call, "COMMIT"],
            "SELECT * FROM lockguard.preempt",
        )
    }

    /// psql under that name with these statements, once it has come to the one that begins so.
    fn program(&self, name: &str, statements: &[&str], comes_to: &str) -> Caller {
        let mut psql = self.database.psql();
        psql.env("PGAPPNAME", name);
        // As Rails has it: whoever is told nothing does not notice by that that nobody listens.
        psql.env("PGOPTIONS", "-c client_min_messages=warning");
        for statement in statements {
            psql.args(["-c", statement]);
        }
        psql.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let program = psql.spawn().unwrap();
        let mut pid = 0;
        wait_until("the program is there", SOON, || {
            let found = self.database.ask(&format!(
                "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND application_name = '{name}' \
                 AND query LIKE '%{comes_to}%'",
                self.database.name()
            ));
            pid = found
                .iter()
                .next()
                .map_or(0, |row| row.text("pid").parse().unwrap());
            pid != 0
        });
        Caller { program, pid }
    }

    /// Whether the server accepts sessions again after it has lost a process.
    pub fn wait_for_restart(&self) {
        wait_until("the server is up again", SOON, || {
            self.database
                .connect(SessionOptions::named("looker"))
                .is_ok_and(|session| session.try_run("SELECT 1").is_ok())
        });
    }

    /// How many segments of dynamic shared memory have come since the beginning.
    pub fn segments_made(&self) -> usize {
        self.stage.segments().saturating_sub(self.segments)
    }

    /// Sees that the server is as healthy as before, and that each signal has its record. `rows`: each
    /// must have a row, which the loss of a process takes with it.
    #[track_caller]
    pub fn is_healthy(&self, rows: bool) {
        let looker = self.database.session("looker");
        let value = |sql: &str| looker.run(sql).value().unwrap_or_default().to_owned();
        wait_until("no lock of the caller's is left", SOON, || {
            value(
                "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                 WHERE application_name = 'caller'",
            ) == "0"
        });
        wait_until("no worker is left", SOON, || {
            value("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'lockguard%'")
                == "0"
        });
        wait_until("no memory segment is left", SOON, || {
            self.stage.segments() <= self.segments
        });
        let log = self.trail.text();
        let sent = self.trail.signals().len() - log.matches("lockguard did not signal").count();
        if rows {
            // A worker that could not connect is started again after a second.
            wait_until(&format!("rows as signals sent: {log}"), SOON, || {
                value("SELECT count(*) FROM lockguard.trail") == sent.to_string()
            });
        }
        for complaint in COMPLAINTS {
            assert!(!log.contains(complaint), "{complaint}: {log}");
        }
        // And it does its work.
        let (_victim, busy) = self.holder("victim", "second");
        let helper = self.database.session("helper");
        helper.run(
            r#"SELECT lockguard.preempt_maintenance('{"relations": ["second"], "preempt": [{"application_name": "victim"}]}')"#,
        );
        assert!(busy.wait(SOON).is_err());
    }
}

/// A program in a statement of its own: a call that is under way, or a victim.
pub struct Caller {
    program: Child,
    pub pid: i32,
}

impl Caller {
    /// Kills the client.
    pub fn cut(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.program.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub fn wait(&mut self) {
        wait_until("the call is over", SOON, || self.has_ended());
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Sends a signal to a server process from outside, past everything that holds up the server's own.
pub fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// The same for one that the server may have ended meanwhile.
pub fn signal_if_there(pid: i32, signal: Signal) {
    let sent = kill(Pid::from_raw(pid), signal);
    assert!(matches!(sent, Ok(()) | Err(Errno::ESRCH)), "{sent:?}");
}
