//! The memory that is a process's own.
//!
//! `Pss_Anon` of `/proc/PID/smaps_rollup`: memory that is backed by no file, where what is still shared since the
//! fork counts in parts. `Private_*` would count a page of the shared buffers that one process alone has touched.

use postgres::Client;

use crate::{Cluster, During, Failure};

/// What PostgreSQL remembers of the catalogs is in these contexts and those below the first; the rest is everything else.
/// Since 18 there is `path`, which ends with the context's own number, in the place of `parent`.
const LOOK: &str = "WITH m AS (SELECT name, used_bytes, to_jsonb(c) AS j FROM pg_backend_memory_contexts c) \
     SELECT coalesce(sum(used_bytes) FILTER (WHERE is_cache), 0)::int8, \
     coalesce(sum(used_bytes) FILTER (WHERE NOT is_cache), 0)::int8 \
     FROM (SELECT used_bytes, 'CacheMemoryContext' IN (name, coalesce(j ->> 'parent', '')) \
     OR coalesce(j -> 'path' @> (SELECT j -> 'path' -> -1 FROM m WHERE name = 'CacheMemoryContext'), false) \
     OR name IN ('Relcache by OID', 'smgr relation table', 'Type information cache', 'TypCache hash', \
     'Operator lookup cache', 'Attopt cache', 'TableSpace cache', 'Record information cache') AS is_cache \
     FROM m) c";

/// What a session has, in KiB.
#[derive(Clone, Copy, Default, Debug)]
pub struct Look {
    /// How many calls it had made by then.
    pub calls: f64,
    pub process: f64,
    /// In use by the server's caches of the catalogs, and by all other memory contexts.
    pub caches: f64,
    pub contexts: f64,
}

impl Look {
    /// Of a session that is in no transaction.
    pub fn at(client: &mut Client, pid: i32, calls: u64) -> Result<Look, postgres::Error> {
        let row = client.query_one(LOOK, &[])?;
        let kib = |column| row.get::<_, i64>(column) as f64 / 1024.0;
        Ok(Look {
            calls: calls as f64,
            process: anonymous_kib(pid).unwrap_or_default() as f64,
            caches: kib(0),
            contexts: kib(1),
        })
    }

    pub fn mean(looks: &[Look]) -> Look {
        let mean = |of: fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / looks.len() as f64;
        Look {
            calls: mean(|look| look.calls),
            process: mean(|look| look.process),
            caches: mean(|look| look.caches),
            contexts: mean(|look| look.contexts),
        }
    }
}

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
