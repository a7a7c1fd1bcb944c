//! `cargo bench`: lockguard beside what people use today, on throw-away servers, with the extension as users install it.
//!
//! Each table is a file; what they share is `play` (one way to a DDL, played once), `ways` (ours and the
//! peers'), `application` (who suffers), `trail` (who was killed), and what is printed: `sheet` and `chart`.

mod application;
mod autovacuum;
mod behind_application;
mod chart;
mod figures;
mod guard;
mod load;
mod obstacles;
mod planning;
mod play;
mod reaction;
mod right_victim;
mod scale;
mod sheet;
mod stall;
mod steady;
mod trail;
mod ways;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use pg_test::{Failure, Options, Profile, setup};
use sheet::Sheet;
use world::World;

/// A table: its number, its name, and what measures and prints it.
type Table = (
    &'static str,
    &'static str,
    fn(&World, &mut Sheet) -> Result<(), Failure>,
);

const TABLES: [Table; 10] = [
    ("1", "stall", stall::run),
    ("2", "application", behind_application::run),
    ("3", "obstacles", obstacles::run),
    ("4", "steady", steady::run),
    ("5", "scale", scale::run),
    ("6", "reaction", reaction::run),
    ("7", "guard", guard::run),
    ("8", "planning", planning::run),
    ("9", "victim", right_victim::run),
    ("10", "load", load::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let wanted = wanted()?;
    let installation = setup::run(Options {
        profile: Profile::Release,
        ..Options::default()
    })?;
    let started = Instant::now();
    let world = World::new(installation);
    let mut sheet = Sheet::new();
    sheet.say(&world.describe());
    for (number, name, run) in TABLES {
        if wanted.is_empty() || wanted.iter().any(|w| w == number || w == name) {
            run(&world, &mut sheet)?;
        }
    }
    sheet.end(started.elapsed());
    Ok(())
}

/// The tables that are asked for by number or name; none means all.
fn wanted() -> Result<Vec<String>, Failure> {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    match wanted.iter().find(|w| {
        !TABLES
            .iter()
            .any(|(number, name, _)| w == number || w == name)
    }) {
        None => Ok(wanted),
        Some(unknown) => {
            let names = TABLES
                .map(|(number, name, _)| format!("{number} {name}"))
                .join(", ");
            Err(Failure::new(format!(
                "no table {unknown}; the tables: {names}"
            )))
        }
    }
}
