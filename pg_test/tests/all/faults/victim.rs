//! The victim is cancelled, ended, cut off or killed by somebody else, at each step of a call.

use std::sync::Arc;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::moment::{Moment, stopped};
use super::scene::{Stage, signal};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        whoever_else_signals_the_victim_the_call_ends_well,
        a_victim_whose_socket_is_cut_is_gone_like_any_other,
        a_killed_victim_takes_the_server_along_and_the_log_line_stays,
    ]
}

/// While it is there.
const MOMENTS: [Moment; 3] = [Moment::BeforeSignal, Moment::AfterSignal, Moment::Waiting];

fn whoever_else_signals_the_victim_the_call_ends_well(world: &World) {
    let stage = Stage::new(world);
    for how in [Signal::SIGINT, Signal::SIGTERM] {
        for moment in MOMENTS {
            let play = stage.play();
            let mut call = stopped(&play, moment);
            signal(call.victim.pid, how);
            call.release();
            call.caller.wait();
            call.victim.wait();
            println!("{how} {moment:?}");
            play.is_healthy(true);
        }
    }
}

fn a_victim_whose_socket_is_cut_is_gone_like_any_other(world: &World) {
    let stage = Stage::new(world);
    for moment in MOMENTS {
        let play = stage.play();
        let mut call = stopped(&play, moment);
        call.victim.cut();
        call.release();
        call.caller.wait();
        println!("cut {moment:?}");
        play.is_healthy(true);
    }
}

fn a_killed_victim_takes_the_server_along_and_the_log_line_stays(world: &World) {
    let stage = Stage::new(world);
    for moment in MOMENTS {
        let play = stage.play();
        let mut call = stopped(&play, moment);
        signal(call.victim.pid, Signal::SIGKILL);
        call.release();
        call.caller.wait();
        play.wait_for_restart();
        // Until the postmaster knows, the dead one is in the way still, and may be tried again.
        let mut victims = play.trail.victims();
        victims.dedup();
        assert_eq!(victims, [call.victim.pid], "{moment:?}");
        println!("killed {moment:?}");
        play.is_healthy(false);
    }
}
