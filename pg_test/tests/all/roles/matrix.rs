//! Whom lockguard permits, against core as the oracle: for each pair of a caller's and a victim's
//! role, exactly what `pg_cancel_backend` permits.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::{Session, SessionOptions};

use super::{Stage, preempt, verdict_on};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        lockguard_permits_exactly_what_core_permits,
        a_security_definer_function_lends_its_caller_no_signal,
    ]
}

struct Victim {
    what: String,
    table: String,
    session: Session,
}

/// Whether core lets this session cancel that one: a cancel does nothing to one that is idle.
#[track_caller]
fn core_permits(caller: &Session, victim: &Session) -> bool {
    match caller.try_run(&format!("SELECT pg_cancel_backend({})", victim.pid())) {
        Ok(rows) => {
            assert_eq!(rows.value(), Some("t"));
            true
        }
        Err(error) => {
            let state = error.code().map(|code| code.code().to_owned());
            assert_eq!(state.as_deref(), Some("42501"), "{error}");
            false
        }
    }
}

/// Whether lockguard would signal it.
#[track_caller]
fn lockguard_permits(caller: &Session, victim: &Victim) -> bool {
    let rows = caller.run(&preempt(&format!(
        r#"{{"relations": ["{}"], "dry_run": true}}"#,
        victim.table
    )));
    match verdict_on(&rows, &victim.session).as_str() {
        "would terminate" => true,
        "not permitted" => false,
        other => panic!("{other} for {}", victim.what),
    }
}

fn lockguard_permits_exactly_what_core_permits(world: &World) {
    let stage = Stage::new(world.database());
    let plain = stage.create_role("plain", "");
    let other = stage.create_role("other", "");
    let root = stage.create_role("root", "SUPERUSER");
    let member = stage.create_role("member", &format!("IN ROLE {plain}"));
    let grandchild = stage.create_role("grandchild", &format!("IN ROLE {member}"));
    let without = stage.create_role("without", &format!("NOINHERIT IN ROLE {plain}"));
    let of_root = stage.create_role("of_root", &format!("IN ROLE {root}"));
    let signaller = stage.create_role("signaller", "IN ROLE pg_signal_backend");
    let below = stage.create_role("below", &format!("IN ROLE {signaller}"));
    let signaller_without =
        stage.create_role("signaller_without", "NOINHERIT IN ROLE pg_signal_backend");
    let reader = stage.create_role("reader", "IN ROLE pg_read_all_stats, pg_monitor");
    let creator = stage.create_role("creator", "CREATEROLE CREATEDB REPLICATION");
    let owner = stage.create_role("owner", "");
    stage.admin.run(&format!(
        "ALTER DATABASE {} OWNER TO {owner}",
        stage.database.name()
    ));

    let roles = [
        &plain, &other, &root, &member, &without, &of_root, &signaller, &owner,
    ];
    let mut victims: Vec<Victim> = vec![];
    let mut add = |what: String, login: &str, before: &str| {
        let table = format!("t{}", victims.len());
        stage.create_table(&table);
        let session = stage.session(login, "pg_dump");
        session.run(&format!("{before}; BEGIN; SELECT FROM {table}"));
        victims.push(Victim {
            what,
            table,
            session,
        });
    };
    for role in roles {
        add(role.clone(), role, "SELECT 1");
    }
    // Core goes by the role that logged in, whatever it has become.
    add(
        "root as plain".into(),
        &root,
        &format!("SET SESSION AUTHORIZATION {plain}"),
    );
    add(
        "of_root as root".into(),
        &of_root,
        &format!("SET ROLE {root}"),
    );

    let mut callers: Vec<(String, Session)> = vec![];
    for role in [
        &plain,
        &other,
        &root,
        &member,
        &grandchild,
        &without,
        &of_root,
        &signaller,
        &below,
        &signaller_without,
        &reader,
        &creator,
        &owner,
    ] {
        callers.push((role.clone(), stage.session(role, "migrate")));
    }
    for (login, role) in [
        (&without, &plain),
        (&root, &plain),
        (&of_root, &root),
        (&signaller_without, &"pg_signal_backend".to_owned()),
    ] {
        let options = SessionOptions::named("migrate")
            .user(login)
            .set("role", role);
        callers.push((format!("{login} as {role}"), stage.connect(options)));
    }

    let (mut permitted, mut refused) = (0, 0);
    for (who, caller) in &callers {
        for victim in &victims {
            let core = core_permits(caller, &victim.session);
            assert_eq!(
                lockguard_permits(caller, victim),
                core,
                "{who} and a session of {}: core says {core}",
                victim.what
            );
            if core { permitted += 1 } else { refused += 1 }
        }
    }
    println!("{permitted} pairs permitted, {refused} refused, as by core");
    assert!(permitted >= 50 && refused >= 50, "{permitted} {refused}");
    for victim in &victims {
        victim.session.run("COMMIT");
    }
}

fn a_security_definer_function_lends_its_caller_no_signal(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let other = stage.create_role("other", "");
    let signaller = stage.create_role("signaller", "IN ROLE pg_signal_backend");
    let deployer = stage.create_role("deployer", "");
    let backup = stage.idle_backup(&other, "t");
    stage.admin.run(&format!(
        "CREATE FUNCTION clear_way() RETURNS text LANGUAGE sql SECURITY DEFINER AS \
         $$SELECT verdict FROM lockguard.preempt_maintenance('{{\"relations\": [\"t\"], \"dry_run\": true, \"take_lock\": false}}')$$; \
         CREATE FUNCTION cancel(pid int) RETURNS bool LANGUAGE sql SECURITY DEFINER AS \
         $$SELECT pg_cancel_backend(pid)$$; \
         ALTER FUNCTION clear_way() OWNER TO {signaller}; ALTER FUNCTION cancel(int) OWNER TO {signaller}"
    ));
    let caller = stage.session(&deployer, "migrate");
    let core = format!("SELECT cancel({})", backup.pid());
    assert_eq!(caller.run(&core).value(), Some("t"));
    // Core goes by the function's owner alone. Here whoever calls it must be allowed to as well, and it must be
    // allowed to as well as its caller.
    let verdict = |caller: &Session| caller.run("SELECT clear_way()").value().map(str::to_owned);
    assert_eq!(verdict(&caller).as_deref(), Some("not permitted"));
    assert!(!core_permits(&caller, &backup));
    assert_eq!(verdict(&stage.admin).as_deref(), Some("would terminate"));
    stage
        .admin
        .run(&format!("ALTER FUNCTION clear_way() OWNER TO {deployer}"));
    assert_eq!(verdict(&stage.admin).as_deref(), Some("not permitted"));
    backup.run("COMMIT");
}
