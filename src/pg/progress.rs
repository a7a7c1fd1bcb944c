//! What a session reports of its command's progress: the server's numbered parameters, by name.
//!
//! What the counters come to is decided in `session::progress`.

use super::{catalog, compat, text};
use crate::session::ProgressCommand;
use crate::session::progress::{
    Analyze, AnalyzePhase, Counters, IndexBuild, IndexMethod, IndexPhase, Rewrite, RewritePhase,
    Share, Vacuum, VacuumPhase,
};
use pgrx::pg_sys;

/// The command that it reports.
pub(super) fn command(status: &pg_sys::PgBackendStatus) -> Option<ProgressCommand> {
    use pg_sys::ProgressCommandType::*;
    match status.st_progress_command {
        PROGRESS_COMMAND_VACUUM => Some(ProgressCommand::Vacuum),
        PROGRESS_COMMAND_ANALYZE => Some(ProgressCommand::Analyze),
        PROGRESS_COMMAND_CLUSTER => Some(ProgressCommand::Cluster),
        PROGRESS_COMMAND_CREATE_INDEX => Some(ProgressCommand::CreateIndex {
            concurrently: is_concurrent(status),
        }),
        PROGRESS_COMMAND_BASEBACKUP => Some(ProgressCommand::BaseBackup),
        PROGRESS_COMMAND_COPY => match parameter(status, pg_sys::PROGRESS_COPY_COMMAND) {
            pg_sys::PROGRESS_COPY_COMMAND_TO => Some(ProgressCommand::CopyTo),
            _ => Some(ProgressCommand::CopyFrom),
        },
        _ => None,
    }
}

/// What it has counted.
pub(super) fn counters(status: &pg_sys::PgBackendStatus) -> Option<Counters> {
    match command(status)? {
        ProgressCommand::Vacuum => Some(Counters::Vacuum(vacuum(status))),
        ProgressCommand::Analyze => Some(Counters::Analyze(analyze(status))),
        ProgressCommand::Cluster => Some(Counters::Cluster(rewrite(status))),
        ProgressCommand::CreateIndex { .. } => Some(Counters::CreateIndex(index_build(status))),
        ProgressCommand::CopyFrom => Some(Counters::Copy(share(
            status,
            pg_sys::PROGRESS_COPY_BYTES_PROCESSED,
            pg_sys::PROGRESS_COPY_BYTES_TOTAL,
        ))),
        ProgressCommand::CopyTo => Some(Counters::Copy(Share {
            done: counter(status, pg_sys::PROGRESS_COPY_TUPLES_PROCESSED),
            total: size(target(status)).map_or(0, |size| size.rows),
        })),
        ProgressCommand::BaseBackup => None,
    }
}

fn counter(status: &pg_sys::PgBackendStatus, index: u32) -> i64 {
    status.st_progress_param[index as usize]
}

/// A parameter that is one of a few constants, which are unsigned; none of them is the largest.
fn parameter(status: &pg_sys::PgBackendStatus, index: u32) -> u32 {
    u32::try_from(counter(status, index)).unwrap_or(u32::MAX)
}

fn share(status: &pg_sys::PgBackendStatus, done: u32, total: u32) -> Share {
    Share {
        done: counter(status, done),
        total: counter(status, total),
    }
}

/// The relation that it reports about, if it is one of this database.
fn target(status: &pg_sys::PgBackendStatus) -> Option<u32> {
    let relation = status.st_progress_command_target.to_u32();
    (status.st_databaseid.to_u32() == catalog::database() && relation != 0).then_some(relation)
}

fn size(relation: Option<u32>) -> Option<catalog::Size> {
    catalog::size(relation?)
}

fn vacuum(status: &pg_sys::PgBackendStatus) -> Vacuum {
    // By hand, a table and its TOAST table are vacuumed one after the other under the table's lock
    // (vacuum_rel in vacuum.c). A worker takes each by itself.
    let by_hand = status.st_backendType == pg_sys::BackendType::B_BACKEND;
    let target = target(status).filter(|_| by_hand && !names_a_toast_table(status));
    let blocks = |relation| size(relation).map_or(0, |size| size.blocks);
    Vacuum {
        phase: match parameter(status, pg_sys::PROGRESS_VACUUM_PHASE) {
            pg_sys::PROGRESS_VACUUM_PHASE_SCAN_HEAP
            | pg_sys::PROGRESS_VACUUM_PHASE_VACUUM_INDEX
            | pg_sys::PROGRESS_VACUUM_PHASE_VACUUM_HEAP => VacuumPhase::Heap,
            pg_sys::PROGRESS_VACUUM_PHASE_INDEX_CLEANUP => VacuumPhase::IndexCleanup,
            pg_sys::PROGRESS_VACUUM_PHASE_TRUNCATE => VacuumPhase::Truncate,
            pg_sys::PROGRESS_VACUUM_PHASE_FINAL_CLEANUP => VacuumPhase::FinalCleanup,
            _ => VacuumPhase::Beginning,
        },
        blocks: counter(status, pg_sys::PROGRESS_VACUUM_TOTAL_HEAP_BLKS),
        scanned: counter(status, pg_sys::PROGRESS_VACUUM_HEAP_BLKS_SCANNED),
        vacuumed: counter(status, pg_sys::PROGRESS_VACUUM_HEAP_BLKS_VACUUMED),
        dead: counter(status, compat::VACUUM_DEAD_ITEMS),
        index_rounds: counter(status, pg_sys::PROGRESS_VACUUM_NUM_INDEX_VACUUMS),
        blocks_before: blocks(target.and_then(table_in_name)),
        blocks_after: blocks(target.and_then(catalog::relation).and_then(|r| r.toast)),
    }
}

/// The table whose TOAST table that is, by its name (create_toast_table in toasting.c; finish_heap_swap
/// in cluster.c renames it): a cheap look-up, and good enough for an estimate.
fn table_in_name(toast: u32) -> Option<u32> {
    // SAFETY: a catalog look-up that answers null for an unknown OID.
    let name = unsafe { text::from_server(pg_sys::get_rel_name(pg_sys::Oid::from_u32(toast))) };
    let table = name?.strip_prefix("pg_toast_")?.parse().ok()?;
    (catalog::relation(table)?.toast == Some(toast)).then_some(table)
}

/// Whether its query has a TOAST table's name in it, which is then vacuumed by itself.
fn names_a_toast_table(status: &pg_sys::PgBackendStatus) -> bool {
    // SAFETY: null or a C string in the local copy.
    let query = unsafe { text::from_server(status.st_activity_raw) };
    query.is_some_and(|query| query.contains("pg_toast"))
}

fn analyze(status: &pg_sys::PgBackendStatus) -> Analyze {
    Analyze {
        phase: match parameter(status, pg_sys::PROGRESS_ANALYZE_PHASE) {
            pg_sys::PROGRESS_ANALYZE_PHASE_ACQUIRE_SAMPLE_ROWS => AnalyzePhase::Sample,
            pg_sys::PROGRESS_ANALYZE_PHASE_ACQUIRE_SAMPLE_ROWS_INH => AnalyzePhase::SampleChildren,
            pg_sys::PROGRESS_ANALYZE_PHASE_COMPUTE_STATS => AnalyzePhase::Compute,
            pg_sys::PROGRESS_ANALYZE_PHASE_COMPUTE_EXT_STATS => AnalyzePhase::ComputeExtended,
            pg_sys::PROGRESS_ANALYZE_PHASE_FINALIZE_ANALYZE => AnalyzePhase::Finalize,
            _ => AnalyzePhase::Beginning,
        },
        blocks: share(
            status,
            pg_sys::PROGRESS_ANALYZE_BLOCKS_DONE,
            pg_sys::PROGRESS_ANALYZE_BLOCKS_TOTAL,
        ),
        extended: share(
            status,
            pg_sys::PROGRESS_ANALYZE_EXT_STATS_COMPUTED,
            pg_sys::PROGRESS_ANALYZE_EXT_STATS_TOTAL,
        ),
        children: share(
            status,
            pg_sys::PROGRESS_ANALYZE_CHILD_TABLES_DONE,
            pg_sys::PROGRESS_ANALYZE_CHILD_TABLES_TOTAL,
        ),
    }
}

fn is_concurrent(status: &pg_sys::PgBackendStatus) -> bool {
    matches!(
        parameter(status, pg_sys::PROGRESS_CREATEIDX_COMMAND),
        pg_sys::PROGRESS_CREATEIDX_COMMAND_CREATE_CONCURRENTLY
            | pg_sys::PROGRESS_CREATEIDX_COMMAND_REINDEX_CONCURRENTLY
    )
}

fn index_build(status: &pg_sys::PgBackendStatus) -> IndexBuild {
    // Taken for an OID because of its name, it is a parameter's number as the others are.
    let method = parameter(
        status,
        pg_sys::PROGRESS_CREATEIDX_ACCESS_METHOD_OID.to_u32(),
    );
    IndexBuild {
        concurrently: is_concurrent(status),
        phase: match parameter(status, pg_sys::PROGRESS_CREATEIDX_PHASE) {
            pg_sys::PROGRESS_CREATEIDX_PHASE_WAIT_1 => IndexPhase::WaitForWritersBeforeBuild,
            pg_sys::PROGRESS_CREATEIDX_PHASE_BUILD => IndexPhase::Build,
            pg_sys::PROGRESS_CREATEIDX_PHASE_WAIT_2 => IndexPhase::WaitForWritersBeforeValidation,
            pg_sys::PROGRESS_CREATEIDX_PHASE_VALIDATE_IDXSCAN => IndexPhase::ValidateScanIndex,
            pg_sys::PROGRESS_CREATEIDX_PHASE_VALIDATE_SORT => IndexPhase::ValidateSort,
            pg_sys::PROGRESS_CREATEIDX_PHASE_VALIDATE_TABLESCAN => IndexPhase::ValidateScanTable,
            pg_sys::PROGRESS_CREATEIDX_PHASE_WAIT_3 => IndexPhase::WaitForOldSnapshots,
            pg_sys::PROGRESS_CREATEIDX_PHASE_WAIT_4 => IndexPhase::WaitForReadersBeforeMarkingDead,
            pg_sys::PROGRESS_CREATEIDX_PHASE_WAIT_5 => IndexPhase::WaitForReadersBeforeDropping,
            _ => IndexPhase::Beginning,
        },
        method: match pg_sys::Oid::from_u32(method) {
            pg_sys::BTREE_AM_OID | pg_sys::HASH_AM_OID => IndexMethod::SortAndLoad,
            pg_sys::GIST_AM_OID
            | pg_sys::GIN_AM_OID
            | pg_sys::SPGIST_AM_OID
            | pg_sys::BRIN_AM_OID => IndexMethod::Scan,
            _ => IndexMethod::Unknown,
        },
        blocks: share(
            status,
            pg_sys::PROGRESS_SCAN_BLOCKS_DONE,
            pg_sys::PROGRESS_SCAN_BLOCKS_TOTAL,
        ),
        tuples: share(
            status,
            pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE,
            pg_sys::PROGRESS_CREATEIDX_TUPLES_TOTAL,
        ),
        partitions: share(
            status,
            pg_sys::PROGRESS_CREATEIDX_PARTITIONS_DONE,
            pg_sys::PROGRESS_CREATEIDX_PARTITIONS_TOTAL,
        ),
    }
}

fn rewrite(status: &pg_sys::PgBackendStatus) -> Rewrite {
    Rewrite {
        phase: match parameter(status, pg_sys::PROGRESS_CLUSTER_PHASE) {
            pg_sys::PROGRESS_CLUSTER_PHASE_SEQ_SCAN_HEAP => RewritePhase::ScanTable,
            pg_sys::PROGRESS_CLUSTER_PHASE_INDEX_SCAN_HEAP => RewritePhase::ScanIndex,
            pg_sys::PROGRESS_CLUSTER_PHASE_SORT_TUPLES => RewritePhase::Sort,
            pg_sys::PROGRESS_CLUSTER_PHASE_WRITE_NEW_HEAP => RewritePhase::Write,
            pg_sys::PROGRESS_CLUSTER_PHASE_SWAP_REL_FILES => RewritePhase::SwapFiles,
            pg_sys::PROGRESS_CLUSTER_PHASE_REBUILD_INDEX => RewritePhase::RebuildIndexes,
            pg_sys::PROGRESS_CLUSTER_PHASE_FINAL_CLEANUP => RewritePhase::FinalCleanup,
            _ => RewritePhase::Beginning,
        },
        is_full_vacuum: parameter(status, pg_sys::PROGRESS_CLUSTER_COMMAND)
            == pg_sys::PROGRESS_CLUSTER_COMMAND_VACUUM_FULL,
        blocks: share(
            status,
            pg_sys::PROGRESS_CLUSTER_HEAP_BLKS_SCANNED,
            pg_sys::PROGRESS_CLUSTER_TOTAL_HEAP_BLKS,
        ),
        tuples_scanned: counter(status, pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_SCANNED),
        tuples_written: counter(status, pg_sys::PROGRESS_CLUSTER_HEAP_TUPLES_WRITTEN),
        indexes_rebuilt: counter(status, pg_sys::PROGRESS_CLUSTER_INDEX_REBUILD_COUNT),
    }
}
