//! `ALTER DEFAULT PRIVILEGES` of whoever creates the extension: what they give to others, and take from the
//! owner and from everybody, is not so for the extension's objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use libtest_mimic::Trial;

use super::Stage;
use super::reviewed::{existing, granted_by_script, reviewed};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        default_privileges_change_no_right_to_the_extension,
        nobody_adds_an_overload_through_default_privileges,
        rights_that_come_in_while_it_is_created_stop_it,
        the_script_expects_what_is_reviewed,
    ]
}

const KINDS: [&str; 5] = ["SCHEMAS", "TABLES", "SEQUENCES", "FUNCTIONS", "TYPES"];

/// A database whose superuser has set those defaults, `$role` being somebody's, and then created the extension.
fn created_under(world: &World, defaults: impl Fn(&str) -> String) -> (Stage, String) {
    let stage = Stage::new(world.cluster().create_empty_database().unwrap());
    let role = stage.create_role("app", "");
    for kind in KINDS {
        let defaults = defaults(kind).replace("$role", &role);
        stage.admin.run(&defaults);
    }
    stage
        .admin
        .run("CREATE EXTENSION lockguard; SELECT lockguard.locks_of('')");
    (stage, role)
}

fn default_privileges_change_no_right_to_the_extension(world: &World) {
    for defaults in [
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON $kind TO $role WITH GRANT OPTION",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON $kind TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES REVOKE ALL ON $kind FROM PUBLIC, CURRENT_USER",
        "ALTER DEFAULT PRIVILEGES REVOKE ALL ON $kind FROM CURRENT_USER; ALTER DEFAULT PRIVILEGES GRANT ALL ON $kind TO $role",
    ] {
        let (stage, _) = created_under(world, |kind| defaults.replace("$kind", kind));
        let told = reviewed();
        for (name, grants) in existing(&stage) {
            assert_eq!(told.get(&name), Some(&grants), "{defaults}: {name}");
        }
        let less = stage.admin.run(
            "SELECT x.name FROM ( \
                 SELECT c.oid::regclass::text, c.relowner, c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END \
                 FROM pg_class c WHERE c.relnamespace = 'lockguard'::regnamespace AND c.relkind IN ('r', 'v', 'S') \
                 UNION ALL SELECT p.oid::regprocedure::text, p.proowner, p.proacl, 'f' \
                 FROM pg_proc p WHERE p.pronamespace = 'lockguard'::regnamespace \
                 UNION ALL SELECT 'lockguard', n.nspowner, n.nspacl, 'n' FROM pg_namespace n WHERE n.nspname = 'lockguard' \
                 UNION ALL SELECT t.oid::regtype::text, t.typowner, t.typacl, 'T' \
                 FROM pg_type t WHERE t.typnamespace = 'lockguard'::regnamespace \
             ) x (name, owner, acl, kind) \
             WHERE EXISTS (SELECT privilege_type FROM aclexplode(acldefault(x.kind::\"char\", x.owner)) WHERE grantee = x.owner \
                           EXCEPT SELECT privilege_type FROM aclexplode(coalesce(x.acl, acldefault(x.kind::\"char\", x.owner))) \
                           WHERE grantee = x.owner)",
        );
        assert!(less.is_empty(), "{defaults}: the owner lacks {less:?}");
    }
}

fn nobody_adds_an_overload_through_default_privileges(world: &World) {
    let (stage, role) = created_under(world, |kind| {
        format!("ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO $role")
    });
    let attacker = stage.session(&role, "app");
    for (function, call) in [
        (
            "preempt_maintenance(text) RETURNS text",
            r#"preempt_maintenance('{"relations": []}')"#,
        ),
        ("settle(int) RETURNS text", "settle(1)"),
        ("locks_of(unknown) RETURNS text", "locks_of('')"),
    ] {
        let error = attacker.error(&format!(
            "CREATE FUNCTION lockguard.{function} LANGUAGE sql AS $$SELECT 'mine'$$"
        ));
        assert_eq!(error.code().code(), "42501", "{function}");
        if let Ok(told) = stage
            .admin
            .try_run(&format!("SELECT * FROM lockguard.{call}"))
        {
            assert_ne!(told.value(), Some("mine"), "{call}");
        }
    }
    let created = attacker.error("CREATE TABLE lockguard.trail2 ()");
    assert_eq!(created.code().code(), "42501");
}

fn rights_that_come_in_while_it_is_created_stop_it(world: &World) {
    let stage = Stage::new(world.cluster().create_empty_database().unwrap());
    let role = stage.create_role("app", "");
    stage.admin.run(&format!(
        "CREATE FUNCTION gives() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN \
             IF NOT has_schema_privilege('{role}', 'lockguard', 'CREATE') THEN GRANT CREATE ON SCHEMA lockguard TO {role}; END IF; \
         END$$; \
         CREATE EVENT TRIGGER gives ON ddl_command_end WHEN TAG IN ('GRANT') EXECUTE FUNCTION gives()"
    ));
    let error = stage.admin.error("CREATE EXTENSION lockguard");
    assert_eq!(
        error.message(),
        "the rights to schema lockguard are not as reviewed"
    );
    let detail = format!("Granted: PUBLIC: USAGE; {role}: CREATE; reviewed: PUBLIC: USAGE.");
    assert_eq!(error.detail(), Some(&*detail));
    let rest = stage
        .admin
        .run("SELECT FROM pg_extension WHERE extname = 'lockguard'");
    assert!(rest.is_empty());
}

fn the_script_expects_what_is_reviewed(_: &World) {
    let kinds = [
        "schema ",
        "function ",
        "table ",
        "view ",
        "sequence ",
        "row types ",
    ];
    let mut told: BTreeMap<String, String> = reviewed();
    told.retain(|name, _| kinds.iter().any(|kind| name.starts_with(kind)));
    assert_eq!(granted_by_script(), told);
}
