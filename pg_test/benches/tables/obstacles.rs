//! Table 3: other obstacles than a plain backup.

use std::time::Duration;

use pg_test::{Failure, ParallelDump};

use crate::application::Load;
use crate::autovacuum;
use crate::play::{self, COLUMNS, Obstacle, Scene};
use crate::sheet::Sheet;
use crate::ways::{self, FLOOR, LOCKGUARD, Way};
use crate::world::{ROWS, TABLE, World, make_table};

/// When a way is given up: none of the obstacles goes by itself before.
const CAP: Duration = Duration::from_secs(10);

/// Rows of which a parallel dump has enough for longer than that.
const LASTING: u64 = 4 * ROWS;

/// How often the floor and lockguard are played.
const ROUNDS: usize = 3;

const PEERS: [Way; 5] = [
    ways::PLAIN,
    ways::RETRY_500,
    ways::RETRY_200,
    ways::REPACK,
    ways::TERMINATE,
];

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    sheet.heading(
        "3. Other obstacles",
        &format!(
            "The application of table 1; none of these obstacles goes by itself in time: a way is given up after {} s. \
             The last two rows of each: medians (and maxima) of {ROUNDS} rounds; the floor cancels the worker, \
             and terminates the dumps.",
            CAP.as_secs()
        ),
    );
    let (cluster, database) = autovacuum::start(world)?;
    let scene = Scene {
        cluster: &cluster,
        database: &database,
        load: Load::Points,
        cap: CAP,
        kill: "pg_cancel_backend",
    };
    let worker = || Obstacle::Worker(autovacuum::worker(&database));
    behind(
        sheet,
        "An autovacuum worker (`autovacuum_naptime` 1 s)",
        &scene,
        &PEERS,
        worker,
    )?;

    let cluster = world.cluster()?;
    let database = cluster.create_database()?;
    for table in [TABLE, "invoices"] {
        make_table(&database, table, LASTING, "");
    }
    let scene = Scene {
        cluster,
        database: &database,
        kill: "pg_terminate_backend",
        ..scene
    };
    let dump = || Obstacle::Parallel(ParallelDump::start(&database));
    behind(
        sheet,
        "`pg_dump -j 2`, the table with one of its two workers",
        &scene,
        &PEERS,
        dump,
    )?;

    let database = world.database()?;
    let scene = Scene {
        database: &database,
        ..scene
    };
    let stalled = || scene.backup(0);
    behind(
        sheet,
        "`pg_dump` whose output nobody reads, so that it hears no cancel",
        &scene,
        &PEERS,
        stalled,
    )
}

fn behind(
    sheet: &mut Sheet,
    what: &str,
    scene: &Scene,
    peers: &[Way],
    obstacle: impl Fn() -> Obstacle,
) -> Result<(), Failure> {
    let mut rows = vec![];
    for way in peers {
        rows.push(play::cells(&[scene.play(*way, obstacle())?]));
    }
    let (mut floor, mut ours) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floor.push(scene.play(FLOOR, obstacle())?);
        ours.push(scene.play(LOCKGUARD, obstacle())?);
    }
    rows.extend([play::cells(&floor), play::cells(&ours)]);
    sheet.say(&format!("{what}:"));
    sheet.table(&COLUMNS, &rows);
    Ok(())
}
