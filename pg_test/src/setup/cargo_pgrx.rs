//! cargo-pgrx, which must be of the very version of pgrx.
//!
//! The user's own is used when it fits and never replaced when it does not: then ours goes under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::build;
use super::report::{Report, Show, announce, run_tool};
use crate::failure::Failure;
use crate::process::Ending;
use crate::workspace;

/// The path of a cargo-pgrx in the pinned version.
pub(super) fn find_or_install(report: &Report) -> Result<PathBuf, Failure> {
    let wanted = workspace::pinned_pgrx()?;
    let tools = workspace::target_dir().join("tools");
    let mut another = None;
    for candidate in candidates(&tools) {
        match version_of(&candidate) {
            Some(version) if version == wanted => return Ok(candidate),
            Some(version) => another = Some(version),
            None => {}
        }
    }
    let place = match &another {
        Some(version) => format!(
            "your own is {version} and stays; this one goes to {}",
            tools.display()
        ),
        None => "as `cargo install cargo-pgrx` does".to_owned(),
    };
    announce(&format!(
        "installing cargo-pgrx {wanted}, which builds the extension ({place}). This takes 4 to 8 minutes, once."
    ));

    let started = std::time::Instant::now();
    let build_dir = tools.join("build");
    let mut install = Command::new(build::cargo_program());
    build::forget_outer_cargo(&mut install);
    install.args([
        "install",
        "--locked",
        "--force",
        // The default features add a second TLS library beside the one that it uses: OpenSSL, with
        // headers and pkg-config to be installed first.
        "--no-default-features",
        "cargo-pgrx",
        "--version",
        &format!("={wanted}"),
    ]);
    // A lasting build folder: an installation that was interrupted goes on where it stopped.
    install.env("CARGO_TARGET_DIR", &build_dir);
    if another.is_some() {
        install.arg("--root").arg(&tools);
    }
    run_tool(
        install,
        Ending::Build,
        Show::Everything,
        &format!("install cargo-pgrx {wanted}"),
    )?;
    // Half a gigabyte that nobody needs again.
    let _ = std::fs::remove_dir_all(&build_dir);
    report.took("cargo install cargo-pgrx", started.elapsed());

    candidates(&tools)
        .into_iter()
        .find(|candidate| version_of(candidate).is_some_and(|version| version == wanted))
        .ok_or_else(|| Failure::new(format!("cargo installed cargo-pgrx {wanted}, but it is not to be found; is cargo's bin folder on the PATH?")))
}

/// Where a cargo-pgrx may be.
fn candidates(tools: &Path) -> Vec<PathBuf> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let install_root = std::env::var_os("CARGO_INSTALL_ROOT").map(PathBuf::from);
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    [Some(tools.to_path_buf()), install_root, cargo_home]
        .into_iter()
        .flatten()
        .map(|root| root.join("bin"))
        .chain(std::env::split_paths(&on_path))
        .map(|dir| dir.join("cargo-pgrx"))
        .filter(|path| path.is_file())
        .collect()
}

/// What `cargo pgrx --version` says of the program at `path`.
fn version_of(path: &Path) -> Option<String> {
    let output = Command::new(path)
        .args(["pgrx", "--version"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .rsplit(' ')
        .next()
        .map(str::to_owned)
        .filter(|version| output.status.success() && !version.is_empty())
}
