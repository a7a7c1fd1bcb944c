//! Who stands in the way, now: from the locks needed to the sessions, with what is known of each.
//!
//! A look takes no lock on the relations and never waits. What follows from it is decided
//! elsewhere.

use crate::error::Error;
use crate::lock::{LockMode, LockTag, Need, RelationId};
use crate::pg::locks::{self, InWay, Wait};
use crate::pg::principals::Principals;
use crate::pg::{activity, catalog, process, snapshots, wait};
use crate::rules::Rules;
use crate::session::{Identity, Judgement, Session, judge};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

mod chain;
mod follow;

use follow::Followed;
pub use follow::{chain_to_us, persists, still_holds};

/// Above so many locks, one copy of the lock table costs less than asking for each of them.
const MANY: usize = 50;

/// The lowest OID that a user's relation can have (`FirstNormalObjectId` in `transam.h`): those
/// below are the catalogs', their TOAST tables' and the information schema's.
pub const FIRST_USER_RELATION: RelationId = 16_384;

/// The locks that are asked about.
#[derive(Clone, Copy, Debug)]
pub enum Way<'a> {
    Needs(&'a [Need]),
    /// The same and, where it says so, everybody who has a snapshot in this database.
    Planned {
        needs: &'a [Need],
        snapshots: bool,
    },
    /// Every user relation of the database, in that mode.
    Everything(LockMode),
}

/// A session in the way of one lock.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub tag: LockTag,
    /// The relation, if the lock is on one of this database.
    pub relation: Option<RelationId>,
    /// The strongest mode held, or else awaited.
    pub mode: LockMode,
    pub granted: bool,
    pub session: Rc<Session>,
    pub judgement: Judgement,
    /// Who waits for it in turn, if this is not in the way of the target itself but of what stands
    /// there.
    pub behind: Option<Identity>,
    /// It waits for this very transaction.
    pub waits_for_us: bool,
}

/// What a session waits for, and who stands in its way.
#[derive(Debug)]
pub struct Waiting {
    pub wait: Wait,
    pub sightings: Vec<Sighting>,
    /// This very session is among those in the way.
    pub for_us: bool,
}

/// Who is in the way of these locks: in the order of the needs, holders before the queue.
pub fn in_way(
    way: Way<'_>,
    rules: &Rules,
    principals: &Principals,
) -> Result<Vec<Sighting>, Error> {
    described(Followed::none(found_in(way)), rules, principals)
}

/// The same, and those whom these wait for themselves, at any distance.
pub fn in_way_and_behind(
    way: Way<'_>,
    rules: &Rules,
    principals: &Principals,
) -> Result<Vec<Sighting>, Error> {
    described(Followed::all(found_in(way)), rules, principals)
}

/// What a server process waits for and who stands in its way, those included whom these wait for in
/// turn; none while it does not wait.
pub fn in_way_of(
    pid: i32,
    rules: &Rules,
    principals: &Principals,
) -> Result<Option<Waiting>, Error> {
    let Some((wait, mut found)) = locks::in_way_of(pid) else {
        return Ok(None);
    };
    let own = Some(process::own_pid());
    let for_us = found.iter().any(|f| f.who.pid() == own);
    found.retain(|f| f.who.pid() != own);
    Ok(Some(Waiting {
        wait,
        sightings: described(Followed::all(found), rules, principals)?,
        for_us,
    }))
}

/// Whether somebody who has left his transaction still has to let go of one of these locks.
pub fn is_being_let_go(way: Way<'_>) -> bool {
    match way {
        Way::Needs(needs) | Way::Planned { needs, .. } => {
            let modes = modes(needs);
            locks::is_being_let_go(|tag| modes.get(&tag).map(|(_, mode)| *mode))
        }
        Way::Everything(mode) => {
            locks::is_being_let_go(|tag| is_user_relation(tag).then_some(mode))
        }
    }
}

fn found_in(way: Way<'_>) -> Vec<InWay> {
    let (needs, snapshots) = match way {
        Way::Needs(needs) => (needs, false),
        Way::Planned { needs, snapshots } => (needs, snapshots),
        Way::Everything(mode) => {
            return locks::everyone_in_way(|tag| is_user_relation(tag).then_some(mode));
        }
    };
    let modes = modes(needs);
    let mut found = if needs.len() > MANY || catalog::is_in_recovery() {
        locks::everyone_in_way(|tag| modes.get(&tag).map(|(_, mode)| *mode))
    } else {
        needs
            .iter()
            .flat_map(|need| locks::in_way(tag_of(need.relation), need.mode))
            .collect()
    };
    found.sort_by_key(|f| (modes.get(&f.tag).map(|(place, _)| *place), !f.granted));
    if snapshots {
        found.extend(snapshots::holders());
    }
    found
}

/// The place in the list, and the mode, of each lock that is needed.
fn modes(needs: &[Need]) -> HashMap<LockTag, (usize, LockMode)> {
    let places = needs.iter().enumerate();
    places
        .map(|(place, need)| (tag_of(need.relation), (place, need.mode)))
        .collect()
}

fn tag_of(relation: RelationId) -> LockTag {
    let is_shared = catalog::is_shared(relation);
    LockTag::relation(if is_shared { 0 } else { catalog::database() }, relation)
}

fn is_user_relation(tag: LockTag) -> bool {
    tag.as_relation()
        .is_some_and(|(db, relation)| db == catalog::database() && relation >= FIRST_USER_RELATION)
}

/// Those of them whose transactions go on.
pub fn still_there(
    mut identities: Vec<Identity>,
    principals: &Principals,
) -> Result<Vec<Identity>, Error> {
    // Prepared ones are found only if they are still there, processes whatever they do now.
    let sessions = activity::sessions(&identities, principals);
    let sessions = sessions.map_err(|e| Error::Server(e.to_string()))?;
    let goes_on = |who: &Identity| !who.is_outside_transaction() && is_current(*who);
    identities.retain(|who| sessions.contains_key(who) && goes_on(who));
    Ok(identities)
}

/// Whether a process is still in that very transaction, or still in none; a prepared one has no
/// process.
fn is_current(who: Identity) -> bool {
    match who.pid() {
        None => true,
        Some(pid) if who.is_outside_transaction() => {
            process::exists(pid) && process::by_pid(pid).is_none()
        }
        Some(pid) => process::by_pid(pid) == Some(who),
    }
}

/// How often a session is looked for in its next transaction.
const FOLLOWED_ON: usize = 5;

/// What is known of a session, and its class.
type Known = HashMap<Identity, (Rc<Session>, Judgement)>;

/// Fills in what is known of the sessions, and leaves out those that have gone meanwhile.
fn described(
    followed: Followed,
    rules: &Rules,
    principals: &Principals,
) -> Result<Vec<Sighting>, Error> {
    let Followed {
        mut found,
        waiting_for_us,
    } = followed;
    if found.is_empty() {
        return Ok(vec![]);
    }
    let mut known = Known::new();
    for _ in 0..FOLLOWED_ON {
        describe(&found, &mut known, rules, principals)?;
        if !follow_on(&mut found, &known) {
            break;
        }
    }
    let database = catalog::database();
    let mut kept: HashSet<Identity> = HashSet::new();
    Ok(found
        .into_iter()
        .filter_map(|(f, behind)| {
            let (session, judgement) = known.get(&f.who)?;
            // Whoever stood only in the way of somebody who has gone stands in nobody's any more.
            // Each comes after the one whom it is behind.
            if behind.is_some_and(|waiter| !kept.contains(&waiter)) {
                return None;
            }
            kept.insert(f.who);
            let relation = f
                .tag
                .as_relation()
                .filter(|(db, _)| *db == database || *db == 0)
                .map(|(_, r)| r);
            Some(Sighting {
                tag: f.tag,
                relation,
                mode: f.mode,
                granted: f.granted,
                session: Rc::clone(session),
                judgement: *judgement,
                behind,
                waits_for_us: waiting_for_us.contains(&f.who),
            })
        })
        .collect())
}

/// Reads and judges those of them that are not known yet.
fn describe(
    found: &[(InWay, Option<Identity>)],
    known: &mut Known,
    rules: &Rules,
    principals: &Principals,
) -> Result<(), Error> {
    let identities = found.iter().map(|(f, _)| f.who);
    let identities: HashSet<Identity> = identities.filter(|who| !known.contains_key(who)).collect();
    let identities: Vec<Identity> = identities.into_iter().collect();
    if identities.is_empty() {
        return Ok(());
    }
    let sessions = activity::sessions(&identities, principals);
    let sessions = sessions.map_err(|e| Error::Server(e.to_string()))?;
    let rules = rules.get()?;
    for (who, session) in sessions {
        // What was read may belong to the session's next transaction.
        if is_current(who) {
            wait::answer_interrupts();
            let judgement = judge(&session, rules);
            known.insert(who, (Rc::new(session), judgement));
        }
    }
    Ok(())
}

/// Has those who are not known, because they have ended their transactions, stand under what they are now,
/// if they hold on: VACUUM and its like do their work in several transactions. Tells whether there are such.
fn follow_on(found: &mut [(InWay, Option<Identity>)], known: &Known) -> bool {
    let mut now: HashMap<Identity, Identity> = HashMap::new();
    for (f, _) in found
        .iter_mut()
        .filter(|(f, _)| !known.contains_key(&f.who))
    {
        if let Some(held) = locks::held_on(*f) {
            now.insert(f.who, held.who);
            *f = held;
        }
    }
    for behind in found.iter_mut().filter_map(|(_, behind)| behind.as_mut()) {
        *behind = now.get(behind).copied().unwrap_or(*behind);
    }
    !now.is_empty()
}
