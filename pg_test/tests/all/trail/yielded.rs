//! An autovacuum worker that the server cancels for the caller's sake, and a caller that is gone before the
//! worker is.

use std::sync::Arc;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pg_test::{SessionOptions, wait_until};

use super::wait_for_rows;
use crate::preempt::autovacuum::{needy_table, server, worker_on};
use crate::preempt::scene::{SOON, Trail, preempt};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_yield_has_its_row_though_the_caller_does_not_stay_to_see,
    ]
}

/// A server process that hears nothing until this is dropped.
struct Deaf(Pid);

impl Deaf {
    fn new(pid: i32) -> Deaf {
        let pid = Pid::from_raw(pid);
        kill(pid, Signal::SIGSTOP).unwrap();
        Deaf(pid)
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        // It may have been ended by the end of its server.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

fn a_yield_has_its_row_though_the_caller_does_not_stay_to_see(world: &World) {
    let cluster = server(world);
    // It tells of a wait right after it has cancelled the worker, after deadlock_timeout.
    cluster.set(&[("log_lock_waits", "on")]).unwrap();
    cluster.reload();
    let database = cluster.create_database().unwrap();
    needy_table(&database, "t");
    let admin = database.session("admin");
    admin.run("CREATE ROLE deployer LOGIN; ALTER TABLE t OWNER TO deployer");
    for (i, end) in ["pg_cancel_backend", "pg_terminate_backend"]
        .into_iter()
        .enumerate()
    {
        let migration = database
            .connect(SessionOptions::named("migration").user("deployer"))
            .unwrap();
        let worker = worker_on(&database, "t");
        let trail = Trail::from_now(&cluster);
        let deaf = Deaf::new(worker);
        let call = migration.spawn(preempt(r#"{"relations": ["t"], "timeout": "60s"}"#));
        let is_due = format!("process {} still waiting for ShareLock", migration.pid());
        wait_until("the server has cancelled the worker", SOON, || {
            trail.text().contains(&is_due)
        });
        admin.run(&format!("SELECT {end}({})", migration.pid()));
        assert!(call.wait(SOON).is_err());
        drop(deaf);
        wait_until("the worker has heard it", SOON, || {
            trail.text().contains("canceling autovacuum task")
        });
        let rows = wait_for_rows(&admin, i + 1);
        let row = rows.iter().last().unwrap();
        assert_eq!(row.text("pid"), worker.to_string(), "{end}");
        assert_eq!(row.text("signal"), "yield", "{end}");
        assert_eq!(row.text("outcome"), "unknown", "{end}");
    }
}
