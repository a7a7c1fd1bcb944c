//! What the way is made free for, and looking who stands in it.

use super::statement::Statement;
use crate::error::Error;
use crate::lock::{LockMode, Need, RelationId};
use crate::needs;
use crate::pg::changes::Seen;
use crate::pg::locks::{self, InWay, Wait};
use crate::pg::take::{self, Attempt};
use crate::pg::{catalog, process, wait};
use crate::policy::{Problem, Target};
use crate::rules::Rules;
use crate::session::Identity;
use crate::survey::{self, Sighting, Waiting, Way};
use std::fmt;
use std::time::{Duration, Instant};

/// A session that waits for nothing for this long, in a transaction that goes on, waits no longer:
/// between one lock and the next of the same statement there are microseconds.
const SETTLED: Duration = Duration::from_millis(100);
const SETTLING_POLL: Duration = Duration::from_millis(2);

/// The target of a policy, resolved.
pub enum Aim {
    Relations {
        /// As the policy names them.
        given: Vec<String>,
        relations: Vec<RelationId>,
        needs: Vec<Need>,
        mode: LockMode,
        names: String,
        /// Before all that was read last.
        seen: Seen,
    },
    All {
        mode: LockMode,
    },
    Statement(Statement),
    Waiter {
        pid: i32,
        transaction: Option<Identity>,
        wait: Option<Wait>,
        /// Who stood in the way of that wait itself at the last look, the queue included.
        ahead: Vec<Identity>,
    },
}

/// One look at the way.
pub enum Look {
    /// Nothing is waited for (any more).
    Free,
    /// These stand in it, queued requests included; possibly nobody. `is_new_wait`: the session
    /// that is helped waits for another lock than at the last look.
    InWay {
        sightings: Vec<Sighting>,
        is_new_wait: bool,
    },
    /// The session that is helped waits no longer, and cannot have got its lock: these stand in
    /// that way still.
    GivenUp(Vec<InWay>),
}

/// Whether what is needed is still what was needed at the last reading of the catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reread {
    Same,
    /// It is something else from now on.
    Changed,
    /// The catalogs could not be read in time.
    Unread,
}

impl Aim {
    /// # Errors
    /// 42P01 and 22023 for names, 42501 for a system catalog, 42601 for a statement that is none, 22023
    /// for a pid that is no server process or our own.
    pub fn new(target: &Target) -> Result<Aim, Error> {
        Ok(match target {
            Target::All { mode } => Aim::All { mode: *mode },
            Target::Statement(text) => Aim::Statement(Statement::of_text(text)?),
            Target::Relations {
                names: names_given,
                mode,
            } => {
                let mode = *mode;
                let seen = Seen::now();
                let relations = needs::named(names_given)?;
                let names = {
                    let mut names: Vec<String> = relations
                        .iter()
                        .take(4)
                        .map(|r| catalog::name(*r))
                        .collect();
                    if let Some(more @ 1..) = relations.len().checked_sub(3)
                        && relations.len() > 4
                    {
                        names.truncate(3);
                        names.push(format!("{more} more"));
                    }
                    names.join(", ")
                };
                Aim::Relations {
                    given: names_given.clone(),
                    needs: in_mode(needs::closure(&relations), mode),
                    relations,
                    mode,
                    names,
                    seen,
                }
            }
            Target::Pid(pid) => {
                if *pid == process::own_pid() {
                    return Err(Problem::new("$.pid", "this is the session itself")
                        .hint("Name a session that waits; see pg_stat_activity.")
                        .into());
                }
                if !process::exists(*pid) {
                    return Err(
                        Problem::new("$.pid", format!("no server process has pid {pid}"))
                            .hint("It may have got its lock and ended; see pg_stat_activity.")
                            .into(),
                    );
                }
                Aim::Waiter {
                    pid: *pid,
                    transaction: process::by_pid(*pid),
                    wait: None,
                    ahead: vec![],
                }
            }
        })
    }

    pub fn look(&mut self, rules: &Rules) -> Result<Look, Error> {
        if let Aim::Waiter {
            pid,
            transaction,
            wait,
            ahead,
        } = self
        {
            let Some(now) = look_at_waiter(*pid, *transaction, rules)? else {
                let still = wait.map_or(vec![], |wait| still_ahead(wait, ahead));
                return Ok(match still.is_empty() {
                    true => Look::Free,
                    false => Look::GivenUp(still),
                });
            };
            let is_new_wait = wait.replace(now.wait) != Some(now.wait);
            let direct = now.sightings.iter().filter(|s| s.behind.is_none());
            *ahead = direct.map(|s| s.session.identity).collect();
            if now.for_us {
                return Err(self.waits_for_us());
            }
            return Ok(Look::InWay {
                sightings: now.sightings,
                is_new_wait,
            });
        }
        let sightings = match self.way() {
            Some(way) => survey::in_way_and_behind(way, rules)?,
            None => vec![],
        };
        Ok(Look::InWay {
            sightings,
            is_new_wait: false,
        })
    }

    /// Refuses what this role, or nobody here, could lock so.
    ///
    /// # Errors
    /// 42501; 55000 on a standby.
    pub fn may_be_taken(&self) -> Result<(), Error> {
        let mode = match self {
            Aim::Relations { mode, .. } => Some(*mode),
            Aim::Statement(statement) => statement.plan().strongest(),
            Aim::All { .. } | Aim::Waiter { .. } => None,
        };
        let Some(mode) = mode else {
            return Ok(());
        };
        if catalog::is_in_recovery() && mode > LockMode::RowExclusive {
            return Err(Error::InRecovery {
                message: format!("cannot take {mode} on a standby"),
                hint: "On a standby no lock above RowExclusiveLock can be held. Clear the way alone with \"take_lock\": false."
                    .into(),
            });
        }
        match self {
            Aim::Relations { relations, .. } => needs::may_lock(relations, mode),
            // Whatever this role could not lock is not taken.
            _ => Ok(()),
        }
    }

    /// Whether this role could queue for what that session holds, by LOCK TABLE or, where it belongs to
    /// the target, by the DDL that is about to come. Who could not must not have the server end
    /// somebody for it either.
    pub fn may_queue_for(&self, sighting: &Sighting) -> bool {
        let own_mode = match self {
            Aim::Relations { mode, .. } | Aim::All { mode } => Some(*mode),
            Aim::Statement(statement) => statement.plan().mode_on(sighting.relation),
            Aim::Waiter { .. } => None,
        };
        let mode = own_mode.unwrap_or(LockMode::AccessExclusive);
        let relations = match (self, sighting.behind, &sighting.relation) {
            (Aim::Relations { relations, .. }, None, _) => relations,
            (_, _, Some(relation)) => std::slice::from_ref(relation),
            (_, _, None) => return false,
        };
        let exists = |relation: &RelationId| catalog::relation(*relation).is_some();
        relations.iter().all(exists) && needs::may_lock(relations, mode).is_ok()
    }

    /// The locks to take, in the order in which to do so; none if no lock is taken.
    pub fn in_lock_order(&self) -> Vec<Need> {
        match self {
            Aim::Relations { needs, .. } => needs::lock_order(needs.clone()),
            Aim::Statement(statement) => needs::lock_order(statement.plan().takeable.clone()),
            Aim::All { .. } | Aim::Waiter { .. } => vec![],
        }
    }

    /// Whether the names still mean what they meant at the start, with what belongs to it; where that
    /// has changed, it is what is needed from now on.
    ///
    /// # Errors
    /// 42P01 for a name that means another relation now, or none.
    pub fn is_unchanged(&mut self) -> Result<bool, Error> {
        self.read_needs(true)
    }

    /// The same while nothing of it is locked; what has gone by now is in nobody's way. Where the
    /// catalogs are locked it is waited for that for `limit` at most.
    ///
    /// # Errors
    /// 42P01 for a name that means another relation now.
    pub fn reread(&mut self, limit: Duration) -> Result<Reread, Error> {
        if matches!(self, Aim::All { .. } | Aim::Waiter { .. }) {
            return Ok(Reread::Same);
        }
        let mut unchanged = Ok(true);
        let (attempt, _) = take::all(&[], Some(limit), || {
            if !self.is_up_to_date() {
                unchanged = self.read_needs(false);
            }
            true
        });
        Ok(match (attempt, unchanged?) {
            (Attempt::Taken, true) => Reread::Same,
            (Attempt::Taken, false) => Reread::Changed,
            (Attempt::Missed | Attempt::Unwanted, _) => Reread::Unread,
        })
    }

    /// Whether nothing that others have done to the catalogs has come in since they were read.
    fn is_up_to_date(&self) -> bool {
        match self {
            Aim::Relations { seen, .. } => seen.is_current(),
            Aim::Statement(statement) => statement.seen().is_current(),
            Aim::All { .. } | Aim::Waiter { .. } => true,
        }
    }

    /// `all_must_exist`: a name that means nothing any more is an error.
    fn read_needs(&mut self, all_must_exist: bool) -> Result<bool, Error> {
        if let Aim::Statement(statement) = self {
            return statement.is_unchanged();
        }
        let Aim::Relations {
            given,
            relations,
            needs,
            mode,
            seen,
            ..
        } = self
        else {
            return Ok(true);
        };
        let read_from = Seen::now();
        let now: Vec<Option<RelationId>> = match all_must_exist {
            true => needs::named(given)
                .map_err(any_more)?
                .into_iter()
                .map(Some)
                .collect(),
            false => given.iter().map(if_it_exists).collect::<Result<_, _>>()?,
        };
        let is_another = |i: &usize| now[*i].is_some_and(|now| now != relations[*i]);
        if let Some(changed) = (0..given.len()).find(is_another) {
            return Err(Error::UnknownRelation {
                message: format!(
                    "relation {} was replaced by another while the call waited",
                    catalog::name(now[changed].unwrap_or(relations[changed]))
                ),
                detail: Some(format!("At $.relations[{changed}] in the policy.")),
                hint: Some("Call it again for the relation that has this name now.".into()),
            });
        }
        let needed = in_mode(needs::closure(relations), *mode);
        let is_unchanged = needed == *needs;
        (*needs, *seen) = (needed, read_from);
        Ok(is_unchanged)
    }

    /// Whether somebody who has ended his transaction still has to let go. Copies the whole lock
    /// table: to be asked once, before success is reported.
    pub fn is_being_let_go(&self) -> bool {
        self.way().is_some_and(survey::is_being_let_go)
    }

    /// The locks asked about; none for a session that is helped.
    fn way(&self) -> Option<Way<'_>> {
        match self {
            Aim::Relations { needs, .. } => Some(Way::Needs(needs)),
            Aim::All { mode } => Some(Way::Everything(*mode)),
            Aim::Statement(statement) => Some(statement.way()),
            Aim::Waiter { .. } => None,
        }
    }

    /// Who is helped and what for, where it is a session: `pid 24484` and `AccessShareLock on orders`.
    pub fn helped(&self) -> Option<(String, String)> {
        match self {
            Aim::Waiter {
                pid,
                wait: Some(wait),
                ..
            } => Some((format!("pid {pid}"), lock_of(*wait))),
            _ => None,
        }
    }

    fn waits_for_us(&self) -> Error {
        Error::Deadlock {
            message: format!("this very transaction holds {self}"),
            detail: "The way cannot be cleared before this transaction ends.".into(),
            hint: "Roll back, and call it from a session that holds no locks.".into(),
        }
    }

    /// Whether the target can be locked, rather than only be made free.
    pub fn is_lockable(&self) -> bool {
        match self {
            Aim::Relations { .. } => true,
            Aim::Statement(statement) => statement.plan().is_takeable(),
            Aim::All { .. } | Aim::Waiter { .. } => false,
        }
    }

    /// What of the target is not locked though the rest is, for the end of a message.
    pub fn remark(&self) -> String {
        match self {
            Aim::Statement(statement) => statement.remark(),
            _ => String::new(),
        }
    }

    /// Whether these are statements that lock nothing which exists now.
    pub fn is_empty(&self) -> bool {
        matches!(self, Aim::Statement(statement) if statement.plan().is_empty())
    }

    /// Whether it was a session that was to be helped, and needed no help.
    pub fn waits_for_nothing(&self) -> bool {
        matches!(self, Aim::Waiter { wait: None, .. })
    }

    /// Whether anybody is still to be made to let go for it: not once the session that is helped has
    /// its lock, or has given it up.
    pub fn is_still_wanted(&self) -> bool {
        match self {
            Aim::Waiter {
                pid,
                transaction,
                wait,
                ..
            } => {
                let awaited = locks::in_way_of(*pid).map(|(wait, _)| wait);
                awaited.is_some() && awaited == *wait && process::by_pid(*pid) == *transaction
            }
            _ => true,
        }
    }

    /// Whether the way is free once nobody stands in it: a session that is helped must also have
    /// got its lock.
    pub fn is_clear_when_nobody_stands(&self) -> bool {
        !matches!(self, Aim::Waiter { .. })
    }
}

/// The relation that a name means, if there is one.
///
/// # Errors
/// As for names at the start, but for one that means none.
fn if_it_exists(name: &String) -> Result<Option<RelationId>, Error> {
    match needs::named(std::slice::from_ref(name)) {
        Ok(relations) => Ok(relations.first().copied()),
        Err(Error::UnknownRelation { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Of a name that meant something at the start.
fn any_more(error: Error) -> Error {
    match error {
        Error::UnknownRelation {
            message, detail, ..
        } => Error::UnknownRelation {
            message: format!("{message} any more"),
            detail,
            hint: Some("It was dropped or renamed while the call waited.".into()),
        },
        other => other,
    }
}

fn in_mode(relations: Vec<RelationId>, mode: LockMode) -> Vec<Need> {
    let needs = relations.into_iter();
    needs.map(|relation| Need { relation, mode }).collect()
}

/// What the session waits for in that very transaction, and who is in its way; none once it waits
/// no longer.
fn look_at_waiter(
    pid: i32,
    transaction: Option<Identity>,
    rules: &Rules,
) -> Result<Option<Waiting>, Error> {
    let Some(transaction) = transaction else {
        return Ok(None);
    };
    let start = Instant::now();
    loop {
        if process::by_pid(pid) != Some(transaction) {
            return Ok(None);
        }
        if let Some(found) = survey::in_way_of(pid, rules)? {
            return Ok(Some(found));
        }
        if start.elapsed() >= SETTLED {
            return Ok(None);
        }
        wait::sleep(SETTLING_POLL);
    }
}

/// Who of these, who stood in the way of a wait that is over now, stands in that way still, by the name
/// that he had then: so that the wait cannot have ended with the lock. Copies the whole lock table: to be
/// asked once, at the end.
fn still_ahead(wait: Wait, ahead: &[Identity]) -> Vec<InWay> {
    // Each as he was then, and as he was seen last: a lock of the session outlives its transactions, and
    // VACUUM holds one through several of its own.
    let mut known: Vec<(Identity, Identity)> = ahead.iter().map(|who| (*who, *who)).collect();
    let is_same = |now: Identity, last: Identity| {
        let is_outside = now.is_outside_transaction() || last.is_outside_transaction();
        now == last || is_outside && now.pid().is_some() && now.pid() == last.pid()
    };
    let start = Instant::now();
    loop {
        // Whoever has left his transaction may be just letting go.
        let mut is_letting_go = true;
        let mut still: Vec<InWay> = vec![];
        for now in locks::everyone_in_way(|tag| (tag == wait.tag).then_some(wait.mode)) {
            if let Some((then, last)) = known.iter_mut().find(|(_, last)| is_same(now.who, *last)) {
                *last = now.who;
                is_letting_go &= now.who.is_outside_transaction();
                still.push(InWay { who: *then, ..now });
            }
        }
        if still.is_empty() || !is_letting_go || start.elapsed() >= SETTLED {
            return still;
        }
        wait::sleep(SETTLING_POLL);
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::Relations { mode, names, .. } => write!(f, "{mode} on {names}"),
            Aim::All { mode } => write!(f, "{mode} on every user relation"),
            Aim::Statement(statement) => write!(f, "{statement}"),
            Aim::Waiter {
                pid, wait: None, ..
            } => write!(f, "pid {pid}"),
            Aim::Waiter {
                pid,
                wait: Some(wait),
                ..
            } => write!(f, "{} (for pid {pid})", lock_of(*wait)),
        }
    }
}

/// A lock that is waited for: `AccessShareLock on orders`.
fn lock_of(wait: Wait) -> String {
    let object = match wait.tag.as_relation() {
        Some((database, relation)) if database == catalog::database() || database == 0 => {
            catalog::name(relation)
        }
        _ => wait.tag.kind_name().to_string(),
    };
    format!("{} on {object}", wait.mode)
}
