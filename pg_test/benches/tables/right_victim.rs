//! Table 9: whether a signal reaches the transaction that was judged, or what its session does next.

use std::time::{Duration, Instant};

use pg_test::figures::grouped;
use pg_test::flicker::Tally;
use pg_test::{Cluster, Database, During, Failure, Flicker, Interposer};
use postgres::{Client, NoTls};

use crate::sheet::{Sheet, progress};
use crate::world::World;

/// How many lockguard is to preempt, all in all, and the usual way as well.
const PREEMPTIONS: usize = 20_000;

/// Another number than that.
const VARIABLE: &str = "LOCKGUARD_BENCH_PREEMPTIONS";

/// Between the last look and the signal: long enough for the next statement to begin.
const PAUSE: Duration = Duration::from_micros(100);

/// Several stand in the way at once, as many as the machine can keep flickering.
const SESSIONS: usize = 8;

/// Where it takes longer there are fewer, and the target is missed.
const LIMIT: Duration = Duration::from_secs(80);

/// How long to play between two looks at the count.
const STRETCH: Duration = Duration::from_millis(500);

const OURS: &str = r#"SELECT lockguard.preempt_maintenance(
    '{"relations": ["t"], "signal": "cancel", "timeout": "50ms", "on_timeout": "report"}')"#;

const USUAL: &str = "SELECT pg_cancel_backend(pid) FROM pg_locks \
    WHERE relation = 't'::regclass AND granted AND pid <> pg_backend_pid()";

/// What came of one row's signals.
struct Played {
    sent: usize,
    ended: usize,
    innocents: usize,
}

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    let preemptions = std::env::var(VARIABLE)
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(PREEMPTIONS);
    sheet.heading(
        "9. The right victim",
        &format!(
            "{SESSIONS} sessions named pg_dump, each by turns in the way for up to 2 ms and at innocent statements. \
             Each row preempts them again and again; with the pause each signal is {} µs late, after the last look.",
            PAUSE.as_micros()
        ),
    );
    let interposer = Interposer::new(world.installation())?;
    // A line a signal is enough.
    let cluster = interposer.start(world.installation(), &[("log_error_verbosity", "terse")])?;
    let database = cluster.create_database()?;
    let setup =
        "CREATE TABLE t AS SELECT generate_series(1, 10) AS i; CREATE TABLE innocent AS TABLE t";
    connect(&database)?
        .batch_execute(setup)
        .during("create the tables")?;

    let mut rows = vec![];
    let (mut sent, mut innocents) = (0, 0);
    for (name, ours) in [
        ("lockguard", true),
        ("pg_cancel_backend over pg_locks", false),
    ] {
        for pause in [Duration::ZERO, PAUSE] {
            interposer.pause(pause)?;
            let played = if ours {
                play(&database, preemptions.div_ceil(2), |client| {
                    lockguard(&cluster, client)
                })?
            } else {
                play(&database, preemptions.div_ceil(2), usual)?
            };
            if ours {
                sent += played.sent;
                innocents += played.innocents;
            }
            let name = match pause.is_zero() {
                true => name.to_owned(),
                false => format!("{name}, {} µs late", pause.as_micros()),
            };
            let counts = [played.sent, played.ended, played.innocents];
            progress(&format!("{name}: {counts:?}"));
            let counts = counts.map(|count| grouped(count as u128));
            rows.push([vec![name], counts.to_vec()].concat());
        }
    }
    sheet.table(
        &[
            "",
            "signals sent",
            "ended the judged statement",
            "innocents hit",
        ],
        &rows,
    );
    let sent_in_words = grouped(sent as u128);
    sheet.target(
        sent >= preemptions,
        &format!("at least {} preemptions", grouped(preemptions as u128)),
        &sent_in_words,
    );
    sheet.target(
        innocents == 0,
        "lockguard hits no innocent statement",
        &format!("{innocents} of {sent_in_words} signals"),
    );
    sheet.end_targets();
    Ok(())
}

fn connect(database: &Database) -> Result<Client, Failure> {
    database.config().connect(NoTls).during("connect")
}

/// Has `stretch` send signals, which tells how many, until there were so many.
fn play(
    database: &Database,
    wanted: usize,
    mut stretch: impl FnMut(&mut Client) -> Result<usize, Failure>,
) -> Result<Played, Failure> {
    let mut client = connect(database)?;
    let flicker = Flicker::start(database, SESSIONS)?;
    let start = Instant::now();
    let mut sent = 0;
    while sent < wanted && start.elapsed() < LIMIT {
        sent += stretch(&mut client)?;
    }
    let tallies = flicker.end()?;
    let sum = |count: fn(&Tally) -> usize| tallies.iter().map(count).sum();
    Ok(Played {
        sent,
        ended: sum(|t| t.guilty_hit),
        innocents: sum(|t| t.innocents_hit),
    })
}

/// One call after the other. What was sent is read from the server log: what lockguard says before a
/// signal, less what it takes back.
fn lockguard(cluster: &Cluster, client: &mut Client) -> Result<usize, Failure> {
    let from = cluster.log().len();
    let start = Instant::now();
    while start.elapsed() < STRETCH {
        client.batch_execute(OURS).during("preempt")?;
    }
    let log = cluster.log().split_off(from);
    let count = |words: &str| log.matches(words).count();
    Ok(count("LOG:  lockguard cancels pid") - count("LOG:  lockguard did not signal pid"))
}

/// One look after the other, about as often as the sessions change.
fn usual(client: &mut Client) -> Result<usize, Failure> {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < STRETCH {
        let rows = client.query(USUAL, &[]).during("cancel")?;
        sent += rows.iter().filter(|row| row.get(0)).count();
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(sent)
}
