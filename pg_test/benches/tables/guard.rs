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
            "{} times CREATE TABLE and DROP TABLE in a database without lockguard, in one with it as it comes, and in one \
             where guard mode is enabled and not asked for, by turns.",
            grouped(PAIRS as u128)
        ),
    );
    let cluster = world.cluster()?;
    let created = cluster.create_empty_database()?;
    connect(&created)?
        .batch_execute("CREATE EXTENSION lockguard")
        .during("create the extension")?;
    let databases = [
        cluster.create_empty_database()?,
        created,
        cluster.create_database()?,
    ];
    let mut clients = vec![];
    for database in &databases {
        clients.push(connect(database)?);
    }
    let mut times: Vec<[Duration; 3]> = vec![];
    for number in 0..WARM_UP + PAIRS {
        let mut round = [Duration::ZERO; 3];
        // Each is the first as often as the others.
        for turn in 0..3 {
            let who = (number + turn) % 3;
            round[who] = pair(&mut clients[who])?;
        }
        times.push(round);
    }
    let times = times.split_off(WARM_UP);
    let of = |who: usize| times.iter().map(move |round| round[who]);
    let rows = [
        ("without", spread(of(0))),
        ("as it comes", spread(of(1))),
        ("enabled, off", spread(of(2))),
    ];
    let cells = |(name, times): &(&str, crate::figures::Spread)| {
        let times = [times.min, times.median].map(ms);
        [vec![(*name).to_owned()], times.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    sheet.table(&["lockguard", "pair, fastest", "pair, median"], &rows);

    for (who, state, function) in [
        (1, "as it comes", "warn_unguarded"),
        (2, "enabled, off", "guard"),
    ] {
        let mut more: Vec<f64> = times
            .iter()
            .map(|round| (round[who].as_secs_f64() - round[0].as_secs_f64()) * 1e6)
            .collect();
        more.sort_by(f64::total_cmp);
        let at = |quarter: usize| more[more.len() * quarter / 4];
        let (median, noise) = (at(2), at(3) - at(1));
        sheet.target(
            median < noise,
            &format!("{state}: a pair's median surplus within the noise (the middle half of the differences)"),
            &format!("{median:.1} µs of {noise:.1} µs"),
        );
        let in_trigger = in_trigger(&mut clients[who], function)?;
        sheet.target(
            in_trigger <= Duration::from_micros(10),
            &format!(
                "{state}: in the trigger itself at most 10 µs a statement (pg_stat_user_functions)"
            ),
            &format!("{:.2} µs", in_trigger.as_secs_f64() * 1e6),
        );
    }
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
fn in_trigger(client: &mut Client, function: &str) -> Result<Duration, Failure> {
    let set = "SET track_functions = 'all'; SELECT pg_stat_reset()";
    client.batch_execute(set).during("count calls")?;
    for _ in 0..PAIRS {
        pair(client)?;
    }
    client
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .during("have the counts written")?;
    let sql = "SELECT total_time / calls, calls FROM pg_stat_user_functions WHERE funcname = $1";
    let row = client
        .query_one(sql, &[&function])
        .during("read the counts")?;
    let calls: i64 = row.get(1);
    if calls < 2 * PAIRS as i64 {
        return Err(Failure::new(format!("only {calls} calls were counted")));
    }
    let milliseconds: f64 = row.get(0);
    Ok(Duration::from_secs_f64(milliseconds / 1000.0))
}
