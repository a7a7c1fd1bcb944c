//! The caller is cancelled, ended, cut off or killed, at each step of its call.

use std::sync::Arc;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use pg_test::wait_until;

use super::SOON;
use super::moment::{Moment, stopped};
use super::scene::{Stage, signal};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_cancelled_caller_leaves_nothing_but_its_record,
        a_terminated_caller_leaves_nothing_but_its_record,
        a_caller_whose_socket_is_cut_leaves_nothing_but_its_record,
        a_killed_caller_leaves_its_log_line,
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
        assert_eq!(play.trail.victims(), [call.victim.pid()], "{moment:?}");
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
        assert_eq!(play.trail.victims(), [call.victim.pid()], "{moment:?}");
        println!("killed {moment:?}");
        play.is_healthy(false);
    }
}
