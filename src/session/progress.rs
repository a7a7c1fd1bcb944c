//! How much of a command is done, from the counters that it reports (`pg_stat_progress_*`), and how
//! long the rest will take if it goes on as it went.
//!
//! Whether the session's locks go when the report ends is told in [`super::statement`].

use std::time::Duration;

/// The most that is ever said to be done: what follows the last counter (truncating, swapping files,
/// the commit) is not counted by the server.
pub const NEARLY_ALL: f64 = 0.99;

/// So much of so much, in units that the server chose: blocks, rows, bytes. No total: unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub done: i64,
    pub total: i64,
}

impl Share {
    fn fraction(self) -> Option<f64> {
        (self.total > 0).then(|| (self.done.max(0) as f64 / self.total as f64).min(1.0))
    }
}

/// What a command has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counters {
    Vacuum(Vacuum),
    Analyze(Analyze),
    /// CREATE INDEX and REINDEX.
    CreateIndex(IndexBuild),
    /// CLUSTER and VACUUM FULL.
    Cluster(Rewrite),
    /// Bytes of a file that is read; rows of a table that is written out.
    Copy(Share),
}

impl Counters {
    /// How much is done, from 0 to [`NEARLY_ALL`]; none where the server counts towards no end.
    pub fn fraction(self) -> Option<f64> {
        let fraction = match self {
            Counters::Vacuum(vacuum) => vacuum.fraction(),
            Counters::Analyze(analyze) => analyze.fraction(),
            Counters::CreateIndex(build) => build.fraction(),
            Counters::Cluster(rewrite) => rewrite.fraction(),
            Counters::Copy(share) => share.fraction(),
        };
        fraction.map(|f| f.clamp(0.0, NEARLY_ALL))
    }

    /// Whether it waits for others, which takes as long as they like.
    pub fn waits_for_others(self) -> bool {
        matches!(self, Counters::CreateIndex(build) if build.phase.is_wait())
    }
}

/// How long the rest takes, at the pace at which `done` was done; none before anything is.
pub fn remaining(elapsed: Duration, done: f64) -> Option<Duration> {
    let rest = elapsed.as_secs_f64() * (1.0 - done) / done;
    Duration::try_from_secs_f64(rest)
        .ok()
        .filter(|_| done > 0.0)
}

/// Where on the way from `start` to `end` a part of the work is.
fn between(start: f64, end: f64, part: Option<f64>) -> f64 {
    start + (end - start) * part.unwrap_or(0.0)
}

/// VACUUM, by hand or of an autovacuum worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuum {
    pub phase: VacuumPhase,
    pub blocks: i64,
    pub scanned: i64,
    pub vacuumed: i64,
    /// Dead row pointers found since the indexes were vacuumed last.
    pub dead: i64,
    /// How often the indexes have been vacuumed.
    pub index_rounds: i64,
    /// Blocks of what the same statement has vacuumed before under the same lock: the table, when it
    /// has come to its TOAST table.
    pub blocks_before: i64,
    /// Blocks of what it will vacuum afterwards: the TOAST table.
    pub blocks_after: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VacuumPhase {
    #[default]
    Beginning,
    /// Scanning, vacuuming indexes and vacuuming the heap, in turns.
    Heap,
    IndexCleanup,
    Truncate,
    FinalCleanup,
}

impl Vacuum {
    /// Half for scanning and half for vacuuming what the scan has found; with nothing found, scanning
    /// is all there is.
    fn fraction(self) -> Option<f64> {
        let part = |done| Share {
            done,
            total: self.blocks,
        };
        let scanned = part(self.scanned).fraction();
        let here = match self.phase {
            VacuumPhase::Beginning => 0.0,
            VacuumPhase::Heap if self.dead == 0 && self.index_rounds == 0 => scanned?.min(0.95),
            VacuumPhase::Heap => {
                let vacuumed = part(self.vacuumed).fraction();
                (between(0.0, 0.5, scanned) + between(0.0, 0.5, vacuumed)).min(0.95)
            }
            VacuumPhase::IndexCleanup => 0.96,
            VacuumPhase::Truncate => 0.97,
            VacuumPhase::FinalCleanup => 0.98,
        };
        let [before, blocks, after] =
            [self.blocks_before, self.blocks, self.blocks_after].map(|blocks| blocks.max(0) as f64);
        match before + after > 0.0 {
            true => Some((before + here * blocks) / (before + blocks + after)),
            false => Some(here),
        }
    }
}

/// ANALYZE: nearly all of its time goes into reading the sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Analyze {
    pub phase: AnalyzePhase,
    pub blocks: Share,
    pub extended: Share,
    pub children: Share,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnalyzePhase {
    #[default]
    Beginning,
    Sample,
    /// Of one child or partition after the other.
    SampleChildren,
    Compute,
    ComputeExtended,
    Finalize,
}

impl Analyze {
    fn fraction(self) -> Option<f64> {
        const SAMPLED: f64 = 0.9;
        Some(match self.phase {
            AnalyzePhase::Beginning => 0.0,
            AnalyzePhase::Sample => between(0.0, SAMPLED, Some(self.blocks.fraction()?)),
            AnalyzePhase::SampleChildren => between(
                0.0,
                SAMPLED,
                Some(one_after_the_other(self.children, self.blocks.fraction())?),
            ),
            AnalyzePhase::Compute => SAMPLED,
            AnalyzePhase::ComputeExtended => between(SAMPLED, 0.97, self.extended.fraction()),
            AnalyzePhase::Finalize => 0.98,
        })
    }
}

/// Of several like things some are done, and so much of the next one.
fn one_after_the_other(things: Share, current: Option<f64>) -> Option<f64> {
    let all = things.fraction()?;
    Some((all + current.unwrap_or(0.0) / things.total as f64).min(1.0))
}

/// CREATE INDEX and REINDEX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexBuild {
    pub concurrently: bool,
    pub phase: IndexPhase,
    pub method: IndexMethod,
    pub blocks: Share,
    pub tuples: Share,
    /// Of a partitioned table.
    pub partitions: Share,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexPhase {
    #[default]
    Beginning,
    WaitForWritersBeforeBuild,
    Build,
    WaitForWritersBeforeValidation,
    ValidateScanIndex,
    ValidateSort,
    ValidateScanTable,
    WaitForOldSnapshots,
    WaitForReadersBeforeMarkingDead,
    WaitForReadersBeforeDropping,
}

impl IndexPhase {
    /// Whether it waits for transactions of others.
    const fn is_wait(self) -> bool {
        use IndexPhase::*;
        matches!(
            self,
            WaitForWritersBeforeBuild
                | WaitForWritersBeforeValidation
                | WaitForOldSnapshots
                | WaitForReadersBeforeMarkingDead
                | WaitForReadersBeforeDropping
        )
    }
}

/// How an access method builds an index, which decides what the counters mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexMethod {
    /// Reads the table and sorts, then writes the index row by row: btree, hash.
    SortAndLoad,
    /// Is nearly done when it has read the table.
    Scan,
    /// An extension's, which may count as it likes.
    #[default]
    Unknown,
}

impl IndexBuild {
    fn fraction(self) -> Option<f64> {
        use IndexPhase::*;
        let blocks = self.blocks.fraction();
        // What follows a concurrent build goes through index and table once more.
        let built = if self.concurrently { 0.6 } else { 1.0 };
        let here = match self.phase {
            Beginning | WaitForWritersBeforeBuild => 0.0,
            Build => between(0.0, built, Some(self.build()?)),
            WaitForWritersBeforeValidation => built,
            ValidateScanIndex => between(0.60, 0.70, blocks),
            ValidateSort => 0.70,
            ValidateScanTable => between(0.72, 0.95, blocks),
            WaitForOldSnapshots => 0.95,
            WaitForReadersBeforeMarkingDead => 0.96,
            WaitForReadersBeforeDropping => 0.97,
        };
        match self.partitions.total > 0 {
            true => one_after_the_other(self.partitions, Some(here)),
            false => Some(here),
        }
    }

    /// The server resets the blocks when it knows how many rows are to be loaded. Until then all of them
    /// are reported as done at the very first (heapam_scan_get_blocks_done in heapam_handler.c), and
    /// while parallel workers sort what they have read: that tells nothing.
    fn build(self) -> Option<f64> {
        const SCANNED: f64 = 0.6;
        let blocks = self.blocks.fraction();
        if self.tuples.total <= 0 && blocks == Some(1.0) {
            return None;
        }
        match (self.method, self.tuples.fraction()) {
            (IndexMethod::Unknown, _) => None,
            (_, Some(loaded)) => Some(between(SCANNED, 1.0, Some(loaded))),
            (IndexMethod::SortAndLoad, None) => Some(between(0.0, SCANNED, blocks)),
            (IndexMethod::Scan, None) => Some(between(0.0, 1.0, blocks)),
        }
    }
}

/// CLUSTER and VACUUM FULL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    pub phase: RewritePhase,
    /// VACUUM FULL, which writes what it reads at once.
    pub is_full_vacuum: bool,
    pub blocks: Share,
    pub tuples_scanned: i64,
    pub tuples_written: i64,
    pub indexes_rebuilt: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RewritePhase {
    #[default]
    Beginning,
    ScanTable,
    /// In the order of an index, whose end is not known.
    ScanIndex,
    Sort,
    Write,
    SwapFiles,
    RebuildIndexes,
    FinalCleanup,
}

impl Rewrite {
    fn fraction(self) -> Option<f64> {
        const SORTED: f64 = 0.4;
        const WRITTEN: f64 = 0.7;
        let scanned = if self.is_full_vacuum { WRITTEN } else { 0.35 };
        let written = Share {
            done: self.tuples_written,
            total: self.tuples_scanned,
        };
        let rebuilt = self.indexes_rebuilt.max(0) as f64;
        match self.phase {
            RewritePhase::Beginning => Some(0.0),
            RewritePhase::ScanTable => Some(between(0.0, scanned, Some(self.blocks.fraction()?))),
            RewritePhase::ScanIndex => None,
            RewritePhase::Sort => Some(scanned),
            RewritePhase::Write => Some(between(SORTED, WRITTEN, written.fraction())),
            RewritePhase::SwapFiles => Some(WRITTEN),
            // How many there are is not reported: each is a smaller part of what was left.
            RewritePhase::RebuildIndexes => {
                Some(between(WRITTEN, 0.97, Some(rebuilt / (rebuilt + 1.0))))
            }
            RewritePhase::FinalCleanup => Some(0.98),
        }
    }
}

#[cfg(test)]
mod tests;
