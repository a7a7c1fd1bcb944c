//! Who has been in the way during a call: since when, what was sent to each, what became of each.

use crate::decide::{Act, Hold, Sent, Stance, Standing, Unreachable, are_kin, is_long};
use crate::lock::{LockMode, RelationId};
use crate::pg::{activity, catalog};
use crate::report::{self, Outcome, Row};
use crate::session::{Class, Identity, Judgement, Session, Timestamp};
use crate::survey::Sighting;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// All that were seen, in the order of their first sight.
#[derive(Default)]
pub struct Watch {
    tracks: Vec<Track>,
    by_identity: HashMap<Identity, usize>,
    has_looked: bool,
    has_signalled: bool,
    /// The moment of the last look, on both clocks.
    now: Option<(Instant, Timestamp)>,
}

/// One session, through one or, while it is not signalled, several of its transactions.
struct Track {
    session: Rc<Session>,
    judgement: Judgement,
    relation: Option<RelationId>,
    mode: LockMode,
    first_seen: Instant,
    gone: Option<Instant>,
    hold: Hold,
    /// The first look found this very transaction.
    from_start: bool,
    sent: Vec<(Act, Instant)>,
    stance: Stance,
    /// It was more than passing traffic or a queued request, so that its row is of interest.
    counts: bool,
}

impl Track {
    /// The class that the caller's policy is held against.
    fn class(&self) -> Class {
        self.judgement.class_for(self.session.rights)
    }
}

impl Watch {
    /// The session that is helped waits for another lock now: whoever is in that way is judged as
    /// at a start.
    pub fn begin_anew(&mut self) {
        self.has_looked = false;
        self.has_signalled = false;
    }

    pub fn has_signalled(&self) -> bool {
        self.has_signalled
    }

    /// Takes in one look.
    pub fn look(&mut self, sightings: &[Sighting]) {
        let now = Instant::now();
        self.now = Some((now, activity::now()));
        self.tracks
            .iter_mut()
            .for_each(|t| t.gone = t.gone.or(Some(now)));
        let queued: HashSet<Identity> = sightings
            .iter()
            .filter(|s| !s.granted)
            .map(|s| s.session.identity)
            .collect();
        for (sighting, granted) in each_session(sightings.iter()) {
            let i = self.place(sighting, granted, now);
            let track = &mut self.tracks[i];
            track.hold = match (granted, track.hold) {
                (true, Hold::Granted) => Hold::Granted,
                // It waits for the next of its locks: to stop here would leave it hanging there.
                _ if queued.contains(&sighting.session.identity) => Hold::Queued,
                (true, Hold::Queued | Hold::GrantedSince) => Hold::GrantedSince,
                (false, _) => Hold::Queued,
            };
            track.session = Rc::clone(&sighting.session);
            track.judgement = sighting.judgement;
            track.gone = None;
        }
        self.has_looked = true;
    }

    /// Takes in that nothing is waited for any more: what stood in the way at the last look has let
    /// go, save those whose transactions are `still_there`.
    pub fn no_longer_waited_for(&mut self, still_there: &[Identity]) {
        let now = Instant::now();
        self.now = Some((now, activity::now()));
        for track in &mut self.tracks {
            if !still_there.contains(&track.session.identity) {
                track.gone = track.gone.or(Some(now));
            }
        }
    }

    /// Which track is that session's: the one it has, or a new one.
    fn place(&mut self, sighting: &Sighting, granted: bool, now: Instant) -> usize {
        let identity = sighting.session.identity;
        let from_start = !self.has_looked;
        if let Some(i) = self.by_identity.get(&identity) {
            self.tracks[*i].from_start |= from_start;
            return *i;
        }
        let hold = if granted { Hold::Granted } else { Hold::Queued };
        // The same session in its next transaction goes on with its row, unless a signal ended it.
        let again = self.tracks.iter().position(|t| {
            t.sent.is_empty()
                && identity.pid().is_some()
                && t.session.identity.pid() == identity.pid()
                && t.session.backend_start == sighting.session.backend_start
        });
        let i = match again {
            Some(i) => {
                let track = &mut self.tracks[i];
                self.by_identity.remove(&track.session.identity);
                (track.from_start, track.hold) = (from_start, hold);
                i
            }
            None => {
                self.tracks.push(Track {
                    session: Rc::clone(&sighting.session),
                    judgement: sighting.judgement,
                    relation: sighting.relation,
                    mode: sighting.mode,
                    first_seen: now,
                    gone: None,
                    hold,
                    from_start,
                    sent: vec![],
                    stance: Stance::Queued,
                    counts: false,
                });
                self.tracks.len() - 1
            }
        };
        self.by_identity.insert(identity, i);
        i
    }

    /// These sessions, each once, as the decision needs them.
    pub fn standings(&self, sightings: &[&Sighting]) -> Vec<Standing<'_>> {
        each_session(sightings.iter().copied())
            .into_iter()
            .filter_map(|(sighting, granted)| {
                let i = self.by_identity.get(&sighting.session.identity)?;
                let standing = self.standing(&self.tracks[*i]);
                // It may hold one relation and be queued for another.
                let hold = if granted { standing.hold } else { Hold::Queued };
                Some(Standing { hold, ..standing })
            })
            .collect()
    }

    fn standing<'a>(&self, track: &'a Track) -> Standing<'a> {
        let ago = |at: Instant| {
            self.now
                .map(|(now, _)| now.duration_since(at))
                .unwrap_or_default()
        };
        let me = (&*track.session, track.class());
        let kin = self
            .tracks
            .iter()
            .filter(|t| are_kin(me, (&t.session, t.class())));
        Standing {
            session: &track.session,
            class: track.class(),
            age: self.age(track),
            hold: track.hold,
            from_start: track.from_start,
            sent: track.sent.last().map(|(act, at)| Sent {
                act: *act,
                ago: ago(*at),
            }),
            kin_sent: kin.flat_map(|t| &t.sent).map(|(_, at)| ago(*at)).max(),
        }
    }

    fn age(&self, track: &Track) -> Duration {
        let Some((now, stamp)) = self.now else {
            return Duration::ZERO;
        };
        // A session that does not track its activities is as old as it has been watched.
        track
            .session
            .transaction_age(stamp)
            .unwrap_or_else(|| now.duration_since(track.first_seen))
    }

    /// Takes in what was decided of each.
    pub fn judged(&mut self, who: &[Identity], stances: &[Stance]) {
        for (identity, stance) in who.iter().zip(stances) {
            let Some(i) = self.by_identity.get(identity).copied() else {
                continue;
            };
            let is_long = is_long(&self.standing(&self.tracks[i]), *stance);
            let track = &mut self.tracks[i];
            if *stance == Stance::Queued && track.hold != Hold::Queued {
                // Queued for one relation, it holds another, and is told of as a holder.
                continue;
            }
            track.stance = *stance;
            track.counts |= match stance {
                Stance::Queued => false,
                Stance::Leave => track.hold == Hold::Granted && (is_long || track.from_start),
                Stance::Preempt(_)
                | Stance::Spare
                | Stance::NotPermitted
                | Stance::OutOfReach(_) => true,
            };
        }
    }

    /// Takes in that a signal was sent.
    pub fn sent(&mut self, who: Identity, act: Act) {
        if let Some(i) = self.by_identity.get(&who) {
            self.tracks[*i].sent.push((act, Instant::now()));
            self.has_signalled = true;
        }
    }

    /// How many sessions would have been signalled, were these signalled too.
    pub fn victims_with<'a>(&self, more: impl Iterator<Item = &'a Identity>) -> usize {
        let was_signalled = |who: &Identity| {
            self.by_identity
                .get(who)
                .is_some_and(|i| !self.tracks[*i].sent.is_empty())
        };
        self.tracks.iter().filter(|t| !t.sent.is_empty()).count()
            + more.filter(|who| !was_signalled(who)).count()
    }

    pub fn session(&self, who: Identity) -> Option<&Session> {
        self.by_identity
            .get(&who)
            .map(|i| &*self.tracks[*i].session)
    }

    /// A session for a message.
    pub fn name(&self, who: Identity) -> String {
        match self.by_identity.get(&who).map(|i| &self.tracks[*i]) {
            Some(track) => report::name(&track.session, track.judgement),
            None => "a session".into(),
        }
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

    /// A row for everybody who was more than passing traffic.
    pub fn rows(&self) -> Vec<Row> {
        self.tracks
            .iter()
            .filter(|t| t.counts)
            .map(|t| self.row(t))
            .collect()
    }

    fn row(&self, track: &Track) -> Row {
        let session = &track.session;
        let (outcome, reason) = match (track.gone, track.sent.last().map(|(act, _)| *act)) {
            (Some(_), act) => {
                let was_cancelled = track.sent.iter().any(|(act, _)| *act == Act::Cancel);
                let outcome = match act {
                    None => Outcome::Finished,
                    Some(Act::Cancel) => Outcome::Cancelled,
                    Some(Act::Terminate) => Outcome::Terminated,
                };
                (
                    outcome,
                    report::why_gone(session, track.judgement, act, was_cancelled),
                )
            }
            (None, act) => report::why_there(session, track.stance, self.age(track), act),
        };
        self.row_of(track, outcome, reason)
    }

    fn row_of(&self, track: &Track, outcome: Outcome, reason: String) -> Row {
        let until = track
            .gone
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
        let (outcome, reason) = report::would(&track.session, stance, self.age(track), blocked_by);
        Some(self.row_of(track, outcome, reason))
    }

    fn remaining_tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks
            .iter()
            .filter(|t| t.gone.is_none() && t.hold != Hold::Queued)
    }

    /// Who is still in the way and why, a line each, for the DETAIL of an error.
    pub fn remaining(&self) -> String {
        const SHOWN: usize = 20;
        let mut lines: Vec<String> = self
            .remaining_tracks()
            .map(|t| {
                let row = self.row(t);
                let on = t
                    .relation
                    .map(|r| format!(" on {}", catalog::name(r)))
                    .unwrap_or_default();
                let name = report::name(&t.session, t.judgement);
                format!(
                    "{name} holds {}{on}: {}, {}.",
                    t.mode,
                    row.outcome.name(),
                    row.reason
                )
            })
            .collect();
        if let Some(more @ 1..) = lines.len().checked_sub(SHOWN) {
            lines.truncate(SHOWN);
            lines.push(format!("And {more} more."));
        }
        if lines.is_empty() {
            "Nobody holds a conflicting lock any more, but the session that waits has not gone on."
                .into()
        } else {
            lines.join("\n")
        }
    }

    /// What to do about those who are still in the way, for the HINT of an error.
    pub fn advice(&self) -> String {
        let stances: Vec<Stance> = self.remaining_tracks().map(|t| t.stance).collect();
        let prepared = self.remaining_tracks().find(|t| t.session.is_prepared());
        if let Some(prepared) = prepared {
            let way = report::end_prepared(&prepared.session);
            return format!("A prepared transaction is in the way: {way}.");
        }
        if stances.contains(&Stance::NotPermitted) {
            return "Call it as a role that may signal these sessions: a member of theirs or of pg_signal_backend, \
                    and a superuser for those of superusers and for autovacuum."
                .into();
        }
        if stances.contains(&Stance::OutOfReach(Unreachable::IdleUnderCancel)) {
            return "A session that is idle in transaction can only be terminated: use signal \"escalate\" or \
                    \"terminate\"."
                .into();
        }
        "Try again later, raise timeout, or name them in preempt if they may be ended. Nothing is signalled while \
         others stay."
            .into()
    }
}

/// Each session once: its first sighting as a holder, or else its first; and whether it holds. A
/// session that holds one of the locks and waits for another holds.
fn each_session<'a>(sightings: impl Iterator<Item = &'a Sighting>) -> Vec<(&'a Sighting, bool)> {
    let mut found: Vec<(&Sighting, bool)> = vec![];
    let mut places: HashMap<Identity, usize> = HashMap::new();
    for sighting in sightings {
        let place = *places
            .entry(sighting.session.identity)
            .or_insert(found.len());
        match found.get_mut(place) {
            None => found.push((sighting, sighting.granted)),
            Some(known) if sighting.granted && !known.1 => *known = (sighting, true),
            Some(_) => (),
        }
    }
    found
}
