//! What the way is made free for, and looking who stands in it.

use super::statement::Statement;
use super::waiter::{Ahead, lock_of, look_at_waiter, still_ahead};
use crate::error::Error;
use crate::lock::{LockMode, Need, RelationId};
use crate::needs;
use crate::pg::changes::Seen;
use crate::pg::locks::{InWay, Wait};
use crate::pg::principals::Principals;
use crate::pg::{catalog, process};
use crate::policy::{Problem, Target};
use crate::rules::Rules;
use crate::server_text::ServerText;
use crate::session::Identity;
use crate::survey::{self, Sighting, Way};
use std::fmt;

/// The target of a policy, resolved.
pub enum Aim {
    Relations {
        /// As the policy names them.
        given: Vec<ServerText>,
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
        ahead: Vec<Ahead>,
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

    pub fn look(&mut self, rules: &Rules, principals: &Principals) -> Result<Look, Error> {
        if let Aim::Waiter {
            pid,
            transaction,
            wait,
            ahead,
        } = self
        {
            let Some(now) = look_at_waiter(*pid, *transaction, rules, principals)? else {
                let still = wait.map_or(vec![], |wait| still_ahead(wait, ahead));
                return Ok(match still.is_empty() {
                    true => Look::Free,
                    false => Look::GivenUp(still),
                });
            };
            let is_new_wait = wait.replace(now.wait) != Some(now.wait);
            let direct = now.sightings.iter().filter(|s| s.behind.is_none());
            *ahead = direct.map(Ahead::of).collect();
            if now.for_us {
                return Err(self.waits_for_us());
            }
            return Ok(Look::InWay {
                sightings: now.sightings,
                is_new_wait,
            });
        }
        let sightings = match self.way() {
            Some(way) => survey::in_way_and_behind(way, rules, principals)?,
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

    /// The locks to take; none if no lock is taken.
    pub fn to_take(&self) -> &[Need] {
        match self {
            Aim::Relations { needs, .. } => needs,
            Aim::Statement(statement) => &statement.plan().takeable,
            Aim::All { .. } | Aim::Waiter { .. } => &[],
        }
    }

    /// The same, in the order in which to do so.
    pub fn in_lock_order(&self) -> Vec<Need> {
        needs::lock_order(self.to_take().to_vec())
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

    /// Whether the way is free once nobody stands in it: a session that is helped must also have
    /// got its lock.
    pub fn is_clear_when_nobody_stands(&self) -> bool {
        !matches!(self, Aim::Waiter { .. })
    }
}

pub(super) fn in_mode(relations: Vec<RelationId>, mode: LockMode) -> Vec<Need> {
    let needs = relations.into_iter();
    needs.map(|relation| Need { relation, mode }).collect()
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
