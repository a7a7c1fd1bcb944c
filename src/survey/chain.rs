//! Chains of sessions of which each waits for the next: finding one, and seeing that it is still the
//! same. Pure: who waits for whom is asked of the caller, one session at a time.
//!
//! The server is not looked at as a whole, so that a chain may be made up of links of which one was
//! gone before the next was there. A session that is in the same wait at two looks has been in it all
//! the while: where each link is seen again after all of them were seen, there was a moment when all
//! were there at once.

use crate::pg::locks::Wait;
use crate::session::Identity;
use std::collections::{HashMap, VecDeque};

/// One session that waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub waiter: Identity,
    pub wait: Wait,
    /// When that wait began, so that it is not taken for the next one on the same lock; none in its first moments.
    pub since: Option<i64>,
    pub ahead: Identity,
    /// The one ahead holds the lock (a hard block), rather than being queued for it (a soft block).
    pub granted: bool,
}

/// Links of which each begins where the last one ended; one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(Vec<Link>);

impl Chain {
    /// The shortest chain from one of these to one who `is_last`: over locks that are held, and only
    /// if there is none, over requests ahead in a queue as well. `links` is asked once for each session.
    pub fn find(
        from: &[Identity],
        is_last: impl Fn(Identity) -> bool,
        mut links: impl FnMut(Identity) -> Vec<Link>,
    ) -> Option<Chain> {
        let mut known: HashMap<Identity, Vec<Link>> = HashMap::new();
        [true, false].into_iter().find_map(|only_hard| {
            let mut reached: HashMap<Identity, Option<Link>> =
                from.iter().map(|who| (*who, None)).collect();
            let mut next: VecDeque<Identity> = from.iter().copied().collect();
            while let Some(waiter) = next.pop_front() {
                let all = known.entry(waiter).or_insert_with(|| links(waiter));
                for link in all.iter().filter(|link| link.granted || !only_hard) {
                    if reached.contains_key(&link.ahead) {
                        continue;
                    }
                    reached.insert(link.ahead, Some(*link));
                    if is_last(link.ahead) {
                        return Some(Chain::up_to(link.ahead, &reached));
                    }
                    next.push_back(link.ahead);
                }
            }
            None
        })
    }

    fn up_to(last: Identity, reached: &HashMap<Identity, Option<Link>>) -> Chain {
        let link_to = |who: Identity| reached.get(&who).copied().flatten();
        let mut links: Vec<Link> =
            std::iter::successors(link_to(last), |link| link_to(link.waiter)).collect();
        links.reverse();
        Chain(links)
    }

    /// Who waits for all the others.
    pub fn first(&self) -> Identity {
        self.0[0].waiter
    }

    /// Whether every one of them holds what the one before waits for. A queue the server can put into
    /// another order, a lock that is held it cannot take away.
    pub fn is_hard(&self) -> bool {
        self.0.iter().all(|link| link.granted)
    }

    /// Whether every link is there still, each in the same wait. A wait of which it is not known when it began may
    /// be another by now.
    pub fn persists(&self, mut links: impl FnMut(Identity) -> Vec<Link>) -> bool {
        let is_there = |link: &Link| link.since.is_some() && links(link.waiter).contains(link);
        self.0.iter().all(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{LockMode, LockTag};
    use crate::session::VirtualTransaction;

    const US: i32 = 1;

    /// That process in its nth transaction.
    fn session(pid: i32, nth: u32) -> Identity {
        let transaction = VirtualTransaction {
            slot: pid,
            local: nth,
        };
        Identity::Backend { pid, transaction }
    }

    fn link(waiter: (i32, u32), since: i64, ahead: (i32, u32), granted: bool) -> Link {
        Link {
            waiter: session(waiter.0, waiter.1),
            wait: Wait {
                tag: LockTag::relation(1, 20_000),
                mode: LockMode::AccessShare,
            },
            since: Some(since),
            ahead: session(ahead.0, ahead.1),
            granted,
        }
    }

    /// What a session waits for, of all the links there are.
    fn of(all: &[Link]) -> impl FnMut(Identity) -> Vec<Link> {
        |who| all.iter().copied().filter(|l| l.waiter == who).collect()
    }

    fn find(from: (i32, u32), all: &[Link]) -> Option<Chain> {
        let from = [session(from.0, from.1)];
        Chain::find(&from, |who| who.pid() == Some(US), of(all))
    }

    #[test]
    fn a_chain_is_found_at_any_distance() {
        let all = [
            link((2, 7), 10, (3, 7), true),
            link((2, 7), 10, (4, 7), true),
            link((4, 7), 11, (5, 7), true),
            link((5, 7), 12, (US, 1), true),
        ];
        let chain = find((2, 7), &all).unwrap();
        assert_eq!(chain, Chain(vec![all[1], all[2], all[3]]));
        assert_eq!(chain.first(), session(2, 7));
        assert!(chain.is_hard());
        assert_eq!(find((3, 7), &all), None);
    }

    #[test]
    fn waiting_in_a_circle_of_others_is_no_chain() {
        let all = [
            link((2, 7), 10, (3, 7), true),
            link((3, 7), 11, (2, 7), true),
        ];
        assert_eq!(find((2, 7), &all), None);
    }

    #[test]
    fn what_the_session_waits_for_in_its_next_transaction_is_no_chain() {
        let all = [link((2, 8), 10, (US, 1), true)];
        assert_eq!(find((2, 7), &all), None);
        assert!(find((2, 8), &all).is_some());
    }

    #[test]
    fn a_longer_chain_of_held_locks_comes_before_a_shorter_one_with_a_request() {
        let all = [
            link((2, 7), 10, (3, 7), false),
            link((3, 7), 11, (US, 1), true),
            link((2, 7), 10, (4, 7), true),
            link((4, 7), 12, (5, 7), true),
            link((5, 7), 13, (US, 1), true),
        ];
        assert!(find((2, 7), &all).unwrap().is_hard());
        let soft = find((2, 7), &all[..2]).unwrap();
        assert!(!soft.is_hard());
        assert_eq!(soft, Chain(all[..2].to_vec()));
    }

    #[test]
    fn each_session_is_asked_once() {
        let all = [
            link((2, 7), 10, (3, 7), true),
            link((3, 7), 11, (4, 7), false),
            link((2, 7), 10, (4, 7), true),
            link((4, 7), 12, (3, 7), true),
        ];
        let mut asked = vec![];
        let chain = Chain::find(
            &[session(2, 7)],
            |who| who.pid() == Some(US),
            |who| {
                asked.push(who);
                of(&all)(who)
            },
        );
        assert_eq!(chain, None);
        assert_eq!(asked, [session(2, 7), session(3, 7), session(4, 7)]);
    }

    #[test]
    fn a_chain_persists_only_where_each_link_is_the_same_wait() {
        let all = [
            link((2, 7), 10, (3, 7), true),
            link((3, 7), 11, (US, 1), true),
        ];
        let chain = find((2, 7), &all).unwrap();
        assert!(chain.persists(of(&all)));
        for (changed, why) in [
            (link((3, 8), 11, (US, 1), true), "another transaction"),
            (link((3, 7), 12, (US, 1), true), "another wait for the same"),
            (link((3, 7), 11, (4, 7), true), "another one ahead"),
            (link((3, 7), 11, (US, 1), false), "ahead in another way"),
        ] {
            assert!(!chain.persists(of(&[all[0], changed])), "{why}");
        }
        let unknown = all.map(|link| Link {
            since: None,
            ..link
        });
        let just_begun = find((2, 7), &unknown).unwrap();
        assert!(!just_begun.persists(of(&unknown)), "no start is known");
        assert!(!chain.persists(of(&all[..1])), "it waits no longer");
        assert!(!chain.persists(of(&all[1..])), "the first waits no longer");
    }
}
