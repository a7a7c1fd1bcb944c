//! The caller is cancelled, ended, cut off or killed, at each step of its call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use pg_test::interposer::Moment as Held;
use pg_test::wait_until;

use super::SOON;
use super::moment::{Moment, stopped};
use super::scene::{Play, Stage, signal};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_cancelled_caller_leaves_nothing_but_its_record,
        a_terminated_caller_leaves_nothing_but_its_record,
        a_caller_whose_socket_is_cut_leaves_nothing_but_its_record,
        nobody_is_preempted_for_a_client_that_has_gone,
        a_killed_caller_leaves_its_log_line,
        a_caller_that_fails_before_its_worker_is_there_leaves_its_record,
        a_worker_that_never_comes_is_not_waited_for_for_long,
    ]
}

fn is_signalled(world: &World, how: Signal) {
    let stage = Stage::new(world);
    for moment in Moment::ALL {
        let play = stage.play();
        let mut call = stopped(&play, moment);
        signal(call.caller.pid, how);
        if !matches!(moment, Moment::BeforeSignal | Moment::AfterSignal) {
            // It answers at once, wherever it waits; a signal that is held up cannot be interrupted.
            call.caller.wait();
        }
        call.release();
        call.caller.wait();
        assert_eq!(play.trail.victims(), [call.victim.pid], "{moment:?}");
        println!("{how} {moment:?}");
        play.is_healthy(true);
    }
}

fn a_cancelled_caller_leaves_nothing_but_its_record(world: &World) {
    is_signalled(world, Signal::SIGINT);
}

fn a_terminated_caller_leaves_nothing_but_its_record(world: &World) {
    is_signalled(world, Signal::SIGTERM);
}

fn a_caller_whose_socket_is_cut_leaves_nothing_but_its_record(world: &World) {
    let stage = Stage::new(world);
    for moment in Moment::ALL {
        let play = stage.play();
        let mut call = stopped(&play, moment);
        let pid = call.caller.pid;
        call.caller.cut();
        let has_gone = || {
            play.database
                .ask(&format!("SELECT FROM pg_stat_activity WHERE pid = {pid}"))
                .is_empty()
        };
        if !matches!(moment, Moment::BeforeSignal | Moment::AfterSignal) {
            wait_until("the caller has noticed", SOON, has_gone);
        }
        call.release();
        wait_until("the caller has noticed", SOON, has_gone);
        println!("cut {moment:?}");
        play.is_healthy(true);
    }
}

/// The victim is left alone while somebody else stays, and the client goes before that one does.
fn nobody_is_preempted_for_a_client_that_has_gone(world: &World) {
    let stage = Stage::new(world);
    let play = stage.play();
    let (_victim, busy) = play.victim();
    let application = play.database.session("application");
    application.run("BEGIN; SELECT FROM first");
    for more in ["", r#", "take_lock": false"#, r#", "max_stall": "50s""#] {
        let mut caller = play.call(more);
        let pid = caller.pid;
        let looks = |sql: String| !play.database.ask(&sql).is_empty();
        wait_until("it waits", SOON, || {
            looks(format!(
                "SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted AND locktype = 'virtualxid'"
            ))
        });
        let start = Instant::now();
        caller.cut();
        wait_until("the caller has noticed", SOON, || {
            !looks(format!("SELECT FROM pg_stat_activity WHERE pid = {pid}"))
        });
        let took = start.elapsed();
        println!("noticed after {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    application.run("COMMIT");
    assert!(!busy.is_finished());
    assert!(play.trail.victims().is_empty());
    let told = "FATAL:  connection to client lost";
    assert_eq!(play.trail.text().matches(told).count(), 3);
    drop(busy);
}

/// A call is cancelled while no worker can be started, for that long.
fn is_cancelled_without_a_worker_for(stage: &Stage, play: &Play<'_>, length: Duration) -> Duration {
    let (_victim, busy) = play.victim();
    let caller = play.database.session("caller");
    let postmaster = i32::try_from(stage.cluster.pid().unwrap()).unwrap();
    let hold = stage.signals.hold(Held::Before).unwrap();
    signal(postmaster, Signal::SIGSTOP);
    let call = caller.spawn(
        r#"SELECT lockguard.preempt_maintenance('{"relations": ["first"], "preempt": [{"application_name": "victim"}]}')"#,
    );
    wait_until("its signal is held up", SOON, || {
        hold.pid() == Some(caller.pid())
    });
    signal(caller.pid(), Signal::SIGINT);
    drop(hold);
    let start = Instant::now();
    let mut took = None;
    wait_until("it is over, or time to go on", SOON, || {
        if call.is_finished() {
            took.get_or_insert(start.elapsed());
        }
        start.elapsed() > length
    });
    signal(postmaster, Signal::SIGCONT);
    let outcome = call.wait(SOON);
    assert_eq!(outcome.unwrap_err().code().unwrap().code(), "57014");
    assert!(busy.wait(SOON).is_err());
    took.unwrap_or_else(|| start.elapsed())
}

fn a_caller_that_fails_before_its_worker_is_there_leaves_its_record(world: &World) {
    let stage = Stage::new(world);
    let play = stage.play();
    is_cancelled_without_a_worker_for(&stage, &play, Duration::from_millis(500));
    play.is_healthy(true);
}

fn a_worker_that_never_comes_is_not_waited_for_for_long(world: &World) {
    let stage = Stage::new(world);
    let play = stage.play();
    let took = is_cancelled_without_a_worker_for(&stage, &play, Duration::from_secs(6));
    assert!(took < pg_test::slow(Duration::from_secs(4)), "{took:?}");
    play.is_healthy(false);
    assert_eq!(play.trail.victims().len(), 2, "the log has both");
}

/// The loss of a process takes all others with it: the server starts anew.
fn a_killed_caller_leaves_its_log_line(world: &World) {
    let stage = Stage::new(world);
    for moment in Moment::ALL {
        let play = stage.play();
        let mut call = stopped(&play, moment);
        signal(call.caller.pid, Signal::SIGKILL);
        call.release();
        call.caller.wait();
        play.wait_for_restart();
        assert_eq!(play.trail.victims(), [call.victim.pid], "{moment:?}");
        println!("killed {moment:?}");
        play.is_healthy(false);
    }
}
