//! Which operating-system account runs the servers and their clients.
//!
//! PostgreSQL refuses to run as root. Under root the servers and programs are switched to `postgres`
//! where that account exists, else to `nobody`; an ordinary user runs them as oneself.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{User, geteuid};

use crate::failure::{During, Failure};

/// An account to run PostgreSQL under.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    /// uid and gid to switch to; `None` when we already are that account.
    switch: Option<(u32, u32)>,
}

impl Account {
    /// The account for servers and client programs.
    pub fn for_servers() -> Result<Self, Failure> {
        if !geteuid().is_root() {
            let name = User::from_uid(geteuid())
                .ok()
                .flatten()
                .map_or_else(|| geteuid().to_string(), |user| user.name);
            return Ok(Self { name, switch: None });
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .filter(|user| !user.uid.is_root())
            .map(|user| Self { name: user.name, switch: Some((user.uid.as_raw(), user.gid.as_raw())) })
            .ok_or_else(|| {
                Failure::new(
                    "PostgreSQL does not run as root, and there is neither an account `postgres` nor `nobody` \
                     to run it under.\nCreate one with:  useradd --system postgres",
                )
            })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether programs run under another account than ours.
    pub fn is_switched(&self) -> bool {
        self.switch.is_some()
    }

    /// Makes `command` run under this account, without our supplementary groups.
    pub fn apply(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.switch {
            command.gid(gid).uid(uid);
        }
    }

    /// Hands one file or folder over to this account.
    pub fn give(&self, path: &Path) -> Result<(), Failure> {
        match self.switch {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)).during(format!(
                "give {} to {}",
                path.display(),
                self.name
            )),
            None => Ok(()),
        }
    }

    /// Hands a whole tree over to this account.
    pub fn give_tree(&self, path: &Path) -> Result<(), Failure> {
        let Some((uid, gid)) = self.switch else {
            return Ok(());
        };
        let what = format!("give {} to {}", path.display(), self.name);
        let status = Command::new("chown")
            .args(["-R", &format!("{uid}:{gid}")])
            .arg(path)
            .status()
            .during(&what)?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::new(format!("could not {what}")))
        }
    }
}
