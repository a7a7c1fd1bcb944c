//! Table 2: the same with a transaction of the application, which nobody may kill, beside the backup.

use std::time::{Duration, Instant};

use pg_test::Failure;

use crate::application::{self, Load};
use crate::chart;
use crate::figures::ms;
use crate::play::{self, COLUMNS, Record, Scene};
use crate::sheet::Sheet;
use crate::trail::{Killed, Trail};
use crate::ways::{self, LOCKGUARD, Way};
use crate::world::{HALF_A_MINUTE, TABLE, World};

const WAYS: [Way; 5] = [
    ways::PLAIN,
    ways::RETRY_500,
    ways::RETRY_200,
    ways::TERMINATE,
    LOCKGUARD,
];

/// How long the application's transaction goes on after the migration has begun.
const TRANSACTION: Duration = Duration::from_secs(10);

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    sheet.heading(
        "2. Behind the application",
        &format!(
            "The same, and a transaction of the application that has read the table, idles for {} s, and commits. \
             Killed before its end counts who had to go though the lock could not be had.",
            TRANSACTION.as_secs()
        ),
    );
    let database = world.database()?;
    let scene = Scene {
        cluster: world.cluster()?,
        database: &database,
        load: Load::Points,
        cap: Duration::from_secs(40),
        kill: "pg_cancel_backend",
    };
    let (mut plays, mut rows) = (vec![], vec![]);
    for way in WAYS {
        let (record, report) = play(&scene, way)?;
        let mut cells = play::cells(std::slice::from_ref(&record));
        cells.push(report.killed.sessions.to_string());
        rows.push(cells);
        plays.push((record, report));
    }
    let columns: Vec<&str> = COLUMNS
        .into_iter()
        .chain(["killed before its end"])
        .collect();
    sheet.table(&columns, &rows);
    if let Some((record, report)) = plays.last() {
        judge(sheet, record, report);
    }
    let shown: Vec<Record> = plays.into_iter().map(|(record, _)| record).collect();
    chart::draw(
        "application",
        "A DDL behind a transaction of 10 s and a backup: the application's slowest request at each moment (log scale; red: the DDL is done)",
        &shown,
    )
}

/// What became of the application's transaction.
struct Report {
    /// When it was over.
    end: Instant,
    /// Who had been killed by then.
    killed: Killed,
}

fn play(scene: &Scene, way: Way) -> Result<(Record, Report), Failure> {
    let session = scene
        .database
        .session(&format!("{}: report", application::NAME));
    let trail = Trail::from_now(scene.cluster);
    session.run(&format!(
        "BEGIN; SELECT count(*) FROM {TABLE} WHERE id < 10"
    ));
    let report = || {
        std::thread::sleep(TRANSACTION);
        let killed = trail.killed();
        // It fails where it was killed.
        let _ = session.try_run("COMMIT");
        Report {
            end: Instant::now(),
            killed,
        }
    };
    std::thread::scope(|scope| {
        let (record, thread) =
            scene.play_with(way, scene.backup(HALF_A_MINUTE), || scope.spawn(report))?;
        let report = thread
            .join()
            .map_err(|_| Failure::new("the application's transaction has failed"))?;
        Ok((record, report))
    })
}

fn judge(sheet: &mut Sheet, record: &Record, report: &Report) {
    sheet.target(
        report.killed.sessions == 0 && record.killed.innocents == 0,
        "nobody killed before the application's transaction ended",
        &report.killed.sessions.to_string(),
    );
    let done = record
        .took
        .map(|took| (record.start + took).saturating_duration_since(report.end));
    sheet.target(
        done.is_some_and(|after| after <= Duration::from_millis(100)),
        "the DDL done within 100 ms of its end",
        &done.map_or_else(|| "given up".to_owned(), ms),
    );
    sheet.target(
        record.felt.worst() <= Duration::from_millis(150),
        "worst latency at most max_stall and 50 ms",
        &ms(record.felt.worst()),
    );
    sheet.end_targets();
}
