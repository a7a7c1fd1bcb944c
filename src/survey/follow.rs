//! Following those in the way who wait themselves to what they wait for.

use super::chain::{Chain, Link};
use crate::lock::{LockMode, LockTag};
use crate::pg::locks::{self, InWay};
use crate::pg::{process, wait};
use crate::session::Identity;
use std::collections::{HashMap, HashSet};

/// After so many waiters, one more that waits for the same lock in the same mode is not asked for
/// himself: those who hold it are known, and hundreds may be queued for one row.
const EXACT: usize = 20;

/// Those in the way, and those whom they wait for.
pub struct Followed {
    /// Each with the one that it is in the way of; with none, it is in the way of the target itself.
    pub found: Vec<(InWay, Option<Identity>)>,
    /// Who of them waits for this very transaction.
    pub waiting_for_us: HashSet<Identity>,
}

impl Followed {
    /// These alone.
    pub fn none(found: Vec<InWay>) -> Followed {
        Followed {
            found: found.into_iter().map(|found| (found, None)).collect(),
            waiting_for_us: HashSet::new(),
        }
    }

    /// And those whom these wait for, at any distance, each with its waiter: a request is gone from
    /// the queue, and a holder that waits goes on, once what they wait for has let go. This session
    /// is nobody's obstacle here: who waits for it, or behind it, is not in its way.
    pub fn all(found: Vec<InWay>) -> Followed {
        let own = Some(process::own_pid());
        let mut all = Followed::none(found);
        // A holder may be found with thousands of relations, and is asked once.
        let mut asked: HashSet<(Identity, bool)> = HashSet::new();
        let mut waiters: HashSet<Identity> = HashSet::new();
        let mut holders: HashMap<(LockTag, LockMode), Vec<InWay>> = HashMap::new();
        let mut next = 0;
        while next < all.found.len() {
            let (InWay { who, granted, .. }, _) = all.found[next];
            next += 1;
            let Some(pid) = who.pid().filter(|_| asked.insert((who, granted))) else {
                continue;
            };
            if granted && !process::waits(pid) || !waiters.insert(who) {
                continue;
            }
            wait::answer_interrupts();
            let same = locks::awaited(pid).filter(|_| waiters.len() > EXACT);
            let same = same.and_then(|wait| holders.get(&(wait.tag, wait.mode)));
            let ahead = match same {
                Some(known) => known.iter().filter(|h| h.who != who).copied().collect(),
                None => {
                    let Some((wait, ahead)) = locks::in_way_of(pid) else {
                        continue;
                    };
                    let holding = ahead.iter().filter(|ahead| ahead.granted).copied();
                    holders.insert((wait.tag, wait.mode), holding.collect());
                    ahead
                }
            };
            for ahead in ahead {
                if ahead.who.pid() == own {
                    all.waiting_for_us.insert(who);
                } else {
                    all.found.push((ahead, Some(who)));
                }
            }
        }
        all
    }
}

/// The chain over which one of these sessions waits, at any distance, for this one, and through nobody among
/// the `victims`: see [`Chain::find`].
pub fn chain_to_us(sessions: &[Identity], victims: &HashSet<Identity>) -> Option<Chain> {
    let own = Some(process::own_pid());
    let links = |who: Identity| match victims.contains(&who) {
        true => vec![],
        false => links_of(who),
    };
    Chain::find(sessions, |who| who.pid() == own, links)
}

/// Whether all of them still wait so: see [`Chain::persists`].
pub fn persists(chain: &Chain) -> bool {
    chain.persists(links_of)
}

/// Whom that very transaction waits for.
fn links_of(who: Identity) -> Vec<Link> {
    wait::answer_interrupts();
    let waits = who.pid().map(locks::waits_of).unwrap_or_default();
    let waits = waits.into_iter().filter(|wait| wait.who == Some(who));
    let links = waits.flat_map(|blocked| {
        blocked.ahead.into_iter().map(move |ahead| Link {
            waiter: who,
            wait: blocked.wait,
            since: blocked.since,
            ahead: ahead.who,
            granted: ahead.granted,
        })
    });
    links.collect()
}

/// Whether that session holds the lock, no weaker than so. A lock on its own transaction it holds for as long as
/// it is in it.
pub fn still_holds(who: Identity, tag: LockTag, mode: LockMode) -> bool {
    if tag.is_virtual_transaction() {
        return true;
    }
    // Who is in no transaction is seen in a copy of the lock table alone.
    let any = LockMode::AccessExclusive;
    let found = match who.is_outside_transaction() {
        true => locks::everyone_in_way(|asked| (asked == tag).then_some(any)),
        false => locks::in_way(tag, any),
    };
    let holds = |f: &InWay| f.who == who && f.granted && f.mode >= mode;
    found.iter().any(holds)
}
