//! Whether a call is still wanted: asked before each signal, and in each slice of waiting.

use super::Call;
use crate::error::Error;
use crate::pg::{bounded, client, wait};
use std::time::{Duration, Instant};

/// How often it is asked while the call waits. The server itself looks as often whether the client is there.
const PERIOD: Duration = Duration::from_millis(100);

/// How long that may wait for who has locked a table of ours.
const TO_READ: Duration = Duration::from_millis(10);

/// Why nothing more is to be done for a call.
pub(super) enum Unwanted {
    /// Somebody has cancelled or terminated it, or a limit has run out.
    Interrupted,
    /// Nobody is there to hear of it.
    ClientGone,
    /// The session that is helped has its lock, or has given it up.
    TargetGone,
    /// The stored policy is not lent any more, or not for this target.
    NotLent(Error),
}

impl Unwanted {
    /// Why a signal was not sent, for the log.
    pub(super) fn why_not(&self) -> &'static str {
        match self {
            Unwanted::Interrupted => "The call had just been interrupted",
            Unwanted::ClientGone => "The client of the call had just gone",
            Unwanted::TargetGone => "The session that waited had just got its lock, or given up",
            Unwanted::NotLent(_) => "The stored policy was not lent any more",
        }
    }

    /// Ends the call where that is what comes of it. Otherwise it goes on, to see how its target is now.
    ///
    /// # Errors
    /// Those of [`is_still_lent`](crate::stored::Stored::is_still_lent); raises that of the interrupt, and ends the
    /// session where the client has gone.
    pub(super) fn end(self) -> Result<(), Error> {
        match self {
            Unwanted::Interrupted => wait::answer_interrupts(),
            Unwanted::ClientGone => client::must_be_there(),
            Unwanted::TargetGone => (),
            Unwanted::NotLent(error) => return Err(error),
        }
        Ok(())
    }
}

impl Call<'_> {
    /// Why the call is not wanted any more; none as long as it is.
    pub(super) fn unwanted(&self) -> Option<Unwanted> {
        let clock = self.clock;
        self.unwanted_if(|| clock.read(|| self.is_still_lent()))
    }

    /// Asks that while the call waits. Whether the stored policy is still lent does not matter before the next signal:
    /// where somebody has locked the table that says so, it is not waited for that.
    ///
    /// # Errors
    /// As for [`Unwanted::end`].
    pub(super) fn ask_now_and_then(&mut self) -> Result<(), Error> {
        if self.asked.elapsed() < PERIOD {
            return Ok(());
        }
        self.asked = Instant::now();
        let unwanted = self
            .unwanted_if(|| bounded::within(TO_READ, || self.is_still_lent()).unwrap_or(Ok(())));
        unwanted.map_or(Ok(()), Unwanted::end)
    }

    fn unwanted_if(&self, is_lent: impl FnOnce() -> Result<(), Error>) -> Option<Unwanted> {
        match () {
            () if wait::is_interrupted() => Some(Unwanted::Interrupted),
            () if client::has_gone() => Some(Unwanted::ClientGone),
            () if !self.aim.is_still_wanted() => Some(Unwanted::TargetGone),
            () if self.stored.is_none() => None,
            () => is_lent().err().map(Unwanted::NotLent),
        }
    }

    /// Whether the stored policy, if it is one, is still lent, and for this target: the call may have
    /// waited for long.
    fn is_still_lent(&self) -> Result<(), Error> {
        match self.stored {
            Some(stored) => {
                stored.is_still_lent()?;
                self.aim.must_be_owned(&self.principals)
            }
            None => Ok(()),
        }
    }
}
