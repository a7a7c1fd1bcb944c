//! `cargo demo` as a person runs it: the play tells of the whole incident, and leaves nothing behind.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use pg_test::process::{self, Ending, Process};
use pg_test::wait_until;

use crate::world::{World, scenarios};

/// The program behind `cargo demo`. It does its own setup, on a machine that may be slow.
const DEMO: &str = env!("CARGO_BIN_EXE_demo");
const PATIENCE: Duration = Duration::from_secs(120);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        the_demo_plays_both_acts,
        an_interrupted_demo_leaves_nothing_behind,
    ]
}

fn the_demo_plays_both_acts(_: &World) {
    let mut demo = Command::new(DEMO);
    demo.arg("--quick");
    let told = process::run_within(demo, PATIENCE)
        .unwrap()
        .expect_success()
        .stdout;
    for claim in [
        "DROP TABLE waits for pid",
        "still waiting. Behind it: a page for",
        "The lock is held by pid",
        "(\"Heroku Postgres Backups\") alone",
        "nothing is dropped",
        "lockguard cancels pid",
        "holds the lock after",
        "COMMIT: the table is gone",
        "policy preempts it (backup)",
        "canceling statement due to user request",
    ] {
        assert!(told.contains(claim), "{claim:?} is missing in:\n{told}");
    }
    let overlong = told.lines().find(|line| line.chars().count() > 100);
    assert_eq!(overlong, None, "wider than 100 columns");
    assert!(!told.contains('\x1b'), "colour, though not on a terminal");
}

fn an_interrupted_demo_leaves_nothing_behind(_: &World) {
    let mut demo = Command::new(DEMO);
    demo.arg("--quick").stdout(Stdio::null());
    let mut demo = Process::spawn(demo, Ending::Patient).unwrap();
    wait_until("the demo's backup is running", PATIENCE, || {
        assert_eq!(demo.try_wait(), None, "the demo ended before");
        children_of(demo.pid())
            .iter()
            .any(|(name, _)| name == "pg_dump")
    });
    let children = children_of(demo.pid());
    let server = children.iter().find(|(name, _)| name == "postgres");
    let data = data_folder(server.expect("a server is among its children").1);
    assert!(data.join("PG_VERSION").exists(), "{}", data.display());
    demo.signal(Signal::SIGINT);
    let status = demo.wait(PATIENCE).expect("the demo ends");
    assert_eq!(status.code(), Some(128 + Signal::SIGINT as i32));
    let left: Vec<_> = children
        .iter()
        .filter(|(name, pid)| process_name(*pid).as_ref() == Some(name))
        .collect();
    assert!(left.is_empty(), "still running: {left:?}");
    // It lies in the demo's temporary folder: <temporary>/c1/data.
    let temporary = data.ancestors().nth(2).unwrap();
    assert!(!temporary.exists(), "{} is left", temporary.display());
}

/// Where a server has its data: `postgres -D <there>`.
fn data_folder(server: u32) -> PathBuf {
    let arguments = std::fs::read_to_string(format!("/proc/{server}/cmdline")).unwrap();
    let mut arguments = arguments.split('\0').skip_while(|word| *word != "-D");
    PathBuf::from(arguments.nth(1).expect("the server was started with -D"))
}

/// Names and ids of a process's children, from `/proc`.
fn children_of(parent: u32) -> Vec<(String, u32)> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task"));
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| {
            pids.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .filter_map(|pid| Some((process_name(pid)?, pid)))
        .collect()
}

fn process_name(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}
