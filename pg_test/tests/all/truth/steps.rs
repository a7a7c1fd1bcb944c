//! What the sessions of an arrangement do next, at random.

use fastrand::Rng;

use super::arrangement::{Arrangement, Prepared, State};
use super::mode::Mode;

/// More parallel queries than these at a time would only slow the run down.
const MOST_PARALLEL: usize = 2;
const MOST_PREPARED: usize = 6;

/// Statements that lock more than they name; `{n}` is a number not used before, `{k}` one from 1 to 100.
const ORDINARY: &[&str] = &[
    "SELECT count(*) FROM plain WHERE n = {k}",
    "SELECT count(*) FROM parted",
    "SELECT * FROM parted WHERE id = {k}",
    "SELECT * FROM parent JOIN child ON parent_id = parent.id WHERE child.id = {k}",
    "SELECT * FROM plain WHERE id = {k} FOR UPDATE",
    "INSERT INTO child VALUES ({n} + 1000000, {k})",
    "INSERT INTO parted VALUES ({n} + 1000000)",
    "INSERT INTO toasty VALUES ({n} + 1000000, repeat('y', 5000))",
    "UPDATE plain SET n = n + 1 WHERE id = {k}",
    "UPDATE parted SET filler = 'z' WHERE id = {k} + 100",
    "DELETE FROM parent WHERE id = {k} + 100",
    "DELETE FROM toasty WHERE id = {k}",
];

/// The same for DDL; every transaction with one of these is rolled back.
const DDL: &[&str] = &[
    "ANALYZE plain",
    "ANALYZE parted",
    "COMMENT ON TABLE parent IS 'seen'",
    "CREATE INDEX ON plain (filler)",
    "CREATE INDEX ON child (filler)",
    "REINDEX INDEX plain_n",
    "REINDEX TABLE toasty",
    "CLUSTER plain USING plain_pkey",
    "ALTER TABLE plain SET (fillfactor = 90)",
    "ALTER TABLE child ADD FOREIGN KEY (id) REFERENCES parent NOT VALID",
    "ALTER TABLE part_1 ADD CHECK (id > -1) NOT VALID",
    "ALTER TABLE toasty ADD COLUMN more int",
    "ALTER TABLE parted DETACH PARTITION part_1",
    "CREATE TRIGGER t AFTER UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE TABLE part_0 PARTITION OF parted FOR VALUES FROM (-100) TO (0)",
    "CREATE TABLE grandchild (id int REFERENCES child)",
    "TRUNCATE toasty",
    "TRUNCATE parent CASCADE",
    "DROP TABLE child",
    "DROP TABLE part_2",
    "DROP INDEX plain_n",
];

/// What really happened in a run.
#[derive(Debug, Default)]
pub struct StepCounts {
    pub steps: usize,
    pub rolled_back_to_savepoint: usize,
    pub prepared: usize,
    pub parallel: usize,
    pub replaced: usize,
    pub restarts: usize,
}

/// Changes the arrangement a little.
pub fn step(on: &mut Arrangement<'_>, rng: &mut Rng, counts: &mut StepCounts) {
    counts.steps += 1;
    if !on.prepared.is_empty() && rng.u8(..100) < 8 {
        let place = rng.usize(..on.prepared.len());
        return on.finish_prepared(place, rng.bool());
    }
    let who = rng.usize(..on.players.len());
    match on.players[who].state {
        State::Idle if rng.u8(..100) < 5 => {
            counts.replaced += 1;
            on.replace(who);
        }
        State::Idle => lock_something(on, who, rng, counts),
        State::InTransaction => in_transaction(on, who, rng, counts),
        State::Failed => {
            if on.players[who].savepoints.is_empty() || rng.bool() {
                _ = on.end(who, "ROLLBACK");
            } else {
                back_to_savepoint(on, who, rng, counts);
            }
        }
        // A parallel query stays for a while: it takes long to start.
        State::Busy { is_parallel, .. } => match rng.u8(..100) {
            0..12 => on.cancel(who),
            12..24 if !is_parallel => on.cancel(who),
            24..28 => {
                counts.replaced += 1;
                on.replace(who);
            }
            _ => {}
        },
    }
}

fn in_transaction(on: &mut Arrangement<'_>, who: usize, rng: &mut Rng, counts: &mut StepCounts) {
    let has_savepoint = !on.players[who].savepoints.is_empty();
    match rng.u8(..100) {
        0..40 => lock_something(on, who, rng, counts),
        40..57 => {
            let name = format!("s{}", on.number());
            on.run(who, &format!("SAVEPOINT {name}"));
            on.players[who].savepoints.push(name);
        }
        57..72 if has_savepoint => back_to_savepoint(on, who, rng, counts),
        72..75 if has_savepoint => {
            if let Some(name) = on.players[who].savepoints.pop() {
                on.run(who, &format!("RELEASE {name}"));
            }
        }
        75..80 if has_savepoint => {
            on.run(who, "SELECT 1 / 0");
            on.players[who].state = State::Failed;
            on.settle();
        }
        80..92 if on.prepared.len() < MOST_PREPARED => {
            prepare(on, who, counts);
            if rng.bool() {
                counts.replaced += 1;
                on.replace(who);
            }
        }
        80..100 if on.players[who].is_clean => _ = on.end(who, "COMMIT"),
        80..100 => _ = on.end(who, "ROLLBACK"),
        _ => lock_something(on, who, rng, counts),
    }
}

/// Takes locks, or waits for them.
fn lock_something(on: &mut Arrangement<'_>, who: usize, rng: &mut Rng, counts: &mut StepCounts) {
    let kind = rng.u8(..100);
    let parallel = on
        .players
        .iter()
        .filter(|p| {
            matches!(
                p.state,
                State::Busy {
                    is_parallel: true,
                    ..
                }
            )
        })
        .count();
    if kind < 16 && parallel < MOST_PARALLEL {
        counts.parallel += 1;
        let table = ["plain", "parted", "child"][rng.usize(..3)];
        on.start_parallel(who, &format!("SELECT count(*) FROM {table} WHERE doze(id)"));
    } else if kind < 64 {
        let (table, sql) = lock_table(on, who, rng);
        on.players[who].table = Some(table);
        on.start(who, &sql);
    } else {
        let list = if kind < 90 { ORDINARY } else { DDL };
        let sql = list[rng.usize(..list.len())]
            .replace("{n}", &on.number().to_string())
            .replace("{k}", &rng.u32(1..=100).to_string());
        on.players[who].is_clean = false;
        on.start(who, &sql);
    }
}

/// A table and a `LOCK TABLE` for it: often the one that the player has locked before, and more often than not in a
/// mode that leaves room for others.
fn lock_table(on: &Arrangement<'_>, who: usize, rng: &mut Rng) -> (String, String) {
    let tables = on.relations.tables();
    let table = match &on.players[who].table {
        Some(table) if rng.u8(..3) > 0 => table.clone(),
        _ => tables[rng.usize(..tables.len())].name.clone(),
    };
    let modes: Vec<Mode> = Mode::all().collect();
    let mode = modes[rng.usize(..modes.len()).min(rng.usize(..modes.len()))];
    let only = if rng.u8(..4) == 0 { "" } else { "ONLY " };
    let sql = format!("LOCK TABLE {only}{table} IN {} MODE", mode.sql());
    (table, sql)
}

fn back_to_savepoint(on: &mut Arrangement<'_>, who: usize, rng: &mut Rng, counts: &mut StepCounts) {
    counts.rolled_back_to_savepoint += 1;
    let place = rng.usize(..on.players[who].savepoints.len());
    let name = on.players[who].savepoints[place].clone();
    on.players[who].savepoints.truncate(place + 1);
    on.run(who, &format!("ROLLBACK TO {name}"));
    on.players[who].state = State::InTransaction;
    on.settle();
}

/// Prepares the player's transaction; one that cannot be is rolled back by the server.
fn prepare(on: &mut Arrangement<'_>, who: usize, counts: &mut StepCounts) {
    let gid = format!("it's {}", on.number());
    let is_clean = on.players[who].is_clean;
    if on.end(
        who,
        &format!("PREPARE TRANSACTION '{}'", gid.replace('\'', "''")),
    ) {
        counts.prepared += 1;
        on.prepared.push(Prepared { gid, is_clean });
    }
}

/// Restarts the server while some prepared transactions hold locks.
pub fn restart(on: &mut Arrangement<'_>, rng: &mut Rng, counts: &mut StepCounts) {
    counts.restarts += 1;
    on.clear();
    for who in 0..on.players.len() {
        if on.prepared.len() >= MOST_PREPARED {
            break;
        }
        let (_, lock) = lock_table(on, who, rng);
        if on.run(who, &format!("BEGIN; {lock} NOWAIT")) {
            prepare(on, who, counts);
        } else {
            _ = on.end(who, "ROLLBACK");
        }
    }
    on.restart();
}
