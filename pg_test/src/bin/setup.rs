//! `cargo setup`: installs what `cargo demo` and `cargo test` need, and nothing else.
//!
//! With `--env` it prints the environment that clippy or an editor needs to compile the extension, and the
//! extension's feature for this PostgreSQL, for `eval "$(cargo setup -- --env)"`.

use std::process::ExitCode;

use pg_test::setup::{Options, Report, Toolchain};
use pg_test::{Failure, process, workspace};

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
    process::install_signal_handlers()?;
    let mut print_environment = false;
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--env" => print_environment = true,
            "-v" | "--verbose" => options.verbose = true,
            other => {
                return Err(Failure::new(format!(
                    "unknown argument {other}\nusage: cargo setup -- [-v] [--env]"
                )));
            }
        }
    }
    let _lock = workspace::lock()?;
    let toolchain = Toolchain::find_or_install(&Report::new(options.verbose))?;
    if print_environment {
        println!(
            "export LOCKGUARD_PG_FEATURE={}",
            toolchain.postgres().feature()
        );
        for (name, value) in toolchain.environment() {
            println!(
                "export {name}='{}'",
                value.display().to_string().replace('\'', r"'\''")
            );
        }
    }
    Ok(())
}
