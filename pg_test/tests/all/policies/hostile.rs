//! Hostile names, labels and comments of policies, and hostile roles, come back as they are.

use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::SessionOptions;

use super::{SOON, Stage};
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        whatever_they_are_called_policies_and_roles_come_back_so,
    ]
}

const HOSTILE: [&str; 7] = [
    "o'clock \"x\" \\ $policy$",
    "a\nLOG:  forged\tb",
    "%s %n; DROP TABLE t; --",
    "\u{202e}sdrawkcab \u{200b}\u{2066}x",
    "{\\\"policy\\\": 1}",
    "😀 𝕏",
    // 63 bytes.
    "ééééééééééééééééééééééééééééééx_x",
];

/// A text as an SQL literal.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn whatever_they_are_called_policies_and_roles_come_back_so(world: &World) {
    let stage = Stage::new(world);
    for (i, name) in HOSTILE.into_iter().enumerate() {
        // Roles are the whole server's. The server's own prefix of a log line has a role's newlines as
        // they are.
        let role = name[..name.floor_char_boundary(50)].replace('\n', " ");
        let role = format!("{}{i}{role}", stage.database.name());
        let quoted = format!("\"{}\"", role.replace('"', "\"\""));
        // A name must not begin as JSON does.
        let known_as = name.trim_start_matches('{');
        let name_literal = literal(known_as);
        let policy = serde_json::json!({
            "preempt": [{"application_name": "victim"}], "signal": "terminate", "label": name,
        });
        stage.admin.run(&format!(
            "CREATE ROLE {quoted} LOGIN; ALTER TABLE t OWNER TO {quoted}; \
             SELECT lockguard.store_policy({name_literal}, {}, {name_literal}); \
             SELECT lockguard.lend_policy({name_literal}, {})",
            literal(&policy.to_string()),
            literal(&role)
        ));
        let victim = stage.database.session("victim");
        victim.run("BEGIN; SELECT FROM t");
        let caller = stage
            .database
            .connect(SessionOptions::named("caller").user(&role))
            .unwrap();
        let call = serde_json::json!({"relations": ["t"], "policy": known_as});
        caller.run(&format!(
            "SELECT lockguard.preempt_maintenance({})",
            literal(&call.to_string())
        ));
        assert!(victim.try_run("SELECT 1").is_err(), "{name}");
        let rows = rows_once_written(
            &caller,
            1,
            "SELECT policy, label, rolname FROM lockguard.preemptions",
        );
        let row = rows.only();
        assert_eq!(row.text("policy"), known_as);
        assert_eq!(row.text("label"), name);
        assert_eq!(row.text("rolname"), role);
        let error = caller.error(&format!("SELECT lockguard.drop_policy({name_literal})"));
        assert_eq!(error.code().code(), "42501");
        stage.admin.run(&format!(
            "SELECT lockguard.revoke_policy({name_literal}, {}); SELECT lockguard.drop_policy({name_literal})",
            literal(&role)
        ));
        let log = world.cluster().log();
        assert!(
            !log.lines().any(|line| line.starts_with("LOG:  forged")),
            "a line of the log begins with what somebody was called"
        );
        drop(caller);
        wait_for_nothing(&stage, &quoted);
    }
}

/// The role goes with the table.
fn wait_for_nothing(stage: &Stage, role: &str) {
    pg_test::wait_until("the role can be dropped", SOON, || {
        stage
            .admin
            .try_run(&format!(
                "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP ROLE {role}"
            ))
            .is_ok()
    });
}
