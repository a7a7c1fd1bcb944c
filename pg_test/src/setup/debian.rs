//! Installing Debian packages without disturbing the PostgreSQL that may already run here.
//!
//! Two dangers. A newer server package would restart the system's clusters: so headers are asked for in
//! the version of the server that is installed. A first server package creates and starts a cluster
//! `main`: so `postgresql-common` is told, by a drop-in file that is there during the installation
//! alone, not to (`create_main_cluster`, pg_createcluster(1)).

use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::report::{Show, announce, run_tool};
use crate::failure::Failure;
use crate::process::Ending;

/// A package, and what it is needed for.
pub(super) struct Package {
    name: String,
    purpose: &'static str,
}

impl Package {
    pub(super) fn new(name: impl Into<String>, purpose: &'static str) -> Self {
        Self {
            name: name.into(),
            purpose,
        }
    }
}

/// Runs as root. `$1` is "first" when a server package is among the packages.
const INSTALL: &str = r#"set -e
first=$1
shift
if [ "$first" = first ]; then
    dir=/etc/postgresql-common/createcluster.d
    file=$dir/lockguard-setup.conf
    new=
    [ -d "$dir" ] || { mkdir -p "$dir"; new=yes; }
    trap 'rm -f "$file"; [ -z "$new" ] || rmdir "$dir" "${dir%/*}" 2>/dev/null || true' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    echo 'create_main_cluster = false' >"$file"
fi
apt-get -q install -y --no-install-recommends "$@"
"#;

/// Installs packages, saying so first.
///
/// # Errors
/// With the command to type, when we are neither root nor may become it without a password.
pub(super) fn install(packages: &[Package]) -> Result<(), Failure> {
    let list = packages
        .iter()
        .map(|p| format!("{} ({})", p.name, p.purpose))
        .collect::<Vec<_>>()
        .join(", ");
    let names: Vec<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let first_server = names.iter().any(|name| server_major(name).is_some());
    let typed = format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        names.join(" ")
    );

    if !std::path::Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure::new(format!(
            "missing: {list}\nThis is no Debian: install them by your system's means, then run this again."
        )));
    }
    let Some(become_root) = root_prefix() else {
        let sudo = typed.replace("apt-get ", "sudo apt-get ");
        let note = if first_server {
            "\n(Debian will then also create and start a cluster `main` of its own; it is not used here.)"
        } else {
            ""
        };
        return Err(Failure::new(format!(
            "missing: {list}\nInstall them with:\n\n    {sudo}\n\nthen run this again.{note}"
        )));
    };
    announce(&format!("missing: {list}. Installing with: {typed}"));

    run_tool(
        as_root(become_root, &["apt-get", "-q", "update"]),
        Ending::Patient,
        Show::Nothing,
        "update Debian's package lists",
    )?;
    let versioned = names
        .iter()
        .map(|name| pinned(name))
        .chain(libpq_pin(&names))
        .collect::<Vec<_>>();
    let mut command = vec![
        "sh",
        "-c",
        INSTALL,
        "sh",
        if first_server { "first" } else { "more" },
    ];
    command.extend(versioned.iter().map(String::as_str));
    run_tool(
        as_root(become_root, &command),
        Ending::Patient,
        Show::Nothing,
        "install Debian packages",
    )?;
    if first_server {
        announce(
            "installed without a cluster of Debian's own; `pg_createcluster` makes one if you want it",
        );
    }
    Ok(())
}

/// What makes a command run as root: nothing for root, sudo where it asks no password.
fn root_prefix() -> Option<&'static [&'static str]> {
    if geteuid().is_root() {
        return Some(&[]);
    }
    let asks_nothing = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    asks_nothing.then_some(&["sudo", "-n"])
}

/// `env` sets the variables, because sudo would drop ours.
fn as_root(prefix: &[&str], arguments: &[&str]) -> Command {
    const QUIET: [&str; 3] = [
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "NEEDRESTART_SUSPEND=1",
    ];
    let mut words = prefix.iter().chain(&QUIET).chain(arguments);
    let mut command = Command::new(words.next().unwrap_or(&"env"));
    command.args(words);
    command
}

/// The major version, when `package` is a server package.
fn server_major(package: &str) -> Option<&str> {
    let rest = package.strip_prefix("postgresql-")?;
    rest.bytes().all(|b| b.is_ascii_digit()).then_some(rest)
}

/// `postgresql-server-dev-15` in the version of the installed `postgresql-15`, if it still is on offer.
fn pinned(package: &str) -> String {
    let wanted = package
        .strip_prefix("postgresql-server-dev-")
        .and_then(|major| installed(&format!("postgresql-{major}")));
    pin_to(package, wanted)
}

/// libpq's headers want libpq of exactly their own version: take them in the version that is installed.
/// A first server brings the libpq that it needs, so then there is nothing to keep.
fn libpq_pin(packages: &[&str]) -> Option<String> {
    let first_server = packages.iter().any(|name| server_major(name).is_some());
    let needs_headers = packages
        .iter()
        .any(|name| name.starts_with("postgresql-server-dev-"));
    let kept = (needs_headers && !first_server)
        .then(|| installed("libpq5"))
        .flatten();
    let pin = pin_to("libpq-dev", kept);
    pin.contains('=').then_some(pin)
}

fn pin_to(package: &str, version: Option<String>) -> String {
    match version {
        Some(version) if is_offered(package, &version) => format!("{package}={version}"),
        _ => package.to_owned(),
    }
}

/// The version of a package that is installed.
pub(super) fn installed(package: &str) -> Option<String> {
    let output = Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status} ${Version}", package])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.strip_prefix("installed ").map(str::to_owned)
}

fn is_offered(package: &str, version: &str) -> bool {
    let output = Command::new("apt-cache")
        .args(["madison", package])
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| offers(&String::from_utf8_lossy(&output.stdout), version))
}

/// Whether a line of `apt-cache madison` ("package | version | source") has this version.
fn offers(madison: &str, version: &str) -> bool {
    madison.lines().any(|line| {
        line.split('|')
            .nth(1)
            .is_some_and(|offered| offered.trim() == version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_server_packages_bring_a_cluster() {
        assert_eq!(server_major("postgresql-15"), Some("15"));
        assert_eq!(server_major("postgresql-server-dev-15"), None);
        assert_eq!(server_major("libclang-dev"), None);
    }

    #[test]
    fn a_version_is_offered_only_when_it_is_listed_whole() {
        let madison = " postgresql-15 | 15.20-0+deb12u1 | debian bookworm/main amd64 Packages\n";
        assert!(offers(madison, "15.20-0+deb12u1"));
        assert!(!offers(madison, "15.20-0"));
    }
}
