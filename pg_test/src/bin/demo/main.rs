//! `cargo demo`: the incident and its end on a throw-away server; `--psql` for a look around in it.
//!
//! `play` has the acts, `incident` the tables and the backup, `application` the reader and the writer,
//! `stage` the way it is told, `trail` what the server log says, `look_around` what comes before psql.

mod application;
mod incident;
mod look_around;
mod play;
mod stage;
mod trail;

use std::process::ExitCode;

use pg_test::{Cluster, Failure, Options, setup};

const USAGE: &str = "usage: cargo demo -- [--psql] [--quick] [-v]
  --psql    open psql in the server instead of the play; it goes when you leave
  --quick   a small table and a short wait
  -v        say how long each step of the setup takes";

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
    let mut psql = false;
    let mut tempo = play::Tempo::FULL;
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--psql" => psql = true,
            "--quick" => tempo = play::Tempo::QUICK,
            "-v" | "--verbose" => options.verbose = true,
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(Failure::new(format!("unknown argument {other}\n{USAGE}"))),
        }
    }
    let installation = setup::run(options)?;
    let cluster = Cluster::start(&installation, &[])?;
    let database = cluster.create_database()?;
    if psql {
        look_around::open(&cluster, &database, &tempo)
    } else {
        play::run(&cluster, &database, &tempo)
    }
}
