//! The unit and property tests of the extension's pure modules, run by an inner cargo.
//!
//! They link without PostgreSQL, but compile with its headers: hence not a plain `cargo test`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::build;
use super::postgres::Postgres;
use crate::failure::{During, Failure};
use crate::process::{Ending, Process};

/// Runs them with their output forwarded; says how many passed.
pub(super) fn run(postgres: &Postgres) -> Result<usize, Failure> {
    let mut command = build::cargo(postgres);
    command.args([
        "test",
        "--package",
        "lockguard",
        "--lib",
        "--no-default-features",
        "--features",
        &postgres.feature(),
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut process = Process::spawn(command, Ending::Build).during("run cargo")?;
    let mut passed = 0;
    if let Some(stdout) = process.take_stdout() {
        for line in BufReader::new(stdout).lines() {
            let line = line.during("read what the unit tests say")?;
            passed += passed_in(&line).unwrap_or(0);
            // Whoever reads our output may have stopped; the result counts all the same.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
    let status = loop {
        if let Some(status) = process.wait(std::time::Duration::from_secs(60)) {
            break status;
        }
    };
    match (status.success(), passed) {
        (true, 0) => Err(Failure::new("cargo ran no unit test at all")),
        (true, passed) => Ok(passed),
        (false, _) => Err(Failure::new(format!("unit tests failed: {status}"))),
    }
}

/// The count in "test result: ok. 12 passed; 0 failed; …".
fn passed_in(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("test result: ok. ")?;
    rest.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_tells_how_many_passed() {
        assert_eq!(
            passed_in("test result: ok. 12 passed; 0 failed; 0 ignored"),
            Some(12)
        );
        assert_eq!(passed_in("test result: FAILED. 3 passed; 1 failed"), None);
        assert_eq!(passed_in("test pattern::tests::star ... ok"), None);
    }
}
