//! A private copy of a PostgreSQL installation with the packaged extension laid over it.
//!
//! PostgreSQL's programs find their files relative to their own place, provided the folders keep their
//! places to each other: so bin, lib and share are copied under one root with their absolute paths below
//! it. The system's own files are only read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::account::Account;
use crate::failure::{During, Failure};
use crate::process::{self, Ending, RunFolder};
use crate::setup::{Postgres, Toolchain, python};

/// How long copying or initdb may take, on a very slow disk.
const PATIENCE: Duration = Duration::from_secs(300);

/// Folders that no running server or program reads, and half of all files.
const UNUSED: [&str; 4] = ["bitcode", "doc", "man", "pgxs"];

/// A private PostgreSQL, removed with everything that was made in it when the last handle is dropped.
#[derive(Clone)]
pub struct Installation(Arc<Inner>);

struct Inner {
    folder: RunFolder,
    bindir: PathBuf,
    /// Libraries that the programs need beside the system's.
    libdir: Option<PathBuf>,
    account: Account,
    toolchain: Toolchain,
    /// A freshly initialised data directory that new clusters are copied from, once there is one.
    template: Mutex<Option<PathBuf>>,
    next_number: AtomicU32,
}

impl Installation {
    /// Copies `toolchain`'s PostgreSQL to a temporary folder and lays the staged package over it.
    pub(crate) fn create(
        toolchain: Toolchain,
        staged: &Path,
        account: Account,
    ) -> Result<Self, Failure> {
        let folder = RunFolder::create(&account)?;
        let root = folder.path().join("pg");
        let home = folder.path().join("home");
        for dir in [&root, &home] {
            std::fs::create_dir(dir).during(format!("create {}", dir.display()))?;
        }
        for part in parts(toolchain.postgres()) {
            copy_contents(part, &below(&root, part), &UNUSED)?;
        }
        copy_contents(staged, &root, &[])?;
        let libdir = copy_libraries(toolchain.postgres(), &folder.path().join("lib"))?;
        account.give_tree(folder.path())?;
        let bindir = below(&root, &toolchain.postgres().bindir);
        let (template, next_number) = (Mutex::new(None), AtomicU32::new(1));
        Ok(Self(Arc::new(Inner {
            folder,
            bindir,
            libdir,
            account,
            toolchain,
            template,
            next_number,
        })))
    }

    /// Another one like it, for a scenario that changes its files. This one must outlive it.
    pub fn copy(&self) -> Result<Self, Failure> {
        let folder = RunFolder::create(self.account())?;
        let (root, home) = (folder.path().join("pg"), folder.path().join("home"));
        std::fs::create_dir(&home).during(format!("create {}", home.display()))?;
        copy_contents(&self.folder().join("pg"), &root, &[])?;
        self.account().give_tree(folder.path())?;
        Ok(Self(Arc::new(Inner {
            bindir: below(&root, &self.postgres().bindir),
            folder,
            libdir: self.0.libdir.clone(),
            account: self.0.account.clone(),
            toolchain: self.0.toolchain.clone(),
            template: Mutex::new(None),
            next_number: AtomicU32::new(1),
        })))
    }

    /// The extension's library.
    pub fn library(&self) -> PathBuf {
        below(&self.folder().join("pg"), &self.postgres().pkglibdir).join("lockguard.so")
    }

    /// The private folder; whatever is put there goes with it. Reachable by the servers' account alone.
    pub fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// A new empty folder in it that belongs to the servers' account.
    pub fn new_folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let number = self.0.next_number.fetch_add(1, Ordering::Relaxed);
        let path = self.folder().join(format!("{name}{number}"));
        std::fs::create_dir(&path).during(format!("create {}", path.display()))?;
        self.0.account.give(&path)?;
        Ok(path)
    }

    /// Where its extensions' control files and scripts are.
    pub fn extension_folder(&self) -> PathBuf {
        below(&self.folder().join("pg"), &self.postgres().sharedir).join("extension")
    }

    /// A copy of a file or folder, where the servers' account can read it.
    pub fn copy_in(&self, source: &Path) -> Result<PathBuf, Failure> {
        let folder = self.new_folder("copy")?;
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(source).arg(&folder);
        finish(copy, &format!("copy {}", source.display()))?;
        self.0.account.give_tree(&folder)?;
        Ok(folder.join(source.file_name().unwrap_or_default()))
    }

    /// The PostgreSQL it was copied from.
    pub fn postgres(&self) -> &Postgres {
        self.0.toolchain.postgres()
    }

    /// 15, 16, 17 or 18.
    pub fn major(&self) -> u32 {
        self.postgres().major
    }

    /// The tools it was built with.
    pub fn toolchain(&self) -> &Toolchain {
        &self.0.toolchain
    }

    /// The account that runs servers and programs.
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.bindir.join(name)
    }

    /// A command to run one of its programs, or any other, under the servers' account.
    ///
    /// `name` without a slash is looked for among PostgreSQL's programs. The environment is clean: what
    /// the user has set there (`PGHOST`, `RUST_BACKTRACE`, …) must not reach servers and clients.
    pub fn command(&self, name: impl AsRef<Path>) -> Command {
        let name = name.as_ref();
        let mut command = Command::new(self.0.bindir.join(name));
        command.env_clear();
        command.env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", self.0.bindir.display()),
        );
        command.env("HOME", self.folder().join("home"));
        if let Some(libdir) = &self.0.libdir {
            command.env("LD_LIBRARY_PATH", libdir);
        }
        command.env("LANG", "C.UTF-8").env("TZ", "UTC");
        command.current_dir(self.folder().join("home"));
        self.0.account.apply(&mut command);
        command
    }

    /// The Python of a new virtual environment that holds `packages` (as pip spells them) from PyPI.
    ///
    /// Run it with [`crate::Database::command`], which gives it the connection (`PGHOST`, …).
    pub fn virtual_environment(&self, packages: &[&str]) -> Result<PathBuf, Failure> {
        let base_python = self.toolchain().python();
        let kept = python::site_packages(base_python, packages)?;
        let venv = self.new_folder("venv")?;
        let mut make = self.command(base_python);
        make.args(["-m", "venv", "--without-pip"]).arg(&venv);
        finish(make, "make a Python virtual environment")?;
        copy_contents(&kept, &python::find_in(&venv)?, &[])?;
        self.0.account.give_tree(&venv)?;
        Ok(venv.join("bin/python"))
    }

    /// A freshly initialised data directory at `target`, which must not exist yet.
    pub(crate) fn init_data_directory(&self, target: &Path) -> Result<(), Failure> {
        let mut template = self
            .0
            .template
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let source = match &*template {
            Some(source) => source.clone(),
            None => {
                let source = self.folder().join("template");
                let mut initdb = self.command("initdb");
                initdb.args([
                    "-N",
                    "-A",
                    "trust",
                    "-U",
                    "postgres",
                    "-E",
                    "UTF8",
                    "--no-locale",
                    "--no-instructions",
                    "-D",
                ]);
                initdb.arg(&source);
                finish(initdb, "run initdb")?;
                template.insert(source).clone()
            }
        };
        drop(template);
        let mut copy = self.command("/bin/cp");
        copy.arg("-a").arg(&source).arg(target);
        finish(copy, "copy the data directory")
    }
}

/// The folders to copy, none of them inside another.
fn parts(postgres: &Postgres) -> Vec<&Path> {
    let all = [&*postgres.bindir, &postgres.pkglibdir, &postgres.sharedir];
    all.into_iter()
        .filter(|part| {
            !all.iter()
                .any(|other| part != other && part.starts_with(other))
        })
        .collect()
}

/// The libraries that an installation outside the system's folders brings along, libpq above all.
///
/// Its programs may know their place only relative to their own, which is another in the copy.
fn own_libraries(postgres: &Postgres) -> BTreeSet<PathBuf> {
    if postgres.bindir.starts_with("/usr/lib") {
        return BTreeSet::new();
    }
    let mut listing = Command::new("ldd");
    listing.args(
        [
            "initdb",
            "pg_basebackup",
            "pg_dump",
            "pgbench",
            "postgres",
            "psql",
        ]
        .map(|name| postgres.bindir.join(name)),
    );
    listing.arg(postgres.pkglibdir.join("libpqwalreceiver.so"));
    // A static program makes ldd fail, and one that is missing too: what it did list is what we want.
    let listed = process::run(listing)
        .map(|captured| captured.stdout)
        .unwrap_or_default();
    listed
        .lines()
        .filter_map(|line| line.split_once("=> ")?.1.split(' ').next())
        .map(PathBuf::from)
        .filter(|path| {
            path.is_absolute()
                && !["/lib", "/lib64", "/usr"]
                    .iter()
                    .any(|system| path.starts_with(system))
        })
        .collect()
}

/// Copies those libraries to `target`; `None` when there are none.
fn copy_libraries(postgres: &Postgres, target: &Path) -> Result<Option<PathBuf>, Failure> {
    let libraries = own_libraries(postgres);
    if libraries.is_empty() {
        return Ok(None);
    }
    std::fs::create_dir(target).during(format!("create {}", target.display()))?;
    for library in &libraries {
        let to = target.join(library.file_name().unwrap_or_default());
        std::fs::copy(library, to).during(format!("copy {}", library.display()))?;
    }
    Ok(Some(target.to_path_buf()))
}

/// `path`, an absolute one, below `root`.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies what is in `source` into `target`, over what is there, with permissions but without owners;
/// folders of the names `skipped` are left out.
fn copy_contents(source: &Path, target: &Path, skipped: &[&str]) -> Result<(), Failure> {
    std::fs::create_dir_all(target).during(format!("create {}", target.display()))?;
    for entry in std::fs::read_dir(source).during(format!("read {}", source.display()))? {
        let entry = entry.during(format!("read {}", source.display()))?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        // What a link leads to is copied: out of its place it would lead elsewhere.
        let Ok(metadata) = std::fs::metadata(&from) else {
            continue;
        };
        if metadata.is_file() {
            std::fs::copy(&from, &to).during(format!("copy {}", from.display()))?;
        } else if metadata.is_dir() && !skipped.iter().any(|name| entry.file_name() == *name) {
            copy_contents(&from, &to, skipped)?;
        }
    }
    Ok(())
}

/// Runs a short program to its end.
fn finish(command: Command, what: &str) -> Result<(), Failure> {
    let captured = process::run_to_end(command, Ending::Patient, PATIENCE).during(what)?;
    if captured.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "could not {what}: {}\n{}{}",
        captured.status, captured.stdout, captured.stderr
    )))
}
