//! The end of a call's time: nobody is signalled who could not let go before it.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::scene::{Holder, Trail, preempt, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        nobody_is_signalled_when_hardly_any_time_is_left,
        a_short_call_preempts_all_the_same,
    ]
}

/// The policy comes to name the victim, by the age of its transaction, once there is only the last tenth
/// of a second left; the call looks each half second, and so at the end of the first, in that tenth.
fn nobody_is_signalled_when_hardly_any_time_is_left(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let backup = Holder::busy(&database, "pg_dump", "SELECT FROM t");
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    for begin in ["", "BEGIN"] {
        migration.run(begin);
        // The age is that of a moment 980 ms from now.
        let call = format!(
            "SELECT * FROM lockguard.preempt_maintenance(( \
             SELECT jsonb_build_object('relations', '[\"t\"]'::jsonb, 'timeout', '1060ms', \
             'preempt', jsonb_build_array(jsonb_build_object('class', 'backup', 'older_than', \
             (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::int + 980 || 'ms'))) \
             FROM pg_stat_activity WHERE pid = {}))",
            backup.pid()
        );
        let error = migration.error(&call);
        assert_eq!(error.code().code(), "55P03", "{error:?}");
        let detail = error.detail().unwrap();
        let why = "policy preempts it, but it came when there was no time left";
        assert!(detail.contains(why), "{detail}");
        trail.has_no_victim();
        migration.run("ROLLBACK");
    }
    assert!(backup.goes_on());
}

fn a_short_call_preempts_all_the_same(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let migration = database.session("migration");
    let backup = Holder::busy(&database, "pg_dump", "SELECT FROM t");
    // Shorter than the time that a victim of a longer call is given; a busy machine may need several.
    let call = preempt(r#"{"relations": ["t"], "timeout": "90ms", "on_timeout": "report"}"#);
    let preempts = || {
        !migration
            .run(&call)
            .iter()
            .any(|row| row.text("verdict") == "in the way")
    };
    assert!((0..10).any(|_| preempts()));
    backup.was_cancelled("the call was no shorter than it needs");
}
