//! `cargo demo`: the incident and its end on a throw-away server; `--psql` for a look around in it.

use std::process::ExitCode;

use pg_test::{Cluster, Failure, Options, setup};

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
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--psql" => psql = true,
            "-v" | "--verbose" => options.verbose = true,
            other => {
                return Err(Failure::new(format!(
                    "unknown argument {other}\nusage: cargo demo -- [-v] [--psql]"
                )));
            }
        }
    }
    let installation = setup::run(options)?;
    let cluster = Cluster::start(&installation, &[])?;
    let database = cluster.create_database()?;
    if psql {
        anstream::println!(
            "A throw-away PostgreSQL {} with lockguard; it goes when you leave psql.",
            installation.major()
        );
        database.open_psql()?;
    } else {
        anstream::println!("PostgreSQL {} with lockguard is up.", installation.major());
    }
    Ok(())
}
