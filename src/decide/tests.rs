use super::*;
use crate::policy::{OnTimeout, Selectors, Signal};
use crate::session::{Identity, Process, State, VirtualTransaction, fixtures::application};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MAX_STALL: Duration = Duration::from_millis(100);

const SIGNALLED: Call = Call {
    has_signalled: true,
    takes: false,
};
const TAKES: Call = Call {
    has_signalled: false,
    takes: true,
};

pub(super) fn policy() -> Policy {
    Policy {
        preempt: Selectors::classes(&[
            Class::Backup,
            Class::Autovacuum,
            Class::Vacuum,
            Class::Analyze,
        ]),
        spare: Selectors::classes(&[Class::AutovacuumWraparound]),
        spare_too: Selectors::default(),
        signal: Signal::Escalate,
        grace: 2 * SECOND,
        timeout: 30 * SECOND,
        finish_within: 5 * SECOND,
        take_lock: true,
        max_stall: MAX_STALL,
        max_victims: None,
        dry_run: false,
        on_timeout: OnTimeout::Error,
        require_trail: false,
        label: None,
        snapshots: false,
    }
}

/// Of a call that nothing else bounds.
pub(super) fn decide(standings: &[Standing<'_>], policy: &Policy, call: Call) -> Decision {
    let own = View {
        policy,
        standings: standings.to_vec(),
    };
    super::decide(own, vec![], call)
}

pub(super) fn standing(session: &Session, class: Class, age: Duration) -> Standing<'_> {
    Standing {
        session,
        class,
        class_to_caller: class,
        age,
        hold: Hold::Granted,
        from_start: true,
        sent: None,
        kin_sent: None,
        rights: session.rights,
        direct: true,
        waits_for: &[],
        waits_for_us: false,
        outlasted: false,
        idle_for: None,
        outside: None,
        watched: age,
        eta: None,
        time_left: 30 * SECOND,
        was_finishing: false,
        may_queue: true,
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
        Call::default(),
    );
    assert_eq!(decision.step, Step::Preempt(vec![(0, Act::Cancel)]));
}

#[test]
fn nobody_in_the_way_is_clear() {
    assert_eq!(decide(&[], &policy(), Call::default()).step, Step::Clear);
}

#[test]
fn a_backup_lives_while_a_long_application_transaction_stays() {
    let (backup, app) = (application(1), application(2));
    let standings = [
        standing(&backup, Class::Backup, 60 * SECOND),
        standing(&app, Class::Application, SECOND),
    ];
    let Step::Await { whom, why, .. } = decide(&standings, &policy(), Call::default()).step else {
        panic!()
    };
    assert_eq!((whom, why), (vec![1], Await::Staying));
    assert!(
        matches!(
            decide(&standings, &policy(), SIGNALLED).step,
            Step::Await { .. }
        ),
        "nor later on"
    );
}

#[test]
fn a_young_holder_from_the_start_is_waited_for_and_a_later_one_is_not() {
    let (backup, app) = (application(1), application(2));
    let mut young = standing(&app, Class::Application, Duration::from_millis(30));
    let old = standing(&backup, Class::Backup, 60 * SECOND);
    let Step::Await { whom, why, within } = decide(&[old, young], &policy(), Call::default()).step
    else {
        panic!()
    };
    assert_eq!(
        (whom, why, within),
        (vec![1], Await::Passing, Some(Duration::from_millis(70)))
    );
    young.from_start = false;
    assert_eq!(
        decide(&[old, young], &policy(), Call::default()).step,
        Step::Preempt(vec![(0, Act::Cancel)])
    );
}

#[test]
fn only_young_newcomers_are_a_clear_way() {
    let app = application(1);
    let mut young = standing(&app, Class::Application, Duration::from_millis(30));
    young.from_start = false;
    assert_eq!(decide(&[young], &policy(), SIGNALLED).step, Step::Clear);
}

#[test]
fn a_young_holder_from_the_start_is_let_pass_after_a_signal_too_unless_the_queue_is_for_it() {
    let app = application(1);
    let young = standing(&app, Class::Application, Duration::from_millis(30));
    assert_eq!(
        decide(&[young], &policy(), SIGNALLED).step,
        Step::Await {
            whom: vec![0],
            why: Await::Passing,
            within: Some(Duration::from_millis(70)),
        }
    );
    let takes = Call {
        takes: true,
        ..SIGNALLED
    };
    assert_eq!(decide(&[young], &policy(), takes).step, Step::Clear);
}

#[test]
fn all_are_short_while_nobody_in_the_way_is_long_whatever_is_done_about_him() {
    let (backup, app) = (application(1), application(2));
    let young = Duration::from_millis(30);
    let all_short = |standings: &[Standing<'_>]| decide(standings, &policy(), TAKES).all_short;
    let newcomer = standing(&backup, Class::Backup, young);
    let traffic = standing(&app, Class::Application, young);
    assert!(all_short(&[newcomer, traffic]));
    assert!(!all_short(&[
        standing(&backup, Class::Backup, SECOND),
        traffic
    ]));
    assert!(!all_short(&[
        newcomer,
        standing(&app, Class::Application, SECOND)
    ]));
    let mut queued = standing(&app, Class::Application, SECOND);
    queued.hold = Hold::Queued;
    assert!(!all_short(&[newcomer, queued]), "it is granted before us");
    queued.waits_for_us = true;
    assert!(all_short(&[newcomer, queued]));
}

#[test]
fn a_cancelled_session_is_terminated_after_grace() {
    let backup = application(1);
    let mut sent = standing(&backup, Class::Backup, 60 * SECOND);
    sent.sent = Some(Sent {
        act: Act::Cancel,
        ago: SECOND,
    });
    let Step::Await { why, within, .. } = decide(&[sent], &policy(), SIGNALLED).step else {
        panic!()
    };
    assert_eq!((why, within), (Await::Signalled, Some(SECOND)));
    sent.sent = Some(Sent {
        act: Act::Cancel,
        ago: 2 * SECOND,
    });
    assert_eq!(
        decide(&[sent], &policy(), SIGNALLED).step,
        Step::Preempt(vec![(0, Act::Terminate)])
    );
    let gentle = Policy {
        signal: Signal::Cancel,
        ..policy()
    };
    assert_eq!(
        decide(&[sent], &gentle, SIGNALLED).step,
        Step::Preempt(vec![(0, Act::Cancel)]),
        "a cancel may have found it between two statements"
    );
    sent.sent = Some(Sent {
        act: Act::Terminate,
        ago: 9 * SECOND,
    });
    assert!(matches!(
        decide(&[sent], &policy(), SIGNALLED).step,
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
        decide(&standings, &named, Call::default()).step,
        Step::Preempt(vec![(0, Act::Terminate)])
    );
    let gentle = Policy {
        signal: Signal::Cancel,
        ..named
    };
    let decision = decide(&standings, &gentle, Call::default());
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
        let decision = decide(&standings, &Policy { signal, ..policy() }, Call::default());
        assert_eq!(
            decision.step,
            Step::Preempt(vec![(1, Act::Cancel)]),
            "{signal:?}"
        );
    }
    let mut left = standings[0];
    left.kin_sent = Some(SECOND);
    assert!(matches!(
        decide(&[left], &policy(), SIGNALLED).step,
        Step::Await {
            why: Await::Signalled,
            ..
        }
    ));
    left.kin_sent = Some(3 * SECOND);
    assert_eq!(
        decide(&[left], &policy(), SIGNALLED).step,
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
        Call::default(),
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
            decide(&[queued], &policy(), SIGNALLED).step,
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
        Call::default(),
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
    let decision = decide(&[hanging, victim], &policy(), Call::default());
    assert_eq!(decision.step, Step::Preempt(vec![(1, Act::Cancel)]));
    let behind_the_migration = Standing {
        waits_for: &[0],
        ..standing(&reader, Class::Application, 900 * SECOND)
    };
    let decision = decide(
        &[hanging, victim, behind_the_migration],
        &policy(),
        Call::default(),
    );
    assert_eq!(decision.step, Step::Preempt(vec![(1, Act::Cancel)]));
    assert_eq!(decision.stances[2], Stance::Helped, "at any distance");
}

#[test]
fn maintenance_two_steps_away_is_preempted_unless_somebody_else_stays_there() {
    let (holder, backup, other) = (application(1), application(2), application(3));
    let in_the_way = Standing {
        waits_for: &[1, 2],
        ..standing(&holder, Class::Application, 60 * SECOND)
    };
    let victim = Standing {
        direct: false,
        ..standing(&backup, Class::Backup, 60 * SECOND)
    };
    let mut beside = Standing {
        direct: false,
        from_start: false,
        ..standing(&other, Class::Application, SECOND)
    };
    let decision = decide(&[in_the_way, victim, beside], &policy(), TAKES);
    let Step::Await { whom, why, .. } = decision.step else {
        panic!("{decision:?}")
    };
    assert_eq!((whom, why), (vec![2], Await::Staying));
    beside.age = Duration::ZERO;
    let decision = decide(&[in_the_way, victim, beside], &policy(), TAKES);
    assert_eq!(decision.step, Step::Preempt(vec![(1, Act::Cancel)]));
}

#[test]
fn who_is_in_the_way_of_a_victim_alone_is_nobodys_business() {
    let (backup, app) = (application(1), application(2));
    let waiting = Standing {
        waits_for: &[1],
        ..standing(&backup, Class::Backup, 60 * SECOND)
    };
    let behind = Standing {
        direct: false,
        ..standing(&app, Class::Application, 60 * SECOND)
    };
    let decision = decide(&[waiting, behind], &policy(), TAKES);
    assert_eq!(decision.step, Step::Preempt(vec![(0, Act::Cancel)]));
    assert_eq!(decision.stances[1], Stance::Beside);
}

#[test]
fn the_queue_is_for_short_ones_only() {
    let (reader, migration) = (application(1), application(2));
    let young = standing(&reader, Class::Application, Duration::from_millis(20));
    assert_eq!(decide(&[young], &policy(), TAKES).step, Step::Clear);
    let mut patient = young;
    patient.outlasted = true;
    let granted = Standing {
        hold: Hold::GrantedSince,
        ..standing(&migration, Class::Application, SECOND)
    };
    for long in [patient, granted] {
        let decision = decide(&[young, long], &policy(), TAKES);
        let Step::Await { whom, why, .. } = decision.step else {
            panic!("{decision:?}")
        };
        assert_eq!((whom, why), (vec![1], Await::Staying));
    }
}

#[test]
fn who_is_queued_ahead_and_long_is_let_pass_unless_he_waits_for_us() {
    let (migration, reader) = (application(1), application(2));
    let queued = Standing {
        hold: Hold::Queued,
        waits_for: &[1],
        ..standing(&migration, Class::Application, SECOND)
    };
    let young = standing(&reader, Class::Application, Duration::from_millis(20));
    let decision = decide(&[queued, young], &policy(), TAKES);
    assert!(!decision.all_short);
    let Step::Await { whom, why, .. } = decision.step else {
        panic!("{decision:?}")
    };
    assert_eq!((whom, why), (vec![0], Await::Staying));
    let behind_us = Standing {
        waits_for_us: true,
        ..queued
    };
    let behind_that = Standing {
        waits_for: &[0],
        ..queued
    };
    let decision = decide(&[behind_us, behind_that], &policy(), TAKES);
    assert_eq!(decision.step, Step::Clear);
    assert!(decision.all_short);
}

#[test]
fn who_says_that_he_is_about_to_finish_is_given_the_time_once() {
    let vacuum = application(1);
    let mut session = standing(&vacuum, Class::Vacuum, 60 * SECOND);
    session.eta = Some(3 * SECOND);
    session.watched = SECOND;
    let decision = decide(&[session], &policy(), Call::default());
    assert_eq!(decision.stances, [Stance::Preempt(Means::Finish)]);
    assert_eq!(
        decision.step,
        Step::Await {
            whom: vec![0],
            why: Await::Finishing,
            within: Some(4 * SECOND)
        }
    );
    let silent = Standing {
        eta: None,
        was_finishing: true,
        ..session
    };
    let decision = decide(&[silent], &policy(), Call::default());
    assert_eq!(decision.stances, [Stance::Preempt(Means::Finish)]);
    let hurried = Standing {
        time_left: 2 * SECOND,
        ..session
    };
    assert_eq!(
        decide(&[hurried], &policy(), Call::default()).step,
        Step::Preempt(vec![(0, Act::Cancel)]),
        "the call would be over before"
    );
    session.watched = 3 * SECOND;
    assert_eq!(
        decide(&[session], &policy(), Call::default()).step,
        Step::Preempt(vec![(0, Act::Cancel)]),
        "what is left does not suffice any more"
    );
    session.watched = SECOND;
    let impatient = Policy {
        finish_within: Duration::ZERO,
        ..policy()
    };
    assert_eq!(
        decide(&[session], &impatient, Call::default()).step,
        Step::Preempt(vec![(0, Act::Cancel)])
    );
}

#[test]
fn progress_excuses_nobody_whom_no_signal_would_reach() {
    let session = idle(1);
    let mut standing = standing(&session, Class::Vacuum, 60 * SECOND);
    standing.eta = Some(SECOND);
    standing.watched = Duration::ZERO;
    let gentle = Policy {
        signal: Signal::Cancel,
        ..policy()
    };
    assert_eq!(
        decide(&[standing], &gentle, Call::default()).stances,
        [Stance::OutOfReach(Unreachable::IdleUnderCancel)]
    );
}

#[test]
fn an_autovacuum_that_may_not_be_signalled_is_made_to_yield_unless_it_is_spared() {
    let mut worker = application(1);
    worker.process = Process::AutovacuumWorker;
    worker.rights.signal = false;
    let one = standing(&worker, Class::Autovacuum, 60 * SECOND);
    assert_eq!(
        decide(&[one], &policy(), Call::default()).step,
        Step::Preempt(vec![(0, Act::Yield)])
    );
    let spared = Policy {
        spare: Selectors::classes(&[Class::Autovacuum]),
        ..policy()
    };
    assert_eq!(
        decide(&[one], &spared, Call::default()).stances,
        [Stance::Spare]
    );
    let mut wraparound = worker.clone();
    wraparound.anti_wraparound = true;
    let named = Policy {
        preempt: Selectors::classes(&[Class::AutovacuumWraparound]),
        spare: Selectors::default(),
        ..policy()
    };
    let one = standing(&wraparound, Class::AutovacuumWraparound, 60 * SECOND);
    assert_eq!(
        decide(&[one], &named, Call::default()).stances,
        [Stance::NotPermitted],
        "for the server never cancels it"
    );
}

#[test]
fn yielding_comes_after_all_else() {
    let mut worker = application(1);
    worker.process = Process::AutovacuumWorker;
    worker.rights.signal = false;
    let backup = application(2);
    let one = standing(&worker, Class::Autovacuum, 60 * SECOND);
    let mut other = standing(&backup, Class::Backup, 60 * SECOND);
    assert_eq!(
        decide(&[one, other], &policy(), Call::default()).step,
        Step::Preempt(vec![(1, Act::Cancel)])
    );
    other.sent = Some(Sent {
        act: Act::Cancel,
        ago: SECOND,
    });
    let decision = decide(&[one, other], &policy(), SIGNALLED);
    assert!(
        matches!(
            decision.step,
            Step::Await {
                why: Await::Signalled,
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
        decide(&[young], &policy(), Call::default()).step,
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
        Call::default(),
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
    let decision = decide(&[signalled], &policy(), SIGNALLED);
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
