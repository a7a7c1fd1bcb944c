//! What the scenarios of taking locks are played with: a session that calls, and one that reads in
//! `pg_locks` what it holds and what it waits for.

use std::collections::BTreeSet;

use pg_test::{Database, Session, wait_until};

pub use crate::preempt::scene::{Holder, SOON, Trail, last_told, preempt, stays_true, verdict};
use crate::world::World;

/// All modes, as SQL spells them and as `pg_locks` does, the weakest first.
pub const MODES: [(&str, &str); 8] = [
    ("ACCESS SHARE", "AccessShareLock"),
    ("ROW SHARE", "RowShareLock"),
    ("ROW EXCLUSIVE", "RowExclusiveLock"),
    ("SHARE UPDATE EXCLUSIVE", "ShareUpdateExclusiveLock"),
    ("SHARE", "ShareLock"),
    ("SHARE ROW EXCLUSIVE", "ShareRowExclusiveLock"),
    ("EXCLUSIVE", "ExclusiveLock"),
    ("ACCESS EXCLUSIVE", "AccessExclusiveLock"),
];

/// What is taken unless the policy says otherwise.
pub const STRONGEST: &str = "AccessExclusiveLock";

/// The relations that a user has made, by names that tell what belongs to what: `t/toast` is the TOAST
/// table of t, `t/toast/index` that one's index.
const NAMED: &str = "SELECT c.oid, CASE WHEN owner.relname IS NOT NULL THEN owner.relname || '/toast' \
     WHEN of_toast.relname IS NOT NULL THEN of_toast.relname || '/toast/index' ELSE c.relname END AS name \
     FROM pg_class c LEFT JOIN pg_class owner ON owner.reltoastrelid = c.oid \
     LEFT JOIN pg_index i ON i.indexrelid = c.oid \
     LEFT JOIN pg_class of_toast ON of_toast.reltoastrelid = i.indrelid \
     WHERE c.oid >= 16384 AND c.relnamespace <> 'lockguard'::regnamespace \
     AND coalesce(owner.relnamespace, of_toast.relnamespace, 0) <> 'lockguard'::regnamespace";

/// A database, a session in it that calls, and one that looks on.
pub struct Stage {
    pub database: Database,
    pub migration: Session,
    pub looker: Session,
}

impl Stage {
    /// A fresh database of the shared server, with what `ddl` makes.
    pub fn new(world: &World, ddl: &str) -> Stage {
        Stage::of(world.database(), ddl)
    }

    pub fn of(database: Database, ddl: &str) -> Stage {
        let migration = database.session("migration");
        migration.run(ddl);
        Stage {
            migration,
            looker: database.session("looker"),
            database,
        }
    }

    /// What the calling session holds: a relation and a mode each, in order.
    pub fn held(&self) -> Vec<(String, String)> {
        self.held_by(&self.migration)
    }

    pub fn held_by(&self, session: &Session) -> Vec<(String, String)> {
        self.locks(session, "granted")
    }

    /// What it waits for in a queue.
    pub fn awaited(&self) -> Vec<(String, String)> {
        self.locks(&self.migration, "NOT granted")
    }

    /// As far as they are on a user's relations; what no name is committed for is named by its OID.
    fn locks(&self, session: &Session, which: &str) -> Vec<(String, String)> {
        let rows = self.looker.run(&format!(
            "SELECT coalesce(r.name, l.relation::text) AS name, l.mode FROM pg_locks l \
             LEFT JOIN ({NAMED}) r ON r.oid = l.relation \
             WHERE l.pid = {} AND {which} AND l.locktype = 'relation' AND l.relation >= 16384 \
             AND (r.oid IS NOT NULL OR NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = l.relation)) \
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2",
            session.pid()
        ));
        let pair = |row: &pg_test::Row| (row.text("name").to_owned(), row.text("mode").to_owned());
        rows.iter().map(pair).collect()
    }

    /// Sees that the calling session holds exactly these relations (words of `names`), in exactly
    /// that mode, and waits for none.
    #[track_caller]
    pub fn holds(&self, mode: &str, names: &str) {
        assert_eq!(self.held(), pairs(mode, names));
        assert_eq!(self.awaited(), []);
    }

    /// Sees that it holds no relation, and waits for none.
    #[track_caller]
    pub fn holds_nothing(&self, after: &str) {
        assert_eq!(self.held(), [], "{after}");
        assert_eq!(self.awaited(), [], "{after}");
    }

    /// Waits until the calling session waits for a transaction of somebody in its way.
    #[track_caller]
    pub fn wait_until_it_waits(&self) {
        wait_until("the call waits for a transaction", SOON, || {
            self.waits_for_a_transaction()
        });
    }

    pub fn waits_for_a_transaction(&self) -> bool {
        let sql = format!(
            "SELECT FROM pg_locks WHERE pid = {} AND locktype = 'virtualxid' AND NOT granted",
            self.migration.pid()
        );
        !self.looker.run(&sql).is_empty()
    }
}

/// These words, each with that mode, in order.
pub fn pairs(mode: &str, names: &str) -> Vec<(String, String)> {
    let names: BTreeSet<&str> = names.split_whitespace().collect();
    names
        .into_iter()
        .map(|name| (name.to_owned(), mode.to_owned()))
        .collect()
}

/// How many relations this session holds with ACCESS EXCLUSIVE.
pub const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock' AND granted";

/// A call for these relations (words), with `more` keys of the policy, as SQL.
pub fn call(relations: &str, more: &str) -> String {
    preempt(&policy(relations, more))
}

/// The same as a statement of plpgsql.
pub fn perform(relations: &str, more: &str) -> String {
    let policy = policy(relations, more);
    format!("PERFORM * FROM lockguard.preempt_maintenance('{policy}')")
}

/// A policy for these relations (words).
pub fn policy(relations: &str, more: &str) -> String {
    let names: Vec<String> = relations
        .split_whitespace()
        .map(|name| format!(r#""{name}""#))
        .collect();
    format!(r#"{{"relations": [{}]{more}}}"#, names.join(", "))
}

/// A call for these relations (words), to be selected from: a row for each that was in the way.
pub fn from_call(relations: &str) -> String {
    let policy = policy(relations, "");
    format!("lockguard.preempt_maintenance('{policy}')")
}
