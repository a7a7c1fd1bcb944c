//! Python packages for the tests that need them, from PyPI once and from the target directory afterwards.
//!
//! The servers' account cannot be expected to reach the target directory (a checkout of root's lies in
//! `/root`), and a virtual environment cannot be moved: so the packages are kept here, and each run makes
//! itself an environment in its temporary folder that they are copied into.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::report::{Show, announce, run_tool};
use crate::failure::{During, Failure};
use crate::process::Ending;
use crate::workspace;

/// The folder with `packages` (as pip spells them: `Django==5.2`) and all that they need.
pub(crate) fn site_packages(python: &Path, packages: &[&str]) -> Result<PathBuf, Failure> {
    let mut hasher = DefaultHasher::new();
    (python, packages).hash(&mut hasher);
    let _lock = workspace::lock()?;
    let venv = workspace::scratch()?.join(format!("python-{:016x}", hasher.finish()));
    let complete = venv.join("complete");
    if !complete.is_file() {
        announce(&format!(
            "fetching {} from PyPI into {}",
            packages.join(", "),
            venv.display()
        ));
        let mut make = Command::new(python);
        make.args(["-m", "venv", "--clear"]).arg(&venv);
        run_tool(
            make,
            Ending::Build,
            Show::Nothing,
            "make a Python virtual environment",
        )?;
        let mut install = Command::new(venv.join("bin/python"));
        install
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(packages);
        run_tool(
            install,
            Ending::Build,
            Show::Nothing,
            "install Python packages",
        )?;
        std::fs::write(&complete, "").during(format!("write {}", complete.display()))?;
    }
    find_in(&venv)
}

/// `lib/python3.11/site-packages` of an environment.
pub(crate) fn find_in(venv: &Path) -> Result<PathBuf, Failure> {
    let lib = venv.join("lib");
    std::fs::read_dir(&lib)
        .during(format!("look into {}", lib.display()))?
        .flatten()
        .map(|entry| entry.path().join("site-packages"))
        .find(|path| path.is_dir())
        .ok_or_else(|| Failure::new(format!("no site-packages below {}", lib.display())))
}
