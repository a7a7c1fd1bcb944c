//! Preempting: looks, decides, signals and waits, until the way is free or the time is up.

mod progress;
mod target;
mod watch;

use crate::audit;
use crate::decide::{Act, Await, Decision, Step, decide};
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
use std::collections::HashMap;
use std::time::{Duration, Instant};
use target::{Aim, Look};
use watch::Watch;

/// The longest single wait: newcomers are seen after this at the latest.
const SLICE: Duration = Duration::from_secs(1);
/// How often a session that must not be waited for by its transaction is looked at.
const POLL: Duration = Duration::from_millis(10);

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
            let look = scratch.run(|| aim.look(rules))?;
            let Look::InWay {
                sightings,
                is_new_wait,
            } = look
            else {
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
        let rows = self.watch.rows();
        self.progress.finish(
            &self.aim,
            &rows,
            matches!(end, End::Free),
            self.start.elapsed(),
        );
        match (end, self.policy.on_timeout) {
            (End::Free, _) | (_, OnTimeout::Report) => Ok(rows),
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
                    "clearing the way to {} takes {needed} victims, and max_victims allows {allowed}",
                    self.aim
                ),
                detail: self.watch.remaining(),
                hint: "See who they are with \"dry_run\", then raise max_victims or wait for a better time.".into(),
            }),
        }
    }

    /// A holder that is not preempted and itself waits for this transaction will wait for ever, and
    /// so would we.
    fn refuse_deadlock(&self, decisions: &[(Vec<Identity>, Decision)]) -> Result<(), Error> {
        for (who, decision) in decisions {
            let Step::Await {
                whom,
                why: Await::Staying | Await::Passing,
                ..
            } = &decision.step
            else {
                continue;
            };
            for identity in whom.iter().map(|i| who[*i]) {
                let waits = self
                    .watch
                    .session(identity)
                    .is_some_and(Session::waits_for_a_lock);
                if waits && survey::waits_for(identity, process::own_pid()) {
                    let name = self.watch.name(identity);
                    return Err(Error::Deadlock {
                        message: format!("deadlock: {name}, in the way of {}, waits for this transaction", self.aim),
                        detail: format!(
                            "Process {} waits for {name}, which waits for a lock that process {} holds.",
                            process::own_pid(),
                            process::own_pid(),
                        ),
                        hint: "Roll back, and call it at the start of the transaction, before anything else is locked.".into(),
                    });
                }
            }
        }
        Ok(())
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
            return Ok(Some(End::Free));
        }
        if left.is_zero() {
            return Ok(Some(End::TimeUp));
        }
        if !acts.is_empty() {
            let needed = self.watch.victims_with(acts.keys());
            if let Some(allowed) = self.policy.max_victims.filter(|allowed| needed > *allowed) {
                return Ok(Some(End::TooMany { needed, allowed }));
            }
            for sighting in first_of_each(sightings) {
                if let Some(act) = acts.get(&sighting.session.identity) {
                    self.signal(sighting, *act);
                }
            }
            return Ok(None);
        }
        self.progress.waiting(&self.aim, &awaited, &self.watch);
        let limit = [
            Some(left),
            within,
            Some(SLICE),
            Some(self.progress.until_next()),
        ];
        let limit = limit.into_iter().flatten().min().unwrap_or(POLL);
        self.wait(awaited.first().copied(), limit);
        Ok(None)
    }

    fn signal(&mut self, victim: &Sighting, act: Act) {
        let session = &victim.session;
        let Identity::Backend { pid, transaction } = session.identity else {
            return;
        };
        // Whoever interrupts the call wants nothing more done.
        wait::answer_interrupts();
        if activity::backend_start(pid) != session.backend_start || !is_still_in_way(victim) {
            return;
        }
        audit::before_signal(victim, act, &self.aim.to_string());
        match process::signal(pid, transaction, act == Act::Terminate) {
            Delivery::Sent => self.watch.sent(session.identity, act),
            // The next look tells what there is then.
            Delivery::Gone | Delivery::Refused => audit::not_signalled(pid),
        }
    }

    /// Waits for one of those in the way: the others are looked at afterwards.
    fn wait(&mut self, whom: Option<(Identity, Await)>, limit: Duration) {
        let Some((who, why)) = whom else {
            return wait::sleep(limit.min(POLL));
        };
        let is_ours_to_end = why == Await::Signalled;
        let by_transaction = match self.watch.session(who) {
            // Core cancels an autovacuum worker whose transaction somebody waits for.
            Some(session) if session.process == Process::AutovacuumWorker => is_ours_to_end,
            // The startup process is in one transaction for as long as it replays.
            Some(session) => session.process != Process::Startup,
            None => true,
        };
        if !by_transaction {
            wait::sleep(limit.min(POLL));
        } else if wait::for_transaction(who, limit)
            && who.pid().and_then(process::by_pid) == Some(who)
        {
            // It has let go of its own id, and not yet of all else: do not spin meanwhile.
            wait::sleep(Duration::from_millis(1));
        }
    }

    /// Decides for each group of sessions that stand in one way: for the whole target, or with
    /// `"all"` for each relation by itself.
    fn decide(&mut self, sightings: &[Sighting]) -> Vec<(Vec<Identity>, Decision)> {
        let mut groups: Vec<(Option<LockTag>, Vec<&Sighting>)> = vec![];
        for sighting in sightings {
            let key = matches!(self.policy.target, Target::All).then_some(sighting.tag);
            match groups.iter_mut().find(|(k, _)| *k == key) {
                Some((_, members)) => members.push(sighting),
                None => groups.push((key, vec![sighting])),
            }
        }
        let mut decisions = vec![];
        for (_, members) in groups {
            let standings = self.watch.standings(&members);
            let decision = decide(&standings, self.policy, self.watch.has_signalled());
            let who: Vec<Identity> = standings.iter().map(|s| s.session.identity).collect();
            decisions.push((who, decision));
        }
        for (who, decision) in &decisions {
            self.watch.judged(who, &decision.stances);
        }
        decisions
    }

    fn dry_run(&mut self) -> Result<Vec<Row>, Error> {
        let sightings = match self.aim.look(&self.rules)? {
            Look::InWay { sightings, .. } => sightings,
            Look::Free => vec![],
        };
        self.watch.look(&sightings);
        let mut rows: Vec<Row> = vec![];
        let mut told: Vec<Identity> = vec![];
        for (who, decision) in self.decide(&sightings) {
            let blockers: Vec<String> = match &decision.step {
                Step::Await {
                    whom,
                    why: Await::Staying | Await::Passing,
                    ..
                } => whom.iter().map(|i| self.watch.name(who[*i])).collect(),
                _ => vec![],
            };
            for (identity, stance) in who.iter().zip(&decision.stances) {
                if !told.contains(identity) {
                    told.push(*identity);
                    rows.extend(self.watch.dry_row(*identity, *stance, &blockers));
                }
            }
        }
        self.progress.dry(&self.aim, &rows);
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

/// Each session once, as first seen.
fn first_of_each(sightings: &[Sighting]) -> Vec<&Sighting> {
    let mut seen: Vec<Identity> = vec![];
    sightings
        .iter()
        .filter(|s| s.granted)
        .filter(|s| {
            let is_new = !seen.contains(&s.session.identity);
            seen.push(s.session.identity);
            is_new
        })
        .collect()
}
