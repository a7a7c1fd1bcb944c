//! Table 5: what asking and waiting cost on a large server.

use std::time::{Duration, Instant};

use pg_test::figures::grouped;
use pg_test::{Backup, Cluster, Database, During, Failure, wait_until};
use postgres::{Client, NoTls};

use crate::figures::{ms, spread};
use crate::sheet::Sheet;
use crate::world::{HALF_A_MINUTE, ROWS, TABLE, World, make_table, make_tree};

/// Sessions that hold locks.
const SESSIONS: usize = 200;

/// How many locks each of them holds, one after the other.
const LEVELS: [usize; 3] = [1, 100, 1_000];

const TARGET: &str = "target";

const OURS: &str =
    "SELECT pid, mode, application_name, state, query FROM lockguard.blockers_of('{target}')";

/// What is asked before the fact today. It misses what `blockers_of` tells of indexes and prepared transactions.
const USUAL: &str = "SELECT a.pid, l.mode, a.application_name, a.state, a.query \
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
    WHERE l.locktype = 'relation' AND l.relation = 'target'::regclass \
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    AND l.pid <> pg_backend_pid()";

/// How long the waiting backend is watched.
const WATCHED: Duration = Duration::from_secs(5);

pub fn run(world: &World, sheet: &mut Sheet) -> Result<(), Failure> {
    let cluster = world.start_cluster(&[
        ("max_connections", "230"),
        ("max_locks_per_transaction", "1200"),
    ])?;
    let database = cluster.create_database()?;
    let mut crowd = vec![];
    for number in 0..SESSIONS {
        crowd.push(connect(&database, &format!("shop {number}"))?);
    }
    asking(sheet, &database, &mut crowd)?;
    tree(sheet, &database, &mut crowd)?;
    waiting(sheet, &cluster)
}

fn connect(database: &Database, name: &str) -> Result<Client, Failure> {
    let mut config = database.config();
    config.application_name(name);
    config.connect(NoTls).during("connect one of the crowd")
}

fn asking(sheet: &mut Sheet, database: &Database, crowd: &mut [Client]) -> Result<(), Failure> {
    sheet.heading(
        "5. Scale",
        &format!(
            "`blockers_of` of one relation beside the usual query over `pg_locks` and `pg_stat_activity`: the \
             server's time, median of 2,000 and 30 calls. {SESSIONS} sessions hold all the locks; one of them, or \
             all, hold the relation."
        ),
    );
    let setup = database.session("setup");
    setup.run(&format!("CREATE TABLE {TARGET} (id int PRIMARY KEY)"));
    let most = LEVELS.into_iter().max().unwrap_or_default();
    setup.run(&format!(
        "DO $$BEGIN FOR i IN 1..{most} LOOP EXECUTE format('CREATE TABLE c_%s ()', i); END LOOP; END$$"
    ));
    let mut asker = Asker::connect(database)?;
    let mut rows = vec![];
    let mut with_one = vec![];
    for level in LEVELS {
        let names: Vec<String> = (1..=level).map(|i| format!("c_{i}")).collect();
        for (number, session) in crowd.iter_mut().enumerate() {
            let target = if number == 0 {
                format!("LOCK TABLE {TARGET} IN ACCESS SHARE MODE;")
            } else {
                String::new()
            };
            let sql = format!(
                "BEGIN; {target} LOCK TABLE {} IN ACCESS SHARE MODE",
                names.join(", ")
            );
            session.batch_execute(&sql).during("hold locks")?;
        }
        let held = grouped((level * SESSIONS) as u128);
        let one = asker.ask(&held, "1")?;
        for session in crowd.iter_mut().skip(1) {
            session
                .batch_execute(&format!("LOCK TABLE {TARGET} IN ACCESS SHARE MODE"))
                .during("hold locks")?;
        }
        let all = asker.ask(&held, &SESSIONS.to_string())?;
        release(crowd)?;
        rows.extend([one.cells.clone(), all.cells]);
        with_one.push((one.ours, one.usual));
    }
    sheet.table(
        &[
            "locks held",
            "blockers",
            "blockers_of",
            "usual query",
            "times faster",
        ],
        &rows,
    );
    let ours = spread(with_one.iter().map(|(ours, _)| *ours));
    sheet.target(
        ours.max.as_secs_f64() < 1.5 * ours.min.as_secs_f64(),
        "flat with one blocker: the slowest under 1.5 times the fastest",
        &format!("{:.2}", ours.max.as_secs_f64() / ours.min.as_secs_f64()),
    );
    if let Some((ours, usual)) = with_one.last() {
        let faster = usual.as_secs_f64() / ours.as_secs_f64();
        sheet.target(
            faster >= 100.0,
            &format!(
                "100 times faster than the usual query at {} locks",
                grouped((most * SESSIONS) as u128)
            ),
            &format!("{faster:.0} times"),
        );
    }
    Ok(())
}

fn release(crowd: &mut [Client]) -> Result<(), Failure> {
    for session in crowd {
        session
            .batch_execute("ROLLBACK")
            .during("let go of locks")?;
    }
    Ok(())
}

/// A session that asks both ways, and has the server take the time: on the way to a client, which processor
/// which of the two is on would decide.
struct Asker(Client);

struct Asked {
    ours: Duration,
    usual: Duration,
    cells: Vec<String>,
}

impl Asker {
    fn connect(database: &Database) -> Result<Asker, Failure> {
        let mut client = connect(database, "asker")?;
        for (name, query) in [("ours", OURS), ("usual", USUAL)] {
            let function = format!(
                "CREATE FUNCTION median_{name}(calls int) RETURNS float8 LANGUAGE plpgsql AS $$ \
                 DECLARE times float8[]; start timestamptz; \
                 BEGIN FOR i IN 1..calls LOOP \
                 PERFORM pg_stat_clear_snapshot(); \
                 start := clock_timestamp(); PERFORM * FROM ({query}) q; \
                 times[i] := extract(epoch FROM clock_timestamp() - start); \
                 END LOOP; RETURN (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(times) t); END$$"
            );
            client.batch_execute(&function).during("make a function")?;
        }
        Ok(Asker(client))
    }

    fn ask(&mut self, held: &str, blockers: &str) -> Result<Asked, Failure> {
        for query in [OURS, USUAL] {
            let found = self.0.query(query, &[]).during("ask")?.len().to_string();
            if found != blockers {
                return Err(Failure::new(format!(
                    "{blockers} blockers, but {found} were found"
                )));
            }
        }
        let (ours, usual) = (self.median("ours", 2_000)?, self.median("usual", 30)?);
        let times = usual.as_secs_f64() / ours.as_secs_f64();
        let cells = [
            held,
            blockers,
            &ms(ours),
            &ms(usual),
            &format!("{times:.0}"),
        ];
        let cells = cells.map(str::to_owned).to_vec();
        Ok(Asked { ours, usual, cells })
    }

    fn median(&mut self, name: &str, calls: u32) -> Result<Duration, Failure> {
        let sql = format!("SELECT median_{name}({calls})");
        let row = self.0.query_one(&sql, &[]).during("ask")?;
        Ok(Duration::from_secs_f64(row.get(0)))
    }
}

fn time(client: &mut Client, statement: &postgres::Statement) -> Result<Duration, Failure> {
    let start = Instant::now();
    client.query(statement, &[]).during("ask")?;
    Ok(start.elapsed())
}

/// A tree of 10,000 partitions.
fn tree(sheet: &mut Sheet, database: &Database, crowd: &mut [Client]) -> Result<(), Failure> {
    make_tree(database, "id int");
    let mut asker = connect(database, "asker")?;
    let statement = asker
        .prepare("SELECT pid FROM lockguard.blockers_of('{root}')")
        .during("prepare")?;
    for (held, what) in [("leaf_4711", "a leaf"), ("root", "each")] {
        let sql = format!("BEGIN; LOCK TABLE {held} IN ACCESS SHARE MODE");
        crowd[0].batch_execute(&sql).during("hold partitions")?;
        let mut times = vec![];
        for _ in 0..31 {
            times.push(time(&mut asker, &statement)?);
        }
        let took = spread(times);
        sheet.target(
            took.median < Duration::from_millis(150),
            &format!("`blockers_of` a tree of 10,000 partitions, {what} of which is held, under 150 ms (median)"),
            &format!("{} (max {})", ms(took.median), ms(took.max)),
        );
        crowd[0]
            .batch_execute("ROLLBACK")
            .during("let go of partitions")?;
    }
    Ok(())
}

/// The processor time of a call that waits for the application beside a backup.
fn waiting(sheet: &mut Sheet, cluster: &Cluster) -> Result<(), Failure> {
    let database = cluster.create_database()?;
    make_table(&database, TABLE, ROWS, "");
    let backup = Backup::of_table(&database, TABLE, HALF_A_MINUTE);
    let holder = database.session("shop: report");
    holder.run(&format!(
        "BEGIN; SELECT count(*) FROM {TABLE} WHERE id < 10"
    ));
    let migration = database.session("migration");
    migration.run("BEGIN");
    let call = migration.spawn(format!(
        r#"SELECT lockguard.preempt_maintenance('{{"relations": ["{TABLE}"]}}')"#
    ));
    wait_until("the call waits", Duration::from_secs(10), || {
        call.wait_event().is_some()
    });
    let (before, start) = (processor_time(call.pid())?, Instant::now());
    std::thread::sleep(WATCHED);
    let used = processor_time(call.pid())?.saturating_sub(before);
    let share = 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64();
    if call.is_finished() {
        return Err(Failure::new("the call did not wait for the application"));
    }
    call.cancel();
    drop(backup);
    sheet.target(
        share < 2.0,
        &format!("a call that waits for the application beside a backup, {SESSIONS} sessions connected, under 2 % of a processor"),
        &format!("{share:.2} %"),
    );
    sheet.end_targets();
    Ok(())
}

/// What a process has had of a processor; in nanoseconds, unlike `/proc/PID/stat`.
fn processor_time(pid: i32) -> Result<Duration, Failure> {
    let path = format!("/proc/{pid}/schedstat");
    let text = std::fs::read_to_string(&path).during(format!("read {path}"))?;
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| Failure::new(format!("{path} is not understood")))
}
