//! Table 1: a backup of half a minute, an application at work, and a DDL.

use std::time::Duration;

use pg_test::Failure;

use crate::application::Load;
use crate::chart;
use crate::figures::{Spread, ms, seconds};
use crate::play::{self, COLUMNS, Record, Scene};
use crate::sheet::Sheet;
use crate::ways::{self, FLOOR, LOCKGUARD, Way};
use crate::world::{HALF_A_MINUTE, World};

const PEERS: [Way; 5] = [
    ways::PLAIN,
    ways::RETRY_500,
    ways::RETRY_200,
    ways::REPACK,
    ways::TERMINATE,
];

/// How often the floor and lockguard are played: when the backup's client reads on decides how long either takes.
const ROUNDS: usize = 11;

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    sheet.heading(
        "1. Stall",
        &format!(
            "6 connections read and write single rows of the table; a `pg_dump` of it takes half a minute more; \
             `ALTER TABLE … ADD COLUMN`. The last two rows: medians (and maxima) of {ROUNDS} rounds, in turn."
        ),
    );
    let database = world.database()?;
    let scene = Scene {
        cluster: world.cluster()?,
        database: &database,
        load: Load::Points,
        cap: Duration::from_secs(90),
        kill: "pg_cancel_backend",
    };
    let play = |way| scene.play(way, scene.backup(HALF_A_MINUTE));
    let mut all = vec![];
    for way in PEERS {
        all.push(vec![play(way)?]);
    }
    let (mut floor, mut ours) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        floor.push(play(FLOOR)?);
        ours.push(play(LOCKGUARD)?);
    }
    judge(sheet, &all, &floor, &ours);
    all.extend([floor, ours]);
    let shown: Vec<Record> = all.into_iter().filter_map(play::typical).collect();
    chart::draw(
        "stall",
        "A DDL behind a backup of half a minute: the application's slowest request at each moment (log scale; red: the DDL is done)",
        &shown,
    )
}

fn judge(sheet: &mut Sheet, peers: &[Vec<Record>], floor: &[Record], ours: &[Record]) {
    let mut rows: Vec<Vec<String>> = peers.iter().map(|records| play::cells(records)).collect();
    rows.extend([play::cells(floor), play::cells(ours)]);
    sheet.table(&COLUMNS, &rows);
    let (at_best, took) = (play::took(floor).median, play::took(ours).median);
    sheet.target(
        took <= at_best + Duration::from_millis(20),
        "the DDL done within 20 ms of the floor",
        &format!("{} against {}", ms(took), ms(at_best)),
    );
    let best = |of: fn(&[Record]) -> Spread| {
        peers
            .iter()
            .map(|records| of(records).max)
            .min()
            .unwrap_or_default()
    };
    sheet.target(
        play::worst(ours).max < Duration::from_millis(20),
        "worst latency of all rounds under 20 ms",
        &format!(
            "{} (best peer: {})",
            ms(play::worst(ours).max),
            ms(best(play::worst))
        ),
    );
    sheet.target(
        play::lost(ours).max.is_zero(),
        "no application time lost",
        &format!(
            "{} (best peer: {})",
            seconds(play::lost(ours).max),
            seconds(best(play::lost))
        ),
    );
    sheet.target(
        ours.iter()
            .all(|record| record.killed.sessions == 1 && record.killed.innocents == 0),
        "the backup killed, and nobody else",
        &format!(
            "{} in {} rounds",
            ours.iter().map(|r| r.killed.sessions).sum::<usize>(),
            ours.len()
        ),
    );
    sheet.end_targets();
}
