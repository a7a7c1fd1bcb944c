//! The steps of a call, each as a state in which it stays until the fault has struck.

use nix::sys::signal::Signal;
use pg_test::interposer::{Hold, Moment as Held};
use pg_test::{Running, Session, wait_until};

use super::SOON;
use super::scene::{Caller, Play, signal, signal_if_there};

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The victim is found, and not signalled yet.
    BeforeSignal,
    /// It is signalled, and the caller has not gone on.
    AfterSignal,
    /// It is signalled, and does not let go.
    Waiting,
    /// The victim has gone; the caller holds the first lock, and is in the queue for the second.
    InQueue,
    /// All is done but the row.
    Writing,
}

impl Moment {
    pub const ALL: [Moment; 5] = [
        Moment::BeforeSignal,
        Moment::AfterSignal,
        Moment::Waiting,
        Moment::InQueue,
        Moment::Writing,
    ];
}

/// A call that stays where it is.
pub struct Stopped<'a> {
    pub caller: Caller,
    pub victim: Caller,
    moment: Moment,
    hold: Option<Hold<'a>>,
    /// Who keeps it there.
    other: Option<(Session, Option<Running>)>,
}

/// Brings a call to that moment.
pub fn stopped<'a>(play: &'a Play<'a>, moment: Moment) -> Stopped<'a> {
    let mut victim = play.program_as_victim();
    let mut hold = None;
    let mut other = None;
    let mut more = r#", "grace": "100s""#;
    match moment {
        Moment::BeforeSignal => hold = Some(play.stage.signals.hold(Held::Before).unwrap()),
        Moment::AfterSignal => hold = Some(play.stage.signals.hold(Held::After).unwrap()),
        Moment::Waiting => signal(victim.pid, Signal::SIGSTOP),
        Moment::InQueue => {
            more = r#", "max_stall": "50s""#;
            hold = Some(play.stage.signals.hold(Held::Before).unwrap());
        }
        Moment::Writing => {
            let session = play.database.session("admin");
            session.run("BEGIN; LOCK TABLE lockguard.trail IN ACCESS EXCLUSIVE MODE");
            // With a lock that others wait for it would not wait for the row for a second.
            more = r#", "take_lock": false"#;
            other = Some((session, None));
        }
    }
    let caller = play.call(more);
    let pid = caller.pid;
    let looks = |sql: String| !play.database.ask(&sql).is_empty();
    if moment == Moment::InQueue {
        // It comes after the signal has been decided on: one that is there before is let pass first.
        let held = hold.take().unwrap();
        wait_until("its signal is held up", SOON, || held.pid() == Some(pid));
        let (session, busy) = play.holder("application", "second");
        other = Some((session, Some(busy)));
    }
    match moment {
        Moment::BeforeSignal | Moment::AfterSignal => {
            let hold = hold.as_ref().unwrap();
            wait_until("its signal is held up", SOON, || hold.pid() == Some(pid));
        }
        Moment::Waiting => wait_until("it waits for the victim", SOON, || {
            !play.trail.victims().is_empty()
                && looks(format!(
                    "SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted AND locktype = 'virtualxid'"
                ))
        }),
        Moment::InQueue => wait_until("it holds one and waits for the other", SOON, || {
            looks(format!(
                "SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted AND locktype = 'relation'"
            )) && looks(format!(
                "SELECT FROM pg_locks WHERE pid = {pid} AND granted AND mode = 'AccessExclusiveLock'"
            ))
        }),
        Moment::Writing => wait_until("only the row is missing", SOON, || {
            victim.has_ended()
                && looks("SELECT FROM pg_stat_activity WHERE backend_type LIKE 'lockguard%'".into())
        }),
    }
    Stopped {
        caller,
        victim,
        moment,
        hold,
        other,
    }
}

impl Stopped<'_> {
    /// Lets everybody go on.
    pub fn release(&mut self) {
        self.hold = None;
        if self.moment == Moment::Waiting {
            signal_if_there(self.victim.pid, Signal::SIGCONT);
        }
        if let Some((session, busy)) = self.other.take() {
            match busy {
                Some(busy) => {
                    signal_if_there(session.pid(), Signal::SIGINT);
                    let _ = busy.wait(SOON);
                }
                None => _ = session.try_run("COMMIT"),
            }
        }
    }
}
