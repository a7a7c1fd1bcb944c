//! A prepared transaction has no process to signal: it is named, with the way to end it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::{Database, Session, wait_until};

use super::scene::{Backup, Holder, SLOWLY, SOON, Trail, preempt, stays_true, table, verdict};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_prepared_transaction_is_named_with_the_way_to_end_it,
        whoever_has_the_slot_of_a_prepared_transaction_now_is_not_touched,
        a_backup_lives_until_the_prepared_transaction_has_gone,
    ]
}

/// A prepared transaction that reads t, under a name that has to be quoted; gone when dropped.
struct Prepared<'a> {
    database: &'a Database,
    gid: String,
    is_there: bool,
}

impl Prepared<'_> {
    fn on_t<'a>(database: &'a Database, session: &Session) -> Prepared<'a> {
        let gid = format!("it''s {}", database.name());
        session.run(&format!(
            "BEGIN; LOCK TABLE t IN ACCESS SHARE MODE; PREPARE TRANSACTION '{gid}'"
        ));
        Prepared {
            database,
            gid,
            is_there: true,
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_there) {
            let session = self.database.session("ends it");
            session.run(&format!("ROLLBACK PREPARED '{}'", self.gid));
        }
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The slot of the process array that a holder of t's lock goes by.
fn slot(looker: &Session, who: &str) -> Option<String> {
    let rows = looker.run(&format!(
        "SELECT split_part(virtualtransaction, '/', 1) FROM pg_locks WHERE locktype <> 'virtualxid' AND {who} LIMIT 1"
    ));
    rows.value().map(str::to_owned)
}

fn a_prepared_transaction_is_named_with_the_way_to_end_it(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let preparer = database.session("two-phase application");
    let prepared = Prepared::on_t(&database, &preparer);
    let way = format!("ROLLBACK PREPARED '{}'", prepared.gid);
    let migration = database.session("migration");
    let rows = migration.run(&preempt(
        r#"{"relations": ["t"], "timeout": "200ms", "on_timeout": "report"}"#,
    ));
    let row = rows.only();
    assert_eq!(row.get("pid"), None);
    assert_eq!(row.text("verdict"), "in the way");
    assert!(row.text("reason").contains(&way), "{row:?}");
    // Nor does naming it in the policy help.
    for more in ["", r#", "preempt": [{"usename": "*"}]"#] {
        let error = migration.error(&preempt(&format!(
            r#"{{"relations": ["t"], "timeout": "200ms"{more}}}"#
        )));
        assert_eq!(error.code().code(), "55P03");
        let detail = error.detail().unwrap_or_default();
        assert!(
            detail.contains(&format!("prepared transaction '{}'", prepared.gid)),
            "{detail}"
        );
        assert!(error.hint().unwrap_or_default().contains(&way), "{error:?}");
    }
    let notices = migration.take_notices();
    assert!(
        notices[0].message.contains(&prepared.gid),
        "{:?}",
        notices[0]
    );
}

fn whoever_has_the_slot_of_a_prepared_transaction_now_is_not_touched(world: &World) {
    // With few slots, for all may have to be gone through.
    let cluster = world.start_cluster(&[("max_connections", "30")]);
    let database = cluster.create_database().unwrap();
    table(&database, "t", 10);
    table(&database, "other", 10);
    let preparer = database.session("two-phase application");
    let prepared = Prepared::on_t(&database, &preparer);
    let looker = database.session("looker");
    drop(preparer);
    let wanted = slot(&looker, "relation = 't'::regclass");
    // A session that policy would preempt, were it in the way. Others may come in between; and the
    // slot is the next to be used before PostgreSQL 17, and the last since.
    let mut strangers = VecDeque::new();
    wait_until("a new session has the slot", SOON, || {
        let stranger = Holder::busy(
            &database,
            "pg_dump",
            "LOCK TABLE other IN ACCESS SHARE MODE",
        );
        let theirs = slot(&looker, &format!("pid = {}", stranger.pid()));
        strangers.push_back(stranger);
        if strangers.len() > 5 {
            strangers.pop_front();
        }
        theirs == wanted
    });
    let trail = Trail::from_now(&cluster);
    let migration = database.session("migration");
    let error = migration.error(&preempt(
        r#"{"relations": ["t"], "preempt": ["backup", {"usename": "*"}], "spare": [], "timeout": "300ms"}"#,
    ));
    let detail = error.detail().unwrap_or_default();
    assert!(detail.contains(&prepared.gid), "{detail}");
    assert!(!detail.contains("pid"), "{detail}");
    trail.has_no_victim();
    assert!(strangers.iter().all(Holder::goes_on));
}

fn a_backup_lives_until_the_prepared_transaction_has_gone(world: &World) {
    let database = world.database();
    table(&database, "t", 20_000);
    let preparer = database.session("two-phase application");
    let mut prepared = Prepared::on_t(&database, &preparer);
    let mut backup = Backup::start(&database, SLOWLY);
    let trail = Trail::from_now(world.cluster());
    let migration = database.session("migration");
    let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "20s"}"#));
    wait_until("the call has begun", SOON, || {
        !migration.notices().is_empty()
    });
    stays_true(
        "the backup lives",
        Instant::now() + Duration::from_millis(500),
        || backup.is_running() && trail.victims().is_empty(),
    );
    prepared.end();
    let rows = call.rows(SOON);
    assert_eq!(verdict(&rows, backup.pid), "cancelled");
    let gone = rows.iter().find(|row| row.get("pid").is_none()).unwrap();
    assert_eq!(gone.text("verdict"), "finished");
    assert_eq!(trail.victims(), [backup.pid]);
}
