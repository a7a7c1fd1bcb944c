//! Every test there is, in one program: the extension's unit tests, then the scenarios on real servers.
//!
//! The setup runs once, before the first test and not for `--list`. A scenario is a function that panics
//! when its claim does not hold; each gets a database of its own in a server that they share, or starts a
//! server of its own. They run one at a time unless `--test-threads` says otherwise, for many measure time.

mod blockers;
mod convoy;
mod ddl;
mod django;
mod faults;
mod guard;
mod harness;
mod input;
mod load;
mod play;
mod policies;
mod preempt;
mod roles;
mod sources;
mod statement;
mod take;
mod trail;
mod truth;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use world::World;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(1);
    let world = Arc::new(World::default());
    let trials = std::iter::once(unit_tests(&world))
        .chain(harness::trials(&world))
        .chain(preempt::trials(&world))
        .chain(convoy::trials(&world))
        .chain(sources::trials(&world))
        .chain(roles::trials(&world))
        .chain(take::trials(&world))
        .chain(statement::trials(&world))
        .chain(guard::trials(&world))
        .chain(policies::trials(&world))
        .chain(trail::trials(&world))
        .chain(faults::trials(&world))
        .chain(input::trials(&world))
        .chain(django::trials(&world))
        .chain(blockers::trials(&world))
        .chain(truth::trials(&world))
        .chain(ddl::trials(&world))
        .chain(load::trials(&world))
        .chain(play::trials(&world))
        .collect();
    if !arguments.list
        && let Err(failure) = world.set_up()
    {
        eprintln!("{failure}");
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // What a server writes as it ends belongs to no scenario.
    let complaints = world.end();
    complaints.iter().for_each(|found| eprintln!("{found}"));
    match complaints.is_empty() {
        true => conclusion.exit_code(),
        false => ExitCode::FAILURE,
    }
}

fn unit_tests(world: &Arc<World>) -> Trial {
    let world = Arc::clone(world);
    Trial::test("unit tests of the extension", move || {
        let passed = world.installation().toolchain().run_unit_tests();
        passed
            .map(|_| ())
            .map_err(|failure| Failed::from(failure.to_string()))
    })
}
