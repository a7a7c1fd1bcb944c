//! What must be on the machine besides Rust, and how to tell that it is there.
//!
//! Looked for is the very file or program that is needed, not a package: it may have come another way.
//! A C compiler and libc's headers are not in the list, for without them this program had not been linked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debian::{self, Package};
use super::postgres::{PG_CONFIG_VARIABLE, Wanted};
use crate::failure::Failure;

/// Programs of the server package that scenarios use.
const PROGRAMS: [&str; 7] = [
    "postgres",
    "initdb",
    "pg_basebackup",
    "pg_config",
    "pg_dump",
    "pgbench",
    "psql",
];

/// Finds what is missing, and has Debian install it.
pub(super) fn install_missing(wanted: &Wanted) -> Result<(), Failure> {
    let server = PROGRAMS
        .iter()
        .all(|program| wanted.bindir().join(program).is_file());
    let headers = server_headers(wanted).is_some_and(|dir| dir.join("postgres.h").is_file());
    let mut missing = Vec::new();
    match wanted.debian_major() {
        Some(major) => {
            if !server {
                missing.push(Package::new(
                    format!("postgresql-{major}"),
                    "the PostgreSQL server and its programs",
                ));
            }
            if !headers {
                missing.push(Package::new(
                    format!("postgresql-server-dev-{major}"),
                    "its headers, to compile the extension against",
                ));
            }
        }
        None if !server || !headers => {
            return Err(Failure::new(format!(
                "{} ({PG_CONFIG_VARIABLE}) is not of a complete installation: {} missing.\n\
                 Install the rest of it, or unset {PG_CONFIG_VARIABLE}.",
                wanted.pg_config.display(),
                if server {
                    "server headers are"
                } else {
                    "programs such as postgres, initdb, pg_dump or pgbench are"
                },
            )));
        }
        None => {}
    }
    if !has_libclang() || !has_clang_headers() {
        missing.push(Package::new("libclang-dev", "reads those headers for Rust"));
    }
    if python().is_err() {
        missing.push(Package::new(
            "python3-venv",
            "a virtual environment for the Django test",
        ));
    }
    if missing.is_empty() {
        return Ok(());
    }
    debian::install(&missing)?;
    let still = (!has_libclang() || python().is_err()).then_some("libclang or python3-venv");
    match still {
        Some(what) => Err(Failure::new(format!(
            "apt-get reported success, but {what} still cannot be found"
        ))),
        None => Ok(()),
    }
}

/// Where the headers are, or would be.
fn server_headers(wanted: &Wanted) -> Option<PathBuf> {
    let output = Command::new(&wanted.pg_config)
        .arg("--includedir-server")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// A Python that can make virtual environments: Debian's own before whatever else is called python3.
pub(super) fn python() -> Result<PathBuf, Failure> {
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|python| {
            Command::new(python)
                .args(["-c", "import venv, ensurepip"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("no python3 that can make virtual environments"))
}

/// Whether bindgen will find a libclang: it looks where `LIBCLANG_PATH` says, else where `llvm-config` says
/// and in the library folders of the system, up to two levels deep (clang-sys, `build/common.rs`).
fn has_libclang() -> bool {
    if let Some(path) = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from) {
        return is_libclang(&path) || holds_libclang(&path);
    }
    let by_llvm_config = std::env::var_os("LLVM_CONFIG_PATH")
        .and_then(|program| Command::new(program).arg("--prefix").output().ok())
        .is_some_and(|output| {
            holds_libclang(&Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("lib"))
        });
    by_llvm_config
        || [
            "/usr/lib",
            "/usr/lib64",
            "/usr/local/lib",
            "/usr/local/lib64",
        ]
        .iter()
        .any(|root| {
            folders_below(Path::new(root), 2)
                .iter()
                .any(|dir| holds_libclang(dir))
        })
}

fn is_libclang(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let ours = name == "libclang.so"
        || name.starts_with("libclang.so.")
        || (name.starts_with("libclang-") && name.contains(".so"));
    // libclang-cpp is another library; a link that leads nowhere is none.
    ours && !name.contains("-cpp.") && path.exists()
}

fn holds_libclang(dir: &Path) -> bool {
    std::fs::read_dir(dir)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_libclang(&entry.path())))
}

/// Whether clang's own headers (`stddef.h` and the like) are there: libclang alone reads no C.
fn has_clang_headers() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let headers_in = |base: &Path| {
        folders_below(&base.join("lib/clang"), 1)
            .iter()
            .any(|dir| dir.join("include/stddef.h").is_file())
    };
    headers_in(Path::new("/usr"))
        || headers_in(Path::new("/usr/local"))
        || folders_below(Path::new("/usr/lib"), 1)
            .iter()
            .any(|dir| headers_in(dir))
}

/// `root` and the folders below it, down to `depth` levels.
fn folders_below(root: &Path, depth: usize) -> Vec<PathBuf> {
    let mut all = vec![root.to_path_buf()];
    if depth > 0 {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                all.extend(folders_below(&entry.path(), depth - 1));
            }
        }
    }
    all
}
