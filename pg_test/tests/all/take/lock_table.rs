//! Who may take which lock: exactly who may by LOCK TABLE, with the server itself as the oracle.

use std::collections::BTreeMap;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::Session;

use super::rights::{TABLES, outcome, role};
use super::scene::{MODES, Stage, call};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        each_role_may_take_each_mode_exactly_if_lock_table_lets_it,
    ]
}

fn each_role_may_take_each_mode_exactly_if_lock_table_lets_it(world: &World) {
    let stage = Stage::new(world, TABLES);
    let version = stage
        .looker
        .run("SELECT current_setting('server_version_num')::int / 10000");
    let version: u32 = version.value().unwrap().parse().unwrap();
    let on_all = |right: &str| {
        let tables =
            ["t", "p", "mother", "v"].map(|table| format!("GRANT {right} ON {table} TO $role"));
        tables.join("; ")
    };
    let mut roles: BTreeMap<String, Session> = BTreeMap::new();
    let mut add = |name: &str, options: &str, grants: &str| {
        roles.insert(name.to_owned(), role(&stage, name, options, grants));
    };
    add("nobody", "", "");
    add("superuser", "SUPERUSER", "");
    let mut rights = vec![
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
    ];
    if version >= 17 {
        rights.push("MAINTAIN");
        add("maintainer", "IN ROLE pg_maintain", "");
    }
    for right in rights {
        add(&right.to_lowercase(), "", &on_all(right));
    }
    add("everything", "", &on_all("ALL"));
    add("columns", "", &on_all("SELECT (i), INSERT (i), UPDATE (i)"));
    add("reader_of_all", "IN ROLE pg_read_all_data", "");
    add("writer_of_all", "IN ROLE pg_write_all_data", "");
    add(
        "signaller",
        "IN ROLE pg_signal_backend, pg_read_all_stats",
        "",
    );
    add(
        "owner",
        "",
        "ALTER TABLE t OWNER TO $role; ALTER TABLE p OWNER TO $role; ALTER TABLE mother OWNER TO $role",
    );
    let owner = format!("{}_owner", stage.database.name());
    add("member", &format!("IN ROLE {owner}"), "");
    add("non_heir", &format!("NOINHERIT IN ROLE {owner}"), "");
    add(
        "disowned",
        "",
        "ALTER TABLE u OWNER TO $role; REVOKE ALL ON u FROM $role",
    );
    add(
        "databases_owner",
        "",
        &format!("ALTER DATABASE {} OWNER TO $role", stage.database.name()),
    );

    let (mut allowed, mut refused) = (0, 0);
    for (name, session) in &roles {
        for table in ["t", "p", "mother", "v", "u"] {
            for (spelled, mode) in MODES {
                let lock = format!("LOCK TABLE {table} IN {spelled} MODE NOWAIT");
                let by_core = outcome(&stage, session, &lock);
                let by_us = outcome(
                    &stage,
                    session,
                    &call(table, &format!(r#", "mode": "{mode}""#)),
                );
                match (by_core, by_us) {
                    (Ok(core), Ok(ours)) => {
                        allowed += 1;
                        // A view brings its tables by LOCK TABLE, by DDL it does not.
                        let missed = core
                            .iter()
                            .find(|lock| table != "v" && !ours.contains(lock));
                        assert_eq!(missed, None, "{name}: {lock}");
                    }
                    (Err(core), Err(ours)) => {
                        refused += 1;
                        assert_eq!(
                            (ours.as_str(), core.as_str()),
                            ("42501", "42501"),
                            "{name}: {lock}"
                        );
                    }
                    (core, ours) => panic!("{name}: {lock} gives {core:?}, and the call {ours:?}"),
                }
            }
        }
    }
    println!("{allowed} allowed, {refused} refused, as by LOCK TABLE");
    assert!(allowed > 150 && refused > 150, "{allowed} {refused}");
}
