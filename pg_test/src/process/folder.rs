//! The temporary folder of a run: where it is, and how it goes away even when we are killed outright.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;

use super::registry;
use crate::account::Account;
use crate::failure::{During, Failure};
use crate::wait::becomes_true;

/// A Unix socket's path is limited to 107 bytes (`unix(7)`); ours adds some 50 below the base.
const LONGEST_BASE: usize = 50;

/// Waits for its standard input to end, as it does when the harness is gone for whatever reason, then
/// removes the folder. Again and again, for a server on its way out may still be writing there.
const GUARD: &str = r#"trap '' INT TERM HUP QUIT
read -r _
n=0
while [ "$n" -lt 100 ] && ! rm -rf -- "$1" 2>/dev/null; do n=$((n + 1)); sleep 0.1; done"#;

/// A private folder that belongs to the servers' account, removed when this value is dropped.
pub struct RunFolder {
    path: PathBuf,
    guard: Child,
}

impl RunFolder {
    /// Creates it in the first of `$TMPDIR`, `/tmp`, `/var/tmp` that `account` can reach and run programs from.
    pub fn create(account: &Account) -> Result<Self, Failure> {
        let candidates = [
            std::env::temp_dir(),
            PathBuf::from("/tmp"),
            PathBuf::from("/var/tmp"),
        ];
        let mut refusals = String::new();
        for base in candidates {
            match Self::create_in(&base, account) {
                Ok(folder) => return Ok(folder),
                Err(refusal) => refusals.push_str(&format!("\n  {}: {refusal}", base.display())),
            }
        }
        Err(Failure::new(format!(
            "no folder for temporary files that {} can use (set TMPDIR to one):{refusals}",
            account.name()
        )))
    }

    fn create_in(base: &Path, account: &Account) -> Result<Self, Failure> {
        if base.as_os_str().len() > LONGEST_BASE {
            return Err(Failure::new("its path is too long for a Unix socket in it"));
        }
        if statvfs(base)
            .during("look at it")?
            .flags()
            .contains(FsFlags::ST_NOEXEC)
        {
            return Err(Failure::new("mounted noexec"));
        }
        let folder = tempfile::Builder::new()
            .prefix("lockguard-")
            .tempdir_in(base)
            .during("create a folder there")?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700))
            .during("set its permissions")?;
        account.give(folder.path())?;
        let mut probe = Command::new("/bin/sh");
        probe
            .args(["-c", "cd \"$1\"", "sh"])
            .arg(folder.path())
            .current_dir("/");
        probe
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        account.apply(&mut probe);
        if !probe.status().during("try to enter it")?.success() {
            return Err(Failure::new(format!("{} may not enter it", account.name())));
        }
        let guard = start_guard(folder.path()).during("start the guard that removes it")?;
        let path = folder.keep();
        registry::add_folder(&path, Pid::from_raw(guard.id().cast_signed()));
        Ok(Self { path, guard })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        becomes_true(Duration::from_secs(5), || registry::remove(&self.path));
        registry::forget_folder(&self.path);
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn start_guard(folder: &Path) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", GUARD, "lockguard-folder-guard"])
        .arg(folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}
