//! Stored policies: storing, lending and using them, in calls and in guard mode.

mod beyond;
mod ceiling;
mod dumped;
mod guarded;
mod hostile;
mod keeping;
mod lending;
mod narrowing;
mod owned;
mod switch;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Database, Running, Session, SessionOptions, wait_until};

use crate::world::World;

const SOON: Duration = Duration::from_secs(10);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        keeping::trials,
        lending::trials,
        narrowing::trials,
        owned::trials,
        beyond::trials,
        hostile::trials,
        guarded::trials,
        dumped::trials,
        ceiling::trials,
        switch::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}

/// A database with a table of a role that has no other rights, and a superuser who may store policies.
struct Stage {
    database: Database,
    admin: Session,
    /// The role that owns the table, and its session.
    deployer: String,
    session: Session,
}

/// Preempts whoever is called `victim`.
const POLICY: &str = r#"{"preempt": [{"application_name": "victim"}]}"#;

impl Stage {
    fn new(world: &World) -> Stage {
        let database = world.database();
        let admin = database.session("admin");
        let deployer = format!("{}_deployer", database.name());
        admin.run(&format!("CREATE ROLE {deployer} LOGIN"));
        admin.run(&format!(
            "CREATE TABLE t (i int); GRANT SELECT ON t TO PUBLIC; ALTER TABLE t OWNER TO {deployer}; \
             CREATE TABLE others (i int); GRANT ALL ON others TO {deployer}"
        ));
        let session = database
            .connect(SessionOptions::named("deployer").user(&deployer))
            .unwrap();
        Stage {
            database,
            admin,
            deployer,
            session,
        }
    }

    /// The same, with a policy stored by the superuser and lent to the deployer.
    fn with_loan(world: &World) -> Stage {
        let stage = Stage::new(world);
        stage.store("p", POLICY);
        stage.lend("p");
        stage
    }

    fn store(&self, name: &str, policy: &str) {
        self.admin.run(&store(name, policy));
    }

    fn lend(&self, name: &str) {
        let deployer = &self.deployer;
        self.admin.run(&format!(
            "SELECT lockguard.lend_policy('{name}', '{deployer}')"
        ));
    }

    /// A role of this stage, and a session of it.
    fn role(&self, name: &str, more: &str) -> (String, Session) {
        let role = format!("{}_{name}", self.database.name());
        self.admin.run(&format!("CREATE ROLE {role} LOGIN {more}"));
        let session = self
            .database
            .connect(SessionOptions::named(name).user(&role))
            .unwrap();
        (role, session)
    }

    /// A role that owns the database and has no other rights, and a session of it.
    fn owner(&self) -> (String, Session) {
        let (owner, session) = self.role("owner", "");
        self.admin.run(&format!(
            "ALTER DATABASE {} OWNER TO {owner}",
            self.database.name()
        ));
        (owner, session)
    }

    /// A superuser's session that holds `table` in a statement of its own, which a cancel ends.
    fn victim(&self, table: &str) -> (Session, Running) {
        let session = self.database.session("victim");
        session.run(&format!("BEGIN; SELECT FROM {table}"));
        let busy = session.spawn("SELECT pg_sleep(50)");
        wait_until("the victim is in its statement", SOON, || {
            busy.wait_event()
                .is_some_and(|(_, event)| event == "PgSleep")
        });
        (session, busy)
    }
}

fn store(name: &str, policy: &str) -> String {
    format!("SELECT lockguard.store_policy('{name}', '{policy}')")
}

/// The call with that policy.
fn preempt(policy: &str) -> String {
    format!("SELECT * FROM lockguard.preempt_maintenance($policy${policy}$policy$)")
}

/// The SQLSTATE that a statement fails with.
#[track_caller]
fn code(session: &Session, sql: &str) -> String {
    session.error(sql).code().code().to_owned()
}
