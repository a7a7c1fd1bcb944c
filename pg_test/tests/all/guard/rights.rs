//! Whose rights count: nobody signals through guard mode whom he could not signal himself.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::TABLE;
use crate::take::rights::role;
use crate::take::scene::{Holder, SOON, Stage, Trail};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_security_definer_function_lends_its_callers_policy_no_right,
        a_database_s_owner_lends_superusers_no_policy_beyond_his_own_rights,
        a_superuser_s_own_setting_is_another_matter,
        what_the_role_may_not_run_preempts_nobody,
    ]
}

/// A policy that gives up sessions of that name, whoever they are of.
const POLICY: &str =
    r#"{"preempt": [{"application_name": "victim"}], "signal": "terminate", "timeout": "200ms"}"#;

const READS: &str = "SELECT FROM events";

fn a_security_definer_function_lends_its_callers_policy_no_right(world: &World) {
    let stage = Stage::new(world, TABLE);
    stage.migration.run(
        "CREATE FUNCTION add_partition() RETURNS void LANGUAGE sql SECURITY DEFINER \
         AS 'ALTER TABLE events ALTER i SET NOT NULL'",
    );
    let caller = role(&stage, "caller", "", "");
    let trail = Trail::from_now(world.cluster());
    let victim = Holder::idle(&stage.database, "victim", READS);
    caller.run(&format!("SET lockguard.policy = '{POLICY}'"));
    let error = caller.error("SELECT add_partition()");
    assert_eq!(error.code().code(), "55P03");
    let detail = error.detail().unwrap();
    assert!(detail.contains("not permitted"), "{detail}");
    trail.has_no_victim();
    assert!(victim.goes_on());
    // By itself the function's owner may, under a policy of his own.
    stage
        .migration
        .run(&format!("SET lockguard.policy = '{POLICY}'"));
    stage
        .migration
        .spawn("SELECT add_partition()")
        .wait(SOON)
        .unwrap();
    assert_eq!(trail.victims(), [victim.pid()]);
}

fn a_database_s_owner_lends_superusers_no_policy_beyond_his_own_rights(world: &World) {
    let stage = Stage::new(world, TABLE);
    let name = stage.database.name().to_owned();
    let owner = role(
        &stage,
        "owner",
        "",
        &format!("ALTER DATABASE {name} OWNER TO $role"),
    );
    let set = format!("ALTER DATABASE {name} SET lockguard.policy = '{POLICY}'");
    owner.run(&format!("SELECT FROM lockguard.blockers_of('{{}}'); {set}"));
    let trail = Trail::from_now(world.cluster());
    let victim = Holder::idle(&stage.database, "victim", READS);
    let superuser = stage.database.session("migration");
    let error = superuser.error("ALTER TABLE events ADD j int");
    assert_eq!(error.code().code(), "55P03");
    trail.has_no_victim();
    assert!(victim.goes_on());
    // Whom the owner may signal himself is another matter.
    drop(victim);
    let own = role(&stage, "own", "IN ROLE pg_read_all_data", "");
    stage
        .looker
        .run(&format!("GRANT {name}_own TO {name}_owner"));
    own.run(&format!("SET application_name = 'victim'; BEGIN; {READS}"));
    superuser
        .spawn("ALTER TABLE events ADD j int")
        .wait(SOON)
        .unwrap();
    assert_eq!(trail.victims(), [own.pid()]);
}

fn a_superuser_s_own_setting_is_another_matter(world: &World) {
    let stage = Stage::new(world, TABLE);
    let name = stage.database.name().to_owned();
    role(
        &stage,
        "owner",
        "",
        &format!("ALTER DATABASE {name} OWNER TO $role"),
    );
    let trail = Trail::from_now(world.cluster());
    let victim = Holder::idle(&stage.database, "victim", READS);
    stage
        .migration
        .run(&format!("SET lockguard.policy = '{POLICY}'"));
    stage
        .migration
        .spawn("ALTER TABLE events ADD j int")
        .wait(SOON)
        .unwrap();
    assert_eq!(trail.victims(), [victim.pid()]);
}

fn what_the_role_may_not_run_preempts_nobody(world: &World) {
    let stage = Stage::new(world, TABLE);
    let deployer = role(&stage, "deployer", "IN ROLE pg_signal_backend", "");
    let backup = role(&stage, "backup", "IN ROLE pg_read_all_data", "");
    backup.run(&format!("SET application_name = 'pg_dump'; BEGIN; {READS}"));
    let trail = Trail::from_now(world.cluster());
    deployer.run("SET lockguard.policy = 'on'");
    for statement in [
        "DROP TABLE events",
        "ALTER TABLE events ADD j int",
        "ALTER TABLE events RENAME TO other",
        "DROP INDEX events_i",
        "CREATE INDEX ON events (i)",
        "CREATE INDEX CONCURRENTLY ON events (i)",
        "ALTER TABLE events SET SCHEMA public",
        "COMMENT ON TABLE events IS 'x'",
    ] {
        assert_eq!(
            deployer.error(statement).code().code(),
            "42501",
            "{statement}"
        );
    }
    trail.has_no_victim();
    backup.run(READS);
}
