//! Servers that Debian has no package of, built from its source package: with assertions, or for valgrind.
//!
//! Nothing of the system's is changed: lists, downloads, sources and builds are all below `target/servers`. What
//! a build makes is kept, and used again as long as it would be made in the same way.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::debian::{self, Package};
use super::postgres::DEFAULT_MAJOR;
use super::report::{Report, Show, announce, run_tool};
use crate::failure::{During, Failure};
use crate::process::Ending;
use crate::workspace;

/// What a server of our own is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnServer {
    /// It ends itself where something is not as it should be, and overwrites memory that is given back.
    Asserted,
    /// It tells valgrind which memory is whose.
    Memcheck,
}

/// What both are configured with: no library that would have to be installed first.
const CONFIGURE: [&str; 4] = [
    "--enable-debug",
    "--without-readline",
    "--without-zlib",
    "CFLAGS=-Og -g",
];

impl OwnServer {
    /// `asserted` or `memcheck`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asserted => "asserted",
            Self::Memcheck => "memcheck",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Asserted => &["--enable-cassert"],
            Self::Memcheck => &[],
        }
    }

    /// Goes into its `pg_config.h`, which is installed: a struct that depends on it is then the same for those who
    /// build against that server, as it would not be with a flag of the compiler.
    fn define(self) -> &'static str {
        match self {
            // Tells of every request for a lock where asked to, and enlarges PGPROC.
            Self::Asserted => "LOCK_DEBUG",
            Self::Memcheck => "USE_VALGRIND",
        }
    }

    fn folder(self) -> Result<PathBuf, Failure> {
        Ok(servers()?.join(self.name()))
    }

    fn packages(self) -> Vec<Package> {
        let mut missing = vec![];
        let mut need = |there: bool, name: &str, purpose: &'static str| {
            if !there {
                missing.push(Package::new(name, purpose));
            }
        };
        let has = |program: &str| Path::new("/usr/bin").join(program).is_file();
        need(has("dpkg-source"), "dpkg-dev", "unpacks source packages");
        need(has("make"), "make", "builds PostgreSQL");
        need(has("gcc"), "gcc", "compiles PostgreSQL");
        if self == Self::Memcheck {
            let headers = Path::new("/usr/include/valgrind/memcheck.h").is_file();
            need(
                has("valgrind") && headers,
                "valgrind",
                "sees who reads memory that nobody wrote",
            );
        }
        missing
    }

    /// Its `pg_config`, once it is built.
    ///
    /// # Errors
    /// With the command to type, when a tool is missing that we may not install ourselves.
    pub fn build(self, report: &Report) -> Result<PathBuf, Failure> {
        let folder = self.folder()?;
        let prefix = folder.join("pg");
        let pg_config = prefix.join("bin/pg_config");
        let stamp = folder.join("stamp");
        let how = format!("{CONFIGURE:?} {:?} {}\n", self.options(), self.define());
        if std::fs::read_to_string(&stamp).is_ok_and(|known| known == how) && pg_config.is_file() {
            return Ok(pg_config);
        }
        let missing = self.packages();
        if !missing.is_empty() {
            debian::install(&missing)?;
        }
        let source = source(report)?;
        announce(&format!(
            "building a PostgreSQL {DEFAULT_MAJOR} of the project's own ({}) from Debian's source package; this takes 2 to 10 minutes, once",
            self.name()
        ));
        let started = Instant::now();
        for part in [&prefix, &folder.join("build")] {
            if part.is_dir() {
                std::fs::remove_dir_all(part).during(format!("remove {}", part.display()))?;
            }
        }
        let build = folder.join("build");
        std::fs::create_dir_all(&build).during(format!("create {}", build.display()))?;
        let mut configure = Command::new(source.join("configure"));
        configure.arg(format!("--prefix={}", prefix.display()));
        configure.args(CONFIGURE).args(self.options());
        run(configure, &build, "configure PostgreSQL")?;
        let header = build.join("src/include/pg_config.h");
        let text = std::fs::read_to_string(&header).during(format!("read {}", header.display()))?;
        std::fs::write(&header, format!("{text}\n#define {} 1\n", self.define()))
            .during(format!("write {}", header.display()))?;
        let jobs = std::thread::available_parallelism().map_or(2, usize::from);
        let mut make = Command::new("make");
        make.args(["-s", &format!("-j{jobs}"), "world-bin"]);
        run(make, &build, "build PostgreSQL")?;
        let mut install = Command::new("make");
        install.args(["-s", "install-world-bin"]);
        run(install, &build, "install PostgreSQL in its folder")?;
        std::fs::write(&stamp, how).during(format!("write {}", stamp.display()))?;
        report.took("PostgreSQL of our own", started.elapsed());
        Ok(pg_config)
    }
}

/// PostgreSQL's own list of what valgrind is to pass over.
///
/// # Errors
/// When the source is not there: [`OwnServer::build`] comes first.
pub fn suppressions() -> Result<PathBuf, Failure> {
    let unpacked = unpacked()?.ok_or_else(|| Failure::new("PostgreSQL's source is gone"))?;
    Ok(unpacked.join("src/tools/valgrind.supp"))
}

/// Whose `pg_config` that is, if it is that of a server of our own.
pub(super) fn name_of(pg_config: &Path) -> Option<&'static str> {
    let servers = servers().ok()?;
    [OwnServer::Asserted, OwnServer::Memcheck]
        .map(OwnServer::name)
        .into_iter()
        .find(|name| pg_config.starts_with(servers.join(name)))
}

/// Where what cargo builds against that server goes, so that going from one server to another does not compile the
/// bindings anew.
pub(super) fn cargo_target(pg_config: &Path) -> Option<PathBuf> {
    let name = name_of(pg_config)?;
    Some(servers().ok()?.join(name).join("cargo"))
}

fn servers() -> Result<PathBuf, Failure> {
    let dir = workspace::target_dir().join("servers");
    std::fs::create_dir_all(&dir).during(format!("create {}", dir.display()))?;
    Ok(dir)
}

/// The folder of the source, if it has been unpacked.
fn unpacked() -> Result<Option<PathBuf>, Failure> {
    let folder = servers()?.join("source");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    Ok(entries
        .map(|entry| entry.path())
        .find(|path| path.join("configure").is_file()))
}

/// Debian's source package, downloaded and unpacked with its patches applied, unless it is there.
fn source(report: &Report) -> Result<PathBuf, Failure> {
    if let Some(known) = unpacked()? {
        return Ok(known);
    }
    let started = Instant::now();
    let folder = servers()?.join("source");
    std::fs::create_dir_all(&folder).during(format!("create {}", folder.display()))?;
    let apt = Apt::new()?;
    announce("downloading Debian's source package of PostgreSQL (23 MB)");
    run(
        apt.command("apt-get", &["-q", "update"]),
        &folder,
        "read Debian's lists of sources",
    )?;
    let package = format!("postgresql-{DEFAULT_MAJOR}");
    // A mirror may list what it does not have (yet).
    let mut failure = Failure::new(format!("Debian offers no source package {package}"));
    for version in apt.versions(&package) {
        let wanted = format!("{package}={version}");
        let get = apt.command("apt-get", &["-q", "source", &wanted]);
        match run(get, &folder, "get the source of PostgreSQL") {
            Ok(()) => break,
            Err(why) => failure = why,
        }
    }
    report.took("source of PostgreSQL", started.elapsed());
    unpacked()?.ok_or(failure)
}

/// apt with lists of its own, in which Debian's source packages are.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new() -> Result<Apt, Failure> {
        let folder = servers()?.join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).during(format!("create {}", part.display()))?;
        }
        let list = folder.join("sources.list");
        std::fs::write(&list, sources(&targets())).during(format!("write {}", list.display()))?;
        let place = |name: &str, path: &Path| format!("{name}={}", path.display());
        Ok(Apt {
            options: vec![
                place("Dir::Etc::sourcelist", &list),
                "Dir::Etc::sourceparts=/dev/null".into(),
                place("Dir::State::lists", &folder.join("lists")),
                place("Dir::Cache", &folder.join("cache")),
                // Whoever runs this owns these folders; root need not become somebody else for them.
                "APT::Sandbox::User=".into(),
            ],
        })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command.args(arguments);
        command
    }

    /// Those on offer, that of the installed server before the others.
    fn versions(&self, package: &str) -> Vec<String> {
        let output = self
            .command("apt-cache", &["showsrc", "--only-source", package])
            .stderr(Stdio::null())
            .output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let text = text.unwrap_or_default();
        let mut versions: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Version: "))
            .map(str::to_owned)
            .collect();
        let installed = debian::installed(package);
        versions.sort_by_key(|version| Some(version) != installed.as_ref());
        versions
    }
}

/// Where the system's packages come from, a line each: origin, address, suite, component.
fn targets() -> String {
    let format = "$(ORIGIN)|$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", format, "Created-By: Packages"])
        .stderr(Stdio::null())
        .output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// The lines of a `sources.list` for the sources of Debian's own packages among these.
fn sources(targets: &str) -> String {
    let mut lines: Vec<String> = targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian|"))
        .map(|place| format!("deb-src {place}\n"))
        .collect();
    lines.sort();
    lines.dedup();
    lines.concat()
}

fn run(mut command: Command, folder: &Path, what: &str) -> Result<(), Failure> {
    command.current_dir(folder);
    run_tool(command, Ending::Build, Show::Nothing, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_own_sources_are_asked() {
        let targets = "Debian|http://d/debian/ bookworm main\nOther|http://o/ x main\n\
                       Debian|http://d/debian/ bookworm main\n";
        assert_eq!(sources(targets), "deb-src http://d/debian/ bookworm main\n");
    }
}
