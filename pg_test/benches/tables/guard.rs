//! Table 7: what guard mode costs those who have not turned it on.

use std::time::{Duration, Instant};

use pg_test::figures::grouped;
use pg_test::{Database, During, Failure};
use postgres::{Client, NoTls};

use crate::figures::{ms, spread};
use crate::sheet::Sheet;
use crate::world::World;

const PAIRS: usize = 10_000;

/// Before what counts, for both to have their caches filled.
const WARM_UP: usize = 200;

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    sheet.heading(
        "7. Guard mode, off",
        &format!(
            "{} times CREATE TABLE and DROP TABLE in a database with lockguard and in one without, by turns.",
            grouped(PAIRS as u128)
        ),
    );
    let without = world.cluster()?.create_empty_database()?;
    let with = world.cluster()?.create_database()?;
    let (mut a, mut b) = (connect(&without)?, connect(&with)?);
    let mut times = vec![];
    for number in 0..WARM_UP + PAIRS {
        // Each is the first of the two as often as the other.
        let (one, other) = if number % 2 == 0 {
            let one = pair(&mut a)?;
            (one, pair(&mut b)?)
        } else {
            let other = pair(&mut b)?;
            (pair(&mut a)?, other)
        };
        times.push((one, other));
    }
    let times = times.split_off(WARM_UP);
    let rows = [
        ("without", spread(times.iter().map(|(one, _)| *one))),
        ("with, off", spread(times.iter().map(|(_, other)| *other))),
    ];
    let cells = |(name, times): &(&str, crate::figures::Spread)| {
        let times = [times.min, times.median].map(ms);
        [vec![(*name).to_owned()], times.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    sheet.table(&["lockguard", "pair, fastest", "pair, median"], &rows);

    let mut more: Vec<f64> = times
        .iter()
        .map(|(one, other)| (other.as_secs_f64() - one.as_secs_f64()) * 1e6)
        .collect();
    more.sort_by(f64::total_cmp);
    let at = |quarter: usize| more[more.len() * quarter / 4];
    let (median, noise) = (at(2), at(3) - at(1));
    sheet.target(
        median < noise,
        "a pair's median surplus within the noise (the middle half of the differences)",
        &format!("{median:.1} µs of {noise:.1} µs"),
    );
    let in_trigger = in_trigger(&mut b)?;
    sheet.target(
        in_trigger <= Duration::from_micros(10),
        "in the trigger itself at most 10 µs a statement (pg_stat_user_functions)",
        &format!("{:.2} µs", in_trigger.as_secs_f64() * 1e6),
    );
    sheet.end_targets();
    Ok(())
}

fn connect(database: &Database) -> Result<Client, Failure> {
    database.config().connect(NoTls).during("connect")
}

fn pair(client: &mut Client) -> Result<Duration, Failure> {
    let start = Instant::now();
    for sql in ["CREATE TABLE made (i int)", "DROP TABLE made"] {
        client.batch_execute(sql).during("run DDL")?;
    }
    Ok(start.elapsed())
}

/// The mean over as many statements.
fn in_trigger(client: &mut Client) -> Result<Duration, Failure> {
    let set = "SET track_functions = 'all'; SELECT pg_stat_reset()";
    client.batch_execute(set).during("count calls")?;
    for _ in 0..PAIRS {
        pair(client)?;
    }
    client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .during("have the counts written")?;
    let sql =
        "SELECT total_time / calls, calls FROM pg_stat_user_functions WHERE funcname = 'guard'";
    let row = client.query_one(sql, &[]).during("read the counts")?;
    let calls: i64 = row.get(1);
    if calls < 2 * PAIRS as i64 {
        return Err(Failure::new(format!("only {calls} calls were counted")));
    }
    let milliseconds: f64 = row.get(0);
    Ok(Duration::from_secs_f64(milliseconds / 1000.0))
}
