//! Table 10: hundreds of sessions that call at random over a changing schema, and an application beside them.

use std::time::Duration;

use pg_test::figures::grouped;
use pg_test::load::{
    Application, CONTEXTS_LIMIT, Crowd, Felt, KINDS, PROCESS_LIMIT_KIB, Plan, Played, Segments,
    Surroundings, left_over, make_schema, repeat, server_kib, unexpected_in_log,
};
use pg_test::{Database, Failure};

use crate::figures::ms;
use crate::sheet::{Sheet, progress};
use crate::world::World;

const SESSIONS: usize = 200;

/// Of all sessions together. Without time between its calls each would measure the processors alone.
const CALLS_PER_SECOND: f64 = 200.0;

const LENGTH: Duration = Duration::from_secs(60);

/// The application alone, and beside the changing schema.
const FOR_COMPARISON: Duration = Duration::from_secs(20);

/// How often one session makes each call to see what it keeps.
const ROUNDS: usize = 20_000;

/// What the eager callers' processes may grow by in the last third, in KiB a call. Their caches of the catalogs have
/// filled by then; 0.5 is what the heap still took as they did.
const GROWTH_KIB_A_CALL: f64 = 1.5;

/// Some sessions come upon something for the first time even then.
const OTHER_CONTEXTS_KIB: f64 = 32.0;

/// A call waits for `timeout`, 1 s here at the most, and then has the processor to wait for.
const SLOWEST_CALL: Duration = Duration::from_secs(5);

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    let plan = Plan {
        seed: Plan::seed_of_this_run(),
        sessions: SESSIONS,
        calls_per_second: CALLS_PER_SECOND,
        length: LENGTH,
    };
    sheet.heading(
        "10. Load",
        &format!(
            "{SESSIONS} sessions call `blockers_of`, `locks_of` and `preempt_maintenance` at random for {} s while \
             others create, change and drop what they name, hold locks, back up, vacuum, prepare transactions and \
             cancel; the application sends {} statements a second. LOCKGUARD_SEED={}",
            LENGTH.as_secs(),
            Application::rate(),
            plan.seed
        ),
    );
    let cluster = plan.start_server(world.installation())?;
    let database = cluster.create_database()?;
    make_schema(&database);
    progress("the application alone");
    let alone = beside(&database, || std::thread::sleep(FOR_COMPARISON))?;
    progress("the application beside a changing schema");
    let surroundings = Surroundings::start(&database, plan.seed, &[])?;
    let changing = beside(&database, || std::thread::sleep(FOR_COMPARISON))?;
    let mut tally = surroundings.stop();

    progress("connecting the sessions");
    let mut crowd = Crowd::gather(&database, plan)?;
    let (segments, memory) = (Segments::of(&cluster)?, server_kib(&cluster)?);
    progress("the load");
    let mut played = None;
    let loaded = beside(&database, || played = Some(crowd.play(&database)))?;
    let played = played.unwrap_or_else(|| Err(Failure::new("nothing was played")))?;
    let memory_after = server_kib(&cluster)?;

    let felt = [
        ("the application alone", &alone),
        ("beside the changing schema", &changing),
        ("beside the callers as well", &loaded),
    ];
    sheet.table(
        &[
            "",
            "answers a second",
            "median",
            "worst",
            "median, shared tables",
            "worst, shared tables",
        ],
        &felt.map(row),
    );
    let share = loaded.throughput / alone.throughput;
    sheet.target(
        share >= 0.9,
        "the application's throughput within 10 % of what it is alone",
        &format!("{:.1} %", 100.0 * share),
    );
    calls(sheet, &played);
    callers_memory(sheet, &played);
    sheet.say(&format!(
        "\nThe whole server holds {} MB before the load, and {} MB after it with all of its sessions.",
        memory / 1024,
        memory_after / 1024
    ));

    for felt in [alone, changing, loaded] {
        tally.add(felt.tally);
    }
    tally.add(played.tally);
    let endings: Vec<Vec<String>> = tally
        .lines()
        .into_iter()
        .map(|(kind, all)| vec![kind, all])
        .collect();
    sheet.table(&["statements", "endings by SQLSTATE"], &endings);
    none(
        sheet,
        "no error but those by design, no connection lost",
        tally.complaints(),
    );
    // The callers are still connected: what they held would be seen.
    none(
        sheet,
        "no lock, transaction or background worker left",
        &left_over(&database),
    );
    none(
        sheet,
        "no crash, leak or unknown error in the server log",
        &unexpected_in_log(&cluster.log()),
    );
    let grown = segments
        .have_not_grown(&cluster)
        .err()
        .map(|failure| failure.to_string());
    none(sheet, "no segment of shared memory left", grown.as_slice());
    sheet.end_targets();
    drop(crowd);
    // Chance has left foreign keys in the other: the calls would meet the table that is held.
    let database = cluster.create_database()?;
    make_schema(&database);
    repeated(sheet, &database)
}

/// What the application feels while that happens.
fn beside(database: &Database, happens: impl FnOnce()) -> Result<Felt, Failure> {
    let application = Application::start(database)?;
    happens();
    Ok(application.stop())
}

fn row((name, felt): (&str, &Felt)) -> Vec<String> {
    let times = [felt.median.0, felt.worst.0, felt.median.1, felt.worst.1].map(ms);
    [
        vec![name.to_owned(), format!("{:.1}", felt.throughput)],
        times.to_vec(),
    ]
    .concat()
}

fn calls(sheet: &mut Sheet, played: &Played) {
    let rate = played.calls as f64 / played.took.as_secs_f64();
    sheet.target(
        rate >= 0.8 * CALLS_PER_SECOND,
        &format!("some {CALLS_PER_SECOND} calls a second"),
        &format!("{} calls, {rate:.0} a second", grouped(played.calls.into())),
    );
    sheet.target(
        played.slowest_call <= SLOWEST_CALL,
        &format!("the slowest call within {} s", SLOWEST_CALL.as_secs()),
        &ms(played.slowest_call),
    );
}

fn callers_memory(sheet: &mut Sheet, played: &Played) {
    let mut rows = vec![];
    for (name, looks) in [("most", played.usual), ("eager", played.eager)] {
        for (at, look) in ["1/3", "2/3", "end"].iter().zip(looks) {
            let figures = [look.calls, look.process, look.caches, look.contexts];
            let figures = figures.map(|figure| format!("{figure:.0}"));
            rows.push([vec![format!("{name}, {at}")], figures.to_vec()].concat());
        }
    }
    sheet.say("\nA caller's memory, the mean in KiB: of its process, in use by the server's caches of the catalogs, and by all other contexts.");
    sheet.table(
        &["callers", "calls", "process", "caches", "other contexts"],
        &rows,
    );
    let [_, before, end] = played.eager;
    let a_call = (end.process - before.process) / (end.calls - before.calls).max(1.0);
    sheet.target(
        a_call <= GROWTH_KIB_A_CALL,
        &format!("the process of an eager caller grows by at most {GROWTH_KIB_A_CALL} KiB a call in the last third"),
        &format!("{a_call:.2} KiB"),
    );
    let others = [played.usual, played.eager].map(|[first, _, end]| end.contexts - first.contexts);
    sheet.target(
        others.iter().all(|grown| *grown <= OTHER_CONTEXTS_KIB),
        &format!(
            "all contexts but the caches grow by at most {OTHER_CONTEXTS_KIB} KiB from a third of the time to the end"
        ),
        &format!("{:.1} KiB, eager {:.1} KiB", others[0], others[1]),
    );
}

fn none(sheet: &mut Sheet, wanted: &str, found: &[String]) {
    let some: Vec<&str> = found.iter().take(10).map(String::as_str).collect();
    let measured = if found.is_empty() {
        "none".to_owned()
    } else {
        format!("{}:\n  {}", found.len(), some.join("\n  "))
    };
    sheet.target(found.is_empty(), wanted, &measured);
}

/// What a session keeps of its calls.
fn repeated(sheet: &mut Sheet, database: &Database) -> Result<(), Failure> {
    sheet.say(&format!(
        "One session makes the same call {} times: what its memory contexts and its process have grown by.",
        grouped(ROUNDS as u128)
    ));
    let (mut rows, mut is_nil) = (vec![], true);
    for kind in &KINDS {
        progress(kind.name);
        let growth = repeat(database, kind, ROUNDS)?;
        is_nil = is_nil && growth.used <= CONTEXTS_LIMIT && growth.process <= PROCESS_LIMIT_KIB;
        rows.push(vec![
            kind.name.to_owned(),
            grouped(growth.rounds as u128),
            format!("{} B", growth.used),
            format!("{} B", growth.total),
            format!("{} KiB", growth.process),
        ]);
    }
    sheet.table(
        &[
            "call",
            "calls",
            "contexts, used",
            "contexts, total",
            "process",
        ],
        &rows,
    );
    sheet.target(
        is_nil,
        &format!(
            "at most {} KiB in memory contexts and {PROCESS_LIMIT_KIB} KiB of the process, whatever the number of calls",
            CONTEXTS_LIMIT / 1024
        ),
        if is_nil { "so it is" } else { "see above" },
    );
    sheet.end_targets();
    Ok(())
}
