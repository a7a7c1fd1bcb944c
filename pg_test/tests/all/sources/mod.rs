//! What the extension's sources must be like, read by a parser of Rust: no server is asked.

mod calls;
mod recursion;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use libtest_mimic::Trial;

use crate::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    recursion::trials(world)
}

/// The extension's own folder of sources.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src")
}

/// Every file of them, by its path below that folder, but for files of tests.
fn files() -> Vec<(String, syn::File)> {
    let mut files = vec![];
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((name, syn::parse_file(&text).unwrap()));
            }
        }
    }
    let tests: Vec<String> = files.iter().flat_map(tests_of).collect();
    files.retain(|(name, _)| !tests.iter().any(|test| name.starts_with(test)));
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// The beginnings of the paths of those modules of a file that are there for tests alone.
fn tests_of((name, file): &(String, syn::File)) -> Vec<String> {
    let module = name.trim_end_matches(".rs");
    let folder = module.strip_suffix("/mod").unwrap_or(module);
    let tests = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(item) if calls::is_test(&item.attrs) => Some(item.ident.to_string()),
        _ => None,
    });
    tests
        .flat_map(|test| [format!("{folder}/{test}.rs"), format!("{folder}/{test}/")])
        .collect()
}
