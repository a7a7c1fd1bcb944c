//! From a bare machine to an installation with the extension in it, in the order the steps need each other.
//!
//! Every step first looks whether there is anything to do, and says nothing when there is not. What it
//! does install, it announces first: what, why, and the command.

mod build;
mod cargo_pgrx;
mod debian;
mod own_server;
mod postgres;
pub(crate) mod python;
mod report;
mod requirements;
mod unit_tests;

use std::path::PathBuf;
use std::process::Command;

pub use build::Profile;
pub use own_server::{OwnServer, suppressions};
pub use postgres::{PG_CONFIG_VARIABLE, Postgres};
pub use report::Report;

use crate::account::Account;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::process;
use crate::workspace;

/// What to set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How the extension is compiled.
    pub profile: Profile,
    /// Say of each step how long it took. `LOCKGUARD_VERBOSE=1` in the environment asks for it too.
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        let verbose = std::env::var_os("LOCKGUARD_VERBOSE")
            .is_some_and(|value| !value.is_empty() && value != "0");
        Self {
            profile: Profile::Debug,
            verbose,
        }
    }
}

/// The tools that build the extension: a PostgreSQL with headers, and cargo-pgrx of the pinned version.
#[derive(Clone, Debug)]
pub struct Toolchain {
    postgres: Postgres,
    cargo_pgrx: PathBuf,
    python: PathBuf,
}

impl Toolchain {
    /// Finds the tools, and installs those that are missing.
    ///
    /// # Errors
    /// With the exact command to type, when something is missing that we may not install ourselves.
    pub fn find_or_install(report: &Report) -> Result<Self, Failure> {
        let wanted = postgres::Wanted::from_environment()?;
        let (postgres, python) = report.step("Debian packages", || {
            requirements::install_missing(&wanted)?;
            Ok((Postgres::read(&wanted)?, requirements::python()?))
        })?;
        let cargo_pgrx = report.step("cargo-pgrx", || cargo_pgrx::find_or_install(report))?;
        Ok(Self {
            postgres,
            cargo_pgrx,
            python,
        })
    }

    /// The PostgreSQL that is built against and copied.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// A Python that can make virtual environments.
    pub fn python(&self) -> &std::path::Path {
        &self.python
    }

    /// What the environment of a cargo that compiles the extension must contain.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        build::environment(&self.postgres)
    }

    /// Runs the unit tests of the extension's pure modules; `Ok` says how many passed.
    ///
    /// # Errors
    /// When one fails, or none ran.
    pub fn run_unit_tests(&self) -> Result<usize, Failure> {
        unit_tests::run(&self.postgres)
    }

    /// A cargo for work inside this checkout, free of what an outer cargo left in the environment.
    pub fn cargo(&self) -> Command {
        build::cargo(&self.postgres)
    }
}

/// A cargo for this checkout, for a program that cargo itself has started.
pub fn another_cargo() -> Command {
    let mut command = Command::new(build::cargo_program());
    command.current_dir(workspace::root());
    build::forget_outer_cargo(&mut command);
    command
}

/// The environment variable that names the `pg_config` of another build of the same major, whose library the server
/// that is tested must refuse.
pub const OTHER_VARIABLE: &str = "LOCKGUARD_OTHER_PG_CONFIG";

/// The extension's library, built for the server that [`OTHER_VARIABLE`] names.
pub fn library_for_another_server(toolchain: &Toolchain) -> Result<PathBuf, Failure> {
    let pg_config = std::env::var_os(OTHER_VARIABLE).unwrap_or_default().into();
    let other = Toolchain {
        postgres: Postgres::read(&postgres::Wanted { pg_config })?,
        ..toolchain.clone()
    };
    let _lock = workspace::lock()?;
    let staged = build::package(&other, Profile::Debug, &Report::new(false))?;
    let place = &other.postgres.pkglibdir;
    Ok(staged
        .join(place.strip_prefix("/").unwrap_or(place))
        .join("lockguard.so"))
}

/// Does everything: tools, extension, private installation.
///
/// Also installs the signal handlers, so that an interrupted run leaves nothing behind.
pub fn run(options: Options) -> Result<Installation, Failure> {
    process::install_signal_handlers()?;
    let report = Report::new(options.verbose);
    // Until the package is copied: another run could be about to build it anew.
    let _lock = workspace::lock()?;
    let toolchain = Toolchain::find_or_install(&report)?;
    let staged = report.step("extension", || {
        build::package(&toolchain, options.profile, &report)
    })?;
    report.step("private installation", || {
        Installation::create(toolchain, &staged, Account::for_servers()?)
    })
}
