//! Preempting: looks, decides, signals and waits, until the way is free or the time is up.

mod account;
mod progress;
mod take;
mod target;
mod watch;

use crate::audit;
use crate::backoff::Backoff;
use crate::decide::{self, Act, Await, Decision, Means, Stance, Step, decide};
use crate::error::Error;
use crate::lock::{LockMode, LockTag, RelationId};
use crate::pg::memory::Scratch;
use crate::pg::process::{self, Delivery};
use crate::pg::shown::Shown;
use crate::pg::{activity, locks, wait};
use crate::policy::{OnTimeout, Policy, Target};
use crate::report::{self, Row};
use crate::rules::Rules;
use crate::session::{Identity, Process};
use crate::survey::{self, Sighting};
use progress::{Finish, Progress};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use target::{Aim, Look};
use watch::Watch;

/// The longest single wait: newcomers are seen after this at the latest.
const SLICE: Duration = Duration::from_secs(1);
/// How often a session that must not be waited for by its transaction is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How much longer than `deadlock_timeout` an autovacuum worker has to answer the server's cancel.
const YIELDING: Duration = Duration::from_millis(500);

/// How long to let be who is just letting go.
const SOON: Duration = Duration::from_millis(1);

/// Makes the way free as the policy says, takes the lock if it says so, and tells of everybody who
/// stood in the way. `keeps_locks`: a lock taken now outlives the client's statement; one that does
/// not is not taken.
///
/// # Errors
/// 55P03 when it could not be made free in time, or only with more victims than `max_victims`;
/// those of the target's names; 42501 and 55000 for a lock that this role, or nobody here, could
/// take; and whatever interrupts a wait.
pub fn preempt(policy: &Policy, keeps_locks: bool) -> Result<Vec<Row>, Error> {
    let aim = Aim::new(policy)?;
    let is_lockable = policy.take_lock && matches!(aim, Aim::Relations { .. });
    let takes = is_lockable && keeps_locks;
    if takes {
        aim.may_be_taken()?;
    }
    let mut call = Call {
        policy,
        aim,
        takes,
        watch: Watch::default(),
        progress: Progress::new(is_lockable && !keeps_locks),
        shown: Shown::default(),
        order: None,
        backoff: Backoff::default(),
        has_missed_unseen: false,
        has_gap: false,
        start: Instant::now(),
        rules: Rules::default(),
        poll: POLL,
    };
    if policy.dry_run {
        call.dry_run()
    } else {
        call.run()
    }
}

struct Call<'a> {
    policy: &'a Policy,
    aim: Aim,
    /// The lock is to be held in the end, not only free.
    takes: bool,
    watch: Watch,
    progress: Progress,
    shown: Shown,
    /// What to lock, in which order, once that is known.
    order: Option<Vec<RelationId>>,
    backoff: Backoff,
    /// The last attempt to take the lock failed though nobody was seen.
    has_missed_unseen: bool,
    /// Those in the way are just letting go, so that the next look may come too late.
    has_gap: bool,
    start: Instant,
    rules: Rules,
    /// How long to sleep between looks where nothing wakes us: long beside what a look costs.
    poll: Duration,
}

/// How a call ends that does not raise an error.
enum End {
    /// Free or, where the lock is taken, held.
    Free,
    TimeUp,
    TooMany {
        needed: usize,
        allowed: usize,
    },
}

impl Call<'_> {
    fn run(&mut self) -> Result<Vec<Row>, Error> {
        let mut scratch = Scratch::new();
        let end = loop {
            if std::mem::take(&mut self.has_gap) && scratch.run(|| self.take_in_gap())? {
                break End::Free;
            }
            let (aim, rules) = (&mut self.aim, &self.rules);
            let start = Instant::now();
            let look = scratch.run(|| aim.look(rules))?;
            self.poll = POLL.max(start.elapsed() * 20);
            let Look::InWay {
                sightings,
                is_new_wait,
            } = look
            else {
                self.nobody_is_waited_for()?;
                break End::Free;
            };
            if is_new_wait {
                self.watch.begin_anew();
            }
            self.watch.look(&sightings);
            let decisions = self.decide(&sightings);
            scratch.run(|| self.refuse_deadlock(&sightings, &decisions))?;
            self.progress.begin(&self.aim, &self.watch);
            if let Some(end) = scratch.run(|| self.follow(&sightings, &decisions))? {
                break end;
            }
        };
        let how = match (&end, self.takes) {
            (End::Free, true) => Finish::Held,
            (End::Free, false) => Finish::Free,
            _ => Finish::NotFree,
        };
        self.progress
            .finish(&self.aim, &self.watch, how, self.start.elapsed());
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
            (End::TooMany { needed, allowed }, OnTimeout::Error) => Err(Error::NotFree {
                message: format!(
                    "clearing the way to {} takes {}, and max_victims allows {allowed}",
                    self.aim,
                    report::count(needed, "victim")
                ),
                detail: self.watch.remaining(helps),
                hint: "See who they are with \"dry_run\", then raise max_victims or wait for a better time.".into(),
            }),
        }
    }

    /// A holder that is not preempted and itself waits for this transaction will wait for ever, and
    /// so would we; and one that is only in the way of somebody in the queue, if we wait for it. Its own
    /// check for deadlocks would find our wait, and end it for that.
    fn refuse_deadlock(
        &self,
        sightings: &[Sighting],
        decisions: &[(Vec<Identity>, Decision)],
    ) -> Result<(), Error> {
        // Each holder that waits, and whether it is in the way of the target itself.
        let mut holders: HashMap<Identity, bool> = HashMap::new();
        for sighting in sightings {
            let who = sighting.session.identity;
            if sighting.granted && who.pid().is_some_and(process::waits) {
                *holders.entry(who).or_default() |= sighting.behind.is_none();
            }
        }
        let is_waited_for = |who: &Identity, stance: &Stance| match (holders.get(who), stance) {
            (None, _) | (_, Stance::Preempt(_)) => false,
            (Some(false), Stance::Queued | Stance::Helped | Stance::Beside) => false,
            (Some(_), _) => true,
        };
        let waiting: Vec<Identity> = decisions
            .iter()
            .flat_map(|(who, decision)| who.iter().zip(&decision.stances))
            .filter(|(who, stance)| is_waited_for(who, stance))
            .map(|(who, _)| *who)
            .collect();
        let own = process::own_pid();
        let Some(found) = survey::who_waits_for(&waiting, own) else {
            return Ok(());
        };
        let name = self.watch.name(found);
        Err(Error::Deadlock {
            message: format!("deadlock: {name}, in the way of {}, waits for this transaction", self.aim),
            detail: format!("Process {own} waits for {name}, which waits for a lock that process {own} holds."),
            hint: "Roll back, and call it at the start of the transaction, before anything else is locked.".into(),
        })
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
        let left = self.policy.timeout.saturating_sub(self.start.elapsed());
        let is_clear = acts.is_empty() && awaited.is_empty();
        if is_clear && self.takes {
            return self.take(sightings, left);
        }
        if is_clear && self.aim.is_clear_when_nobody_stands() {
            if self.watch.has_seen_holders() && self.aim.is_being_let_go() && !left.is_zero() {
                wait::sleep(SOON);
                return Ok(None);
            }
            return Ok(Some(End::Free));
        }
        if left.is_zero() {
            return Ok(Some(End::TimeUp));
        }
        if !acts.is_empty() {
            let all_short = decisions.iter().all(|(_, decision)| decision.all_short);
            let pause = self.backoff.pause(self.start.elapsed());
            if self.takes && self.watch.has_signalled() && all_short && !pause.is_zero() {
                // They came after others had been signalled, and would come back until the queue may
                // be sat in again.
                self.let_pass(sightings, pause.min(left));
                return Ok(None);
            }
            let needed = self.watch.victims_with(acts.keys());
            if let Some(allowed) = self.policy.max_victims.filter(|allowed| needed > *allowed) {
                self.watch.refused_by = Some(allowed);
                return Ok(Some(End::TooMany { needed, allowed }));
            }
            let victims = first_of_each(sightings);
            let victims = victims
                .into_iter()
                .filter_map(|victim| Some((victim, *acts.get(&victim.session.identity)?)));
            let has_sent = self.signal(victims.collect());
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
            Some((who, why)) => {
                let start = Instant::now();
                let has_ended = self.wait(*who, *why, limit);
                self.has_gap = has_ended && self.is_alone(*who, decisions);
                if !self.has_gap && *why != Await::Signalled {
                    self.pace(start, limit);
                }
            }
            None => wait::sleep(left.min(self.poll)),
        }
        Ok(None)
    }

    /// Signals those who still stand in the way as they were judged, and tells whether it did with
    /// any: one right after the other, so that the first is not back when the last one goes.
    fn signal(&mut self, mut victims: Vec<(&Sighting, Act)>) -> bool {
        // Whoever interrupts the call wants nothing more done.
        wait::answer_interrupts();
        victims.retain(|(victim, _)| is_as_judged(victim));
        let (yielding, victims): (Vec<_>, Vec<_>) =
            victims.into_iter().partition(|(_, act)| *act == Act::Yield);
        let target = self.aim.to_string();
        for (victim, act) in &victims {
            audit::before_signal(victim, *act, &target);
        }
        let deliveries: Vec<(Identity, Act, Delivery)> = victims
            .iter()
            .map(|(victim, act)| {
                let who = victim.session.identity;
                let delivery = match who {
                    Identity::Backend { pid, transaction } => {
                        process::signal(pid, transaction, *act == Act::Terminate)
                    }
                    Identity::Prepared { .. } => Delivery::Gone,
                };
                (who, *act, delivery)
            })
            .collect();
        let mut has_sent = false;
        for (who, act, delivery) in deliveries {
            let pid = who.pid().unwrap_or_default();
            match delivery {
                Delivery::Sent => {
                    self.watch.sent(who, act);
                    has_sent = true;
                }
                // The next look tells what there is then.
                Delivery::Gone => audit::not_signalled(pid, "Its transaction had just ended"),
                Delivery::Refused => audit::not_signalled(pid, "This role may not"),
            }
        }
        for (victim, act) in yielding {
            wait::answer_interrupts();
            if is_as_judged(victim) {
                audit::before_signal(victim, act, &target);
                has_sent |= self.have_yield(victim.session.identity);
            }
        }
        has_sent
    }

    /// Waits for an autovacuum worker until the server cancels it for that, and tells whether it did.
    fn have_yield(&mut self, who: Identity) -> bool {
        let start = Instant::now();
        let limit = wait::deadlock_timeout() + YIELDING;
        let left = self.policy.timeout.saturating_sub(self.start.elapsed());
        self.progress.yielding(who, &self.watch);
        self.shown
            .show(progress::remark(&[(who, Await::Signalled)], &self.watch));
        wait::for_transaction(who, limit.min(left));
        let is_cancelled = start.elapsed() >= wait::deadlock_timeout();
        if is_cancelled {
            self.watch.sent(who, Act::Yield);
        } else if let Some(pid) = who.pid() {
            audit::not_signalled(pid, "It let go by itself, or the time was up");
        }
        is_cancelled
    }

    /// Takes in that nobody is waited for any more.
    fn nobody_is_waited_for(&mut self) -> Result<(), Error> {
        let still_there = survey::still_there(self.watch.present_ones())?;
        self.watch.no_longer_waited_for(&still_there);
        Ok(())
    }

    /// Whether nobody but that one stood in the way.
    fn is_alone(&self, who: Identity, decisions: &[(Vec<Identity>, Decision)]) -> bool {
        decisions
            .iter()
            .flat_map(|(all, decision)| all.iter().zip(&decision.stances))
            .all(|(other, stance)| {
                *other == who || matches!(stance, Stance::Queued | Stance::Beside)
            })
    }

    /// Waits for one of those in the way: the others are looked at afterwards. Tells whether its
    /// transaction is known to have ended.
    fn wait(&mut self, who: Identity, why: Await, limit: Duration) -> bool {
        let is_ours_to_end = why == Await::Signalled;
        let by_transaction = match self.watch.session(who) {
            // Core cancels an autovacuum worker whose transaction somebody waits for.
            Some(session) if session.process == Process::AutovacuumWorker => is_ours_to_end,
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

    /// Decides for each group of sessions that stand in one way: for the whole target, or with
    /// `"all"` for each relation by itself.
    fn decide(&mut self, sightings: &[Sighting]) -> Vec<(Vec<Identity>, Decision)> {
        let mut groups: Vec<Vec<&Sighting>> = vec![];
        let mut places: HashMap<Option<LockTag>, usize> = HashMap::new();
        for sighting in sightings {
            let key = matches!(self.policy.target, Target::All).then_some(sighting.tag);
            let place = *places.entry(key).or_insert(groups.len());
            if place == groups.len() {
                groups.push(vec![]);
            }
            groups[place].push(sighting);
        }
        let mut decisions = vec![];
        for members in groups {
            let waits_for = watch::who_waits_for_whom(&members);
            let may_queue =
                |sighting: &Sighting| self.aim.may_queue_for(sighting, self.policy.mode);
            let standings = self.watch.standings(&members, &waits_for, may_queue);
            let call = decide::Call {
                has_signalled: self.watch.has_signalled(),
                takes: self.takes,
            };
            let decision = decide(&standings, self.policy, call);
            let who: Vec<Identity> = standings.iter().map(|s| s.session.identity).collect();
            self.watch.judged(&who, &decision.stances, self.policy);
            decisions.push((who, decision));
        }
        decisions
    }

    fn dry_run(&mut self) -> Result<Vec<Row>, Error> {
        let sightings = match self.aim.look(&self.rules)? {
            Look::InWay { sightings, .. } => sightings,
            Look::Free => vec![],
        };
        self.watch.look(&sightings);
        let decisions = self.decide(&sightings);
        let is_victim = |stance: &Stance| matches!(stance, Stance::Preempt(Means::Signal(_)));
        let victims: HashSet<Identity> = decisions
            .iter()
            .flat_map(|(who, decision)| who.iter().zip(&decision.stances))
            .filter(|(_, stance)| is_victim(stance))
            .map(|(who, _)| *who)
            .collect();
        self.watch.refused_by = self.policy.max_victims.filter(|most| victims.len() > *most);
        let mut rows: Vec<Row> = vec![];
        let mut told: HashSet<Identity> = HashSet::new();
        let mut staying: Vec<String> = vec![];
        for (who, decision) in &decisions {
            let blockers: Vec<String> = match &decision.step {
                Step::Await {
                    whom,
                    why: Await::Staying | Await::Passing,
                    ..
                } => whom.iter().map(|i| self.watch.name(who[*i])).collect(),
                _ => vec![],
            };
            for (identity, stance) in who.iter().zip(&decision.stances) {
                if !matches!(stance, Stance::Queued | Stance::Beside) && told.insert(*identity) {
                    rows.extend(self.watch.dry_row(*identity, *stance, &blockers));
                }
            }
            staying.extend(blockers);
        }
        self.progress.dry(&self.aim, &rows, &staying);
        Ok(rows)
    }
}

/// Whether this is still the session that was judged, and still in the way.
fn is_as_judged(victim: &Sighting) -> bool {
    let session = &victim.session;
    session
        .identity
        .pid()
        .is_some_and(|pid| activity::backend_start(pid) == session.backend_start)
        && is_still_in_way(victim)
}

/// Whether a session still holds the lock that it was judged for. Asked with the mode that conflicts
/// with every other.
fn is_still_in_way(victim: &Sighting) -> bool {
    locks::in_way(victim.tag, LockMode::AccessExclusive)
        .iter()
        .any(|found| found.granted && found.who == victim.session.identity)
}

/// Each session once, as first seen holding.
fn first_of_each(sightings: &[Sighting]) -> Vec<&Sighting> {
    let mut seen: HashSet<Identity> = HashSet::new();
    sightings
        .iter()
        .filter(|s| s.granted && seen.insert(s.session.identity))
        .collect()
}
