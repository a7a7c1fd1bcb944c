//! Who has been in the way during a call: since when, what was sent to each, what became of each.
//! What is told of them is in [`super::account`].

use super::age::Ages;
use super::bounds::By;
use super::track::{Signalled, Track};
use crate::audit::{Came, Record, Untold};
use crate::decide::{
    Act, BETWEEN, Decision, Hold, Means, Sent, Stance, Standing, are_kin, is_long,
};
use crate::pg::activity;
use crate::policy::Policy;
use crate::session::{Identity, Process, Rights, Session, Timestamp, Warrant};
use crate::survey::Sighting;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Of how many it is told that a session waits for them.
const NAMED: usize = 5;

/// All that were seen, in the order of their first sight.
#[derive(Default)]
pub struct Watch {
    pub(super) tracks: Vec<Track>,
    pub(super) by_identity: HashMap<Identity, usize>,
    has_looked: bool,
    has_signalled: bool,
    /// The owner of the stored policy, by name, with whose rights sessions are signalled.
    pub(super) lender: Option<String>,
    /// `max_victims`, once more than it allows would have to be signalled.
    pub(super) refused_by: Option<usize>,
    /// Why no row of the trail can be written, where policy requires one.
    pub(super) untold: Option<Untold>,
    /// The moment of the last look, on both clocks.
    pub(super) now: Option<(Instant, Timestamp)>,
    /// That of the first.
    epoch: Option<(Instant, Timestamp)>,
}

impl Watch {
    /// Nobody has been seen yet.
    pub fn for_lender(lender: Option<String>) -> Watch {
        Watch {
            lender,
            ..Watch::default()
        }
    }

    /// Whether anybody has held a conflicting lock at any look.
    pub fn has_seen_holders(&self) -> bool {
        self.tracks.iter().any(|t| t.hold != Hold::Queued)
    }

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
        let (now, stamp) = self.tell_the_time();
        self.tracks
            .iter_mut()
            .for_each(|t| t.gone = t.gone.or(Some(now)));
        let queued: HashSet<Identity> = sightings
            .iter()
            .filter(|s| !s.granted && s.behind.is_none())
            .map(|s| s.session.identity)
            .collect();
        for (sighting, granted) in each_session(sightings.iter(), &|_| Warrant::Own) {
            let i = self.place(sighting, granted, now);
            let track = &mut self.tracks[i];
            track.hold = match (granted, track.hold) {
                (true, Hold::Granted) if !track.was_helped => Hold::Granted,
                // It waits for the next of its locks: to stop here would leave it hanging there.
                _ if queued.contains(&sighting.session.identity) => Hold::Queued,
                (true, _) => Hold::GrantedSince,
                (false, _) => Hold::Queued,
            };
            track.is_queued = queued.contains(&sighting.session.identity);
            track.through = sighting
                .behind
                .and_then(|_| track.through.or(sighting.behind));
            track.waits_for.clear();
            track.outside_since = match sighting.session.identity.is_outside_transaction() {
                // Out of sight in between, it has been in another transaction.
                true => track
                    .outside_since
                    .filter(|_| track.gone.is_none_or(|gone| gone == now))
                    .or(Some(now)),
                false => None,
            };
            if !track.is_told_from_before(sighting) {
                track.session = Rc::clone(&sighting.session);
                track.judgement = sighting.judgement;
            }
            track.gone = None;
            track.ages.look(&track.session, now, stamp);
        }
        for sighting in sightings {
            let waiter = sighting
                .behind
                .and_then(|waiter| self.by_identity.get(&waiter));
            if let Some(i) = waiter {
                let ahead = &mut self.tracks[*i].waits_for;
                if ahead.len() < NAMED && !ahead.contains(&sighting.session.identity) {
                    ahead.push(sighting.session.identity);
                }
            }
        }
        self.has_looked = true;
        self.forget_traffic();
    }

    /// What time it is: by a clock that is set forward meanwhile it is no later than by one that is not.
    fn tell_the_time(&mut self) -> (Instant, Timestamp) {
        let now = Instant::now();
        let told = activity::now();
        let (first, stamp) = *self.epoch.get_or_insert((now, told));
        let stamp = told.min(stamp.after(now.duration_since(first)));
        self.now = Some((now, stamp));
        (now, stamp)
    }

    /// Lets go of passing traffic that has passed: a long call on a busy server sees many thousands.
    fn forget_traffic(&mut self) {
        const KEPT: usize = 1_000;
        if self.tracks.len() <= KEPT {
            return;
        }
        self.tracks
            .retain(|t| t.counts || t.counted_until.is_some() || t.gone.is_none());
        if self.tracks.len() > 10 * KEPT {
            self.tracks
                .retain(|t| !t.sent.is_empty() || t.gone.is_none());
        }
        let places = self.tracks.iter().enumerate();
        self.by_identity = places.map(|(i, t)| (t.session.identity, i)).collect();
    }

    /// Takes in that nothing is waited for any more: what stood in the way at the last look has let
    /// go, save those whose transactions are `still_there`.
    pub fn no_longer_waited_for(&mut self, still_there: &[Identity]) {
        let (now, _) = self.tell_the_time();
        for track in &mut self.tracks {
            if !still_there.contains(&track.session.identity) {
                track.gone = track.gone.or(Some(now));
            }
        }
    }

    /// Whether that one has just been seen to have left its transaction: it is about to let go, or to go on
    /// in the next.
    pub fn is_between(&self, who: Identity) -> bool {
        let track = self.by_identity.get(&who).map(|i| &self.tracks[*i]);
        let since = track.and_then(|track| track.outside_since);
        let now = self.now.map(|(now, _)| now);
        let outside = since.zip(now).map(|(since, now)| now.duration_since(since));
        outside.is_some_and(|outside| outside < BETWEEN)
    }

    /// Whether that one is not in the way of the target itself, but only of somebody who is.
    pub fn is_behind(&self, who: Identity) -> bool {
        let track = self.by_identity.get(&who).map(|i| &self.tracks[*i]);
        track.is_some_and(|track| track.through.is_some())
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
        // The same session in its next transaction goes on with its row, unless a cancel ended the
        // last one. One that was told to terminate drops its temporary tables on its way out; one
        // that is in no transaction any more may just be letting go.
        let is_new_start = !identity.is_outside_transaction();
        let again = self.tracks.iter().rposition(|t| {
            let last = t.sent.last().map(|s| s.act);
            let was_cancelled = matches!(last, Some(Act::Cancel | Act::Yield));
            !(was_cancelled && is_new_start)
                && identity.pid().is_some()
                && t.session.identity.pid() == identity.pid()
                && t.session.backend_start == sighting.session.backend_start
        });
        let i = match again {
            Some(i) => {
                let track = &mut self.tracks[i];
                self.by_identity.remove(&track.session.identity);
                if track.goes_on_as(sighting, granted) {
                    track.session = Rc::new(Session {
                        identity,
                        ..Session::clone(&track.session)
                    });
                } else {
                    if track.counts && track.sent.is_empty() {
                        track.counted_until = track.gone.or(Some(now));
                        track.counts = false;
                    }
                    (track.from_start, track.hold, track.was_helped) = (from_start, hold, false);
                    (track.through, track.outlasted) = (sighting.behind, false);
                    track.transaction_seen = now;
                    track.session = Rc::clone(&sighting.session);
                    track.judgement = sighting.judgement;
                }
                // VACUUM does a table and its TOAST table in two transactions.
                track.was_finishing &= track.session.query_start == sighting.session.query_start;
                (track.relation, track.mode) = (sighting.relation, sighting.mode);
                track.is_waited_for_whole = sighting.tag.is_virtual_transaction();
                i
            }
            None => {
                self.tracks.push(Track {
                    session: Rc::clone(&sighting.session),
                    judgement: sighting.judgement,
                    relation: sighting.relation,
                    is_waited_for_whole: sighting.tag.is_virtual_transaction(),
                    mode: sighting.mode,
                    first_seen: now,
                    transaction_seen: now,
                    ages: Ages::default(),
                    outside_since: None,
                    gone: None,
                    hold,
                    from_start,
                    sent: vec![],
                    is_queued: false,
                    waits_for: vec![],
                    was_helped: false,
                    through: sighting.behind,
                    outlasted: false,
                    is_long: false,
                    was_finishing: false,
                    stance: Stance::Queued,
                    held_by: None,
                    counts: false,
                    counted_until: None,
                });
                self.tracks.len() - 1
            }
        };
        self.by_identity.insert(identity, i);
        i
    }

    /// These sessions, each once, as the decision needs them; `waits_for` as [`who_waits_for_whom`]
    /// tells it of the same sightings. `may_queue`: whether the caller could queue for what a session
    /// holds there; asked only where that decides something. `warrant`: with whose rights it is judged
    /// and signalled there.
    pub fn standings<'a>(
        &'a self,
        sightings: &[&Sighting],
        waits_for: &'a [Vec<usize>],
        may_queue: impl Fn(&Sighting) -> bool,
        warrant: impl Fn(&Sighting) -> Warrant,
        time_left: Duration,
    ) -> Vec<Standing<'a>> {
        each_session(sightings.iter().copied(), &warrant)
            .into_iter()
            .zip(waits_for)
            .filter_map(|((sighting, granted), waits_for)| {
                let i = self.by_identity.get(&sighting.session.identity)?;
                let track = &self.tracks[*i];
                let standing = self.standing(track);
                // It may hold one relation and be queued for another.
                let hold = if granted { standing.hold } else { Hold::Queued };
                let session = &sighting.session;
                let warrant = warrant(sighting);
                let rights = track.session.rights.under(warrant);
                let is_only_to_yield = session.process == Process::AutovacuumWorker
                    && !rights.signal
                    && warrant != Warrant::None;
                Some(Standing {
                    hold,
                    waits_for,
                    rights,
                    class: track.judgement.class_for(rights),
                    may_queue: is_only_to_yield && may_queue(sighting),
                    direct: sighting.behind.is_none(),
                    waits_for_us: sighting.waits_for_us,
                    time_left,
                    ..standing
                })
            })
            .collect()
    }

    /// The same by the full truth, whatever the caller may see.
    pub fn in_truth<'a>(&self, standing: &Standing<'a>) -> Standing<'a> {
        let place = self.by_identity.get(&standing.session.identity);
        let judgement = place.map(|i| self.tracks[*i].judgement);
        Standing {
            class: judgement.map_or(standing.class, |judgement| judgement.class),
            rights: Rights::ALL,
            ..*standing
        }
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
            class_to_caller: track.class_to_caller(),
            age: self.age(track),
            hold: track.hold,
            from_start: track.from_start,
            sent: track.sent.last().map(|sent| Sent {
                act: sent.act,
                ago: ago(sent.at),
            }),
            direct: true,
            waits_for: &[],
            waits_for_us: false,
            outlasted: track.outlasted,
            idle_for: self.now.and_then(|(now, _)| track.ages.of_state(now)),
            outside: track.outside_since.map(ago),
            watched: ago(track.first_seen),
            time_left: Duration::MAX,
            was_finishing: track.was_finishing,
            eta: self.now.and_then(|(now, _)| track.eta(now)),
            may_queue: false,
            rights: track.session.rights,
            kin_sent: kin
                .flat_map(|t| &t.sent)
                .filter(|sent| sent.at >= track.transaction_seen)
                .map(|sent| ago(sent.at))
                .max(),
        }
    }

    pub(super) fn age(&self, track: &Track) -> Duration {
        let Some((now, _)) = self.now else {
            return Duration::ZERO;
        };
        // A session that does not track its activities is as old as it has been watched; and nobody is
        // younger, though a statement go on in another transaction.
        let told = track.ages.of_transaction(now);
        told.unwrap_or_default()
            .max(now.duration_since(track.transaction_seen))
    }

    /// Takes in what was decided of each.
    /// `holders`: who keeps each from being preempted that bounds the call.
    pub fn judged(
        &mut self,
        who: &[Identity],
        decision: &Decision,
        holders: Vec<Option<By>>,
        policy: &Policy,
    ) {
        let each = decision.told().zip(holders);
        for (identity, (stance, held_by)) in who.iter().zip(each) {
            let Some(i) = self.by_identity.get(identity).copied() else {
                continue;
            };
            let is_long = is_long(&self.standing(&self.tracks[i]), stance, policy);
            let track = &mut self.tracks[i];
            match stance {
                // Queued for one relation, it holds another, and is told of as a holder.
                Stance::Queued if track.hold != Hold::Queued => continue,
                // The migration that hangs behind a victim.
                Stance::Helped if track.is_queued => {
                    track.was_helped = true;
                    continue;
                }
                // What is in nobody's way any more keeps what was said of it.
                Stance::Beside if track.counts => continue,
                _ => (),
            }
            (track.stance, track.is_long, track.held_by) = (stance, is_long, held_by);
            track.was_finishing |= stance == Stance::Preempt(Means::Finish);
            track.counts |= match stance {
                Stance::Queued | Stance::Beside => false,
                Stance::Leave | Stance::Helped => {
                    track.hold == Hold::Granted && (is_long || track.from_start)
                }
                Stance::Preempt(_)
                | Stance::Spare
                | Stance::NotPermitted
                | Stance::OutOfReach(_) => true,
            };
        }
    }

    /// Takes in that those in the way now have held on through an attempt to take the lock.
    pub fn outlasted(&mut self) {
        self.tracks
            .iter_mut()
            .filter(|t| t.gone.is_none())
            .for_each(|t| t.outlasted = true);
    }

    /// Takes in that a signal was sent.
    pub fn sent(&mut self, who: Identity, act: Act, record: Record) {
        if let Some(i) = self.by_identity.get(&who) {
            self.tracks[*i].sent.push(Signalled {
                act,
                at: Instant::now(),
                record,
                is_told: false,
            });
            self.has_signalled = true;
        }
    }

    /// What is newly known to have come of signals, and how long it took.
    pub fn news(&mut self) -> Vec<(Record, Came, Option<Duration>)> {
        let mut news = vec![];
        for track in &mut self.tracks {
            let last = track.sent.len().saturating_sub(1);
            for (i, sent) in track.sent.iter_mut().enumerate() {
                let came = match track.gone {
                    _ if sent.is_told => continue,
                    _ if i < last => (Came::StillHolds, None),
                    Some(gone) => (Came::LetGo, Some(gone.duration_since(sent.at))),
                    None => continue,
                };
                sent.is_told = true;
                news.push((sent.record, came.0, came.1));
            }
        }
        news
    }

    /// How many sessions would have been signalled, were these signalled too.
    pub fn victims_with<'a>(&self, more: impl Iterator<Item = &'a Identity>) -> usize {
        self.tracks.iter().filter(|t| !t.sent.is_empty()).count()
            + more.filter(|who| !self.was_signalled(who)).count()
    }

    /// Whether that one has been sent anything.
    pub fn was_signalled(&self, who: &Identity) -> bool {
        let track = self.by_identity.get(who).map(|i| &self.tracks[*i]);
        track.is_some_and(|track| !track.sent.is_empty())
    }

    pub fn session(&self, who: Identity) -> Option<&Session> {
        self.by_identity
            .get(&who)
            .map(|i| &*self.tracks[*i].session)
    }
}

/// Each session once: its first sighting as a holder, or else its first, those of the target's own
/// locks before others, and of these the one that gives the most rights; and whether it holds. A session
/// that holds one of the locks and waits for another holds.
pub(super) fn each_session<'a>(
    sightings: impl Iterator<Item = &'a Sighting>,
    warrant: &impl Fn(&Sighting) -> Warrant,
) -> Vec<(&'a Sighting, bool)> {
    let mut found: Vec<(&Sighting, bool)> = vec![];
    let mut places: HashMap<Identity, usize> = HashMap::new();
    let rank = |s: &Sighting| (s.behind.is_some(), !s.granted, warrant(s));
    for sighting in sightings {
        let place = *places
            .entry(sighting.session.identity)
            .or_insert(found.len());
        match found.get_mut(place) {
            None => found.push((sighting, sighting.granted)),
            Some(known) if rank(sighting) < rank(known.0) => *known = (sighting, sighting.granted),
            Some(_) => (),
        }
    }
    found
}

/// Of each session, in the order of [`each_session`], which of the others stand in the way of what it
/// waits for.
pub fn who_waits_for_whom(sightings: &[&Sighting]) -> Vec<Vec<usize>> {
    let sessions = each_session(sightings.iter().copied(), &|_| Warrant::Own);
    let places: HashMap<Identity, usize> = sessions
        .iter()
        .enumerate()
        .map(|(i, (sighting, _))| (sighting.session.identity, i))
        .collect();
    let mut waits = vec![vec![]; sessions.len()];
    let mut seen: HashSet<(usize, usize)> = HashSet::new();
    for sighting in sightings {
        let waiter = sighting.behind.and_then(|waiter| places.get(&waiter));
        let ahead = places[&sighting.session.identity];
        if let Some(waiter) = waiter
            && seen.insert((*waiter, ahead))
        {
            waits[*waiter].push(ahead);
        }
    }
    waits
}
