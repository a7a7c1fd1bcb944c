//! One session that makes the same call again and again: what it keeps of each.
//!
//! Both what PostgreSQL's memory contexts have and what the process has are looked at: memory of Rust's own is in no
//! context.

use super::{anonymous_kib, connect};
use crate::{Database, During, Failure};

/// A name, the statements of one round, and whether they end in an error.
pub struct Repeated {
    pub name: &'static str,
    sql: &'static str,
    fails: bool,
    /// Of how many rounds this one is made.
    one_in: usize,
}

const fn kind(name: &'static str, sql: &'static str) -> Repeated {
    Repeated {
        name,
        sql,
        fails: false,
        one_in: 1,
    }
}

/// What is repeated: `t0` is held by another session, `t1` is not.
pub const KINDS: [Repeated; 8] = [
    kind(
        "blockers_of",
        "SELECT * FROM lockguard.blockers_of('{t0,p0}')",
    ),
    kind(
        "locks_of",
        "SELECT * FROM lockguard.locks_of('ALTER TABLE t0 ADD FOREIGN KEY (ref) REFERENCES t1; DROP TABLE p0')",
    ),
    kind(
        "preempt_maintenance, dry run",
        r#"SELECT * FROM lockguard.preempt_maintenance('{"relations": ["t0"], "dry_run": true}')"#,
    ),
    kind(
        "preempt_maintenance, with a lock",
        r#"BEGIN; SELECT * FROM lockguard.preempt_maintenance('{"relations": ["t1", "p0"]}'); COMMIT"#,
    ),
    kind(
        "preempt_maintenance, between savepoints",
        r#"BEGIN; SAVEPOINT s; SELECT * FROM lockguard.preempt_maintenance('{"statement": "DROP TABLE t1"}'); ROLLBACK TO s; ROLLBACK"#,
    ),
    kind(
        "preempt_maintenance, every relation",
        r#"SELECT * FROM lockguard.preempt_maintenance('{"relations": "all", "timeout": "1ms", "on_timeout": "report"}')"#,
    ),
    Repeated {
        name: "preempt_maintenance, in vain (55P03)",
        sql: r#"SELECT * FROM lockguard.preempt_maintenance('{"relations": ["t0"], "timeout": "1ms"}')"#,
        fails: true,
        one_in: 4,
    },
    Repeated {
        name: "preempt_maintenance, refused (22023)",
        sql: r#"SELECT * FROM lockguard.preempt_maintenance('{"relations": ["t0"], "timout": "1ms"}')"#,
        fails: true,
        one_in: 1,
    },
];

/// What the contexts may have grown by in any number of rounds, in bytes: caches come and go with invalidations.
pub const CONTEXTS_LIMIT: i64 = 64 * 1024;

/// What the process may have grown by, in KiB: how the heap is cut up changes.
pub const PROCESS_LIMIT_KIB: i64 = 512;

/// What one kind of call has left behind.
#[derive(Debug)]
pub struct Growth {
    pub rounds: usize,
    /// Of the memory contexts, in bytes: what they have of the process, and what of that is in use.
    pub total: i64,
    pub used: i64,
    /// Of the process, in KiB.
    pub process: i64,
}

/// Makes `rounds` of that call, or a part of them, after a tenth of them to warm up.
pub fn repeat(database: &Database, what: &Repeated, rounds: usize) -> Result<Growth, Failure> {
    let mut holder = connect(database, "report", "postgres")?;
    let hold = "BEGIN; LOCK TABLE t0 IN ACCESS SHARE MODE";
    holder.batch_execute(hold).during("hold a table")?;
    let mut client = connect(database, "migration", "postgres")?;
    let pid = client.query_one("SELECT pg_backend_pid()", &[]);
    let pid: i32 = pid.during("ask for a pid")?.get(0);
    let rounds = rounds / what.one_in;
    let mut look = None;
    for round in 0..=rounds + rounds / 10 {
        if round == rounds / 10 || round == rounds + rounds / 10 {
            let sql = "SELECT sum(total_bytes)::int8, sum(used_bytes)::int8 FROM pg_backend_memory_contexts";
            // Once more, for what the look itself needs.
            let mut now = (0, 0, 0);
            for _ in 0..2 {
                let row = client
                    .query_one(sql, &[])
                    .during("ask for memory contexts")?;
                now = (
                    row.get::<_, i64>(0),
                    row.get::<_, i64>(1),
                    anonymous_kib(pid)? as i64,
                );
            }
            match look.replace(now) {
                None => {}
                Some(before) => {
                    return Ok(Growth {
                        rounds,
                        total: now.0 - before.0,
                        used: now.1 - before.1,
                        process: now.2 - before.2,
                    });
                }
            }
        }
        let outcome = client.simple_query(what.sql);
        if outcome.is_err() != what.fails {
            // Of a server's error, `Display` says no more than that it is one.
            let told = outcome.err().map(|error| format!("{error:?}"));
            let told = told.unwrap_or_else(|| "it succeeded".to_owned());
            return Err(Failure::new(format!("{}: {told}", what.name)));
        }
    }
    Err(Failure::new("too few rounds"))
}
