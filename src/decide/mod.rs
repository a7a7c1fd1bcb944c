//! What to do about those who stand in the way: a pure function of who they are and of the policy.
//!
//! It keeps three promises. Only what policy names is preempted, and never what it spares. Never in
//! vain: nobody is signalled while somebody stays whom policy does not give up, because then the
//! lock could not be had even with the others gone. And no convoy: a call that takes the lock is
//! sent into its queue only when all that is left is short. Somebody who *stays* is told from
//! traffic that passes by the age of the transaction (`max_stall`): a busy table always has young
//! holders, and waiting until there is none would be waiting for ever.
//!
//! A call may be bounded by further policies: the stored one that it was narrowed from, and the ceiling. Each
//! judges the same situation by values of its own, and what none of them holds back is done ([`bounds`]).
//!
//! Who is in the way is found by `survey`; signals are sent, and waited for, by `act`.

mod bounds;
mod stance;
mod step;

pub use stance::{BETWEEN, are_kin, own_stance};
pub use step::is_long;

use crate::policy::Policy;
use crate::session::{Class, Rights, Session};
use stance::{as_application, settle, stance, until_idle};
use std::time::Duration;
use step::long_ones_ahead;

/// A session in the way, at one look.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub session: &'a Session,
    pub class: Class,
    /// What the caller by himself could make of it, where a stored policy lends him more.
    pub class_to_caller: Class,
    /// How long its transaction has lasted; where the server does not tell, how long it has been
    /// watched.
    pub age: Duration,
    pub hold: Hold,
    /// Whether the first look found it.
    pub from_start: bool,
    /// What this call has sent to this very transaction, and how long ago.
    pub sent: Option<Sent>,
    /// Whether it is in the way of the target itself, and not only of somebody who is.
    pub direct: bool,
    /// Which of the others (by their places) stand in the way of what it waits for itself.
    pub waits_for: &'a [usize],
    /// It waits for the caller's own transaction.
    pub waits_for_us: bool,
    /// It has held on through an attempt to take the lock: it is long, whatever its age.
    pub outlasted: bool,
    /// For how long it has been in its present state, where the server tells.
    pub idle_for: Option<Duration>,
    /// For how long it has been seen outside any transaction, if it is.
    pub outside: Option<Duration>,
    /// How long this session has been watched.
    pub watched: Duration,
    /// In what time it lets go, by its own progress.
    pub eta: Option<Duration>,
    /// How much time the call has left.
    pub time_left: Duration,
    /// It has been left alone because it was about to let go.
    pub was_finishing: bool,
    /// The caller could queue for what it holds, and so have the server end it if it is an autovacuum
    /// worker.
    pub may_queue: bool,
    /// What counts where it stands.
    pub rights: Rights,
    /// How long ago this call first signalled another session of the same job (see [`are_kin`]).
    pub kin_sent: Option<Duration>,
}

/// How a session stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It holds a conflicting lock: a hard block.
    Granted,
    /// It waits in the queue for a conflicting lock: a soft block, gone once it gets what it waits
    /// for and lets go.
    Queued,
    /// It was queued when first seen, and has been granted the lock since. The way was made free
    /// for it as well, so it is no obstacle to being done, though it is one to further signals.
    GrantedSince,
}

/// A signal that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub act: Act,
    pub ago: Duration,
}

/// The softer ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Have the server cancel it: an autovacuum worker gives way to whoever waits for its transaction
    /// longer than `deadlock_timeout`, whatever their rights.
    Yield,
    Cancel,
    Terminate,
}

/// What the policy makes of one session, whatever the others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// May be preempted, so.
    Preempt(Means),
    /// Named by `spare`.
    Spare,
    /// Named by `preempt`, but the caller may not signal it.
    NotPermitted,
    /// Named by `preempt`, but not to be had by this policy's signal.
    OutOfReach(Unreachable),
    /// Not named.
    Leave,
    /// In the queue only: no obstacle.
    Queued,
    /// Not named, but it waits, at whatever distance, for somebody who is preempted: it will go on
    /// then, so that it is no obstacle to that.
    Helped,
    /// In the way only of somebody who is preempted, or who stays whatever it does.
    Beside,
}

/// How a session is made to let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Signal(Act),
    /// Idle, and part of a job whose active sessions are signalled first: they take it with them.
    Follow,
    /// Its transaction has ended, and its locks are being released; or it goes on in the next.
    LettingGo,
    /// Its own progress says that it lets go soon enough.
    Finish,
}

/// Why no signal would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// A prepared transaction has no process.
    Prepared,
    /// A cancel does nothing to a session that is idle in transaction, and policy allows no more.
    IdleUnderCancel,
    /// The startup process replays the primary's locks.
    Replay,
    /// It holds a lock of its session, outside any transaction: there is nothing to cancel, nor a
    /// transaction by which to know it again.
    OutsideTransaction,
}

/// What comes next for one group of sessions that stand in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request for the lock would get through.
    Clear,
    /// Signal these (by their places in the input) now.
    Preempt(Vec<(usize, Act)>),
    /// Wait for these, all of them, and look again after `within` at the latest.
    Await {
        whom: Vec<usize>,
        why: Await,
        within: Option<Duration>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Await {
    /// They stay, and policy does not give them up: nothing is signalled before they have gone.
    Staying,
    /// They were there at the start, and are still young enough to be passing traffic.
    Passing,
    /// They were signalled, and have not let go yet.
    Signalled,
    /// By their own progress they are about to let go.
    Finishing,
}

/// What a call has done so far, and what it is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// It has sent a signal.
    pub has_signalled: bool,
    /// It takes the lock, so that nobody may hold it, queued at first or not.
    pub takes: bool,
}

/// A situation as one policy judges it.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub policy: &'a Policy,
    /// The same sessions in the same order in each view of a situation; what follows from the policy (the time
    /// left) and from whose rights it is held against them (class and rights) may differ.
    pub standings: Vec<Standing<'a>>,
}

/// The stance towards each, in the input's order, and the step that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub stances: Vec<Stance>,
    /// Which of the views keeps each from being preempted, though the call's own policy would.
    pub held_by: Vec<Option<usize>>,
    /// Of each, whether any of the views leaves it to finish by itself.
    pub is_finishing: Vec<bool>,
    pub step: Step,
    /// Nobody in the way is long, victims included: the lock may be queued for.
    pub all_short: bool,
    /// Somebody long is queued for the target, and will be granted before us.
    pub has_long_ahead: bool,
}

impl Decision {
    /// The stances as they are told: of whom one of the policies leaves to finish, that.
    pub fn told(&self) -> impl Iterator<Item = Stance> {
        let both = self.stances.iter().zip(&self.is_finishing);
        both.map(|(stance, is_finishing)| match is_finishing {
            true => Stance::Preempt(Means::Finish),
            false => *stance,
        })
    }
}

/// Decides for one group. `own`: the situation as the call's own policy judges it; `bounds`: as those do that
/// bound it.
pub fn decide(own: View<'_>, bounds: Vec<View<'_>>, call: Call) -> Decision {
    let own = Judged::of(own);
    let bounds = bounds.into_iter().map(Judged::of);
    let bounds: Vec<Judged<'_>> = bounds.map(|bound| bound.leaving(&own.stances)).collect();
    let Judged {
        policy, standings, ..
    } = &own;
    let held = bounds::held(&own.stances, bounds.iter().map(|bound| &*bound.stances));
    let held_by = held.iter().map(|held| held.map(|(by, _)| by)).collect();
    let stances = own.stances.iter().zip(held);
    let stances = stances.map(|(own, held)| held.map_or(*own, |(_, stance)| stance));
    let stances = settle(standings, stances.collect());
    let mut step = bounds::bounded(
        step::step(standings, &stances, policy, call),
        bounds.iter().map(|bound| bound.step(call)),
    );
    let look_again = bounds.iter().chain([&own]);
    let look_again = look_again.filter_map(|judged| judged.look_again).min();
    if let Step::Await { within, .. } = &mut step {
        *within = within.iter().copied().chain(look_again).min();
    }
    let has_long_ahead = !long_ones_ahead(standings, &stances, policy).is_empty();
    let all_short = !has_long_ahead
        && standings.iter().zip(&stances).all(|(standing, stance)| {
            matches!(stance, Stance::Queued | Stance::Beside) || !is_long(standing, *stance, policy)
        });
    let finishes = |i: usize| {
        let all = bounds.iter().chain([&own]);
        all.map(|judged| judged.stances[i])
            .any(|stance| stance == Stance::Preempt(Means::Finish))
    };
    Decision {
        is_finishing: (0..stances.len())
            .map(|i| matches!(stances[i], Stance::Preempt(_)) && finishes(i))
            .collect(),
        stances,
        held_by,
        step,
        all_short,
        has_long_ahead,
    }
}

/// What a policy makes of each session by itself.
struct Judged<'a> {
    policy: &'a Policy,
    standings: Vec<Standing<'a>>,
    stances: Vec<Stance>,
    /// When somebody will count as idle who does not yet.
    look_again: Option<Duration>,
}

impl<'a> Judged<'a> {
    fn of(view: View<'a>) -> Judged<'a> {
        let View {
            policy,
            mut standings,
        } = view;
        let mut look_again: Option<Duration> = None;
        for standing in &mut standings {
            if let Some(left) = until_idle(standing, policy) {
                *standing = as_application(standing);
                look_again = look_again.into_iter().chain([left]).min();
            }
        }
        let all = 0..standings.len();
        Judged {
            stances: all.map(|i| stance(&standings, i, policy)).collect(),
            policy,
            standings,
            look_again,
        }
    }

    /// The same where nobody is preempted whom the call's own policy leaves. Otherwise a policy that would preempt more
    /// would hold back the call where that helps somebody on: to such a policy who holds that one up is in nobody's way.
    fn leaving(mut self, own: &[Stance]) -> Judged<'a> {
        for (stance, own) in self.stances.iter_mut().zip(own) {
            if matches!(stance, Stance::Preempt(_)) && !matches!(own, Stance::Preempt(_)) {
                *stance = *own;
            }
        }
        self
    }

    /// What it would do by itself.
    fn step(&self, call: Call) -> Step {
        let stances = settle(&self.standings, self.stances.clone());
        step::step(&self.standings, &stances, self.policy, call)
    }
}

#[cfg(test)]
mod narrowing;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
