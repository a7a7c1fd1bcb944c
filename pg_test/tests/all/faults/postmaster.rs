//! The postmaster starts no worker: it is stopped, cannot fork, or what it starts fails at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::interposer::WithoutFork;
use pg_test::{Session, wait_until};

use super::SOON;
use super::scene::Stage;
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        with_a_stopped_postmaster_the_application_waits_no_longer_and_the_rows_come,
        where_fork_fails_the_application_waits_no_longer_and_the_rows_come,
        a_required_row_is_waited_for_while_fork_fails,
        where_the_worker_can_never_start_no_segment_is_left,
    ]
}

/// As long as this lives, no worker starts.
enum NoWorker {
    Stopped(Pid),
    WithoutFork(#[expect(dead_code, reason = "it forks again once this is dropped")] WithoutFork),
}

impl NoWorker {
    fn stopped(stage: &Stage) -> NoWorker {
        let postmaster = Pid::from_raw(i32::try_from(stage.cluster.pid().unwrap()).unwrap());
        kill(postmaster, Signal::SIGSTOP).unwrap();
        NoWorker::Stopped(postmaster)
    }

    fn without_fork(stage: &Stage) -> NoWorker {
        NoWorker::WithoutFork(stage.signals.without_fork().unwrap())
    }
}

impl Drop for NoWorker {
    fn drop(&mut self) {
        if let NoWorker::Stopped(postmaster) = self {
            let _ = kill(*postmaster, Signal::SIGCONT);
        }
    }
}

fn call(more: &str) -> String {
    format!(
        r#"SELECT lockguard.preempt_maintenance('{{"relations": ["first"], "max_stall": "50ms",
            "preempt": [{{"application_name": "victim"}}]{more}}}')"#
    )
}

/// The one warning of a session since the last look.
#[track_caller]
fn warning(session: &Session) -> String {
    let notices = session.take_notices();
    let mut warnings = notices.iter().filter(|n| n.severity == "WARNING");
    match (warnings.next(), warnings.next()) {
        (Some(only), None) => only.message.clone(),
        _ => panic!("not one warning: {notices:?}"),
    }
}

/// All sessions are open before, for none can be opened meanwhile.
fn nobody_waits(world: &World, begin: fn(&Stage) -> NoWorker) {
    let stage = Stage::new(world);
    let play = stage.play();
    let (caller, looker) = (
        play.database.session("caller"),
        play.database.session("looker"),
    );
    let first = play.victim();
    let last = play.holder("last", "second");
    let no_worker = begin(&stage);
    caller.run("BEGIN");
    let start = Instant::now();
    caller.run(&call(""));
    let took = start.elapsed();
    caller.run("ROLLBACK");
    assert!(first.1.wait(SOON).is_err());
    let told = warning(&caller);
    assert!(told.contains("not started yet"), "{told}");
    // It cancels, waits for max_stall while it holds the lock, and returns.
    println!("with the lock held: {took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
    // One that holds no lock waits for its row for a second: it is cancelled meanwhile.
    let waits = caller.spawn(
        r#"SELECT lockguard.preempt_maintenance('{"relations": ["second"], "take_lock": false,
            "preempt": [{"application_name": "last"}]}')"#,
    );
    wait_until("the victim is gone", SOON, || last.1.is_finished());
    let start = Instant::now();
    looker.run(&format!("SELECT pg_cancel_backend({})", caller.pid()));
    let outcome = waits.wait(SOON);
    let took = start.elapsed();
    println!("a cancel is answered after {took:?}");
    assert_eq!(outcome.unwrap_err().code().unwrap().code(), "57014");
    assert!(took < Duration::from_millis(100), "{took:?}");
    drop(no_worker);
    drop((caller, looker));
    play.is_healthy(true);
}

fn with_a_stopped_postmaster_the_application_waits_no_longer_and_the_rows_come(world: &World) {
    nobody_waits(world, NoWorker::stopped);
}

fn where_fork_fails_the_application_waits_no_longer_and_the_rows_come(world: &World) {
    nobody_waits(world, NoWorker::without_fork);
}

fn a_required_row_is_waited_for_while_fork_fails(world: &World) {
    let stage = Stage::new(world);
    let play = stage.play();
    let (_victim, busy) = play.victim();
    let caller = play.database.session("caller");
    let no_worker = NoWorker::without_fork(&stage);
    let short = call(r#", "require_trail": true, "timeout": "1500ms""#);
    let error = caller.error(&short);
    assert_eq!(error.code().code(), "55P03", "{error}");
    let detail = error.detail().unwrap_or_default();
    assert!(detail.contains("not started yet"), "{detail}");
    assert!(!busy.is_finished());
    assert_eq!(play.trail.signals().len(), 0);
    let long = call(r#", "require_trail": true, "timeout": "20s""#);
    let waits = caller.spawn(long);
    wait_until("it waits for the worker", SOON, || {
        waits
            .wait_event()
            .is_some_and(|(_, event)| event == "Extension")
    });
    assert!(!busy.is_finished());
    drop(no_worker);
    waits.wait(SOON).unwrap();
    assert!(busy.wait(SOON).is_err());
    drop(caller);
    play.is_healthy(true);
}

fn where_the_worker_can_never_start_no_segment_is_left(world: &World) {
    let stage = Stage::new(world);
    let play = stage.play();
    let caller = play.database.session("caller");
    // The library is in this session; the postmaster finds it no more.
    caller.run("SELECT lockguard.locks_of('')");
    let path = |value: &str| {
        stage
            .cluster
            .set(&[("dynamic_library_path", value)])
            .unwrap();
        stage.cluster.reload();
        let shown = play.database.session("looker");
        wait_until("the postmaster knows", SOON, || {
            shown.run("SHOW dynamic_library_path").value() == Some(value)
        });
    };
    path("/nowhere");
    let (_victim, busy) = play.victim();
    caller.run(&call(r#", "take_lock": false"#));
    assert!(busy.wait(SOON).is_err());
    let told = warning(&caller);
    assert!(told.contains("server log tells why"), "{told}");
    let segments = || play.segments_made();
    wait_until("its segment is gone", SOON, || segments() == 0);
    // Another one, which leaves before the worker has failed, is cleared up by the next.
    let failures = || play.trail.text().matches("could not access file").count();
    let before = failures();
    path("$libdir");
    let (_victim, busy) = play.victim();
    caller.run(&call(r#", "take_lock": false"#));
    assert!(busy.wait(SOON).is_err());
    let rows = rows_once_written(&caller, 1, "SELECT FROM lockguard.trail");
    assert_eq!(rows.len(), 1, "the second has its row");
    assert_eq!(failures(), before, "nobody tries it again");
    drop(caller);
    play.is_healthy(false);
}
