//! What holds of every decision: over random sessions, policies and waits among them.

use super::tests::{decide, policy};
use super::*;
use crate::policy::{Given, Selectors, Signal, Verdict};
use crate::session::{Identity, Process, Rights, State, VirtualTransaction, fixtures::application};
use proptest::prelude::*;

/// One of a random crowd: what a [`Standing`] borrows, and the rest of it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    session: Session,
    class: Class,
    age: Duration,
    hold: Hold,
    from_start: bool,
    sent: Option<Sent>,
    direct: bool,
    outlasted: bool,
    eta: Option<Duration>,
    may_queue: bool,
    waits_for: Vec<usize>,
}

impl Member {
    pub(super) fn standing(&self) -> Standing<'_> {
        Standing {
            session: &self.session,
            class: self.class,
            class_to_caller: self.class,
            age: self.age,
            hold: self.hold,
            from_start: self.from_start,
            sent: self.sent,
            direct: self.direct,
            waits_for: &self.waits_for,
            waits_for_us: false,
            outlasted: self.outlasted,
            idle_for: None,
            outside: None,
            watched: self.age,
            eta: self.eta,
            time_left: Duration::from_secs(30),
            was_finishing: false,
            may_queue: self.may_queue,
            kin_sent: None,
            rights: self.session.rights,
        }
    }
}

pub(super) fn crowds() -> impl Strategy<Value = Vec<Member>> {
    let class = prop::sample::select(Class::ALL.to_vec());
    let hold = prop::sample::select(vec![
        Hold::Granted,
        Hold::Granted,
        Hold::Queued,
        Hold::GrantedSince,
    ]);
    let sent = prop::option::weighted(0.3, (any::<bool>(), 0u64..5_000)).prop_map(|sent| {
        sent.map(|(cancel, ago)| Sent {
            act: if cancel { Act::Cancel } else { Act::Terminate },
            ago: Duration::from_millis(ago),
        })
    });
    let one = (
        (class, 0u64..300, hold, any::<bool>(), sent),
        any::<(bool, bool, bool, bool, bool)>(),
        (
            prop::bool::weighted(0.7),
            prop::bool::weighted(0.1),
            any::<bool>(),
        ),
        prop::option::weighted(0.2, 0u64..10_000),
        prop::collection::vec(0usize..8, 0..3),
    );
    prop::collection::vec(one, 0..8).prop_map(|all| {
        let size = all.len();
        let members = all.into_iter().enumerate();
        members
            .map(
                |(
                    i,
                    (
                        basics,
                        (idle, prepared, see, signal, may_queue),
                        (direct, outlasted, worker),
                        eta,
                        waits,
                    ),
                )| {
                    let (class, age, hold, from_start, sent) = basics;
                    let pid = i as i32 + 1;
                    let mut session = application(pid);
                    session.rights = Rights {
                        see,
                        judge: see,
                        signal,
                        own_signal: signal,
                    };
                    if idle {
                        session.state = Some(State::IdleInTransaction);
                    }
                    if class == Class::Autovacuum && worker {
                        session.process = Process::AutovacuumWorker;
                        session.state = Some(State::Active);
                    }
                    session.identity = match prepared {
                        true => Identity::Prepared { xid: pid as u32 },
                        false => Identity::Backend {
                            pid,
                            transaction: VirtualTransaction {
                                slot: pid,
                                local: 1,
                            },
                        },
                    };
                    // Whoever is prepared or idle waits for nobody; whoever is queued, for somebody.
                    let waits = match prepared || idle && hold != Hold::Queued {
                        true => vec![],
                        false => waits.into_iter().filter(|w| *w < size && *w != i).collect(),
                    };
                    Member {
                        session,
                        class,
                        age: Duration::from_millis(age),
                        hold,
                        from_start,
                        sent,
                        direct,
                        outlasted,
                        eta: eta.map(Duration::from_millis),
                        may_queue,
                        waits_for: waits,
                    }
                },
            )
            .collect()
    })
}

pub(super) fn policies() -> impl Strategy<Value = Policy> {
    let classes = prop::sample::subsequence(Class::ALL.to_vec(), 0..Class::ALL.len());
    let signal = prop::sample::select(vec![Signal::Cancel, Signal::Terminate, Signal::Escalate]);
    let policy = (classes.clone(), classes, signal, 1u64..300).prop_map(
        |(preempt, spare, signal, max_stall)| Policy {
            preempt: Selectors::classes(&preempt),
            spare: Selectors::classes(&spare),
            signal,
            max_stall: Duration::from_millis(max_stall),
            ..policy()
        },
    );
    prop_oneof![Just(self::policy()), policy]
}

fn is_named(member: &Member, list: &Selectors) -> bool {
    let given = Given {
        session: &member.session,
        class: member.class,
        age: member.age,
        rights: member.session.rights,
    };
    list.verdict(given) == Verdict::Yes
}

/// Whether policy gives that one up and there is a way to make it let go.
pub(super) fn is_preemptable(member: &Member, policy: &Policy, stance: Stance) -> bool {
    let can_yield = member.session.process == Process::AutovacuumWorker && member.may_queue;
    let is_reachable = member.session.rights.signal || can_yield;
    member.hold != Hold::Queued
        && is_named(member, &policy.preempt)
        && !is_named(member, &policy.spare)
        && is_reachable
        && !member.session.is_prepared()
        // Part of a job whose active sessions are signalled, it goes with them.
        && (policy.signal != Signal::Cancel
            || !member.session.is_idle_in_transaction()
            || stance == Stance::Preempt(Means::Follow))
}

/// Who has to have gone before the lock can be had, once all who are preemptable have let go: the
/// holders among those in the way, and among those whom these wait for without waiting, at any
/// distance, for one who is preempted.
fn who_would_be_left(crowd: &[Member], policy: &Policy, stances: &[Stance]) -> Vec<usize> {
    let preemptable: Vec<bool> = crowd
        .iter()
        .zip(stances)
        .map(|(member, stance)| is_preemptable(member, policy, *stance))
        .collect();
    let is_spared = |i: usize| is_named(&crowd[i], &policy.spare);
    let may_pass = |i: usize| {
        let unnamed = !is_named(&crowd[i], &policy.preempt) && !is_spared(i);
        crowd[i].hold == Hold::Queued || unnamed
    };
    let mut goes_on = preemptable.clone();
    for _ in 0..crowd.len() {
        for i in 0..crowd.len() {
            goes_on[i] |= may_pass(i) && crowd[i].waits_for.iter().any(|w| goes_on[*w]);
        }
    }
    let mut met: Vec<bool> = crowd.iter().map(|m| m.direct).collect();
    for _ in 0..crowd.len() {
        for i in 0..crowd.len() {
            let follows = crowd[i].hold == Hold::Queued || goes_on[i];
            if met[i] && follows && !preemptable[i] {
                crowd[i].waits_for.iter().for_each(|w| met[*w] = true);
            }
        }
    }
    (0..crowd.len())
        .filter(|i| met[*i] && !goes_on[*i] && crowd[*i].hold != Hold::Queued)
        .collect()
}

/// Long in the sense of the promises: as the server and the policy tell it.
fn is_long(member: &Member, policy: &Policy) -> bool {
    member.age >= policy.max_stall
        || member.outlasted
        || member.session.is_prepared()
        || is_named(member, &policy.spare)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn only_what_policy_names_is_signalled_and_never_in_vain(
        crowd in crowds(), policy in policies(), has_signalled in any::<bool>(), takes in any::<bool>(),
    ) {
        let standings: Vec<Standing<'_>> = crowd.iter().map(Member::standing).collect();
        let decision = decide(&standings, &policy, Call { has_signalled, takes });
        let Step::Preempt(acts) = decision.step else { return Ok(()) };
        prop_assert!(!acts.is_empty());
        for (i, act) in &acts {
            let victim = &crowd[*i];
            prop_assert!(is_preemptable(victim, &policy, decision.stances[*i]), "{victim:?}");
            prop_assert!(*act == Act::Yield || victim.session.rights.signal, "no right: {victim:?}");
            prop_assert!(*act != Act::Terminate || policy.signal != Signal::Cancel);
            prop_assert!(victim.class != Class::Application || is_named(victim, &policy.preempt));
        }
        for i in who_would_be_left(&crowd, &policy, &decision.stances) {
            prop_assert!(!is_long(&crowd[i], &policy), "in vain, beside {:?}", crowd[i]);
            prop_assert!(has_signalled || !crowd[i].from_start, "too early, beside {:?}", crowd[i]);
        }
    }

    #[test]
    fn the_queue_is_joined_only_where_all_that_is_left_is_short(
        crowd in crowds(), policy in policies(), has_signalled in any::<bool>(),
    ) {
        let standings: Vec<Standing<'_>> = crowd.iter().map(Member::standing).collect();
        let decision = decide(&standings, &policy, Call { has_signalled, takes: true });
        if decision.step != Step::Clear { return Ok(()) }
        for (member, stance) in crowd.iter().zip(&decision.stances).filter(|(m, _)| m.direct) {
            prop_assert!(!is_preemptable(member, &policy, *stance), "{member:?}");
            // Whoever is queued is spared or not once he holds.
            let is_spared = is_named(member, &policy.spare);
            let is_queued_and_spared = member.hold == Hold::Queued && is_spared;
            prop_assert!(is_queued_and_spared || !is_long(member, &policy), "{member:?}");
        }
    }

    #[test]
    fn without_the_lock_it_is_done_only_once_nobody_from_the_start_holds(
        crowd in crowds(), policy in policies(), has_signalled in any::<bool>(),
    ) {
        let standings: Vec<Standing<'_>> = crowd.iter().map(Member::standing).collect();
        let decision = decide(&standings, &policy, Call { has_signalled, takes: false });
        if decision.step != Step::Clear { return Ok(()) }
        for member in crowd.iter().filter(|m| m.direct && m.hold == Hold::Granted) {
            prop_assert!(!is_long(member, &policy), "{member:?}");
            prop_assert!(!member.from_start, "{member:?}");
        }
    }
}
