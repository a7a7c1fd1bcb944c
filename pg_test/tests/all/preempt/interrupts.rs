//! Ctrl-C, `statement_timeout` and `pg_terminate_backend` end a waiting call at once, and nothing is
//! signalled after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::{Cluster, Database, Running, Session, SessionOptions, wait_until};

use super::autovacuum::{needy_table, server, worker_now, worker_on};
use super::scene::{Backup, SOON, Trail, VERY_SLOWLY, is_alive, preempt, stays_true, table};
use crate::world::{World, scenarios};

/// How soon after the interrupt the call must have ended.
const AT_ONCE: Duration = Duration::from_millis(100);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        each_interrupt_ends_a_wait_for_a_transaction_at_once,
        each_interrupt_ends_a_wait_on_the_latch_at_once,
        each_interrupt_ends_a_wait_for_a_catalog_at_once,
        a_cancel_that_comes_with_the_end_of_a_slice_of_waiting_is_heard,
    ]
}

#[derive(Clone, Copy, Debug)]
enum Interrupt {
    CtrlC,
    StatementTimeout,
    Terminate,
}

const INTERRUPTS: [Interrupt; 3] = [
    Interrupt::CtrlC,
    Interrupt::StatementTimeout,
    Interrupt::Terminate,
];

/// Long enough that the call has begun to wait by then.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(600);

/// Starts a call, interrupts it while it waits as `waits` tells, and says how long it took to end.
fn interrupted(
    database: &Database,
    interrupt: Interrupt,
    policy: &str,
    waits: impl Fn(&Session, &Running) -> bool,
) -> Duration {
    let mut options = SessionOptions::named("migration");
    if let Interrupt::StatementTimeout = interrupt {
        let milliseconds = STATEMENT_TIMEOUT.as_millis().to_string();
        options = options.set("statement_timeout", &milliseconds);
    }
    let migration = database.connect(options).unwrap();
    let call = migration.spawn(preempt(policy));
    wait_until("the call waits", SOON, || waits(&migration, &call));
    let signalled = match interrupt {
        Interrupt::CtrlC => {
            let now = Instant::now();
            call.cancel();
            now
        }
        Interrupt::Terminate => {
            let now = Instant::now();
            database.ask(&format!("SELECT pg_terminate_backend({})", migration.pid()));
            now
        }
        // Counted from when the statement was sent: the server started its clock a little later.
        Interrupt::StatementTimeout => call.started() + STATEMENT_TIMEOUT,
    };
    wait_until("the call ends", SOON, || call.is_finished());
    let ended = call.started() + call.elapsed();
    let error = call.wait(SOON).unwrap_err();
    let code = error.code().map(|code| code.code());
    match interrupt {
        Interrupt::CtrlC | Interrupt::StatementTimeout => assert_eq!(code, Some("57014")),
        // The client may find its connection broken before it has read why.
        Interrupt::Terminate => assert!(matches!(code, Some("57P01") | None), "{error}"),
    }
    ended.duration_since(signalled)
}

fn each_interrupt_ends_a_wait_for_a_transaction_at_once(world: &World) {
    let database = world.database();
    table(&database, "t", 2_000);
    const GRACE: Duration = Duration::from_millis(1_200);
    for interrupt in INTERRUPTS {
        let backup = Backup::start(&database, 0);
        let trail = Trail::from_now(world.cluster());
        let took = interrupted(
            &database,
            interrupt,
            r#"{"relations": ["t"], "grace": "1200ms"}"#,
            |_, call| {
                call.wait_event()
                    .is_some_and(|(kind, event)| kind == "Lock" && event == "virtualxid")
            },
        );
        println!("{interrupt:?} ends the wait after {took:?}");
        assert!(took < pg_test::slow(AT_ONCE), "{interrupt:?}: {took:?}");
        stays_true(
            "the backup is there after its grace",
            Instant::now() + GRACE,
            || is_alive(&database, backup.pid),
        );
        if let Interrupt::Terminate = interrupt {
            was_told_why(&trail);
        }
        let signals = trail.signals();
        assert_eq!(signals.len(), 1, "{interrupt:?}: {signals:?}");
        assert!(!signals[0].terminate);
    }
}

fn each_interrupt_ends_a_wait_on_the_latch_at_once(world: &World) {
    let cluster: Cluster = server(world);
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let mut backup = Backup::start(&database, VERY_SLOWLY);
    let worker = worker_on(&database, "t");
    let trail = Trail::from_now(&cluster);
    for interrupt in INTERRUPTS {
        let took = interrupted(
            &database,
            interrupt,
            r#"{"relations": ["t"], "spare": ["autovacuum"]}"#,
            |migration, call| {
                !migration.notices().is_empty()
                    && call
                        .wait_event()
                        .is_some_and(|(kind, _)| kind == "Extension")
            },
        );
        println!("{interrupt:?} ends the wait after {took:?}");
        assert!(took < pg_test::slow(AT_ONCE), "{interrupt:?}: {took:?}");
    }
    stays_true(
        "backup and worker are there",
        Instant::now() + Duration::from_millis(500),
        || is_alive(&database, backup.pid) && backup.is_running(),
    );
    assert_eq!(worker_now(&database.session("looker"), "t"), Some(worker));
    trail.has_no_victim();
    was_told_why(&trail);
}

fn each_interrupt_ends_a_wait_for_a_catalog_at_once(world: &World) {
    let database = world.database();
    let admin = database.session("admin");
    admin.run("CREATE TABLE t (i int); CREATE TABLE c () INHERITS (t)");
    admin.run("BEGIN; LOCK TABLE pg_inherits IN ACCESS EXCLUSIVE MODE");
    let trail = Trail::from_now(world.cluster());
    for interrupt in INTERRUPTS {
        let took = interrupted(
            &database,
            interrupt,
            r#"{"relations": ["t"]}"#,
            |_, call| {
                call.wait_event()
                    .is_some_and(|(kind, event)| kind == "Lock" && event == "relation")
            },
        );
        println!("{interrupt:?} ends the wait after {took:?}");
        assert!(took < AT_ONCE, "{interrupt:?}: {took:?}");
    }
    was_told_why(&trail);
}

fn was_told_why(trail: &Trail<'_>) {
    let text = trail.text();
    let told = "FATAL:  terminating connection due to administrator command";
    assert_eq!(text.matches(told).count(), 1, "{text}");
    assert!(!text.contains("was terminated by signal"), "{text}");
}

/// A process that is stopped, and goes on at the end.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: i32) -> Stopped {
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        Stopped(Pid::from_raw(pid))
    }

    /// Whether that signal has been sent to it meanwhile.
    fn is_sent(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        let pending = u64::from_str_radix(pending.unwrap().trim(), 16).unwrap();
        pending & (1 << (signal as u32 - 1)) != 0
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// As where the processor is busy with others: the process runs again once both have come.
fn a_cancel_that_comes_with_the_end_of_a_slice_of_waiting_is_heard(world: &World) {
    let database = world.database();
    database
        .session("admin")
        .run("CREATE TABLE t (i int); CREATE TABLE u (i int)");
    let application = database.session("application");
    application.run("BEGIN; SELECT FROM t");
    for _ in 0..10 {
        let migration = database.session("migration");
        let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "10s"}"#));
        wait_until("the call waits", SOON, || {
            call.wait_event()
                .is_some_and(|(kind, event)| kind == "Lock" && event == "virtualxid")
        });
        let stopped = Stopped::new(migration.pid());
        wait_until("its slice is over", SOON, || {
            stopped.is_sent(Signal::SIGALRM)
        });
        kill(Pid::from_raw(migration.pid()), Signal::SIGINT).unwrap();
        drop(stopped);
        let start = Instant::now();
        let error = call.wait(SOON).unwrap_err();
        assert_eq!(error.code().map(|c| c.code()), Some("57014"), "{error}");
        let took = start.elapsed();
        assert!(took < pg_test::slow(AT_ONCE), "{took:?}");
    }
}
