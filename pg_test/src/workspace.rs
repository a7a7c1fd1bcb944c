//! Where this checkout keeps its things, and the one place that pins pgrx.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::failure::{During, Failure};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The target directory of the cargo that runs us, wherever the user has put it.
///
/// Read from our own place below it: cargo marks the top of each target directory for backup programs.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors()
        .skip(1)
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// Our own corner of the target directory: staged packages, logs, Python packages. `cargo clean` empties it.
pub fn scratch() -> Result<PathBuf, Failure> {
    let dir = target_dir().join("pg_test");
    std::fs::create_dir_all(&dir).during(format!("create {}", dir.display()))?;
    Ok(dir)
}

/// Keeps other runs in this checkout away from [`scratch`] until the returned file is dropped.
pub fn lock() -> Result<File, Failure> {
    let path = scratch()?.join("lock");
    let file = File::create(&path).during(format!("write {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("another run builds in this checkout; waiting for it");
        file.lock().during(format!("lock {}", path.display()))?;
    }
    Ok(file)
}

/// The pgrx version that the extension is pinned to; cargo-pgrx must be of the same.
pub fn pinned_pgrx() -> Result<String, Failure> {
    let path = root().join("Cargo.toml");
    let manifest = std::fs::read_to_string(&path).during(format!("read {}", path.display()))?;
    exact_version(&manifest, "pgrx")
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::new(format!(
                "{} does not pin pgrx with `pgrx = \"=…\"`",
                path.display()
            ))
        })
}

/// The version in the manifest's line `name = "=version"`, or in a table `name = { version = "=version" …`.
fn exact_version<'a>(manifest: &'a str, name: &str) -> Option<&'a str> {
    manifest.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        if key.trim() != name {
            return None;
        }
        let (_, from) = value.split_once("\"=")?;
        let (version, _) = from.split_once('"')?;
        Some(version.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_read_in_both_spellings() {
        assert_eq!(
            exact_version("pgrx-tests = \"=1\"\npgrx = \"=0.18.1\"\n", "pgrx"),
            Some("0.18.1")
        );
        assert_eq!(
            exact_version("pgrx = { version = \"=0.18.1\", features = [] }", "pgrx"),
            Some("0.18.1")
        );
        assert_eq!(exact_version("pgrx = \"0.18\"", "pgrx"), None);
    }

    #[test]
    fn this_workspace_pins_pgrx() {
        assert!(pinned_pgrx().is_ok());
    }
}
