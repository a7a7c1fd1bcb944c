//! Preempting: looks, decides, signals and waits, until the way is free or the time is up.

mod account;
mod age;
mod assured;
mod bounds;
mod capacity;
mod deadlock;
mod dry_run;
pub mod guard;
mod judge;
mod late;
mod owned;
mod progress;
mod reread;
mod signal;
mod statement;
mod take;
mod target;
pub mod told;
mod track;
mod waiter;
mod wanted;
mod watch;

use crate::audit::Trail;
use crate::backoff::Backoff;
use crate::decide::{Act, Await, Decision, Stance, Step};
use crate::error::Error;
use crate::lock::Need;
use crate::patience::Clock;
use crate::pg::locks::InWay;
use crate::pg::memory::Scratch;
use crate::pg::principals::Principals;
use crate::pg::roles;
use crate::pg::shown::Shown;
use crate::pg::{client, message, settings, wait};
use crate::policy::{OnTimeout, Policy, Request};
use crate::report::{self, Row};
use crate::rules::Rules;
use crate::session::{Identity, Process};
use crate::stored::Stored;
use crate::survey::{self, Sighting};
use assured::Assured;
use bounds::Bound;
use late::is_too_late;
use progress::{Finish, Progress};
use reread::Reading;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use target::{Aim, Look};
use watch::Watch;

/// The longest single wait: newcomers are seen after this at the latest.
const SLICE: Duration = Duration::from_secs(1);
/// How often a session that must not be waited for by its transaction is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How long to let be who is just letting go.
const SOON: Duration = Duration::from_millis(1);

/// Makes the way free as the policy says, takes the lock if it says so, and tells of everybody who
/// stood in the way. `keeps_locks`: a lock taken now outlives the client's statement; one that does
/// not is not taken. `clock`: the policy's timeout, running since the call came.
///
/// # Errors
/// 55P03 when it could not be made free in time, or only with more victims than `max_victims`;
/// those of the target's names; 42501 and 55000 for a lock that this role, or nobody here, could
/// take; and whatever interrupts a wait.
pub fn preempt(
    request: &Request,
    stored: Option<&Stored>,
    principals: Principals,
    keeps_locks: bool,
    clock: Clock,
) -> Result<Vec<Row>, Error> {
    let aim = match clock.read(|| Aim::new(&request.target)) {
        Ok(aim) => aim,
        Err(error) => return unread(error, &request.policy, vec![]),
    };
    progress::begin_with(&aim);
    let manner = match keeps_locks {
        true => Manner::Call,
        false => Manner::CallByItself,
    };
    carry_out(aim, &request.policy, stored, principals, manner, clock)
}

/// What comes of a call for which the catalogs could not be read in time: an error, unless the policy wants the rows
/// that there are.
///
/// # Errors
/// That one, or any other.
fn unread(error: Error, policy: &Policy, rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    match (&error, policy.on_timeout) {
        (Error::Unread { detail, .. }, OnTimeout::Report) => {
            message::notice(&format!("lockguard: {error}: {detail}"));
            Ok(rows)
        }
        _ => Err(error),
    }
}

/// How it has come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// A call in a transaction that goes on.
    Call,
    /// A call that is the whole of its transaction, so that no lock outlives it.
    CallByItself,
    /// Within the very statement that needs the locks.
    Guard,
}

/// `stored`: the policy that `policy` was narrowed from, with whose owner's rights sessions are judged
/// and signalled. `principals`: on whose behalf all this is done. `clock`: how long it may take.
fn carry_out(
    aim: Aim,
    policy: &Policy,
    stored: Option<&Stored>,
    principals: Principals,
    manner: Manner,
    clock: Clock,
) -> Result<Vec<Row>, Error> {
    settings::with_settings_kept(|| {
        client::look_after();
        // Whatever else may have to be waited for has no more time either.
        settings::limit_lock_waits(policy.timeout);
        carry_out_watched(aim, policy, stored, principals, manner, clock)
    })
}

/// The same while somebody sees that the client is there.
fn carry_out_watched(
    aim: Aim,
    policy: &Policy,
    stored: Option<&Stored>,
    principals: Principals,
    manner: Manner,
    clock: Clock,
) -> Result<Vec<Row>, Error> {
    let principals = match stored {
        Some(stored) => principals.with_lender(stored.owner),
        None => principals,
    };
    let keeps_locks = manner != Manner::CallByItself;
    let is_lockable = policy.take_lock && aim.is_lockable();
    let wanted = is_lockable && keeps_locks;
    let takes = clock.read(|| {
        if stored.is_some() {
            aim.must_be_owned(&principals)?;
        }
        if wanted {
            aim.may_be_taken()?;
        }
        Ok(wanted)
    });
    let mut takes = match takes {
        Ok(takes) => takes,
        Err(error) => return unread(error, policy, vec![]),
    };
    if takes {
        takes = capacity::has_room(&aim, manner)?;
    }
    let mut call = Call {
        policy: policy.clone(),
        bounds: None,
        stored,
        principals,
        aim,
        takes,
        manner,
        watch: Watch::for_lender(
            stored.map(|stored| roles::name(stored.owner).unwrap_or_default()),
        ),
        progress: Progress::new(is_lockable && !keeps_locks, takes, manner == Manner::Guard),
        shown: Shown::default(),
        order: None,
        backoff: Backoff::default(),
        unseen_misses: 0,
        has_gap: false,
        clock,
        asked: Instant::now(),
        reading: Reading::default(),
        rules: Rules::default(),
        poll: POLL,
        trail: Trail::default(),
    };
    let result = match policy.dry_run {
        true => call.dry_run(),
        false => call.run(),
    };
    let result = result.or_else(|error| unread(error, policy, call.watch.rows()));
    call.tell_trail();
    call.trail.finish(takes.then_some(policy.max_stall));
    result
}

struct Call<'a> {
    /// Its own, narrowed or not.
    policy: Policy,
    /// Those that bound it, once somebody is in the way.
    bounds: Option<Vec<Bound>>,
    stored: Option<&'a Stored>,
    principals: Principals,
    aim: Aim,
    /// The lock is to be held in the end, not only free.
    takes: bool,
    manner: Manner,
    watch: Watch,
    progress: Progress,
    shown: Shown,
    /// What to lock, in which order, once that is known.
    order: Option<Vec<Need>>,
    backoff: Backoff,
    /// How many attempts to take the lock have failed though nobody was seen.
    unseen_misses: u32,
    /// Those in the way are just letting go, so that the next look may come too late.
    has_gap: bool,
    clock: Clock,
    /// When it was last asked whether the call is still wanted.
    asked: Instant,
    reading: Reading,
    rules: Rules,
    /// How long to sleep between looks where nothing wakes us: long beside what a look costs.
    poll: Duration,
    trail: Trail,
}

/// How a call ends.
enum End {
    /// Free or, where the lock is taken, held.
    Free,
    TimeUp,
    TooMany {
        needed: usize,
        allowed: usize,
    },
    /// Policy requires rows of the trail, and none can be written.
    NoTrail,
    /// The session that was helped waits no longer, while these still stand in its way.
    GivenUp(Vec<InWay>),
}

impl Call<'_> {
    fn run(&mut self) -> Result<Vec<Row>, Error> {
        let mut scratch = Scratch::new();
        let end = loop {
            if std::mem::take(&mut self.has_gap) && scratch.run(|| self.take_in_gap())? {
                break End::Free;
            }
            scratch.run(|| self.ask_now_and_then())?;
            scratch.run(|| self.reread_now_and_then())?;
            let (aim, rules, principals) = (&mut self.aim, &self.rules, &self.principals);
            let start = Instant::now();
            let clock = self.clock;
            let look = scratch.run(|| clock.read(|| aim.look(rules, principals)))?;
            self.poll = POLL.max(start.elapsed() * 20);
            let (sightings, is_new_wait) = match look {
                Look::InWay {
                    sightings,
                    is_new_wait,
                } => (sightings, is_new_wait),
                Look::Free => {
                    self.nobody_is_waited_for(&[])?;
                    break End::Free;
                }
                Look::GivenUp(still) => {
                    self.nobody_is_waited_for(&still)?;
                    break End::GivenUp(still);
                }
            };
            if is_new_wait {
                self.may_be_helped()?;
                self.watch.begin_anew();
            }
            if self.bounds.is_none() && !sightings.is_empty() {
                scratch.run(|| self.read_bounds())?;
            }
            self.watch.look(&sightings);
            self.tell_trail();
            let decisions = self.decide(&sightings);
            if scratch.run(|| self.refuse_deadlock(&sightings, &decisions))? {
                continue;
            }
            self.progress.begin(&self.aim, &self.watch);
            if let Some(end) = scratch.run(|| self.follow(&sightings, &decisions))? {
                break end;
            }
        };
        let how = match (&end, self.takes) {
            (End::Free, true) => Finish::Held,
            (End::Free, false) => Finish::Free,
            (End::GivenUp(_), _) => Finish::GivenUp,
            _ => Finish::NotFree,
        };
        let fails = self.policy.on_timeout == OnTimeout::Error;
        self.progress
            .finish(&self.aim, &self.watch, how, fails, self.clock.elapsed());
        let helps = matches!(self.aim, Aim::Waiter { .. });
        match (end, self.policy.on_timeout) {
            (End::Free, _) | (_, OnTimeout::Report) => Ok(self.watch.rows()),
            (End::TimeUp, OnTimeout::Error) => Err(Error::NotFree {
                message: format!(
                    "could not {} {} within {}",
                    if self.takes { "take" } else { "clear the way to" },
                    self.aim,
                    report::in_words(self.policy.timeout)
                ),
                detail: self.watch.remaining(helps),
                hint: self.watch.advice(),
            }),
            (End::NoTrail, OnTimeout::Error) => Err(Error::NotFree {
                message: format!(
                    "could not {} {}: policy requires rows of the trail, and none can be written",
                    if self.takes { "take" } else { "clear the way to" },
                    self.aim,
                ),
                detail: self.watch.remaining(helps),
                hint: self.watch.advice(),
            }),
            (End::TooMany { needed, allowed }, OnTimeout::Error) => Err(Error::NotFree {
                message: format!(
                    "clearing the way to {} takes {}, and max_victims allows {allowed}",
                    self.aim,
                    report::count(needed, "victim")
                ),
                detail: self.watch.remaining(helps),
                hint: "See who they are with \"dry_run\", then raise max_victims or wait for a better time.".into(),
            }),
            (End::GivenUp(still), OnTimeout::Error) => Err(self.given_up(&still)),
        }
    }

    /// Does what the decisions ask for, and tells the end if this is it.
    fn follow(
        &mut self,
        sightings: &[Sighting],
        decisions: &[(Vec<Identity>, Decision)],
    ) -> Result<Option<End>, Error> {
        let mut acts: HashMap<Identity, Act> = HashMap::new();
        let mut awaited: Vec<(Identity, Await)> = vec![];
        let mut within: Option<Duration> = None;
        for (who, decision) in decisions {
            match &decision.step {
                Step::Clear => (),
                Step::Preempt(some) => {
                    for (i, act) in some {
                        let known = acts.entry(who[*i]).or_insert(*act);
                        if *act == Act::Terminate {
                            *known = Act::Terminate;
                        }
                    }
                }
                Step::Await {
                    whom,
                    why,
                    within: soon,
                } => {
                    awaited.extend(whom.iter().map(|i| (who[*i], *why)));
                    within = within.into_iter().chain(*soon).min();
                }
            }
        }
        let left = self.clock.left();
        let is_clear = acts.is_empty() && awaited.is_empty();
        if is_clear && self.takes {
            return self.take(sightings, left);
        }
        if is_clear && self.aim.is_clear_when_nobody_stands() {
            // Who has let go altogether has told of what he changed.
            if !self.watch.has_seen_holders() || !self.aim.is_being_let_go() && self.reread()? {
                return Ok(Some(End::Free));
            }
            if left.is_zero() {
                return Ok(Some(End::TimeUp));
            }
            wait::sleep(SOON);
            return Ok(None);
        }
        if left.is_zero() {
            return Ok(Some(End::TimeUp));
        }
        let elapsed = self.clock.elapsed();
        let is_late =
            |policy: &Policy| is_too_late(policy.timeout.saturating_sub(elapsed), policy.timeout);
        if self.policies().any(is_late) {
            acts.retain(|who, _| self.watch.was_signalled(who));
        }
        if !acts.is_empty() {
            let all_short = decisions.iter().all(|(_, decision)| decision.all_short);
            let pause = self.backoff.pause(self.clock.elapsed());
            if self.takes && self.watch.has_signalled() && all_short && !pause.is_zero() {
                // They came after others had been signalled, and would come back until the queue may
                // be sat in again.
                self.let_pass(sightings, pause.min(left));
                return Ok(None);
            }
            let needed = self.watch.victims_with(acts.keys());
            if let Some(allowed) = self.most_victims().filter(|allowed| needed > *allowed) {
                self.watch.refused_by = Some(allowed);
                return Ok(Some(End::TooMany { needed, allowed }));
            }
            let victims = self.first_of_each(sightings);
            let victims = victims
                .into_iter()
                .filter_map(|victim| Some((victim, *acts.get(&victim.session.identity)?)));
            let victims: Vec<_> = victims.collect();
            let assured = self.assured(&victims, left);
            if let Assured::No(end) = assured {
                return Ok(end);
            }
            if self.read_bounds()? {
                return Ok(None);
            }
            let has_sent = self.signal(victims)?;
            drop(assured);
            if !has_sent {
                // All of them were just letting go.
                wait::sleep(SOON);
            } else if all_short {
                // Whoever comes back at once finds us in the queue before him.
                self.has_gap = true;
            }
            return Ok(None);
        }
        self.progress.waiting(&awaited, &self.watch);
        self.shown.show(progress::remark(&awaited, &self.watch));
        let limit = left
            .min(within.unwrap_or(SLICE))
            .min(SLICE)
            .min(self.progress.until_next());
        match awaited.first() {
            // Not by its transaction, and soon: it is about to let go, or to go on.
            Some((who, _)) if self.watch.is_between(*who) => wait::sleep(limit.min(SOON)),
            Some((who, why)) => {
                let start = Instant::now();
                let has_ended = self.wait(*who, *why, limit);
                // Maintenance changes nothing of what is needed when it is preempted.
                self.reading.is_due |= has_ended && *why != Await::Signalled;
                self.has_gap = has_ended && self.is_alone(*who, decisions);
                if !self.has_gap && *why != Await::Signalled {
                    self.pace(start, limit);
                }
            }
            None => wait::sleep(left.min(self.poll)),
        }
        Ok(None)
    }

    /// Passes on what is newly known to have come of signals.
    fn tell_trail(&mut self) {
        for (record, came, freed_after) in self.watch.news() {
            self.trail.came(record, came, freed_after);
        }
    }

    /// Whether the stored policy, if it is one, is lent for what is needed now: it may have changed, and of a session
    /// that is helped is only known once it waits.
    fn may_be_helped(&self) -> Result<(), Error> {
        match self.stored {
            Some(_) => self.aim.must_be_owned(&self.principals),
            None => Ok(()),
        }
    }

    /// Takes in that nobody is waited for any more. `in_way`: these stand in the way all the same.
    fn nobody_is_waited_for(&mut self, in_way: &[InWay]) -> Result<(), Error> {
        let present = self.watch.present_ones();
        let staying = present
            .iter()
            .filter(|who| in_way.iter().any(|s| s.who == **who));
        let staying: Vec<Identity> = staying.copied().collect();
        let mut still_there = survey::still_there(present, &self.principals)?;
        still_there.extend(staying);
        self.watch.no_longer_waited_for(&still_there);
        Ok(())
    }

    /// Whether nobody but that one stood in the way.
    fn is_alone(&self, who: Identity, decisions: &[(Vec<Identity>, Decision)]) -> bool {
        let has_long_ahead = decisions
            .iter()
            .any(|(_, decision)| decision.has_long_ahead);
        let mut all = decisions
            .iter()
            .flat_map(|(all, decision)| all.iter().zip(&decision.stances));
        !has_long_ahead
            && all.all(|(other, stance)| {
                *other == who || matches!(stance, Stance::Queued | Stance::Beside)
            })
    }

    /// Waits for one of those in the way: the others are looked at afterwards. Tells whether its
    /// transaction is known to have ended.
    fn wait(&mut self, who: Identity, why: Await, limit: Duration) -> bool {
        let is_ours_to_end = why == Await::Signalled;
        let by_transaction = match self.watch.session(who) {
            // Core cancels an autovacuum worker whose transaction somebody waits for.
            Some(session) if session.process == Process::AutovacuumWorker => {
                is_ours_to_end && !who.is_outside_transaction()
            }
            // There is none, as for the startup process.
            Some(_) => !who.is_outside_transaction(),
            None => true,
        };
        if !by_transaction {
            wait::sleep(limit.min(self.poll));
            false
        } else {
            // Shorter than deadlock_timeout, or a session that comes to wait for us would be the one
            // to find the deadlock, and to be ended for it.
            wait::for_transaction(who, limit.min(wait::deadlock_timeout() / 2))
        }
    }

    /// Has at least [`Call::poll`] pass since `start`, but no more than `limit`: where many come and go,
    /// one of them always ends, and to look each time would keep a processor busy.
    fn pace(&self, start: Instant, limit: Duration) {
        let rest = self.poll.min(limit).saturating_sub(start.elapsed());
        if !rest.is_zero() {
            wait::sleep(rest);
        }
    }
}
