//! One way to the DDL, played once: the obstacle in place, the application at work, and what came of it.

use std::time::{Duration, Instant};

use pg_test::{Backup, Cluster, Database, During, Failure, ParallelDump, wait_until};

use crate::application::{Application, Felt, Load};
use crate::figures::{Spread, ms, seconds, spread};
use crate::sheet;
use crate::trail::{Killed, Trail};
use crate::ways::{Migration, Way};
use crate::world::{TABLE, UNDO};

/// How long the application is at work before the migration begins.
pub const LEAD: Duration = Duration::from_secs(1);

/// How long it goes on after the DDL: what it has queued up is felt then.
const AFTERMATH: Duration = Duration::from_secs(1);

/// How long what was killed may take to be gone.
const SOON: Duration = Duration::from_secs(20);

/// What stands in the way. Dropping it removes it.
pub enum Obstacle {
    None,
    Backup(Backup),
    Parallel(ParallelDump),
    /// A process of the server, which stays when a way has left it alone.
    Worker(i32),
}

impl Obstacle {
    /// The server processes.
    fn pids(&self) -> Vec<i32> {
        match self {
            Obstacle::None => vec![],
            Obstacle::Backup(backup) => vec![backup.pid],
            Obstacle::Parallel(dump) => dump.workers.iter().copied().chain([dump.leader]).collect(),
            Obstacle::Worker(pid) => vec![*pid],
        }
    }

    /// What somebody types who knows them.
    fn kill(&self, function: &str) -> String {
        let calls: Vec<String> = self
            .pids()
            .iter()
            .map(|pid| format!("{function}({pid})"))
            .collect();
        format!("SELECT {}", calls.join(", "))
    }

    /// Removes it, and waits until its sessions are gone.
    fn end(self, database: &Database) {
        let pids: Vec<String> = self.pids().iter().map(i32::to_string).collect();
        if pids.is_empty() || matches!(self, Obstacle::Worker(_)) {
            return;
        }
        drop(self);
        let sql = format!(
            "SELECT 1 FROM pg_stat_activity WHERE pid IN ({})",
            pids.join(", ")
        );
        wait_until("the obstacle is gone", SOON, || {
            database.ask(&sql).is_empty()
        });
    }
}

/// Where ways are played.
pub struct Scene<'a> {
    pub cluster: &'a Cluster,
    pub database: &'a Database,
    pub load: Load,
    /// When a way is given up.
    pub cap: Duration,
    /// The function by which the person of the floor kills.
    pub kill: &'static str,
}

/// What came of a way.
pub struct Record {
    pub name: &'static str,
    /// Until the DDL was done; `None` if it was not at the cap.
    pub took: Option<Duration>,
    cap: Duration,
    /// When it began.
    pub start: Instant,
    pub felt: Felt,
    pub killed: Killed,
}

impl Scene<'_> {
    /// Plays it, and puts everything back.
    pub fn play(&self, way: Way, obstacle: Obstacle) -> Result<Record, Failure> {
        let (record, ()) = self.play_with(way, obstacle, || ())?;
        Ok(record)
    }

    /// The same with something that begins when the way does.
    pub fn play_with<T>(
        &self,
        way: Way,
        obstacle: Obstacle,
        begin: impl FnOnce() -> T,
    ) -> Result<(Record, T), Failure> {
        let what = || format!("go the way \"{}\"", way.name);
        let kill = obstacle.kill(self.kill);
        let mut migration = Migration::connect(self.database, self.cap, kill).during(what())?;
        let application = Application::start(self.database, self.load)?;
        std::thread::sleep(LEAD);
        let trail = Trail::from_now(self.cluster);
        let begun = begin();
        let start = Instant::now();
        let took = migration.go(way, self.cap).during(what())?;
        std::thread::sleep(AFTERMATH);
        let killed = trail.killed();
        // Ends its transaction where it was given up, or the application would never come to rest.
        drop(migration);
        let felt = application.stop(start);
        obstacle.end(self.database);
        self.database.session("setup").run(UNDO);
        sheet::progress(&format!(
            "{}: {}",
            way.name,
            took.map_or_else(|| "given up".to_owned(), seconds)
        ));
        let record = Record {
            name: way.name,
            took,
            cap: self.cap,
            start,
            felt,
            killed,
        };
        Ok((record, begun))
    }

    /// A backup of the table at that pace.
    pub fn backup(&self, bytes_per_second: u64) -> Obstacle {
        Obstacle::Backup(Backup::of_table(self.database, TABLE, bytes_per_second))
    }
}

/// The columns of [`cells`].
pub const COLUMNS: [&str; 6] = [
    "",
    "DDL done",
    "worst latency",
    "lost over 50 ms",
    "killed",
    "innocents killed",
];

/// The row of a way; gone several times, the medians, and in parentheses the maxima.
pub fn cells(records: &[Record]) -> Vec<String> {
    let [first, others @ ..] = records else {
        return vec![];
    };
    let (took, worst, lost) = (took(records), worst(records), lost(records));
    let is_done = records.iter().all(|record| record.took.is_some());
    let capped = format!("> {} s", first.cap.as_secs());
    let with_max = |spread: Spread, write: fn(Duration) -> String| {
        if others.is_empty() {
            write(spread.max)
        } else {
            format!("{} ({})", write(spread.median), write(spread.max))
        }
    };
    let most = |of: fn(&Killed) -> usize| {
        records
            .iter()
            .map(|record| of(&record.killed))
            .max()
            .unwrap_or(0)
            .to_string()
    };
    vec![
        first.name.to_owned(),
        if is_done {
            with_max(took, seconds)
        } else {
            capped
        },
        with_max(worst, ms),
        with_max(lost, seconds),
        most(|killed| killed.sessions),
        most(|killed| killed.innocents),
    ]
}

/// Until the DDL was done; where a way was given up, the cap.
pub fn took(records: &[Record]) -> Spread {
    spread(
        records
            .iter()
            .map(|record| record.took.unwrap_or(record.cap)),
    )
}

/// The application's slowest answer of each round.
pub fn worst(records: &[Record]) -> Spread {
    spread(records.iter().map(|record| record.felt.worst()))
}

/// What the application lost in each round.
pub fn lost(records: &[Record]) -> Spread {
    spread(records.iter().map(|record| record.felt.lost()))
}

/// The round that took as long as the median.
pub fn typical(mut records: Vec<Record>) -> Option<Record> {
    records.sort_by_key(|record| record.took);
    let middle = records.len() / 2;
    records.into_iter().nth(middle)
}
