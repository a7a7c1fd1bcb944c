//! What the counters of each command come to, and what holds for all of them.

use super::*;
use proptest::prelude::*;

fn share(done: i64, total: i64) -> Share {
    Share { done, total }
}

#[track_caller]
fn is(counters: Counters, expected: impl Into<Option<f64>>) {
    match (counters.fraction(), expected.into()) {
        (Some(is), Some(expected)) if (is - expected).abs() < 1e-9 => {}
        (None, None) => {}
        (is, expected) => panic!("{is:?}, not {expected:?}: {counters:?}"),
    }
}

#[test]
fn a_vacuum_that_finds_nothing_is_as_far_as_its_scan() {
    let vacuum = Vacuum {
        phase: VacuumPhase::Heap,
        blocks: 1000,
        scanned: 300,
        ..Vacuum::default()
    };
    is(Counters::Vacuum(vacuum), 0.3);
    let found = Vacuum { dead: 1, ..vacuum };
    is(Counters::Vacuum(found), 0.15);
    let vacuumed = Vacuum {
        index_rounds: 1,
        vacuumed: 200,
        ..vacuum
    };
    is(Counters::Vacuum(vacuumed), 0.25);
    is(Counters::Vacuum(Vacuum::default()), 0.0);
    let empty = Vacuum {
        phase: VacuumPhase::Heap,
        ..Vacuum::default()
    };
    is(Counters::Vacuum(empty), None);
}

#[test]
fn a_vacuum_goes_on_to_the_toast_table() {
    let table = Vacuum {
        phase: VacuumPhase::Heap,
        blocks: 100,
        scanned: 50,
        blocks_after: 900,
        ..Vacuum::default()
    };
    is(Counters::Vacuum(table), 0.05);
    let toast = Vacuum {
        phase: VacuumPhase::Heap,
        blocks: 900,
        scanned: 450,
        blocks_before: 100,
        ..Vacuum::default()
    };
    is(Counters::Vacuum(toast), 0.55);
}

#[test]
fn an_analyze_is_mostly_sampling() {
    let analyze = Analyze {
        phase: AnalyzePhase::Sample,
        blocks: share(50, 100),
        ..Analyze::default()
    };
    is(Counters::Analyze(analyze), 0.45);
    let children = Analyze {
        phase: AnalyzePhase::SampleChildren,
        children: share(1, 4),
        ..analyze
    };
    is(Counters::Analyze(children), 0.9 * 0.375);
    let computing = Analyze {
        phase: AnalyzePhase::Compute,
        ..analyze
    };
    is(Counters::Analyze(computing), 0.9);
}

#[test]
fn a_btree_is_scanned_for_and_then_loaded() {
    let scan = IndexBuild {
        phase: IndexPhase::Build,
        method: IndexMethod::SortAndLoad,
        blocks: share(50, 100),
        ..IndexBuild::default()
    };
    is(Counters::CreateIndex(scan), 0.3);
    let load = IndexBuild {
        blocks: share(0, 0),
        tuples: share(50, 100),
        ..scan
    };
    is(Counters::CreateIndex(load), 0.8);
    let first_block = IndexBuild {
        blocks: share(100, 100),
        ..scan
    };
    is(Counters::CreateIndex(first_block), None);
    let gist = IndexBuild {
        method: IndexMethod::Scan,
        ..scan
    };
    is(Counters::CreateIndex(gist), 0.5);
    let foreign = IndexBuild {
        method: IndexMethod::Unknown,
        ..scan
    };
    is(Counters::CreateIndex(foreign), None);
    let partitioned = IndexBuild {
        partitions: share(3, 10),
        ..scan
    };
    is(Counters::CreateIndex(partitioned), 0.33);
    let concurrent = IndexBuild {
        concurrently: true,
        ..scan
    };
    is(Counters::CreateIndex(concurrent), 0.18);
}

#[test]
fn a_concurrent_build_s_phases_come_in_order_and_some_wait() {
    use IndexPhase::*;
    let phases = [
        (Beginning, false),
        (WaitForWritersBeforeBuild, true),
        (Build, false),
        (WaitForWritersBeforeValidation, true),
        (ValidateScanIndex, false),
        (ValidateSort, false),
        (ValidateScanTable, false),
        (WaitForOldSnapshots, true),
        (WaitForReadersBeforeMarkingDead, true),
        (WaitForReadersBeforeDropping, true),
    ];
    let mut before = 0.0;
    for (phase, waits) in phases {
        let build = Counters::CreateIndex(IndexBuild {
            concurrently: true,
            phase,
            method: IndexMethod::Scan,
            blocks: share(1, 2),
            ..IndexBuild::default()
        });
        assert_eq!(build.waits_for_others(), waits, "{phase:?}");
        let done = build.fraction().unwrap();
        assert!(done >= before, "{phase:?}: {done} after {before}");
        before = done;
    }
}

#[test]
fn a_rewrite_in_the_order_of_an_index_has_no_known_end() {
    let rewrite = Rewrite {
        phase: RewritePhase::ScanIndex,
        tuples_scanned: 10,
        tuples_written: 10,
        ..Rewrite::default()
    };
    is(Counters::Cluster(rewrite), None);
    let scan = Rewrite {
        phase: RewritePhase::ScanTable,
        blocks: share(1, 2),
        ..rewrite
    };
    is(Counters::Cluster(scan), 0.175);
    let full = Rewrite {
        is_full_vacuum: true,
        ..scan
    };
    is(Counters::Cluster(full), 0.35);
    let write = Rewrite {
        phase: RewritePhase::Write,
        tuples_written: 5,
        ..rewrite
    };
    is(Counters::Cluster(write), 0.55);
}

#[test]
fn a_copy_without_a_total_has_no_known_end() {
    is(Counters::Copy(share(10, 40)), 0.25);
    is(Counters::Copy(share(10, 0)), None);
    is(Counters::Copy(share(10, -1)), None);
    // More rows than the statistics knew of.
    is(Counters::Copy(share(50, 40)), NEARLY_ALL);
}

#[test]
fn the_rest_takes_as_long_as_the_pace_says() {
    let seconds = Duration::from_secs;
    assert_eq!(remaining(seconds(10), 0.25), Some(seconds(30)));
    assert_eq!(remaining(seconds(10), 0.0), None);
    assert_eq!(remaining(seconds(0), 0.0), None);
    assert_eq!(remaining(seconds(u64::MAX), 1e-9), None);
}

fn count() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), 0..100i64, any::<i64>()]
}

fn shares() -> impl Strategy<Value = Share> {
    (count(), count()).prop_map(|(done, total)| Share { done, total })
}

fn vacuums() -> impl Strategy<Value = Counters> {
    use VacuumPhase::*;
    let phase = prop::sample::select(vec![Beginning, Heap, IndexCleanup, Truncate, FinalCleanup]);
    (phase, prop::array::uniform7(count())).prop_map(|(phase, counts)| {
        let [
            blocks,
            scanned,
            vacuumed,
            dead,
            index_rounds,
            blocks_before,
            blocks_after,
        ] = counts;
        Counters::Vacuum(Vacuum {
            phase,
            blocks,
            scanned,
            vacuumed,
            dead,
            index_rounds,
            blocks_before,
            blocks_after,
        })
    })
}

fn analyzes() -> impl Strategy<Value = Counters> {
    use AnalyzePhase::*;
    let phases = vec![
        Beginning,
        Sample,
        SampleChildren,
        Compute,
        ComputeExtended,
        Finalize,
    ];
    let shares = (shares(), shares(), shares());
    (prop::sample::select(phases), shares).prop_map(|(phase, (blocks, extended, children))| {
        Counters::Analyze(Analyze {
            phase,
            blocks,
            extended,
            children,
        })
    })
}

fn index_builds() -> impl Strategy<Value = Counters> {
    use IndexPhase::*;
    let phases = vec![
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
    ];
    let methods = vec![
        IndexMethod::SortAndLoad,
        IndexMethod::Scan,
        IndexMethod::Unknown,
    ];
    let shares = (shares(), shares(), shares());
    (
        any::<bool>(),
        prop::sample::select(phases),
        prop::sample::select(methods),
        shares,
    )
        .prop_map(
            |(concurrently, phase, method, (blocks, tuples, partitions))| {
                Counters::CreateIndex(IndexBuild {
                    concurrently,
                    phase,
                    method,
                    blocks,
                    tuples,
                    partitions,
                })
            },
        )
}

fn rewrites() -> impl Strategy<Value = Counters> {
    use RewritePhase::*;
    let phases = vec![
        Beginning,
        ScanTable,
        ScanIndex,
        Sort,
        Write,
        SwapFiles,
        RebuildIndexes,
        FinalCleanup,
    ];
    (
        prop::sample::select(phases),
        any::<bool>(),
        shares(),
        prop::array::uniform3(count()),
    )
        .prop_map(|(phase, is_full_vacuum, blocks, counts)| {
            let [tuples_scanned, tuples_written, indexes_rebuilt] = counts;
            Counters::Cluster(Rewrite {
                phase,
                is_full_vacuum,
                blocks,
                tuples_scanned,
                tuples_written,
                indexes_rebuilt,
            })
        })
}

fn counters() -> impl Strategy<Value = Counters> {
    prop_oneof![
        vacuums(),
        analyzes(),
        index_builds(),
        rewrites(),
        shares().prop_map(Counters::Copy)
    ]
}

/// The same a little later, with one of its counters of what is done grown.
fn later(mut counters: Counters, which: usize, by: i64) -> Counters {
    let grown: Vec<&mut i64> = match &mut counters {
        Counters::Vacuum(v) => vec![&mut v.scanned, &mut v.vacuumed],
        Counters::Analyze(a) => vec![
            &mut a.blocks.done,
            &mut a.extended.done,
            &mut a.children.done,
        ],
        Counters::CreateIndex(i) => vec![
            &mut i.blocks.done,
            &mut i.tuples.done,
            &mut i.partitions.done,
        ],
        Counters::Cluster(r) => vec![
            &mut r.blocks.done,
            &mut r.tuples_written,
            &mut r.indexes_rebuilt,
        ],
        Counters::Copy(s) => vec![&mut s.done],
    };
    let count = grown.len();
    if let Some(counter) = grown.into_iter().nth(which % count) {
        *counter = counter.saturating_add(by);
    }
    counters
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_is_done_is_a_fraction_that_only_grows(
        counters in counters(), which in 0..3usize, by in prop_oneof![0..100i64, 0..i64::MAX]
    ) {
        let before = counters.fraction();
        let after = later(counters, which, by).fraction();
        if let (Some(before), Some(after)) = (before, after) {
            prop_assert!((0.0..=1.0).contains(&before), "{before}");
            prop_assert!(after >= before, "{before}, then {after}");
        }
    }

    #[test]
    fn the_rest_shrinks_as_more_is_done(micros in 0..1u64 << 50, done in 0.0..=1.0, more in 0.0..=1.0) {
        let elapsed = Duration::from_micros(micros);
        let (less, more): (f64, f64) = (f64::min(done, more), f64::max(done, more));
        if let (Some(first), Some(second)) = (remaining(elapsed, less), remaining(elapsed, more)) {
            prop_assert!(second <= first, "{first:?}, then {second:?}");
        }
    }
}
