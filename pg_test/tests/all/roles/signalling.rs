//! Whom a role can preempt, with nothing but its own rights, and that a refusal hurts nobody else.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::wait_until;

use super::{SOON, Stage, preempt, verdict_on, verdicts};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_role_preempts_its_own_backup_without_special_rights,
        a_foreign_backup_is_not_permitted_and_lives,
        a_foreign_backup_saves_the_own_one_beside_it,
        an_own_backup_goes_once_the_foreign_one_has_let_go,
        a_member_of_the_victims_role_may,
        pg_signal_backend_reaches_all_but_superusers,
        an_autovacuum_worker_is_for_superusers,
        the_log_tells_what_the_caller_may_not_see,
    ]
}

/// Reports after so short a time that nobody has to wait for a refusal.
const REPORT: &str = r#"{"relations": ["t"], "timeout": "300ms", "on_timeout": "report"}"#;

fn a_role_preempts_its_own_backup_without_special_rights(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let deployer = stage.create_role("deployer", "");
    let backup = stage.idle_backup(&deployer, "t");
    let rows = stage
        .session(&deployer, "migrate")
        .run(&preempt(r#"{"relations": ["t"]}"#));
    assert_eq!(verdicts(&rows), [(backup.pid(), "terminated".to_owned())]);
    assert!(backup.try_run("SELECT 1").is_err());
}

fn a_foreign_backup_is_not_permitted_and_lives(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let deployer = stage.create_role("deployer", "");
    let other = stage.create_role("other", "");
    let backup = stage.idle_backup(&other, "t");
    let caller = stage.session(&deployer, "migrate");

    let dry = caller.run(&preempt(r#"{"relations": ["t"], "dry_run": true}"#));
    assert_eq!(verdicts(&dry), [(backup.pid(), "not permitted".to_owned())]);
    let rows = caller.run(&preempt(REPORT));
    assert_eq!(
        verdicts(&rows),
        [(backup.pid(), "not permitted".to_owned())]
    );
    let error = caller.error(&preempt(r#"{"relations": ["t"], "timeout": "300ms"}"#));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap_or_default();
    assert!(
        detail.contains(&format!("pid {}", backup.pid())) && detail.contains("not permitted"),
        "{detail}"
    );
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("pg_signal_backend"), "{hint}");

    backup.run("SELECT count(*) FROM t; COMMIT");
}

fn a_foreign_backup_saves_the_own_one_beside_it(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let deployer = stage.create_role("deployer", "");
    let other = stage.create_role("other", "");
    let own = stage.idle_backup(&deployer, "t");
    let foreign = stage.idle_backup(&other, "t");
    let caller = stage.session(&deployer, "migrate");

    let error = caller.error(&preempt(r#"{"relations": ["t"], "timeout": "300ms"}"#));
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap_or_default();
    for pid in [own.pid(), foreign.pid()] {
        assert!(detail.contains(&format!("pid {pid}")), "{detail}");
    }
    let rows = caller.run(&preempt(REPORT));
    assert_eq!(rows.len(), 2);
    assert_eq!(verdict_on(&rows, &foreign), "not permitted");
    assert_eq!(verdict_on(&rows, &own), "in the way");

    own.run("SELECT count(*) FROM t; COMMIT");
    foreign.run("SELECT count(*) FROM t; COMMIT");
}

fn an_own_backup_goes_once_the_foreign_one_has_let_go(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let deployer = stage.create_role("deployer", "");
    let other = stage.create_role("other", "");
    let own = stage.idle_backup(&deployer, "t");
    let foreign = stage.idle_backup(&other, "t");
    let caller = stage.session(&deployer, "migrate");

    let call = caller.spawn(preempt(r#"{"relations": ["t"]}"#));
    wait_until("the call names who is in the way", SOON, || {
        !caller.notices().is_empty()
    });
    assert!(stage.lives(&own));
    foreign.run("COMMIT");
    let rows = call.rows(SOON);
    assert_eq!(verdict_on(&rows, &foreign), "finished");
    assert_eq!(verdict_on(&rows, &own), "terminated");
}

fn a_member_of_the_victims_role_may(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let backups = stage.create_role("backups", "");
    let deployer = stage.create_role("deployer", &format!("IN ROLE {backups}"));
    let backup = stage.idle_backup(&backups, "t");
    let rows = stage
        .session(&deployer, "migrate")
        .run(&preempt(r#"{"relations": ["t"]}"#));
    assert_eq!(verdict_on(&rows, &backup), "terminated");
    assert!(
        rows.only().text("query").contains("SELECT FROM t"),
        "a member sees what it may signal: {rows:?}"
    );
}

fn pg_signal_backend_reaches_all_but_superusers(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    stage.create_table("u");
    let other = stage.create_role("other", "");
    let root = stage.create_role("root", "SUPERUSER");
    let deployer = stage.create_role("deployer", "IN ROLE pg_signal_backend");
    let of_other = stage.idle_backup(&other, "t");
    let of_root = stage.idle_backup(&root, "u");
    let caller = stage.session(&deployer, "migrate");

    let rows = caller.run(&preempt(r#"{"relations": ["t"]}"#));
    assert_eq!(verdict_on(&rows, &of_other), "terminated");
    let rows = caller.run(&preempt(
        r#"{"relations": ["u"], "timeout": "300ms", "on_timeout": "report"}"#,
    ));
    assert_eq!(verdict_on(&rows, &of_root), "not permitted");
    of_root.run("COMMIT");
}

fn an_autovacuum_worker_is_for_superusers(world: &World) {
    let cluster = world.start_cluster(&[
        ("autovacuum", "on"),
        ("autovacuum_naptime", "1s"),
        // A page a tenth of a second: it is at it for as long as the scenario lasts.
        ("autovacuum_vacuum_cost_delay", "100ms"),
        ("autovacuum_vacuum_cost_limit", "1"),
    ]);
    let stage = Stage::new(cluster.create_database().unwrap());
    let deployer = stage.create_role("deployer", "IN ROLE pg_signal_backend");
    stage.admin.run(
        "CREATE TABLE t WITH (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0) \
         AS SELECT i, repeat('x', 500) AS filler FROM generate_series(1, 20000) i; DELETE FROM t",
    );
    let working = "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE relation = 't'::regclass \
                   AND backend_type = 'autovacuum worker' AND mode = 'ShareUpdateExclusiveLock' \
                   AND clock_timestamp() - xact_start > '200ms'";
    wait_until("an autovacuum worker is at the table", 3 * SOON, || {
        !stage.admin.run(working).is_empty()
    });
    let worker = stage.admin.run(working);
    let rows = stage.session(&deployer, "migrate").run(&preempt(REPORT));
    let row = rows.only();
    assert_eq!(Some(row.text("pid")), worker.value());
    if cluster.installation().major() >= 18 {
        assert_eq!(row.text("verdict"), "not permitted");
        stage
            .admin
            .run(&format!("GRANT pg_signal_autovacuum_worker TO {deployer}"));
        let rows = stage.session(&deployer, "migrate").run(&preempt(REPORT));
        assert_eq!(rows.only().text("verdict"), "cancelled");
        return;
    }
    // The server would make it yield, to a call that lasts for longer than deadlock_timeout.
    assert_eq!(row.text("verdict"), "not permitted");
    let same = format!("{working} AND pid = {}", row.text("pid"));
    assert!(!stage.admin.run(&same).is_empty(), "it was cancelled");
    let rows = stage.admin.run(&preempt(REPORT));
    assert_eq!(rows.only().text("verdict"), "cancelled");
}

fn the_log_tells_what_the_caller_may_not_see(world: &World) {
    let stage = Stage::new(world.database());
    stage.create_table("t");
    let other = stage.create_role("other", "");
    let deployer = stage.create_role("deployer", "IN ROLE pg_signal_backend");
    let backup = stage.session(&other, "pg_dump");
    backup.run("BEGIN; SELECT 'for the administrator' FROM t");
    let rows = stage
        .session(&deployer, "migrate")
        .run(&preempt(r#"{"relations": ["t"]}"#));
    assert_eq!(verdict_on(&rows, &backup), "terminated");
    assert_eq!(rows.only().text("query"), "<insufficient privilege>");

    let log = world.cluster().log();
    let told = format!(
        "lockguard terminates pid {} for AccessExclusiveLock on t",
        backup.pid()
    );
    let (_, after) = log.split_once(&told).unwrap_or_else(|| panic!("{log}"));
    for fact in [
        "Class backup",
        &format!("role \"{other}\""),
        "\"pg_dump\"",
        "holding AccessShareLock",
        "for the administrator",
    ] {
        let detail = after.lines().nth(1).unwrap_or_default();
        assert!(detail.contains(fact), "no {fact} in: {detail}");
    }
}
