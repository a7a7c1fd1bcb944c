//! What a call tells of those it saw: a row each, the DETAIL of an error, and what to do next.

use super::bounds::By;
use super::track::Track;
use super::watch::Watch;
use crate::decide::{Act, Await, Hold, Means, Stance, Unreachable};
use crate::pg::catalog;
use crate::report::{self, Outcome, Row};
use crate::session::Identity;
use std::time::Instant;

impl Watch {
    /// A session for a message.
    pub fn name(&self, who: Identity) -> String {
        match self.by_identity.get(&who).map(|i| &self.tracks[*i]) {
            Some(track) => report::name(&track.session, track.judgement),
            None => "a session".into(),
        }
    }

    /// The same in the caller's own words alone: nothing that others have chosen, such as an
    /// `application_name`.
    pub fn label(&self, who: Identity) -> String {
        match self.by_identity.get(&who).map(|i| &self.tracks[*i]) {
            Some(track) => report::label(&track.session, track.judgement),
            None => "a session".into(),
        }
    }

    /// Why that one is not preempted, for a message in which it is the subject.
    pub fn why_it_stays(&self, who: Identity) -> String {
        let track = self.by_identity.get(&who).map(|i| &self.tracks[*i]);
        if let Some(why) = track.and_then(Track::why_held) {
            return why;
        }
        let why = match track.map(|track| track.stance) {
            Some(Stance::Spare) => "policy spares it",
            Some(Stance::NotPermitted) => "this role may not signal it",
            Some(Stance::OutOfReach(_)) => "no signal makes it let go",
            Some(Stance::Queued) => "it is queued itself and has been for long",
            _ => "policy does not preempt it",
        };
        why.into()
    }

    /// The ways to end the prepared transactions among these, for a message.
    pub fn ways_to_end_prepared(&self, awaited: &[(Identity, Await)]) -> String {
        let sessions = awaited.iter().filter_map(|(who, _)| self.session(*who));
        let ways = sessions
            .filter(|s| s.is_prepared())
            .map(report::end_prepared);
        ways.map(|way| format!("; {way}")).collect()
    }

    /// Those in the way at the last look.
    pub fn present_ones(&self) -> Vec<Identity> {
        let present = self.tracks.iter().filter(|t| t.gone.is_none());
        present.map(|t| t.session.identity).collect()
    }

    /// Those in the way at the last look for a message, the queue left out.
    pub fn present(&self) -> Vec<String> {
        self.tracks
            .iter()
            .filter(|t| t.gone.is_none() && t.hold != Hold::Queued)
            .map(|t| report::name(&t.session, t.judgement))
            .collect()
    }

    /// Those who were queued at first, and have the lock now.
    pub fn granted_since(&self) -> Vec<String> {
        self.tracks
            .iter()
            .filter(|t| {
                t.gone.is_none() && t.hold == Hold::GrantedSince && t.stance == Stance::Leave
            })
            .map(|t| report::name(&t.session, t.judgement))
            .collect()
    }

    /// A row for everybody who was more than passing traffic.
    pub fn rows(&self) -> Vec<Row> {
        self.tracks
            .iter()
            .filter(|t| t.counts || t.counted_until.is_some())
            .map(|t| self.row(t, t.has_gone()))
            .collect()
    }

    /// `gone`: when that had gone which is told of.
    fn row(&self, track: &Track, gone: Option<Instant>) -> Row {
        let session = &track.session;
        let held = track.why_held();
        let (outcome, reason) = match (gone, track.sent.last().map(|sent| sent.act)) {
            (None, None) if held.is_some() => (Outcome::InTheWay, held.unwrap_or_default()),
            (Some(_), act) => {
                let was_cancelled = track.sent.iter().any(|sent| sent.act == Act::Cancel);
                let outcome = match act {
                    None => Outcome::Finished,
                    Some(Act::Cancel | Act::Yield) => Outcome::Cancelled,
                    Some(Act::Terminate) => Outcome::Terminated,
                };
                let why = report::why_gone(session, track.judgement, act, was_cancelled);
                let left_alone = match act.is_none() && track.was_finishing && session.rights.see {
                    true => report::LEFT_ALONE,
                    false => "",
                };
                (outcome, format!("{why}{left_alone}"))
            }
            (None, None) if track.hold == Hold::GrantedSince && track.stance == Stance::Leave => {
                (Outcome::InTheWay, report::QUEUED_AT_FIRST.into())
            }
            (None, None)
                if matches!(track.stance, Stance::Preempt(_)) && self.refused_by.is_some() =>
            {
                let allowed = self.refused_by.unwrap_or_default();
                (Outcome::InTheWay, report::too_many(allowed))
            }
            (None, None)
                if matches!(track.stance, Stance::Preempt(Means::Signal(_)))
                    && self.untold.is_some()
                    && !self.does_anybody_stay() =>
            {
                let why = self.untold.as_ref().map_or("", |untold| &untold.why);
                (Outcome::InTheWay, report::untold(why))
            }
            (None, None)
                if matches!(
                    track.stance,
                    Stance::Preempt(Means::Signal(Act::Cancel | Act::Terminate))
                ) && !self.does_anybody_stay() =>
            {
                (Outcome::InTheWay, report::TOO_LATE.into())
            }
            (None, act) => match (&self.lender, track.stance) {
                (Some(lender), Stance::NotPermitted) if act.is_none() => {
                    report::not_lent(session, lender, track.is_waited_for_whole)
                }
                _ => report::why_there(session, track.stance, track.is_long, act),
            },
        };
        let reason = format!("{reason}{}", self.chain(track));
        self.row_of(track, outcome, reason)
    }

    /// Whether somebody in the way is not preempted.
    fn does_anybody_stay(&self) -> bool {
        self.remaining_tracks().any(|t| {
            matches!(
                t.stance,
                Stance::Leave | Stance::Spare | Stance::NotPermitted | Stance::OutOfReach(_)
            )
        })
    }

    /// Through whom it is in the way, if not by itself; and whom it waits for, if it stays.
    fn chain(&self, track: &Track) -> String {
        let through = track
            .through
            .map(|waiter| report::through(&self.name(waiter)));
        let stays = track.gone.is_none() && matches!(track.stance, Stance::Leave | Stance::Helped);
        let ahead: Vec<String> = match stays {
            true => track.waits_for.iter().map(|who| self.name(*who)).collect(),
            false => vec![],
        };
        let waits = (!ahead.is_empty()).then(|| report::waits_itself(&ahead));
        through.into_iter().chain(waits).collect()
    }

    fn row_of(&self, track: &Track, outcome: Outcome, reason: String) -> Row {
        let until = track
            .has_gone()
            .or(self.now.map(|(now, _)| now))
            .unwrap_or(track.first_seen);
        Row {
            relation: track.relation,
            pid: track.session.identity.pid(),
            class: report::visible_class(&track.session, track.judgement),
            usename: track.session.usename.clone(),
            application_name: track.session.application_name.clone(),
            outcome,
            waited: until.duration_since(track.first_seen),
            reason,
            query: report::visible_query(&track.session),
        }
    }

    /// What would be done with a session that holds.
    pub fn dry_row(&self, who: Identity, stance: Stance, blocked_by: &[String]) -> Option<Row> {
        let track = &self.tracks[*self.by_identity.get(&who)?];
        let (outcome, reason) = match (stance, self.refused_by, &self.lender) {
            _ if track.why_held().is_some() => {
                (Outcome::WouldWait, track.why_held().unwrap_or_default())
            }
            (Stance::Preempt(_), Some(allowed), _) => {
                (Outcome::WouldWait, report::too_many(allowed))
            }
            (Stance::NotPermitted, _, Some(lender)) => {
                report::not_lent(&track.session, lender, track.is_waited_for_whole)
            }
            _ => report::would(&track.session, stance, track.is_long, blocked_by),
        };
        let reason = format!("{reason}{}", self.chain(track));
        Some(self.row_of(track, outcome, reason))
    }

    fn remaining_tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks
            .iter()
            .filter(|t| t.gone.is_none() && t.hold != Hold::Queued)
    }

    /// Who is still in the way and why, a line each, for the DETAIL of an error. `helps`: the call is
    /// for another session.
    pub fn remaining(&self, helps: bool) -> String {
        const SHOWN: usize = 20;
        let mut lines: Vec<String> = self
            .remaining_tracks()
            .map(|t| {
                // It holds now, whatever its row is about.
                let row = self.row(t, t.gone);
                let on = t
                    .relation
                    .map(|r| format!(" on {}", catalog::name(r)))
                    .unwrap_or_default();
                let name = report::name(&t.session, t.judgement);
                let age = match t.session.rights.see && !t.session.is_prepared() {
                    true => format!(" in a transaction of {}", report::in_words(self.age(t))),
                    false => String::new(),
                };
                let holds = match t.is_waited_for_whole {
                    true => "holds up what waits for the end of its transaction".into(),
                    false => format!("holds {}{on}", t.mode),
                };
                format!(
                    "{name} {holds}{age}: {}, {}.",
                    row.outcome.name(),
                    row.reason
                )
            })
            .collect();
        if let Some(more @ 1..) = lines.len().checked_sub(SHOWN) {
            lines.truncate(SHOWN);
            lines.push(format!("And {more} more."));
        }
        match (lines.is_empty(), helps) {
            (true, true) => "Nobody holds a conflicting lock any more, but the session that waits has not gone on.".into(),
            (true, false) => "Nobody held a conflicting lock at the last look, but others came in between.".into(),
            (false, _) => {
                lines.extend(self.victims());
                lines.join("\n")
            }
        }
    }

    /// Who was signalled and has gone, for the DETAIL of an error: nobody else tells of them then.
    fn victims(&self) -> Option<String> {
        let gone = self
            .tracks
            .iter()
            .filter(|t| t.gone.is_some() && !t.sent.is_empty());
        let names: Vec<String> = gone
            .map(|t| report::name(&t.session, t.judgement))
            .collect();
        (!names.is_empty()).then(|| format!("Preempted before: {}.", report::list(&names)))
    }

    /// Those whom policy preempts, and who are not signalled while others stay.
    pub fn held_back(&self) -> Vec<String> {
        let held = self.remaining_tracks().filter(|t| {
            t.sent.is_empty()
                && matches!(t.stance, Stance::Preempt(Means::Signal(_) | Means::Follow))
        });
        held.map(|t| report::name(&t.session, t.judgement))
            .collect()
    }

    /// What to do about those who are still in the way, for the HINT of an error.
    pub fn advice(&self) -> String {
        let has = |stance| self.remaining_tracks().any(|t| t.stance == stance);
        if let Some(prepared) = self.remaining_tracks().find(|t| t.session.is_prepared()) {
            let way = report::end_prepared(&prepared.session);
            return format!("A prepared transaction is in the way: {way}.");
        }
        let held = self.remaining_tracks().filter_map(|t| t.held_by.as_ref());
        if let Some(advice) = held.filter_map(By::advice).next() {
            return advice;
        }
        if has(Stance::NotPermitted)
            && let Some(lender) = &self.lender
        {
            return format!(
                "Through the stored policy the rights of {lender} count: grant that role pg_signal_backend or the \
                 roles of these sessions, or have a role that may signal them drop the policy and store it anew. What \
                 this role does not own it is not lent for."
            );
        }
        if let Some(untold) = &self.untold
            && !self.does_anybody_stay()
        {
            return untold.next.into();
        }
        let advice = if has(Stance::NotPermitted) {
            "Call it as a member of the roles of these sessions, or of pg_signal_backend. Sessions of superusers, and \
             autovacuum, only a superuser may signal. Who calls a SECURITY DEFINER function must be allowed to as well \
             as its owner, and so must in guard mode who has set lockguard.policy."
        } else if has(Stance::OutOfReach(Unreachable::IdleUnderCancel)) {
            "A session that is idle in transaction can only be terminated: use signal \"escalate\" or \
             \"terminate\"."
        } else if has(Stance::OutOfReach(Unreachable::OutsideTransaction)) {
            "A lock held outside any transaction goes with its session: end that with pg_terminate_backend, or \
             have it release the lock."
        } else if has(Stance::Spare) {
            "Let those that policy spares finish, and try again then."
        } else if has(Stance::Leave) {
            return format!(
                "Try again later, raise timeout, or name them in preempt (which replaces its default list) if they may \
                 be ended.{}",
                match self.held_back().is_empty() {
                    true => "",
                    false => " Those that policy preempts are left alone while others stay.",
                }
            );
        } else if has(Stance::Preempt(Means::Finish)) {
            "Raise timeout above what they still need, or lower finish_within to have them preempted."
        } else if self.remaining_tracks().next().is_some() {
            "Raise timeout, or lower grace: they were signalled and have not let go yet."
        } else {
            "Try again."
        };
        advice.into()
    }
}
