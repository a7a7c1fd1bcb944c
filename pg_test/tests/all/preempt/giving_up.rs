//! The session that is helped gives up while the call waits: that is said, and nobody is preempted for it.

use std::sync::Arc;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::interposer::{Interposer, Moment};
use pg_test::{Database, Running, Session, wait_until};

use super::scene::{Holder, SOON, Trail, preempt, row_of, table};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_session_that_has_given_up_is_not_told_free,
        a_report_tells_that_it_has_given_up,
        one_that_gives_up_behind_the_queue_is_not_told_free,
        one_that_gives_up_a_lock_held_outside_any_transaction_is_not_told_free,
        once_the_holder_has_gone_too_the_way_is_free,
        who_had_the_lock_and_is_done_has_not_given_up,
        nobody_more_is_signalled_once_it_has_given_up,
    ]
}

/// A session that waits behind the application for what `sql` needs.
fn waiter(database: &Database, sql: &str) -> (Session, Running) {
    let session = database.session("migration");
    let wait = session.spawn(sql);
    wait.wait_until_queued();
    (session, wait)
}

/// A call for that session which waits itself.
fn call(helper: &Session, waiter: &Session, more: &str) -> Running {
    let call = helper.spawn(preempt(&format!(r#"{{"pid": {}{more}}}"#, waiter.pid())));
    wait_until("the call waits for the one in the way", SOON, || {
        call.wait_event().is_some_and(|(kind, _)| kind == "Lock")
    });
    call
}

/// Sees that the call ended with 55P03, and gives its message and its detail.
#[track_caller]
fn not_free(call: Running) -> (String, String) {
    let error = call.wait(SOON).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "55P03", "{error:?}");
    let detail = error.detail().unwrap_or_default();
    (error.message().to_owned(), detail.to_owned())
}

fn a_session_that_has_given_up_is_not_told_free(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let helper = database.session("helper");
    for (sql, is_cancelled) in [
        ("SET lock_timeout = '700ms'; DROP TABLE t", false),
        ("DROP TABLE t", true),
    ] {
        let (session, wait) = waiter(&database, sql);
        let call = call(&helper, &session, "");
        if is_cancelled {
            session.cancel();
        }
        assert!(wait.wait(SOON).is_err());
        let (message, detail) = not_free(call);
        let (waiter, holder) = (session.pid(), application.pid());
        let told = format!(
            "pid {waiter} no longer waits: it has given up its request for AccessExclusiveLock on t \
             while pid {holder} (idle_in_transaction, \"web\") still holds it"
        );
        assert_eq!(message, told);
        let left =
            format!("pid {holder} (idle_in_transaction, \"web\") holds AccessShareLock on t");
        assert!(detail.starts_with(&left), "{detail}");
    }
    assert!(application.goes_on());
}

fn a_report_tells_that_it_has_given_up(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let helper = database.session("helper");
    let (session, wait) = waiter(&database, "DROP TABLE t");
    let call = call(&helper, &session, r#", "on_timeout": "report""#);
    wait.cancel();
    let rows = call.rows(SOON);
    assert_eq!(
        row_of(&rows, application.pid()).text("verdict"),
        "in the way"
    );
    let told = helper.take_notices().pop().unwrap().message;
    let not_free = "lockguard: the way to AccessExclusiveLock on t (for pid ";
    assert!(told.starts_with(not_free), "{told}");
    assert!(
        told.contains("is not free after") && told.ends_with("has given up"),
        "{told}"
    );
}

/// What it would wait for in the end is no conflict with its own request.
fn one_that_gives_up_behind_the_queue_is_not_told_free(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let _application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let (migration, _alter) = waiter(&database, "ALTER TABLE t ADD COLUMN u int");
    let helper = database.session("helper");
    let (reader, read) = waiter(&database, "SELECT count(*) FROM t");
    let call = call(&helper, &reader, "");
    read.cancel();
    let (message, _) = not_free(call);
    let queued = format!(
        "while pid {} (application, \"migration\") is still queued before it",
        migration.pid()
    );
    assert!(message.ends_with(&queued), "{message}");
}

/// It is found by no transaction.
fn one_that_gives_up_a_lock_held_outside_any_transaction_is_not_told_free(world: &World) {
    let database = world.database();
    let holder = database.session("migrations");
    holder.run("SELECT pg_advisory_lock(7)");
    let (session, wait) = waiter(&database, "SELECT pg_advisory_lock(7)");
    let helper = database.session("helper");
    let call = helper.spawn(preempt(&format!(r#"{{"pid": {}}}"#, session.pid())));
    wait_until("the call has found the holder", SOON, || {
        !helper.notices().is_empty()
    });
    wait.cancel();
    let (message, detail) = not_free(call);
    let holder = format!("pid {} ", holder.pid());
    assert!(
        message.contains(&holder) && detail.contains(&holder),
        "{message}\n{detail}"
    );
}

fn once_the_holder_has_gone_too_the_way_is_free(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let (session, wait) = waiter(&database, "DROP TABLE t");
    let helper = database.session("helper");
    let call = call(&helper, &session, "");
    // In one step, so that the call does not look in between.
    database.ask(&format!(
        "SELECT pg_cancel_backend({}), pg_terminate_backend({})",
        session.pid(),
        application.pid()
    ));
    let rows = call.rows(SOON);
    assert_eq!(row_of(&rows, application.pid()).text("verdict"), "finished");
    let _ = wait.wait(SOON);
}

/// By the time of the next look another holds what it had.
fn who_had_the_lock_and_is_done_has_not_given_up(world: &World) {
    let database = world.database();
    table(&database, "t", 10);
    let application = Holder::idle(&database, "web", "SELECT count(*) FROM t");
    let (session, wait) = waiter(&database, "ALTER TABLE t ADD COLUMN u int");
    let next = database.session("web");
    next.run("BEGIN");
    let read = next.spawn("SELECT count(*) FROM t");
    read.wait_until_queued();
    let helper = database.session("helper");
    let call = call(&helper, &session, "");
    application.session.run("COMMIT");
    wait.rows(SOON);
    read.rows(SOON);
    let rows = call.rows(SOON);
    assert_eq!(row_of(&rows, application.pid()).text("verdict"), "finished");
}

/// Two victims; it gives up while the first is being signalled.
fn nobody_more_is_signalled_once_it_has_given_up(world: &World) {
    let signals = Interposer::new(world.installation()).unwrap();
    let cluster = signals.start(world.installation(), &[]).unwrap();
    let database = cluster.create_database().unwrap();
    table(&database, "t", 10);
    let dumps = ["one", "two"].map(|_| Holder::busy(&database, "pg_dump", "SELECT FROM t"));
    let (session, wait) = waiter(&database, "DROP TABLE t");
    let helper = database.session("helper");
    let hold = signals.hold(Moment::Before).unwrap();
    let call = helper.spawn(preempt(&format!(r#"{{"pid": {}}}"#, session.pid())));
    wait_until("its first signal is held up", SOON, || {
        hold.pid() == Some(helper.pid())
    });
    // A cancel by the server would be held up as well.
    kill(Pid::from_raw(session.pid()), Signal::SIGINT).unwrap();
    assert!(wait.wait(SOON).is_err());
    let trail = Trail::from_now(&cluster);
    drop(hold);
    let (message, _) = not_free(call);
    assert!(message.contains("no longer waits"), "{message}");
    let [ended, untouched]: [Vec<_>; 2] = {
        let (untouched, ended): (Vec<_>, Vec<_>) = dumps.into_iter().partition(Holder::goes_on);
        [ended, untouched]
    };
    assert_eq!((ended.len(), untouched.len()), (1, 1));
    let told = format!("lockguard did not signal pid {}", untouched[0].pid());
    assert!(trail.text().contains(&told), "{}", trail.text());
}
