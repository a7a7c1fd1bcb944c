//! Twenty sessions that call at random while the schema changes under them: the short form of the benchmark's table of
//! the same name. `LOCKGUARD_SEED` repeats the choices, not their timing.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::load::{
    Application, CONTEXTS_LIMIT, Crowd, KINDS, Kind, PROCESS_LIMIT_KIB, Plan, Segments, left_over,
    make_schema, repeat, unexpected_in_log,
};

use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        calls_over_a_changing_schema_end_well_or_as_designed_and_leave_nothing,
        a_session_keeps_nothing_of_its_calls,
    ]
}

fn calls_over_a_changing_schema_end_well_or_as_designed_and_leave_nothing(world: &World) {
    let plan = Plan {
        seed: Plan::seed_of_this_run(),
        sessions: 20,
        calls_per_second: 60.0,
        length: Duration::from_secs(8),
    };
    println!("LOCKGUARD_SEED={}", plan.seed);
    let cluster = plan.start_server(world.installation()).unwrap();
    let database = cluster.create_database().unwrap();
    make_schema(&database);
    let mut crowd = Crowd::gather(&database, plan).unwrap();
    let application = Application::start(&database).unwrap();
    let segments = Segments::of(&cluster).unwrap();
    let mut played = crowd.play(&database).unwrap();
    // Somebody is in the way at times, but chance need not have it so in so few seconds.
    for _ in 0..5 {
        if played.tally.count(Kind::Preempt, "55P03") == 0 {
            played.tally.add(crowd.play(&database).unwrap().tally);
        }
    }
    played.tally.add(application.stop().tally);

    println!(
        "{} calls, the slowest {:?}",
        played.calls, played.slowest_call
    );
    for (kind, endings) in played.tally.lines() {
        println!("{kind}: {endings}");
    }
    let complaints = played.tally.complaints();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    for kind in [Kind::BlockersOf, Kind::LocksOf, Kind::Preempt] {
        assert!(
            played.tally.count(kind, "well") > 20,
            "hardly any call of {kind} went well"
        );
    }
    assert!(
        played.tally.count(Kind::Preempt, "55P03") > 0,
        "nobody was in the way"
    );
    assert!(
        played.slowest_call < pg_test::slow(Duration::from_secs(10)),
        "{:?}",
        played.slowest_call
    );
    // What the caches of the catalogs grow by is the server's own affair.
    let [first, _, end] = played.usual;
    println!("{first:?} {end:?}");
    assert!(end.contexts - first.contexts <= 64.0, "{first:?} {end:?}");
    let strange = unexpected_in_log(&cluster.log());
    assert!(strange.is_empty(), "{}", strange.join("\n"));
    // The callers are still connected.
    let left = left_over(&database);
    assert!(left.is_empty(), "{}", left.join("\n"));
    segments.have_not_grown(&cluster).unwrap();
}

fn a_session_keeps_nothing_of_its_calls(world: &World) {
    let database = world.database();
    make_schema(&database);
    for kind in &KINDS {
        let growth = repeat(&database, kind, 1_000).unwrap();
        println!("{}: {growth:?}", kind.name);
        assert!(growth.used <= CONTEXTS_LIMIT, "{}: {growth:?}", kind.name);
        assert!(
            growth.process <= PROCESS_LIMIT_KIB,
            "{}: {growth:?}",
            kind.name
        );
    }
}
