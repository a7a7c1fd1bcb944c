//! Roles: who may signal whom, what stays hidden from whom, and what an ordinary role may do at all.

mod attacks;
mod defaults;
mod extension;
mod matrix;
mod reviewed;
mod secrecy;
mod signalling;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Database, Rows, Session, SessionOptions};

use crate::world::World;

const SOON: Duration = Duration::from_secs(10);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        signalling::trials,
        matrix::trials,
        secrecy::trials,
        extension::trials,
        attacks::trials,
        defaults::trials,
        reviewed::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}

/// A fresh database and roles that belong to it by name alone, for roles are the whole server's.
struct Stage {
    database: Database,
    admin: Session,
}

impl Stage {
    fn new(database: Database) -> Self {
        let admin = database.session("admin");
        Self { database, admin }
    }

    /// The full name of a role of this stage.
    fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.database.name())
    }

    /// Makes a role that may log in; `options` as in CREATE ROLE.
    fn create_role(&self, name: &str, options: &str) -> String {
        let role = self.role(name);
        self.admin
            .run(&format!("CREATE ROLE {role} LOGIN {options}"));
        role
    }

    /// A table that everybody may read.
    fn create_table(&self, name: &str) {
        self.admin.run(&format!(
            "CREATE TABLE {name} (i int); GRANT SELECT ON {name} TO PUBLIC"
        ));
    }

    fn session(&self, role: &str, application_name: &str) -> Session {
        self.connect(SessionOptions::named(application_name).user(role))
    }

    fn connect(&self, options: SessionOptions) -> Session {
        self.database.connect(options).unwrap()
    }

    /// A session of that role that holds ACCESS SHARE on the table and waits for its client, as a
    /// `pg_dump` does between two statements.
    fn idle_backup(&self, role: &str, table: &str) -> Session {
        let session = self.session(role, "pg_dump");
        session.run(&format!("BEGIN; SELECT FROM {table}"));
        session
    }

    /// Whether the backend is still there.
    fn lives(&self, session: &Session) -> bool {
        let found = self.database.ask(&format!(
            "SELECT FROM pg_stat_activity WHERE pid = {}",
            session.pid()
        ));
        !found.is_empty()
    }
}

/// Calls `preempt_maintenance` with this document.
fn preempt(document: &str) -> String {
    format!("SELECT * FROM lockguard.preempt_maintenance($policy${document}$policy$)")
}

/// The verdict on each pid, in the order of the rows.
#[track_caller]
fn verdicts(rows: &Rows) -> Vec<(i32, String)> {
    rows.iter()
        .map(|row| {
            (
                row.text("pid").parse().unwrap(),
                row.text("verdict").to_owned(),
            )
        })
        .collect()
}

/// The verdict on that session.
#[track_caller]
fn verdict_on(rows: &Rows, session: &Session) -> String {
    let all = verdicts(rows);
    match all.iter().find(|(pid, _)| *pid == session.pid()) {
        Some((_, verdict)) => verdict.clone(),
        None => panic!("no row for pid {} in {rows:#?}", session.pid()),
    }
}
