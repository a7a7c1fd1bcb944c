//! `locks_of` against the server itself: what it predicts of a statement, and what the statement then locks.
//!
//! The corpus is in `corpus/*.sql`, over the schema in `schema.sql`. `LOCKGUARD_DDL=text` runs only the entries that
//! contain the text (or whose family is called so); `LOCKGUARD_DDL_RECORD=path` writes down what the server locked.
//! Statements and schemas of one's own: `LOCKGUARD_DDL_INSIDE`, `LOCKGUARD_DDL_OUTSIDE` (see `corpus`) and
//! `LOCKGUARD_DDL_SCHEMA` name files.

mod answers;
mod corpus;
mod fuzz;
mod gates;
mod growth;
mod holders;
mod inside;
mod judge;
mod limits;
mod outside;
mod random;
mod relations;
mod released;

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Cluster, Database, Session, SessionOptions};

use crate::world::{World, scenarios};
use judge::Tally;

const SCHEMA: &str = include_str!("schema.sql");

/// What is predicted and not taken must be less than this part of what is predicted.
const TOLERATED_EXCESS: f64 = 0.03;

/// A statement may lock everything there is; a watched one has a session for each relation.
const SETTINGS: &[(&str, &str)] = &[
    ("max_locks_per_transaction", "512"),
    ("max_connections", "500"),
    ("wal_level", "logical"),
    ("allow_in_place_tablespaces", "on"),
    // Nobody but the test itself undoes a wait.
    ("deadlock_timeout", "1h"),
    ("client_min_messages", "error"),
];

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let compared = scenarios![
        world;
        locks_of_says_what_a_statement_then_locks,
        locks_of_says_what_a_statement_outside_a_transaction_block_then_locks,
        locks_of_says_what_a_random_script_on_a_random_schema_then_locks,
        locks_of_answers_or_refuses_whatever_it_is_asked,
    ];
    let mut all = answers::trials(world);
    all.extend(limits::trials(world));
    all.extend(compared);
    all
}

fn locks_of_says_what_a_statement_then_locks(world: &World) {
    let (cluster, database) = prepare(world);
    let mut tally = Tally::new("inside");
    inside::compare_all(&database, cluster.installation().major(), &mut tally);
    tally.report();
}

fn locks_of_says_what_a_statement_outside_a_transaction_block_then_locks(world: &World) {
    let (cluster, database) = prepare(world);
    let mut tally = Tally::new("outside");
    outside::compare_all(&cluster, &database, &mut tally);
    tally.report();
}

fn locks_of_says_what_a_random_script_on_a_random_schema_then_locks(world: &World) {
    let (cluster, database) = prepare(world);
    let mut tally = Tally::new("random");
    random::compare(&cluster, &database, &mut tally);
    tally.report();
}

fn locks_of_answers_or_refuses_whatever_it_is_asked(world: &World) {
    let (cluster, database) = prepare(world);
    fuzz::fuzz(&database, cluster.installation().major());
}

/// A server with the roles and the tablespace of the schema, and a database with the schema in it.
fn prepare(world: &World) -> (Cluster, Database) {
    let cluster = world.start_cluster(SETTINGS);
    let database = cluster.create_database().unwrap();
    for command in [
        "CREATE ROLE clerk",
        "CREATE ROLE manager",
        "CREATE ROLE helper",
        "CREATE TABLESPACE depot LOCATION ''",
    ] {
        database.ask(command);
    }
    let schema = corpus::given("LOCKGUARD_DDL_SCHEMA");
    let schema = schema.as_deref().unwrap_or(SCHEMA);
    database.session("schema").run(schema);
    (cluster, database)
}

/// A session whose notices nobody wants.
fn quiet_session(database: &Database, name: &str) -> Session {
    database
        .connect(SessionOptions::named(name).set("client_min_messages", "error"))
        .unwrap()
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} must be a number, not {value:?}"),
    }
}
