//! Whether what is needed is still what was needed: names may come to mean others while a call waits, and
//! relations get indexes and partitions.

use super::target::{Aim, in_mode};
use super::{Call, SLICE};
use crate::error::Error;
use crate::lock::RelationId;
use crate::needs;
use crate::pg::catalog;
use crate::pg::changes::Seen;
use crate::pg::take::{self, Attempt};
use crate::server_text::ServerText;
use std::time::{Duration, Instant};

/// Whether what is needed is still what was needed at the last reading of the catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reread {
    Same,
    /// It is something else from now on.
    Changed,
    /// The catalogs could not be read in time.
    Unread,
}

/// When what is needed was last read from the catalogs.
pub struct Reading {
    at: Instant,
    /// How long that took.
    cost: Duration,
    /// Somebody has ended since who may have changed them.
    pub is_due: bool,
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            at: Instant::now(),
            cost: Duration::ZERO,
            is_due: false,
        }
    }
}

impl Call<'_> {
    /// Reads anew what is needed: once somebody has ended who may have changed that, and else now and
    /// then; no more often than to spend a twentieth of the time on it.
    pub(super) fn reread_now_and_then(&mut self) -> Result<(), Error> {
        let period = match self.reading.is_due {
            true => Duration::ZERO,
            false => SLICE,
        };
        if self.reading.at.elapsed() >= period.max(self.reading.cost * 20) {
            self.reread()?;
        }
        Ok(())
    }

    /// Reads anew what is needed, and tells whether it is the same.
    pub(super) fn reread(&mut self) -> Result<bool, Error> {
        let left = self.clock.left();
        let start = Instant::now();
        let reread = self.aim.read_again(left.min(SLICE))?;
        if reread == Reread::Changed {
            self.order = None;
            self.may_be_helped()?;
        }
        self.reading = Reading {
            at: Instant::now(),
            cost: start.elapsed(),
            is_due: reread == Reread::Unread,
        };
        Ok(reread == Reread::Same)
    }
}

impl Aim {
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
    fn read_again(&mut self, limit: Duration) -> Result<Reread, Error> {
        if matches!(self, Aim::All { .. } | Aim::Waiter { .. }) {
            return Ok(Reread::Same);
        }
        let mut unchanged = Ok(true);
        let (attempt, _) = take::all(&[], Some(limit), false, || {
            if !self.is_up_to_date() {
                unchanged = self.read_needs(false);
            }
            true
        });
        Ok(match (attempt, unchanged?) {
            (Attempt::Taken, true) => Reread::Same,
            (Attempt::Taken, false) => Reread::Changed,
            (Attempt::Missed | Attempt::NoRoom | Attempt::Unwanted, _) => Reread::Unread,
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
}

/// The relation that a name means, if there is one.
///
/// # Errors
/// As for names at the start, but for one that means none.
fn if_it_exists(name: &ServerText) -> Result<Option<RelationId>, Error> {
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
