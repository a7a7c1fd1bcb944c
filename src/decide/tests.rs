use super::*;
use crate::lock::LockMode;
use crate::policy::{OnTimeout, Selectors, Target};
use crate::session::{Identity, Rights, State, VirtualTransaction, fixtures::application};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy {
        target: Target::All,
        mode: LockMode::AccessExclusive,
        preempt: Selectors::classes(&[
            Class::Backup,
            Class::Autovacuum,
            Class::Vacuum,
            Class::Analyze,
        ]),
        spare: Selectors::classes(&[Class::AutovacuumWraparound]),
        signal: Signal::Escalate,
        grace: 2 * SECOND,
        timeout: 30 * SECOND,
        max_victims: None,
        dry_run: false,
        on_timeout: OnTimeout::Error,
    }
}

fn standing(session: &Session, class: Class, age: Duration) -> Standing<'_> {
    Standing {
        session,
        class,
        age,
        hold: Hold::Granted,
        from_start: true,
        sent: None,
        kin_sent: None,
        waits_for: &[],
    }
}

fn idle(pid: i32) -> Session {
    Session {
        state: Some(State::IdleInTransaction),
        ..application(pid)
    }
}

#[test]
fn a_backup_alone_is_cancelled() {
    let backup = application(1);
    let decision = decide(
        &[standing(&backup, Class::Backup, 60 * SECOND)],
        &policy(),
        false,
    );
    assert_eq!(decision.step, Step::Preempt(vec![(0, Act::Cancel)]));
}

#[test]
fn nobody_in_the_way_is_clear() {
    assert_eq!(decide(&[], &policy(), false).step, Step::Clear);
}

#[test]
fn a_backup_lives_while_a_long_application_transaction_stays() {
    let (backup, app) = (application(1), application(2));
    let standings = [
        standing(&backup, Class::Backup, 60 * SECOND),
        standing(&app, Class::Application, SECOND),
    ];
    let Step::Await { whom, why, .. } = decide(&standings, &policy(), false).step else {
        panic!()
    };
    assert_eq!((whom, why), (vec![1], Await::Staying));
    assert!(
        matches!(decide(&standings, &policy(), true).step, Step::Await { .. }),
        "nor later on"
    );
}

#[test]
fn a_young_holder_from_the_start_is_waited_for_and_a_later_one_is_not() {
    let (backup, app) = (application(1), application(2));
    let mut young = standing(&app, Class::Application, Duration::from_millis(30));
    let old = standing(&backup, Class::Backup, 60 * SECOND);
    let Step::Await { whom, why, within } = decide(&[old, young], &policy(), false).step else {
        panic!()
    };
    assert_eq!(
        (whom, why, within),
        (vec![1], Await::Passing, Some(Duration::from_millis(70)))
    );
    young.from_start = false;
    assert_eq!(
        decide(&[old, young], &policy(), false).step,
        Step::Preempt(vec![(0, Act::Cancel)])
    );
}

#[test]
fn only_young_newcomers_are_a_clear_way() {
    let app = application(1);
    let mut young = standing(&app, Class::Application, Duration::from_millis(30));
    young.from_start = false;
    assert_eq!(decide(&[young], &policy(), true).step, Step::Clear);
}

#[test]
fn a_cancelled_session_is_terminated_after_grace() {
    let backup = application(1);
    let mut sent = standing(&backup, Class::Backup, 60 * SECOND);
    sent.sent = Some(Sent {
        act: Act::Cancel,
        ago: SECOND,
    });
    let Step::Await { why, within, .. } = decide(&[sent], &policy(), true).step else {
        panic!()
    };
    assert_eq!((why, within), (Await::Signalled, Some(SECOND)));
    sent.sent = Some(Sent {
        act: Act::Cancel,
        ago: 2 * SECOND,
    });
    assert_eq!(
        decide(&[sent], &policy(), true).step,
        Step::Preempt(vec![(0, Act::Terminate)])
    );
    let gentle = Policy {
        signal: Signal::Cancel,
        ..policy()
    };
    assert_eq!(
        decide(&[sent], &gentle, true).step,
        Step::Preempt(vec![(0, Act::Cancel)]),
        "a cancel may have found it between two statements"
    );
    sent.sent = Some(Sent {
        act: Act::Terminate,
        ago: 9 * SECOND,
    });
    assert!(matches!(
        decide(&[sent], &policy(), true).step,
        Step::Await { within: None, .. }
    ));
}

#[test]
fn an_idle_session_is_terminated_at_once_or_left_under_cancel() {
    let session = idle(1);
    let named = Policy {
        preempt: Selectors::classes(&[Class::IdleInTransaction]),
        ..policy()
    };
    let standings = [standing(&session, Class::IdleInTransaction, 60 * SECOND)];
    assert_eq!(
        decide(&standings, &named, false).step,
        Step::Preempt(vec![(0, Act::Terminate)])
    );
    let gentle = Policy {
        signal: Signal::Cancel,
        ..named
    };
    let decision = decide(&standings, &gentle, false);
    assert_eq!(
        decision.stances,
        [Stance::OutOfReach(Unreachable::IdleUnderCancel)]
    );
    assert!(matches!(
        decision.step,
        Step::Await {
            why: Await::Staying,
            ..
        }
    ));
}

#[test]
fn the_idle_leader_of_a_parallel_backup_follows_its_active_workers() {
    let (leader, worker) = (idle(1), application(2));
    let standings = [
        standing(&leader, Class::Backup, 60 * SECOND),
        standing(&worker, Class::Backup, 60 * SECOND),
    ];
    for signal in [Signal::Escalate, Signal::Cancel] {
        let decision = decide(&standings, &Policy { signal, ..policy() }, false);
        assert_eq!(
            decision.step,
            Step::Preempt(vec![(1, Act::Cancel)]),
            "{signal:?}"
        );
    }
    let mut left = standings[0];
    left.kin_sent = Some(SECOND);
    assert!(matches!(
        decide(&[left], &policy(), true).step,
        Step::Await {
            why: Await::Signalled,
            ..
        }
    ));
    left.kin_sent = Some(3 * SECOND);
    assert_eq!(
        decide(&[left], &policy(), true).step,
        Step::Preempt(vec![(0, Act::Terminate)])
    );
}

#[test]
fn what_the_caller_may_not_signal_is_an_obstacle() {
    let mut backup = application(1);
    backup.rights.signal = false;
    let decision = decide(
        &[standing(&backup, Class::Backup, 60 * SECOND)],
        &policy(),
        false,
    );
    assert_eq!(decision.stances, [Stance::NotPermitted]);
    assert!(matches!(
        decision.step,
        Step::Await {
            why: Await::Staying,
            ..
        }
    ));
}

#[test]
fn a_queued_request_is_no_obstacle_even_once_granted() {
    let migration = application(1);
    for hold in [Hold::Queued, Hold::GrantedSince] {
        let queued = Standing {
            hold,
            ..standing(&migration, Class::Application, 900 * SECOND)
        };
        assert_eq!(
            decide(&[queued], &policy(), true).step,
            Step::Clear,
            "{hold:?}"
        );
    }
}

#[test]
fn a_request_granted_since_is_an_obstacle_to_signals() {
    let (migration, backup) = (application(1), application(2));
    let granted = Standing {
        hold: Hold::GrantedSince,
        ..standing(&migration, Class::Application, 900 * SECOND)
    };
    let decision = decide(
        &[granted, standing(&backup, Class::Backup, 60 * SECOND)],
        &policy(),
        false,
    );
    assert!(
        matches!(
            decision.step,
            Step::Await {
                why: Await::Staying,
                ..
            }
        ),
        "{decision:?}"
    );
}

#[test]
fn a_migration_that_hangs_behind_a_victim_is_no_obstacle_though_it_holds() {
    let (migration, backup, reader) = (application(1), application(2), application(3));
    let hanging = Standing {
        waits_for: &[1],
        ..standing(&migration, Class::Application, 900 * SECOND)
    };
    let victim = standing(&backup, Class::Backup, 60 * SECOND);
    let decision = decide(&[hanging, victim], &policy(), false);
    assert_eq!(decision.step, Step::Preempt(vec![(1, Act::Cancel)]));
    let behind_the_migration = Standing {
        waits_for: &[0],
        ..standing(&reader, Class::Application, 900 * SECOND)
    };
    let decision = decide(&[hanging, victim, behind_the_migration], &policy(), false);
    assert!(
        matches!(
            decision.step,
            Step::Await {
                why: Await::Staying,
                ..
            }
        ),
        "{decision:?}"
    );
}

#[test]
fn a_spared_class_stays_however_young() {
    let mut vacuum = application(1);
    vacuum.anti_wraparound = true;
    let mut young = standing(&vacuum, Class::AutovacuumWraparound, Duration::ZERO);
    young.from_start = false;
    assert!(matches!(
        decide(&[young], &policy(), false).step,
        Step::Await {
            why: Await::Staying,
            ..
        }
    ));
}

#[test]
fn who_holds_outside_a_transaction_is_not_signalled() {
    let mut session = application(1);
    session.identity = Identity::Backend {
        pid: 1,
        transaction: VirtualTransaction { slot: 1, local: 0 },
    };
    let decision = decide(
        &[standing(&session, Class::Backup, 60 * SECOND)],
        &policy(),
        false,
    );
    assert_eq!(
        decision.stances,
        [Stance::OutOfReach(Unreachable::OutsideTransaction)]
    );
    let mut signalled = standing(&session, Class::Backup, Duration::ZERO);
    signalled.sent = Some(Sent {
        act: Act::Cancel,
        ago: Duration::from_millis(1),
    });
    let decision = decide(&[signalled], &policy(), true);
    assert!(
        matches!(
            decision.step,
            Step::Await {
                why: Await::Signalled,
                ..
            }
        ),
        "it is still letting go: {decision:?}"
    );
}

/// Random sessions in the way, of any class and kind.
fn sessions() -> impl Strategy<Value = Vec<(Session, Class, Duration, Hold, bool, Option<Sent>)>> {
    let class = prop::sample::select(Class::ALL.to_vec());
    let hold = prop::sample::select(vec![
        Hold::Granted,
        Hold::Granted,
        Hold::Queued,
        Hold::GrantedSince,
    ]);
    let sent = prop::option::of((any::<bool>(), 0u64..5_000)).prop_map(|sent| {
        sent.map(|(cancel, ago)| Sent {
            act: if cancel { Act::Cancel } else { Act::Terminate },
            ago: Duration::from_millis(ago),
        })
    });
    let one = (
        class,
        0u64..300,
        hold,
        any::<bool>(),
        sent,
        any::<(bool, bool, bool, bool)>(),
    );
    prop::collection::vec(one, 0..8).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(
                |(i, (class, age, hold, from_start, sent, (idle, prepared, see, signal)))| {
                    let pid = i as i32 + 1;
                    let mut session = application(pid);
                    session.rights = Rights { see, signal };
                    if idle {
                        session.state = Some(State::IdleInTransaction);
                    }
                    if prepared {
                        session.identity = Identity::Prepared { xid: pid as u32 };
                    } else {
                        let transaction = VirtualTransaction {
                            slot: pid,
                            local: 1,
                        };
                        session.identity = Identity::Backend { pid, transaction };
                    }
                    (
                        session,
                        class,
                        Duration::from_millis(age),
                        hold,
                        from_start,
                        sent,
                    )
                },
            )
            .collect()
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let classes = prop::sample::subsequence(Class::ALL.to_vec(), 0..Class::ALL.len());
    let signal = prop::sample::select(vec![Signal::Cancel, Signal::Terminate, Signal::Escalate]);
    (classes.clone(), classes, signal).prop_map(|(preempt, spare, signal)| Policy {
        preempt: Selectors::classes(&preempt),
        spare: Selectors::classes(&spare),
        signal,
        ..policy()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn only_what_policy_names_is_signalled_and_never_in_vain(
        sessions in sessions(), policy in policies(), has_signalled in any::<bool>(), default in any::<bool>(),
    ) {
        let policy = if default { self::policy() } else { policy };
        let standings: Vec<Standing<'_>> = sessions
            .iter()
            .map(|(session, class, age, hold, from_start, sent)| Standing {
                session, class: *class, age: *age, hold: *hold, from_start: *from_start, sent: *sent, waits_for: &[], kin_sent: None,
            })
            .collect();
        let named = |s: &Standing<'_>, list: &Selectors| {
            list.verdict(Given { session: s.session, class: s.class, age: s.age }) == Verdict::Yes
        };
        let Step::Preempt(acts) = decide(&standings, &policy, has_signalled).step else { return Ok(()) };
        prop_assert!(!acts.is_empty());
        for (i, act) in &acts {
            let victim = &standings[*i];
            prop_assert!(named(victim, &policy.preempt), "not named: {victim:?}");
            prop_assert!(!named(victim, &policy.spare), "spared: {victim:?}");
            prop_assert!(victim.session.rights.signal, "no right: {victim:?}");
            prop_assert!(!victim.session.is_prepared());
            prop_assert!(victim.hold != Hold::Queued);
            prop_assert!(*act == Act::Cancel || policy.signal != Signal::Cancel);
            if default {
                prop_assert!(victim.class != Class::Application && victim.class != Class::AutovacuumWraparound);
            }
        }
        for (i, other) in standings.iter().enumerate() {
            let is_or_was_victim = acts.iter().any(|(v, _)| *v == i);
            let preemptable = named(other, &policy.preempt)
                && !named(other, &policy.spare)
                && other.session.rights.signal
                && !other.session.is_prepared()
                && !(policy.signal == Signal::Cancel && other.session.is_idle_in_transaction());
            let follows = matches!(decide(&standings, &policy, has_signalled).stances[i], Stance::Preempt(Means::Follow));
            if other.hold != Hold::Queued && !is_or_was_victim && !preemptable && !follows {
                prop_assert!(other.age < MAX_STALL, "in vain, beside {other:?}");
                prop_assert!(!other.session.is_prepared(), "in vain, beside {other:?}");
                prop_assert!(!named(other, &policy.spare), "in vain, beside {other:?}");
                prop_assert!(has_signalled || !other.from_start, "too early, beside {other:?}");
            }
        }
    }
}
