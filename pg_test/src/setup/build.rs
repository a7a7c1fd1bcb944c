//! Compiling the extension and staging it as an install tree, unless nothing has changed since.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, UNIX_EPOCH};

use super::Toolchain;
use super::own_server;
use super::postgres::Postgres;
use super::report::{Report, Show, announce, run_tool};
use crate::failure::{During, Failure};
use crate::process::Ending;
use crate::workspace;

/// How the extension is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build: for tests and the demo.
    Debug,
    /// As users install it: for measurements.
    Release,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }
}

/// The files and folders that the package is made from.
const SOURCES: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    "lockguard.control",
    "src",
    "sql",
    ".cargo",
];

/// Where the staged install tree is: `usr/lib/postgresql/15/lib/lockguard.so` and so on below it.
pub(super) fn package(
    toolchain: &Toolchain,
    profile: Profile,
    report: &Report,
) -> Result<PathBuf, Failure> {
    let postgres = &toolchain.postgres;
    let mut name = format!("{}-{}", postgres.feature(), profile.name());
    if let Some(own) = own_server::name_of(&postgres.pg_config) {
        name.extend(["-", own]);
    }
    let base = workspace::scratch()?.join(&name);
    let staged = base.join("package");
    let stamp = base.join("stamp");
    // Taken before the build: a file saved while it runs makes the next run build again.
    let fingerprint = fingerprint(toolchain, profile);
    if staged.is_dir() && std::fs::read_to_string(&stamp).is_ok_and(|known| known == fingerprint) {
        return Ok(staged);
    }
    let started = Instant::now();
    if !stamp.is_file() {
        announce("building the extension; the first time takes some minutes");
    }
    // A tree that is laid over an older one would keep scripts that no longer exist.
    if base.is_dir() {
        std::fs::remove_dir_all(&base).during(format!("remove {}", base.display()))?;
    }
    std::fs::create_dir_all(&staged).during(format!("create {}", staged.display()))?;

    let mut command = Command::new(&toolchain.cargo_pgrx);
    command.current_dir(workspace::root());
    forget_outer_cargo(&mut command);
    command
        .envs(environment(postgres))
        .env("CARGO", cargo_program());
    command.args([
        "pgrx",
        "package",
        "-p",
        "lockguard",
        "--no-default-features",
        "--features",
        &postgres.feature(),
    ]);
    if profile == Profile::Debug {
        command.arg("--debug");
    }
    command
        .arg("--pg-config")
        .arg(&postgres.pg_config)
        .arg("--out-dir")
        .arg(&staged);
    run_tool(
        command,
        Ending::Build,
        Show::Progress,
        "build the extension",
    )?;
    std::fs::write(&stamp, fingerprint).during(format!("write {}", stamp.display()))?;
    report.took("cargo pgrx package", started.elapsed());
    Ok(staged)
}

/// What pgrx's build script needs to know. With this variable it asks for no `cargo pgrx init` and reads
/// no `config.toml` (pgrx-pg-config, `Pgrx::from_config`), so the user's own `~/.pgrx` is left out of it.
pub(super) fn environment(postgres: &Postgres) -> Vec<(&'static str, PathBuf)> {
    let mut environment = vec![("PGRX_PG_CONFIG_PATH", postgres.pg_config.clone())];
    let target = own_server::cargo_target(&postgres.pg_config);
    environment.extend(target.map(|target| ("CARGO_TARGET_DIR", target)));
    environment
}

/// A cargo for work inside this checkout.
pub(super) fn cargo(postgres: &Postgres) -> Command {
    let mut command = Command::new(cargo_program());
    command.current_dir(workspace::root());
    forget_outer_cargo(&mut command);
    command.envs(environment(postgres));
    command
}

/// The cargo that started us, else the one on the PATH.
pub(super) fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Removes what `cargo run` and `cargo test` add to the environment of the program they start.
///
/// An inner cargo would take it for the user's wish, and rebuild whatever it believes to depend on it.
pub(super) fn forget_outer_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "PGRX_"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
        if ours || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
    let Some(path) = std::env::var_os("LD_LIBRARY_PATH") else {
        return;
    };
    let target = workspace::target_dir();
    let toolchain = Path::new(&cargo_program())
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf);
    let kept: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|dir| {
            !dir.starts_with(&target)
                && toolchain.as_ref().is_none_or(|toolchain| {
                    toolchain.as_os_str().is_empty() || !dir.starts_with(toolchain)
                })
        })
        .collect();
    match std::env::join_paths(&kept) {
        Ok(path) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", path),
        _ => command.env_remove("LD_LIBRARY_PATH"),
    };
}

/// Changes when a source, the profile, the server or a compiler setting does.
fn fingerprint(toolchain: &Toolchain, profile: Profile) -> String {
    let mut hasher = DefaultHasher::new();
    (
        profile.name(),
        &toolchain.postgres.version,
        &toolchain.postgres.pg_config,
        &toolchain.cargo_pgrx,
    )
        .hash(&mut hasher);
    cargo_program().hash(&mut hasher);
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "RUSTUP_TOOLCHAIN",
    ] {
        std::env::var_os(name).hash(&mut hasher);
    }
    for source in SOURCES {
        hash_tree(&workspace::root().join(source), &mut hasher);
    }
    format!("{:016x}\n", hasher.finish())
}

/// Path, size and time of modification of a file, or of all files below a folder in a fixed order.
fn hash_tree(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    let Ok(metadata) = std::fs::metadata(path) else {
        return;
    };
    if metadata.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        for entry in entries {
            hash_tree(&entry, hasher);
        }
    } else {
        metadata.len().hash(hasher);
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        modified.hash(hasher);
    }
}
