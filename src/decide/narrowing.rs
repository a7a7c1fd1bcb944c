//! That a call through a stored policy only narrows it, by what it does and not by what it says: over random
//! policies, all that a call may set, and random situations and histories. So for the ceiling and any policy.

use super::properties::{Member, crowds, is_preemptable, policies};
use super::tests::{SECOND, policy, standing};
use super::*;
use crate::policy::{Signal, in_utf8, parse};
use crate::session::{State, fixtures::application};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn interval(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix("ms").ok_or("no unit")?;
    number.parse().map(ms).map_err(|_| "no number".into())
}

/// What a call makes of a stored policy by setting these keys.
fn narrowed(stored: &Policy, keys: &Value) -> Policy {
    let mut document = keys.clone();
    document["policy"] = json!("p");
    document["relations"] = json!(["a"]);
    let as_given = in_utf8(&document);
    parse(&document, &as_given, Some(stored), &interval, 10 * SECOND)
        .unwrap()
        .policy
}

/// What is known of a session beside what a [`Member`] has.
#[derive(Clone, Debug)]
struct History {
    idle_for: Option<u64>,
    kin_sent: Option<u64>,
    watched: u64,
    was_finishing: bool,
    outside: Option<u64>,
}

#[derive(Clone, Debug)]
struct Situation {
    crowd: Vec<(Member, History)>,
    /// For how long the call has been going on.
    elapsed: Duration,
    call: Call,
}

impl Situation {
    fn as_seen_by<'a>(&'a self, policy: &'a Policy) -> View<'a> {
        let standings = self.crowd.iter().map(|(member, history)| Standing {
            idle_for: history.idle_for.map(ms),
            kin_sent: history.kin_sent.map(ms),
            watched: ms(history.watched),
            was_finishing: history.was_finishing,
            outside: history.outside.map(ms),
            time_left: policy.timeout.saturating_sub(self.elapsed),
            ..member.standing()
        });
        View {
            policy,
            standings: standings.collect(),
        }
    }

    fn alone(&self, policy: &Policy) -> Decision {
        decide(self.as_seen_by(policy), vec![], self.call)
    }

    fn bounded(&self, own: &Policy, by: &[&Policy]) -> Decision {
        let bounds = by.iter().map(|policy| self.as_seen_by(policy)).collect();
        decide(self.as_seen_by(own), bounds, self.call)
    }
}

fn situations() -> impl Strategy<Value = Situation> {
    let some = |range| prop::option::weighted(0.5, range);
    let history = (
        some(0u64..300),
        some(0u64..3_000),
        0u64..8_000,
        any::<bool>(),
        some(0u64..300),
    )
        .prop_map(
            |(idle_for, kin_sent, watched, was_finishing, outside)| History {
                idle_for,
                kin_sent,
                watched,
                was_finishing,
                outside,
            },
        );
    let histories = prop::collection::vec(history, 8);
    let basics = (0u64..3_000, any::<bool>(), any::<bool>());
    (crowds(), histories, basics).prop_map(|(crowd, histories, (elapsed, has_signalled, takes))| {
        Situation {
            crowd: crowd.into_iter().zip(histories).collect(),
            elapsed: ms(elapsed),
            call: Call {
                has_signalled,
                takes,
            },
        }
    })
}

/// A policy with times of every size.
fn timed_policies() -> impl Strategy<Value = Policy> {
    let times = (0u64..3_000, 1u64..6_000, 0u64..8_000);
    (policies(), times).prop_map(|(policy, (grace, timeout, finish_within))| Policy {
        grace: ms(grace),
        timeout: ms(timeout),
        finish_within: ms(finish_within),
        ..policy
    })
}

/// A stored policy, and one that a call makes of it.
fn narrowings() -> impl Strategy<Value = (Policy, Policy)> {
    let lower = || prop::option::of(0.0..=1.0f64);
    let spare = prop::sample::subsequence(Class::ALL[..11].to_vec(), 0..3);
    let more = (
        prop::option::of(spare),
        prop::option::of(0usize..5),
        any::<bool>(),
    );
    (timed_policies(), (lower(), lower(), lower()), more).prop_map(
        |(stored, (grace, timeout, max_stall), (spare, max_victims, dry_run))| {
            let mut keys = json!({});
            let mut lower = |key: &str, part: Option<f64>, from: Duration, least: u64| {
                if let Some(part) = part {
                    let lowered = (from.as_millis() as f64 * part) as u64;
                    keys[key] = json!(format!("{}ms", lowered.max(least)));
                }
            };
            lower("grace", grace, stored.grace, 0);
            lower("timeout", timeout, stored.timeout, 1);
            lower("max_stall", max_stall, stored.max_stall, 1);
            if let Some(spare) = spare {
                keys["spare"] = json!(spare.iter().map(|c| c.name()).collect::<Vec<_>>());
            }
            if let Some(max_victims) = max_victims {
                keys["max_victims"] = json!(max_victims);
            }
            if dry_run {
                keys["dry_run"] = json!(true);
            }
            let own = narrowed(&stored, &keys);
            (stored, own)
        },
    )
}

fn victims(decision: &Decision) -> &[(usize, Act)] {
    match &decision.step {
        Step::Preempt(acts) => acts,
        _ => &[],
    }
}

/// Whether each of these would be signalled by the others as well, and no softer.
fn are_within(acts: &[(usize, Act)], others: &[(usize, Act)]) -> bool {
    acts.iter()
        .all(|(i, act)| others.iter().any(|(other, most)| other == i && act <= most))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn a_narrowed_call_s_victims_are_among_the_stored_policy_s_and_are_sent_nothing_harder(
        (stored, own) in narrowings(), situation in situations(),
    ) {
        let narrowed = situation.bounded(&own, &[&stored]);
        let alone = situation.alone(&stored);
        prop_assert!(are_within(victims(&narrowed), victims(&alone)), "{narrowed:?}\n{alone:?}");
        prop_assert!(own.timeout <= stored.timeout);
        prop_assert!(stored.max_victims.is_none_or(|most| own.max_victims <= Some(most)));
    }

    #[test]
    fn any_call_s_victims_are_among_the_ceiling_s_and_are_sent_nothing_harder(
        ceiling in timed_policies(), (stored, own) in narrowings(), situation in situations(),
    ) {
        let bounded = situation.bounded(&own, &[&stored, &ceiling]);
        let acts = victims(&bounded);
        let alone = situation.alone(&stored);
        prop_assert!(are_within(acts, victims(&alone)), "{bounded:?}\n{alone:?}");
        // What the call leaves the ceiling would perhaps preempt instead.
        for (i, act) in acts {
            let (member, _) = &situation.crowd[*i];
            let is_named = is_preemptable(member, &ceiling, bounded.stances[*i]);
            prop_assert!(is_named, "{member:?}");
            prop_assert!(ceiling.signal != Signal::Cancel || *act != Act::Terminate);
        }
        for (i, _) in acts {
            let (member, _) = &situation.crowd[*i];
            prop_assert!(is_preemptable(member, &own, bounded.stances[*i]), "{member:?}");
        }
    }

    #[test]
    fn what_bounds_no_further_changes_nothing(
        policy in timed_policies(), situation in situations(),
    ) {
        let alone = situation.alone(&policy);
        prop_assert_eq!(&situation.bounded(&policy, &[&policy]), &alone);
    }
}

/// What a call through a stored policy does to one session that its own keys would have it preempt sooner.
#[track_caller]
fn is_left_to_the_stored_policy(
    stored: &Policy,
    keys: &Value,
    session: &Session,
    class: Class,
    change: impl Fn(Standing<'_>) -> Standing<'_>,
) -> Decision {
    let own = narrowed(stored, keys);
    let view = |policy| View {
        policy,
        standings: vec![Standing {
            time_left: Policy::clone(policy).timeout,
            ..change(standing(session, class, 60 * SECOND))
        }],
    };
    // Taken for a policy of its own, it would widen.
    let by_itself = decide(view(&own), vec![], Call::default());
    assert!(matches!(by_itself.step, Step::Preempt(_)), "{by_itself:?}");
    let decision = decide(view(&own), vec![view(stored)], Call::default());
    assert!(matches!(decision.step, Step::Await { .. }), "{decision:?}");
    decision
}

#[test]
fn a_lower_max_stall_makes_nobody_idle() {
    let stored = Policy {
        preempt: crate::policy::Selectors::classes(&[Class::IdleInTransaction]),
        ..policy()
    };
    let mut busy = application(1);
    busy.state = Some(State::IdleInTransaction);
    is_left_to_the_stored_policy(
        &stored,
        &json!({"max_stall": "1ms"}),
        &busy,
        Class::IdleInTransaction,
        |standing| Standing {
            idle_for: Some(ms(20)),
            ..standing
        },
    );
}

#[test]
fn a_lower_timeout_cuts_nobody_s_time_to_finish_off() {
    let decision = is_left_to_the_stored_policy(
        &policy(),
        &json!({"timeout": "1000ms"}),
        &application(1),
        Class::Vacuum,
        |standing| Standing {
            eta: Some(3 * SECOND),
            watched: Duration::ZERO,
            ..standing
        },
    );
    assert_eq!(decision.is_finishing, [true]);
}

#[test]
fn a_lower_grace_turns_no_cancel_into_a_terminate() {
    is_left_to_the_stored_policy(
        &policy(),
        &json!({"grace": "0ms"}),
        &application(1),
        Class::Backup,
        |standing| Standing {
            sent: Some(Sent {
                act: Act::Cancel,
                ago: ms(500),
            }),
            ..standing
        },
    );
}

/// The leader of a parallel backup waits for its client, and goes with its workers. A worker that the call spares, in
/// the way of somebody who is preempted anyway, does not have it end alone.
#[test]
fn a_spared_worker_has_nobody_end_its_leader() {
    let (mut leader, mut worker, vacuum) = (application(1), application(2), application(3));
    leader.state = Some(State::IdleInTransaction);
    worker.query = Some("COPY t TO STDOUT".into());
    let stored = policy();
    let keys = json!({"spare": [{"query": "COPY*"}]});
    let waits_for_worker = [1];
    let view = |policy| View {
        policy,
        standings: vec![
            standing(&leader, Class::Backup, 60 * SECOND),
            Standing {
                direct: false,
                ..standing(&worker, Class::Backup, 60 * SECOND)
            },
            Standing {
                waits_for: &waits_for_worker,
                ..standing(&vacuum, Class::Vacuum, 60 * SECOND)
            },
        ],
    };
    let own = narrowed(&stored, &keys);
    let by_itself = decide(view(&own), vec![], Call::default());
    let leader_s_end = (0, Act::Terminate);
    assert!(victims(&by_itself).contains(&leader_s_end), "{by_itself:?}");
    let decision = decide(view(&own), vec![view(&stored)], Call::default());
    assert!(!victims(&decision).contains(&leader_s_end), "{decision:?}");
}

#[test]
fn what_the_ceiling_allows_later_is_sent_later() {
    let ceiling = policy();
    let own = Policy {
        signal: Signal::Terminate,
        ..policy()
    };
    let backup = application(1);
    let at = |sent: Option<Sent>| {
        let view = |policy| View {
            policy,
            standings: vec![Standing {
                sent,
                ..standing(&backup, Class::Backup, 60 * SECOND)
            }],
        };
        decide(view(&own), vec![view(&ceiling)], Call::default()).step
    };
    assert_eq!(at(None), Step::Preempt(vec![(0, Act::Cancel)]));
    let cancelled = |ago| {
        Some(Sent {
            act: Act::Cancel,
            ago,
        })
    };
    assert!(matches!(at(cancelled(SECOND)), Step::Await { .. }));
    assert_eq!(
        at(cancelled(3 * SECOND)),
        Step::Preempt(vec![(0, Act::Terminate)])
    );
}
