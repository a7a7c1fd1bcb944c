//! Servers under valgrind, where the environment asks for it (`cargo memcheck` does).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::complaints::{MARKERS, MEMCHECK_LOG};
use crate::failure::Failure;
use crate::installation::Installation;

/// The environment variable that names PostgreSQL's own suppressions; with it, servers run under valgrind.
pub const MEMCHECK_VARIABLE: &str = "LOCKGUARD_MEMCHECK";

/// How a server is started that is to write its logs to `folder`.
pub(crate) fn server(installation: &Installation, folder: &Path) -> Result<Command, Failure> {
    let Some(suppressions) = std::env::var_os(MEMCHECK_VARIABLE).map(PathBuf::from) else {
        return Ok(installation.command("postgres"));
    };
    let mut command = installation.command("/usr/bin/valgrind");
    command.args([
        "--quiet",
        "--vgdb=no",
        "--leak-check=no",
        "--trace-children=yes",
        "--gen-suppressions=all",
        "--num-callers=30",
    ]);
    command.arg(format!("--error-markers={},{}", MARKERS.0, MARKERS.1));
    let log = folder.join(format!("{MEMCHECK_LOG}%p.log"));
    command.arg(format!("--log-file={}", log.display()));
    let readable = installation.copy_in(&suppressions)?;
    command.arg(format!("--suppressions={}", readable.display()));
    command.arg(installation.program("postgres"));
    Ok(command)
}
