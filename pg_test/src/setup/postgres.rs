//! Which PostgreSQL is used, and where its parts are.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{During, Failure};

/// The environment variable that names another installation's `pg_config`.
pub const PG_CONFIG_VARIABLE: &str = "LOCKGUARD_PG_CONFIG";

/// The major version that is used unless the environment says otherwise.
pub(super) const DEFAULT_MAJOR: u32 = 15;

/// The majors that the extension supports.
const SUPPORTED: std::ops::RangeInclusive<u32> = 15..=18;

/// The installation to use, before it is known whether it is there.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub(super) pg_config: PathBuf,
}

impl Wanted {
    /// What `LOCKGUARD_PG_CONFIG` names, else Debian's PostgreSQL 15.
    pub fn from_environment() -> Result<Self, Failure> {
        let Some(named) = std::env::var_os(PG_CONFIG_VARIABLE).filter(|value| !value.is_empty())
        else {
            return Ok(Self::debian(DEFAULT_MAJOR));
        };
        let pg_config = PathBuf::from(named);
        let wanted = Self { pg_config };
        if wanted.pg_config.is_file() || wanted.debian_major().is_some() {
            return Ok(wanted);
        }
        Err(Failure::new(format!(
            "{PG_CONFIG_VARIABLE} names {}, and there is no such program; name the pg_config of a PostgreSQL \
             15 to 18, or unset it to use Debian's PostgreSQL {DEFAULT_MAJOR}",
            wanted.pg_config.display()
        )))
    }

    fn debian(major: u32) -> Self {
        Self {
            pg_config: format!("/usr/lib/postgresql/{major}/bin/pg_config").into(),
        }
    }

    /// The major version, if this is where Debian's packages put one.
    pub fn debian_major(&self) -> Option<u32> {
        let major = self
            .pg_config
            .strip_prefix("/usr/lib/postgresql")
            .ok()?
            .components()
            .next()?;
        let major: u32 = major.as_os_str().to_str()?.parse().ok()?;
        (Self::debian(major).pg_config == self.pg_config).then_some(major)
    }

    /// The folder of its programs.
    pub fn bindir(&self) -> &Path {
        self.pg_config.parent().unwrap_or(Path::new("/"))
    }
}

/// A PostgreSQL installation, as its own `pg_config` describes it.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// The program that describes it.
    pub pg_config: PathBuf,
    /// 15, 16, 17 or 18.
    pub major: u32,
    /// As `pg_config --version` says it, for instance "PostgreSQL 15.20 (Debian 15.20-0+deb12u1)".
    pub version: String,
    /// Programs.
    pub bindir: PathBuf,
    /// Loadable modules.
    pub pkglibdir: PathBuf,
    /// Catalog data, time zones, extension scripts.
    pub sharedir: PathBuf,
    /// Headers for server-side code.
    pub include_server: PathBuf,
}

impl Postgres {
    /// Asks the wanted installation's `pg_config`.
    pub fn read(wanted: &Wanted) -> Result<Self, Failure> {
        let pg_config = &wanted.pg_config;
        let output = Command::new(pg_config)
            .output()
            .during(format!("run {}", pg_config.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Self::parse(pg_config, &text)
    }

    fn parse(pg_config: &Path, text: &str) -> Result<Self, Failure> {
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(" = "))
                .find_map(|(key, value)| (key == name).then(|| value.trim().to_owned()))
                .ok_or_else(|| {
                    Failure::new(format!("{} does not tell {name}", pg_config.display()))
                })
        };
        let version = value("VERSION")?;
        let major = major_of(&version)
            .filter(|major| SUPPORTED.contains(major))
            .ok_or_else(|| {
                Failure::new(format!(
                    "{} is of {version}; lockguard supports PostgreSQL {} to {}",
                    pg_config.display(),
                    SUPPORTED.start(),
                    SUPPORTED.end()
                ))
            })?;
        Ok(Self {
            pg_config: pg_config.to_path_buf(),
            major,
            bindir: value("BINDIR")?.into(),
            pkglibdir: value("PKGLIBDIR")?.into(),
            sharedir: value("SHAREDIR")?.into(),
            include_server: value("INCLUDEDIR-SERVER")?.into(),
            version,
        })
    }

    /// The extension's cargo feature for this major.
    pub fn feature(&self) -> String {
        format!("pg{}", self.major)
    }
}

/// The major version in "PostgreSQL 15.20 (Debian …)" or "PostgreSQL 18beta1".
fn major_of(version: &str) -> Option<u32> {
    let number = version.strip_prefix("PostgreSQL ")?;
    let end = number
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_is_the_first_number() {
        assert_eq!(
            major_of("PostgreSQL 15.20 (Debian 15.20-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("PostgreSQL 18beta1"), Some(18));
        assert_eq!(major_of("PostgreSQL 17"), Some(17));
        assert_eq!(major_of("EnterpriseDB 15"), None);
    }

    #[test]
    fn only_debians_own_place_counts_as_debians() {
        let major = |path: &str| {
            Wanted {
                pg_config: path.into(),
            }
            .debian_major()
        };
        assert_eq!(major("/usr/lib/postgresql/16/bin/pg_config"), Some(16));
        assert_eq!(major("/usr/lib/postgresql/16/lib/pg_config"), None);
        assert_eq!(major("/opt/pg16/bin/pg_config"), None);
    }

    #[test]
    fn a_major_that_is_not_supported_is_refused() {
        let text = "BINDIR = /b\nVERSION = PostgreSQL 14.2\n";
        let failure = Postgres::parse(Path::new("/b/pg_config"), text)
            .map(|_| ())
            .unwrap_err();
        assert!(
            failure.to_string().contains("PostgreSQL 15 to 18"),
            "{failure}"
        );
    }
}
