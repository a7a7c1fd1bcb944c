//! Table 4: a table that is never free for an instant, though nobody holds it for long.

use std::time::Duration;

use pg_test::Failure;

use crate::application::Load;
use crate::figures::{ms, seconds};
use crate::play::{self, COLUMNS, Obstacle, Record, Scene};
use crate::sheet::Sheet;
use crate::ways::{self, LOCKGUARD, Way};
use crate::world::World;

const WAYS: [Way; 4] = [ways::PLAIN, ways::NOWAIT, ways::RETRY_200, LOCKGUARD];

/// How often each way is played that comes to its end.
const ROUNDS: usize = 5;

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    sheet.heading(
        "4. Steady traffic",
        &format!(
            "16 connections with transactions of 20 ms on the table, one after the other without a pause; no backup. \
             Latency beyond the 20 ms. Medians (and maxima) of {ROUNDS} rounds."
        ),
    );
    let database = world.database()?;
    let scene = Scene {
        cluster: world.cluster()?,
        database: &database,
        load: Load::Transactions,
        cap: Duration::from_secs(15),
        kill: "pg_cancel_backend",
    };
    let mut all = vec![];
    for way in WAYS {
        let mut records = vec![];
        while records.len() < ROUNDS
            && records
                .last()
                .is_none_or(|record: &Record| record.took.is_some())
        {
            records.push(scene.play(way, Obstacle::None)?);
        }
        all.push(records);
    }
    let rows: Vec<Vec<String>> = all.iter().map(|records| play::cells(records)).collect();
    sheet.table(&COLUMNS, &rows);
    if let Some(ours) = all.last() {
        judge(sheet, ours);
    }
    Ok(())
}

fn judge(sheet: &mut Sheet, ours: &[Record]) {
    let is_done = ours.iter().all(|record| record.took.is_some());
    let took = play::took(ours).max;
    sheet.target(
        is_done && took <= Duration::from_secs(2),
        "the DDL done within 2 s in all rounds",
        &seconds(took),
    );
    let worst = play::worst(ours).max;
    sheet.target(
        worst <= Duration::from_millis(150),
        "worst latency of all rounds at most max_stall and 50 ms",
        &ms(worst),
    );
    sheet.target(
        ours.iter().all(|record| record.killed.sessions == 0),
        "nobody killed",
        &ours
            .iter()
            .map(|record| record.killed.sessions)
            .sum::<usize>()
            .to_string(),
    );
    sheet.end_targets();
}
