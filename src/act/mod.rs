//! Preempting: looks, decides, signals and waits, until the way is free or the time is up.

mod account;
mod progress;
mod target;
mod watch;

use crate::audit;
use crate::decide::{Act, Await, Decision, Hold, Means, Stance, Step, decide};
use crate::error::Error;
use crate::lock::{LockMode, LockTag};
use crate::pg::memory::Scratch;
use crate::pg::process::{self, Delivery};
use crate::pg::{activity, locks, wait};
use crate::policy::{OnTimeout, Policy, Target};
use crate::report::{self, Row};
use crate::rules::Rules;
use crate::session::{Identity, Process, Session};
use crate::survey::{self, Sighting};
use progress::Progress;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use target::{Aim, Look};
use watch::Watch;

/// The longest single wait: newcomers are seen after this at the latest.
const SLICE: Duration = Duration::from_secs(1);
/// How often a session that must not be waited for by its transaction is looked at.
const POLL: Duration = Duration::from_millis(10);

/// How long to let be who is just letting go.
const SOON: Duration = Duration::from_millis(1);

/// Makes the way free as the policy says, and tells of everybody who stood in it.
///
/// # Errors
/// 55P03 when it could not be made free in time, or only with more victims than `max_victims`;
/// those of the target's names; and whatever interrupts a wait.
pub fn preempt(policy: &Policy) -> Result<Vec<Row>, Error> {
    let rules = Rules::default();
    let mut call = Call {
        policy,
        aim: Aim::new(policy)?,
        watch: Watch::default(),
        progress: Progress::new(),
        start: Instant::now(),
        rules,
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
    watch: Watch,
    progress: Progress,
    start: Instant,
    rules: Rules,
    /// How long to sleep between looks where nothing wakes us: long beside what a look costs.
    poll: Duration,
}

/// How a call ends that does not raise an error.
enum End {
    Free,
    TimeUp,
    TooMany { needed: usize, allowed: usize },
}

impl Call<'_> {
    fn run(&mut self) -> Result<Vec<Row>, Error> {
        let mut scratch = Scratch::new();
        let end = loop {
            let (aim, rules) = (&mut self.aim, &self.rules);
            let start = Instant::now();
            let look = scratch.run(|| aim.look(rules))?;
            self.poll = POLL.max(start.elapsed() * 20);
            let Look::InWay {
                sightings,
                is_new_wait,
            } = look
            else {
                let still_there = scratch.run(|| survey::still_there(self.watch.present_ones()))?;
                self.watch.no_longer_waited_for(&still_there);
                break End::Free;
            };
            if is_new_wait {
                self.watch.begin_anew();
            }
            self.watch.look(&sightings);
            let decisions = self.decide(&sightings);
            scratch.run(|| self.refuse_deadlock(&decisions))?;
            self.progress.begin(&self.aim, &self.watch);
            if let Some(end) = self.follow(&sightings, &decisions)? {
                break end;
            }
        };
        let is_free = matches!(end, End::Free);
        self.progress
            .finish(&self.aim, &self.watch, is_free, self.start.elapsed());
        match (end, self.policy.on_timeout) {
            (End::Free, _) | (_, OnTimeout::Report) => Ok(self.watch.rows()),
            (End::TimeUp, OnTimeout::Error) => Err(Error::NotFree {
                message: format!(
                    "could not clear the way to {} within {}",
                    self.aim,
                    report::in_words(self.policy.timeout)
                ),
                detail: self.watch.remaining(),
                hint: self.watch.advice(),
            }),
            (End::TooMany { needed, allowed }, OnTimeout::Error) => Err(Error::NotFree {
                message: format!(
                    "clearing the way to {} takes {}, and max_victims allows {allowed}",
                    self.aim,
                    report::count(needed, "victim")
                ),
                detail: self.watch.remaining(),
                hint: "See who they are with \"dry_run\", then raise max_victims or wait for a better time.".into(),
            }),
        }
    }

    /// A holder that is not preempted and itself waits for this transaction will wait for ever, and
    /// so would we.
    fn refuse_deadlock(&self, decisions: &[(Vec<Identity>, Decision)]) -> Result<(), Error> {
        let awaited = decisions
            .iter()
            .flat_map(|(who, decision)| match &decision.step {
                Step::Await {
                    whom,
                    why: Await::Staying | Await::Passing,
                    ..
                } => whom.iter().map(|i| who[*i]).collect(),
                _ => vec![],
            });
        let waits = |who: &Identity| {
            self.watch
                .session(*who)
                .is_some_and(Session::waits_for_a_lock)
        };
        let waiting: Vec<Identity> = awaited.filter(waits).collect();
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
        if acts.is_empty() && awaited.is_empty() && self.aim.is_clear_when_nobody_stands() {
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
            let needed = self.watch.victims_with(acts.keys());
            if let Some(allowed) = self.policy.max_victims.filter(|allowed| needed > *allowed) {
                self.watch.refused_by = Some(allowed);
                return Ok(Some(End::TooMany { needed, allowed }));
            }
            let mut has_sent = false;
            for sighting in first_of_each(sightings) {
                if let Some(act) = acts.get(&sighting.session.identity) {
                    has_sent |= self.signal(sighting, *act);
                }
            }
            if !has_sent {
                // All of them were just letting go.
                wait::sleep(SOON);
            }
            return Ok(None);
        }
        self.progress.waiting(&awaited, &self.watch);
        let limit = left
            .min(within.unwrap_or(SLICE))
            .min(SLICE)
            .min(self.progress.until_next());
        match awaited.first() {
            Some((who, why)) => self.wait(*who, *why, limit),
            None => wait::sleep(left.min(self.poll)),
        }
        Ok(None)
    }

    /// Signals one session, if it still stands in the way as it was judged, and tells whether it did.
    fn signal(&mut self, victim: &Sighting, act: Act) -> bool {
        let session = &victim.session;
        let Identity::Backend { pid, transaction } = session.identity else {
            return false;
        };
        // Whoever interrupts the call wants nothing more done.
        wait::answer_interrupts();
        if activity::backend_start(pid) != session.backend_start || !is_still_in_way(victim) {
            return false;
        }
        audit::before_signal(victim, act, &self.aim.to_string());
        let delivery = process::signal(pid, transaction, act == Act::Terminate);
        match delivery {
            Delivery::Sent => self.watch.sent(session.identity, act),
            // The next look tells what there is then.
            Delivery::Gone => audit::not_signalled(pid, "Its transaction had just ended"),
            Delivery::Refused => audit::not_signalled(pid, "This role may not"),
        }
        delivery == Delivery::Sent
    }

    /// Waits for one of those in the way: the others are looked at afterwards.
    fn wait(&mut self, who: Identity, why: Await, limit: Duration) {
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
        } else {
            // Shorter than deadlock_timeout, or a session that comes to wait for us would be the one
            // to find the deadlock, and to be ended for it.
            wait::for_transaction(who, limit.min(wait::deadlock_timeout() / 2));
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
            let standings = self.watch.standings(&members, &waits_for);
            let decision = decide(&standings, self.policy, self.watch.has_signalled());
            let who: Vec<Identity> = standings.iter().map(|s| s.session.identity).collect();
            let holds: Vec<Hold> = standings.iter().map(|s| s.hold).collect();
            self.watch.judged(&who, &holds, &decision.stances);
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
                if *stance != Stance::Queued && told.insert(*identity) {
                    rows.extend(self.watch.dry_row(*identity, *stance, &blockers));
                }
            }
            staying.extend(blockers);
        }
        self.progress.dry(&self.aim, &rows, &staying);
        Ok(rows)
    }
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
