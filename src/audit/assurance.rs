//! `require_trail`: the worker's own word that rows of the trail can be written, before anybody is signalled.
//!
//! The worker tries it with the very rows that are about to be owed, and takes them back. It stays for as long as
//! the word is kept.

use super::entry::Came;
use super::trail::document;
use crate::decide::Act;
use crate::pg::catalog;
use crate::pg::handover::{Doubt, Handover, Word};
use crate::stored::Stored;
use crate::survey::Sighting;
use std::time::Duration;

/// That word.
pub struct Assurance(
    #[expect(dead_code, reason = "the worker waits until it is dropped")] Handover,
);

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// For the end of a sentence.
    pub why: String,
    /// What to do about it, as a sentence.
    pub next: &'static str,
    /// Waiting does not help.
    pub is_final: bool,
}

/// Asks for it, and waits for `limit` at most.
///
/// # Errors
/// Why there is none. Raises whatever interrupts a wait.
pub fn assure(
    victims: &[(&Sighting, Act)],
    label: Option<&str>,
    stored: Option<&Stored>,
    target: &str,
    limit: Duration,
) -> Result<Assurance, Untold> {
    let untold = |why: &str, next, is_final| {
        Err(Untold {
            why: why.into(),
            next,
            is_final,
        })
    };
    if catalog::is_in_recovery() {
        return untold(
            "the server is in recovery, where nothing can be written",
            "A standby has no trail of its own: use a policy without require_trail there.",
            true,
        );
    }
    let document = document(victims, label, stored, target);
    let handover = match Handover::begin_with_question(&document, victims.len() as u32) {
        Ok(handover) => handover,
        Err(why) => {
            return untold(
                &why,
                "Try again once the server has room for it, or use a policy without require_trail.",
                false,
            );
        }
    };
    for index in 0..victims.len() as u32 {
        handover.tell(index, Came::NotSent.number(), None);
    }
    match handover.doubt(limit) {
        None => Ok(Assurance(handover)),
        Some(Doubt::NoSlot) => untold(
            "no background worker slot is free",
            "Raise max_worker_processes, or use a policy without require_trail.",
            false,
        ),
        Some(Doubt::NotStarted) => untold(
            "the background worker has not started yet",
            "The server log tells why it does not start. Or use a policy without require_trail.",
            false,
        ),
        Some(Doubt::Worker(Word::Locked)) => untold(
            "lockguard.trail is locked",
            "See in pg_locks who has locked lockguard.trail, or use a policy without require_trail.",
            false,
        ),
        Some(Doubt::Worker(Word::Missing)) => untold(
            "there is no table lockguard.trail of the extension's that others can see",
            "Commit CREATE EXTENSION lockguard first, or create the extension anew if its table has gone.",
            true,
        ),
        Some(Doubt::Worker(Word::Cannot)) => untold(
            "the background worker cannot write it",
            "The server log tells why. Or use a policy without require_trail.",
            false,
        ),
        Some(Doubt::Worker(Word::None | Word::Can)) => untold(
            "the background worker has not come to it yet",
            "Raise timeout, or use a policy without require_trail.",
            false,
        ),
    }
}
