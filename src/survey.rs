//! Who stands in the way, now: from the locks needed to the sessions, with what is known of each.
//!
//! A look takes no lock on the relations and never waits. What follows from it is decided
//! elsewhere.

use crate::error::Error;
use crate::lock::{LockMode, LockTag, Need, RelationId};
use crate::pg::locks::{self, InWay, Wait};
use crate::pg::{activity, catalog, process};
use crate::rules::Rules;
use crate::session::{Identity, Judgement, Process, Session, judge};
use std::collections::HashMap;
use std::rc::Rc;

/// Above so many locks, one copy of the lock table costs less than asking for each of them.
const MANY: usize = 50;

/// The lowest OID that a user's relation can have (`FirstNormalObjectId` in `transam.h`): those
/// below are the catalogs', their TOAST tables' and the information schema's.
const FIRST_USER_RELATION: RelationId = 16_384;

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
}

/// Who is in the way of these locks: in the order of the needs, holders before the queue.
pub fn of_needs(needs: &[Need], rules: &Rules) -> Result<Vec<Sighting>, Error> {
    let database = catalog::database();
    let tag_of = |relation| {
        let database = if catalog::is_shared(relation) {
            0
        } else {
            database
        };
        LockTag::relation(database, relation)
    };
    let mut found = if needs.len() > MANY || catalog::is_in_recovery() {
        let places: HashMap<LockTag, (usize, LockMode)> = needs
            .iter()
            .enumerate()
            .map(|(i, n)| (tag_of(n.relation), (i, n.mode)))
            .collect();
        let mut found = locks::everyone_in_way(|tag| places.get(&tag).map(|(_, mode)| *mode));
        found.sort_by_key(|f| places.get(&f.tag).map(|(place, _)| *place));
        found
    } else {
        needs
            .iter()
            .flat_map(|need| locks::in_way(tag_of(need.relation), need.mode))
            .collect()
    };
    // Stable: the order of the needs stays.
    let mut place = HashMap::new();
    for f in &found {
        let next = place.len();
        place.entry(f.tag).or_insert(next);
    }
    found.sort_by_key(|f| (place[&f.tag], !f.granted));
    described(found, rules)
}

/// Who holds any user relation of the database against that mode.
pub fn of_all(mode: LockMode, rules: &Rules) -> Result<Vec<Sighting>, Error> {
    let database = catalog::database();
    described(
        locks::everyone_in_way(|tag| {
            tag.as_relation()
                .is_some_and(|(db, relation)| db == database && relation >= FIRST_USER_RELATION)
                .then_some(mode)
        }),
        rules,
    )
}

/// What a server process waits for and who stands in its way; none while it does not wait.
pub fn of_waiter(pid: i32, rules: &Rules) -> Result<Option<(Wait, Vec<Sighting>)>, Error> {
    match locks::in_way_of(pid) {
        None => Ok(None),
        Some((wait, found)) => Ok(Some((wait, described(found, rules)?))),
    }
}

/// Adds those whom the queued ones of these wait for: a request is gone from the queue once what
/// it waits for has let go.
pub fn behind_the_queue(
    mut sightings: Vec<Sighting>,
    rules: &Rules,
) -> Result<Vec<Sighting>, Error> {
    let mut followed: Vec<Identity> = vec![];
    loop {
        let next = sightings.iter().find_map(|s| {
            let who = s.session.identity;
            (!s.granted && !followed.contains(&who)).then_some(who)
        });
        let Some(who) = next else {
            return Ok(sightings);
        };
        followed.push(who);
        let Some((_, found)) = who
            .pid()
            .map(|pid| of_waiter(pid, rules))
            .transpose()?
            .flatten()
        else {
            continue;
        };
        for sighting in found {
            let is_known = sightings
                .iter()
                .any(|s| s.session.identity == sighting.session.identity && s.tag == sighting.tag);
            if !is_known {
                sightings.push(sighting);
            }
        }
    }
}

/// Whether a session waits, at any distance, for the process with that pid.
pub fn waits_for(who: Identity, pid: i32) -> bool {
    let mut seen: Vec<i32> = vec![];
    let mut next: Vec<i32> = who.pid().into_iter().collect();
    while let Some(waiter) = next.pop() {
        if waiter == pid {
            return true;
        }
        if !seen.contains(&waiter) {
            seen.push(waiter);
            next.extend(
                locks::blocking_pids(waiter)
                    .into_iter()
                    .filter(|pid| *pid != 0),
            );
        }
    }
    false
}

/// Those of them whose transactions go on.
pub fn still_there(mut identities: Vec<Identity>) -> Result<Vec<Identity>, Error> {
    // Prepared ones are found only if they are still there, processes whatever they do now.
    let sessions = activity::sessions(&identities).map_err(|e| Error::Server(e.to_string()))?;
    identities.retain(|who| sessions.contains_key(who) && is_current(*who));
    Ok(identities)
}

/// Whether a process is still in that very transaction; a prepared one has no process.
fn is_current(who: Identity) -> bool {
    who.pid()
        .is_none_or(|pid| process::by_pid(pid) == Some(who))
}

/// Fills in what is known of the sessions, and leaves out those that have gone meanwhile.
fn described(found: Vec<InWay>, rules: &Rules) -> Result<Vec<Sighting>, Error> {
    if found.is_empty() {
        return Ok(vec![]);
    }
    let mut identities: Vec<Identity> = found.iter().map(|f| f.who).collect();
    identities.sort_by_key(|who| who.pid());
    identities.dedup();
    let sessions = activity::sessions(&identities).map_err(|e| Error::Server(e.to_string()))?;
    let rules = rules.get()?;
    let known: HashMap<Identity, (Rc<Session>, Judgement)> = sessions
        .into_iter()
        // What was read may belong to the session's next transaction, which is not in the way. The
        // startup process replays in no transaction of its own, and holds until the primary's end.
        .filter(|(who, session)| session.process == Process::Startup || is_current(*who))
        .map(|(who, session)| {
            let judgement = judge(&session, rules);
            (who, (Rc::new(session), judgement))
        })
        .collect();
    let database = catalog::database();
    Ok(found
        .into_iter()
        .filter_map(|f| {
            let (session, judgement) = known.get(&f.who)?;
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
            })
        })
        .collect())
}
