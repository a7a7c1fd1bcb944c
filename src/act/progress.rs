//! What the caller is told while a call runs: a NOTICE at the start, one a second while it waits,
//! fewer after a while, and one line at the end.

use super::target::Aim;
use super::watch::Watch;
use crate::decide::Await;
use crate::pg::{message, wait};
use crate::report::{self, Outcome, Row};
use crate::session::Identity;
use std::time::{Duration, Instant};

/// A NOTICE.
macro_rules! say {
    ($($arguments:tt)*) => {
        message::notice(&format!($($arguments)*))
    };
}

/// How often it is said what is waited for, at first, and once that has been said often enough.
const PERIOD: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PERIOD: Duration = Duration::from_secs(10);

pub struct Progress {
    has_begun: bool,
    /// A lock is wanted, but would not be kept.
    keeps_nothing: bool,
    /// A lock is to be held in the end.
    takes: bool,
    /// Nothing is said while nobody is in the way.
    is_quiet: bool,
    start: Instant,
    last: Instant,
}

impl Progress {
    /// `keeps_nothing`: a lock is wanted that would not outlive the statement, and is not taken.
    /// `takes`: one is wanted, and will be kept. `is_quiet`: nothing is said while nobody is in the way.
    pub fn new(keeps_nothing: bool, takes: bool, is_quiet: bool) -> Progress {
        let now = Instant::now();
        Progress {
            has_begun: false,
            keeps_nothing,
            takes,
            is_quiet,
            start: now,
            last: now,
        }
    }

    /// Names those in the way, once.
    pub fn begin(&mut self, aim: &Aim, watch: &Watch) {
        let present = watch.present();
        if self.has_begun || present.is_empty() {
            return;
        }
        self.has_begun = true;
        self.last = Instant::now();
        say!("lockguard: in the way of {aim}: {}", report::list(&present));
    }

    /// How long until the next notice may be sent.
    pub fn until_next(&self) -> Duration {
        let period = if self.start.elapsed() < PATIENCE {
            PERIOD
        } else {
            LONG_PERIOD
        };
        period.saturating_sub(self.last.elapsed())
    }

    /// Says what is waited for, unless something was said a moment ago.
    pub fn waiting(&mut self, awaited: &[(Identity, Await)], watch: &Watch) {
        if !self.until_next().is_zero() {
            return;
        }
        let Some((first, why)) = awaited.first() else {
            return;
        };
        self.last = Instant::now();
        let alike = awaited.iter().filter(|(_, w)| w == why);
        let names: Vec<String> = alike.map(|(who, _)| watch.name(*who)).collect();
        let names = report::list(&names);
        let elapsed = report::in_words(self.start.elapsed());
        match why {
            Await::Staying => {
                let ends = watch.ways_to_end_prepared(awaited);
                let stays = watch.why_it_stays(*first);
                let it = if awaited.len() > 1 {
                    "of the first, "
                } else {
                    ""
                };
                let held = match watch.held_back() {
                    held if held.is_empty() => String::new(),
                    held => format!("; meanwhile {} is left alone", report::list(&held)),
                };
                say!(
                    "lockguard: still waiting after {elapsed} for {names}: {it}{stays}{held}{ends}"
                )
            }
            Await::Passing => say!("lockguard: still waiting after {elapsed} for {names} to pass"),
            Await::Signalled => {
                say!(
                    "lockguard: still waiting after {elapsed} for {names}, signalled but not gone yet"
                )
            }
            Await::Finishing => {
                say!(
                    "lockguard: still waiting after {elapsed} for {names}, about to finish within finish_within"
                )
            }
        }
    }

    /// Says that all that is left is traffic, unless something was said a moment ago.
    pub fn backing_off(&mut self) {
        if self.until_next().is_zero() {
            self.last = Instant::now();
            let elapsed = report::in_words(self.start.elapsed());
            say!(
                "lockguard: still waiting after {elapsed}: only short transactions are in the way, and are let pass before the next attempt"
            );
        }
    }

    /// Says that an autovacuum worker is waited for until the server cancels it.
    pub fn yielding(&mut self, who: Identity, watch: &Watch) {
        self.last = Instant::now();
        let name = watch.name(who);
        let timeout = report::in_words(wait::deadlock_timeout());
        say!(
            "lockguard: waiting for {name} to yield: this role may not signal it, and the server cancels it for a session that waits for {timeout} (deadlock_timeout)"
        );
    }

    /// The line at the end. `fails`: an error follows where the way is not free.
    pub fn finish(&self, aim: &Aim, watch: &Watch, how: Finish, fails: bool, elapsed: Duration) {
        let rows = watch.rows();
        if self.is_quiet && rows.is_empty() && how != Finish::NotFree {
            return;
        }
        let elapsed = report::in_words(elapsed);
        let tally = match rows.is_empty() {
            true => String::new(),
            false => format!(": {}", tally(&rows)),
        };
        let granted = watch.granted_since();
        let kept = match self.keeps_nothing {
            true => "; outside a transaction block no lock is kept".into(),
            false => aim.remark(),
        };
        match how {
            Finish::Held => say!("lockguard: holds {aim} after {elapsed}{tally}{kept}"),
            Finish::NotFree => {
                let held = match self.takes && !fails {
                    true => "; no lock is held, and a statement that needs it will queue",
                    false => "",
                };
                say!("lockguard: the way to {aim} is not free after {elapsed}{tally}{held}")
            }
            Finish::GivenUp => say!(
                "lockguard: the way to {aim} is not free after {elapsed}{tally}; the session that waited has given up"
            ),
            Finish::Free if !granted.is_empty() && aim.is_clear_when_nobody_stands() => {
                let granted = report::list(&granted);
                say!(
                    "lockguard: the way to {aim} is cleared after {elapsed}{tally}; {granted} was queued, and has it now{kept}"
                );
            }
            Finish::Free if !rows.is_empty() => {
                say!("lockguard: the way to {aim} is free after {elapsed}{tally}{kept}")
            }
            Finish::Free if aim.waits_for_nothing() => {
                say!("lockguard: {aim}: it waits for no lock, so that there is nothing to clear")
            }
            Finish::Free if aim.is_empty() => say!(
                "lockguard: {aim}: {} that exists now, so that there is nothing to clear",
                nothing_locked(aim)
            ),
            Finish::Free => say!("lockguard: nobody stands in the way of {aim}{kept}"),
        }
    }

    /// The line of a dry run. `staying`: who would have to go before anybody else is signalled.
    pub fn dry(&self, aim: &Aim, rows: &[Row], staying: &[String]) {
        const DRY: &str = "lockguard: dry run, nothing was signalled or locked";
        match (rows, staying) {
            ([], _) if aim.waits_for_nothing() => say!("{DRY}: {aim}: it waits for no lock"),
            ([], _) if aim.is_empty() => {
                say!("{DRY}: {aim}: {} that exists now", nothing_locked(aim))
            }
            ([], _) => say!("{DRY}: nobody stands in the way of {aim}"),
            (rows, []) => say!("{DRY}: in the way of {aim}: {}", tally(rows)),
            (rows, staying) => say!(
                "{DRY}: in the way of {aim}: {}; nobody would be signalled before {} let go",
                tally(rows),
                report::list(staying)
            ),
        }
    }
}

/// What there is to say of statements for which no lock is found.
fn nothing_locked(aim: &Aim) -> &'static str {
    match aim {
        Aim::Statement(statement) if !statement.plan().unseen.is_empty() => {
            "no lock could be told on anything"
        }
        _ => "it locks nothing",
    }
}

/// Says what cannot be told of statements ahead.
pub fn begin_with(aim: &Aim) {
    if let Aim::Statement(statement) = aim {
        for reason in &statement.plan().unseen {
            say!("lockguard: not all of {aim} can be told ahead: {reason}");
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The lock could be had.
    Free,
    /// It is held now.
    Held,
    NotFree,
    /// It is not free, and the session that was helped waits for it no longer.
    GivenUp,
}

/// What is waited for, for `pg_stat_activity`: without the names of others, which would have this
/// session's query match a rule that looks for them there.
pub fn remark(awaited: &[(Identity, Await)], watch: &Watch) -> String {
    let names: Vec<String> = awaited.iter().map(|(who, _)| watch.label(*who)).collect();
    let why = match awaited.first() {
        Some((_, Await::Staying)) => ", which stays",
        Some((_, Await::Passing)) => " to pass",
        Some((_, Await::Signalled)) => ", told to let go",
        Some((_, Await::Finishing)) => ", about to finish",
        None => "a lock that is being passed on",
    };
    format!("lockguard waits for {}{why}", report::list(&names))
}

/// How many came to which end: `2 cancelled, 1 finished`.
fn tally(rows: &[Row]) -> String {
    let mut counts: Vec<(Outcome, usize)> = vec![];
    for row in rows {
        match counts
            .iter_mut()
            .find(|(outcome, _)| *outcome == row.outcome)
        {
            Some((_, count)) => *count += 1,
            None => counts.push((row.outcome, 1)),
        }
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(outcome, count)| format!("{count} {}", outcome.name()))
        .collect();
    parts.join(", ")
}
