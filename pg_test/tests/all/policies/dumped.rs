//! Stored policies and loans are dumped and restored; the trail stays where it is.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process;

use super::{POLICY, SOON, Stage, preempt};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        policies_and_loans_are_restored,
        a_role_without_rights_can_dump_its_database,
    ]
}

fn policies_and_loans_are_restored(world: &World) {
    let stage = Stage::with_loan(world);
    let (gone, session) = stage.role("gone", "SUPERUSER");
    session.run(&super::store("orphan", "{}"));
    session.run(&format!(
        "SELECT lockguard.lend_policy('orphan', '{}'); SELECT lockguard.lend_policy('p', '{gone}')",
        stage.deployer
    ));
    session.run(&super::store("cap", POLICY));
    session.run("SELECT lockguard.set_ceiling('cap')");
    drop(session);
    stage.admin.run(&format!("DROP ROLE {gone}"));
    let (_victim, busy) = stage.victim("t");
    stage
        .session
        .run(&preempt(r#"{"relations": ["t"], "policy": "p"}"#));
    assert!(busy.wait(SOON).is_err());
    let dump = process::run(stage.database.pg_dump())
        .unwrap()
        .expect_success();
    let file = world
        .installation()
        .new_folder("dump")
        .unwrap()
        .join("dump.sql");
    std::fs::write(&file, &dump.stdout).unwrap();
    let restored = world.cluster().create_empty_database().unwrap();
    let mut psql = restored.psql();
    psql.arg("-f").arg(&file);
    process::run(psql).unwrap().expect_success();
    let looker = restored.session("looker");
    let told = looker.run("SELECT p.name, p.policy, l.role::text FROM lockguard.policies p JOIN lockguard.policy_loans l ON l.policy = p.name");
    let row = told.only();
    assert_eq!(row.text("name"), "p", "what has no owner is left out");
    assert_eq!(row.text("policy"), POLICY);
    assert_eq!(row.text("role"), stage.deployer);
    assert_eq!(looker.run("SELECT FROM lockguard.preemptions").len(), 0);
    let ceiling = looker.run("SELECT name FROM lockguard.policies WHERE is_ceiling");
    assert_eq!(
        ceiling.value(),
        Some("cap"),
        "the ceiling is not, whoever has stored it"
    );
    // And it works there.
    let session = restored
        .connect(pg_test::SessionOptions::named("deployer").user(&stage.deployer))
        .unwrap();
    let holder = restored.session("victim");
    holder.run("BEGIN; SELECT FROM t");
    session.run(&preempt(r#"{"relations": ["t"], "policy": "p"}"#));
    assert!(holder.try_run("SELECT 1").is_err());
}

fn a_role_without_rights_can_dump_its_database(world: &World) {
    let stage = Stage::with_loan(world);
    stage.admin.run("DROP TABLE others");
    let mut dump = stage.database.pg_dump();
    dump.args(["-U", &stage.deployer]);
    process::run(dump).unwrap().expect_success();
}
