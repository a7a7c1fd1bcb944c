//! Who was cancelled or terminated, with effect, as the server log tells: the same for every way.

use std::collections::BTreeMap;

use pg_test::Cluster;

use crate::application;

/// What a session says that lets go because it was told to, and not because of a timeout.
const LAST_WORDS: [&str; 4] = [
    "canceling statement due to user request",
    "canceling autovacuum task",
    "terminating connection due to administrator command",
    "terminating autovacuum process due to administrator command",
];

/// The server log from some moment on.
pub struct Trail<'a> {
    cluster: &'a Cluster,
    from: usize,
}

/// How many sessions were killed, and how many of these were the application's.
#[derive(Clone, Copy, Default)]
pub struct Killed {
    pub sessions: usize,
    pub innocents: usize,
}

impl Trail<'_> {
    pub fn from_now(cluster: &Cluster) -> Trail<'_> {
        Trail {
            cluster,
            from: cluster.log().len(),
        }
    }

    /// Each session once, however often it was hit.
    pub fn killed(&self) -> Killed {
        let log = self.cluster.log().split_off(self.from);
        let victims: BTreeMap<&str, bool> = log.lines().filter_map(victim).collect();
        Killed {
            sessions: victims.len(),
            innocents: victims.values().filter(|is_innocent| **is_innocent).count(),
        }
    }
}

/// The pid, and whether it is the application's, from `2026-11-23 06:40:32.123 UTC [7] shop 3 postgres@db1 ERROR:  …`.
fn victim(line: &str) -> Option<(&str, bool)> {
    LAST_WORDS.iter().find(|words| line.contains(**words))?;
    let (_, rest) = line.split_once('[')?;
    let (pid, rest) = rest.split_once("] ")?;
    Some((pid, rest.starts_with(application::NAME)))
}
