//! `cargo asserted` and `cargo memcheck`: the scenarios on a server of our own that sees what others pass over.
//!
//! Each argument after the first is a filter, as for `cargo test`, and a run of its own.

use std::process::ExitCode;

use pg_test::setup::{OwnServer, PG_CONFIG_VARIABLE, Report, another_cargo, suppressions};
use pg_test::{Failure, MEMCHECK_VARIABLE, OTHER_VARIABLE, SLOWNESS_VARIABLE, process, workspace};

/// What is looked at under valgrind unless others are named: it takes its time.
const UNDER_VALGRIND: [&str; 4] = ["blockers::", "take::", "trail::", "faults::"];

/// How much slower a server is there.
const SLOWNESS: &str = "30";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every scenario passed.
fn run() -> Result<bool, Failure> {
    process::install_signal_handlers()?;
    let mut arguments = std::env::args().skip(1);
    let server = match arguments.next().as_deref() {
        Some("asserted") => OwnServer::Asserted,
        Some("memcheck") => OwnServer::Memcheck,
        _ => {
            return Err(Failure::new(
                "usage: cargo asserted [FILTER…]\n       cargo memcheck [FILTER…]",
            ));
        }
    };
    let mut filters: Vec<String> = arguments.filter(|argument| argument != "--").collect();
    if filters.is_empty() && server == OwnServer::Memcheck {
        filters.extend(UNDER_VALGRIND.map(str::to_owned));
    }
    let pg_config = {
        let _lock = workspace::lock()?;
        server.build(&Report::new(true))?
    };
    let runs = match filters.is_empty() {
        true => vec![None],
        false => filters.into_iter().map(Some).collect(),
    };
    let mut all_passed = true;
    for filter in runs {
        let mut test = another_cargo();
        test.args(["test", "--quiet", "-p", "pg_test", "--test", "all", "--"]);
        test.args(filter);
        test.env(PG_CONFIG_VARIABLE, &pg_config);
        match server {
            OwnServer::Asserted => test.env(OTHER_VARIABLE, "/usr/lib/postgresql/15/bin/pg_config"),
            OwnServer::Memcheck => test
                .env(MEMCHECK_VARIABLE, suppressions()?)
                .env(SLOWNESS_VARIABLE, SLOWNESS),
        };
        all_passed &= process::run_interactively(test)
            .map_err(|error| Failure::new(format!("could not run cargo: {error}")))?
            .success();
    }
    Ok(all_passed)
}
