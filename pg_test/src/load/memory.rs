//! The memory that is a process's own.
//!
//! `Pss_Anon` of `/proc/PID/smaps_rollup`: memory that is backed by no file, where what is still shared since the
//! fork counts in parts. `Private_*` would count a page of the shared buffers that one process alone has touched.

use crate::{Cluster, During, Failure};

/// Of that process, in KiB.
pub fn anonymous_kib(pid: i32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).during(format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.ok_or_else(|| Failure::new(format!("{path} has no Pss_Anon")))
}

/// Of the whole server: the postmaster and all its children that are still there when their turn comes.
pub fn server_kib(cluster: &Cluster) -> Result<u64, Failure> {
    let postmaster = cluster
        .pid()
        .ok_or_else(|| Failure::new("the server is down"))?;
    let path = format!("/proc/{postmaster}/task/{postmaster}/children");
    let children = std::fs::read_to_string(&path).during(format!("read {path}"))?;
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    let of_children: u64 = children.filter_map(|pid| anonymous_kib(pid).ok()).sum();
    Ok(of_children + anonymous_kib(postmaster.try_into().unwrap_or_default())?)
}
