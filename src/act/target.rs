//! What the way is made free for, and looking who stands in it.

use crate::error::Error;
use crate::lock::{LockMode, Need};
use crate::needs;
use crate::pg::locks::Wait;
use crate::pg::{catalog, process, wait};
use crate::policy::{Policy, Problem, Target};
use crate::rules::Rules;
use crate::session::Identity;
use crate::survey::{self, Sighting};
use std::fmt;
use std::time::{Duration, Instant};

/// A session that waits for nothing for this long, in a transaction that goes on, waits no longer:
/// between one lock and the next of the same statement there are microseconds.
const SETTLED: Duration = Duration::from_millis(100);
const SETTLING_POLL: Duration = Duration::from_millis(2);

/// The target of a policy, resolved.
pub enum Aim {
    Relations {
        needs: Vec<Need>,
        mode: LockMode,
        names: String,
    },
    All {
        mode: LockMode,
    },
    Waiter {
        pid: i32,
        transaction: Option<Identity>,
        wait: Option<Wait>,
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
}

impl Aim {
    /// # Errors
    /// 42P01 and 22023 for names, 42501 for a system catalog, 22023 for a pid that is no server
    /// process or our own.
    pub fn new(policy: &Policy) -> Result<Aim, Error> {
        let mode = policy.mode;
        Ok(match &policy.target {
            Target::All => Aim::All { mode },
            Target::Relations(names) => {
                let relations = needs::named(names)?;
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
                let needs = needs::closure(&relations)
                    .into_iter()
                    .map(|relation| Need { relation, mode })
                    .collect();
                Aim::Relations { needs, mode, names }
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
                            .hint("Name a session that waits; see pg_stat_activity.")
                            .into(),
                    );
                }
                Aim::Waiter {
                    pid: *pid,
                    transaction: process::by_pid(*pid),
                    wait: None,
                }
            }
        })
    }

    pub fn look(&mut self, rules: &Rules) -> Result<Look, Error> {
        let sightings = match self {
            Aim::Relations { needs, .. } => survey::of_needs(needs, rules)?,
            Aim::All { mode } => survey::of_all(*mode, rules)?,
            Aim::Waiter {
                pid,
                transaction,
                wait,
            } => {
                let Some((now, sightings)) = look_at_waiter(*pid, *transaction, rules)? else {
                    return Ok(Look::Free);
                };
                let is_new_wait = wait.replace(now) != Some(now);
                let sightings = survey::behind_the_queue(sightings, rules)?;
                return Ok(Look::InWay {
                    sightings,
                    is_new_wait,
                });
            }
        };
        Ok(Look::InWay {
            sightings: survey::behind_the_queue(sightings, rules)?,
            is_new_wait: false,
        })
    }

    /// Whether the way is free once nobody stands in it: a session that is helped must also have
    /// got its lock.
    pub fn is_clear_when_nobody_stands(&self) -> bool {
        !matches!(self, Aim::Waiter { .. })
    }
}

/// What the session waits for in that very transaction, and who is in its way; none once it waits
/// no longer.
fn look_at_waiter(
    pid: i32,
    transaction: Option<Identity>,
    rules: &Rules,
) -> Result<Option<(Wait, Vec<Sighting>)>, Error> {
    let Some(transaction) = transaction else {
        return Ok(None);
    };
    let start = Instant::now();
    loop {
        if process::by_pid(pid) != Some(transaction) {
            return Ok(None);
        }
        if let Some(found) = survey::of_waiter(pid, rules)? {
            return Ok(Some(found));
        }
        if start.elapsed() >= SETTLED {
            return Ok(None);
        }
        wait::sleep(SETTLING_POLL);
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aim::Relations { mode, names, .. } => write!(f, "{mode} on {names}"),
            Aim::All { mode } => write!(f, "{mode} on every user relation"),
            Aim::Waiter {
                pid, wait: None, ..
            } => write!(f, "what pid {pid} waits for"),
            Aim::Waiter {
                pid,
                wait: Some(wait),
                ..
            } => match wait.tag.as_relation() {
                Some((database, relation)) if database == catalog::database() || database == 0 => {
                    write!(
                        f,
                        "{} on {}, which pid {pid} waits for",
                        wait.mode,
                        catalog::name(relation)
                    )
                }
                _ => write!(
                    f,
                    "{} on a {}, which pid {pid} waits for",
                    wait.mode,
                    wait.tag.kind_name()
                ),
            },
        }
    }
}
