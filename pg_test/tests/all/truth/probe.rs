//! One question, asked twice: of `blockers_of` beforehand, then of the server by really requesting the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use pg_test::{Session, wait_until};

use super::arrangement::{Arrangement, State};
use super::mode::Mode;
use super::relations::Relation;

const PATIENCE: Duration = Duration::from_secs(30);

/// Who stands in the way: a server process, or a prepared transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Pid(i32),
    Gid(String),
}

/// A row of `blockers_of`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub mode: Mode,
    pub granted: bool,
}

/// What `pg_locks` shows of one session (or prepared transaction) on the relation.
#[derive(Clone, Debug, Default)]
pub struct Held {
    pub held: BTreeSet<Mode>,
    pub awaited: Option<Mode>,
    /// How many workers of a parallel query hold it.
    pub workers: usize,
    /// Whether some other session now has the backend slot that a transaction was prepared in.
    pub slot_is_taken: bool,
    /// Whether a transaction was prepared before the server started.
    pub is_restored: bool,
}

/// What the questions met.
#[derive(Debug, Default)]
pub struct ProbeCounts {
    pub scenarios: usize,
    pub nobody_in_the_way: usize,
    pub most_in_the_way: usize,
    pub holders: usize,
    pub queued: usize,
    pub holders_that_queue_for_more: usize,
    pub parallel: usize,
    pub prepared: usize,
    pub prepared_in_a_slot_since_taken: usize,
    pub prepared_before_a_restart: usize,
    pub asked_by_a_holder: usize,
    pub asked_in_bulk: usize,
    pub on_an_index_or_toast_table: usize,
}

/// The two sessions that ask.
pub struct Prober {
    observer: Session,
    probe: Session,
}

impl Prober {
    pub fn new(on: &Arrangement<'_>) -> Self {
        Self {
            observer: on.session("observer"),
            probe: on.session("probe"),
        }
    }

    /// Compares the two answers for one relation and mode.
    ///
    /// # Errors
    /// Both answers, where they differ.
    pub fn compare(
        &self,
        on: &Arrangement<'_>,
        rng: &mut Rng,
        relation: &Relation,
        mode: Mode,
        counts: &mut ProbeCounts,
    ) -> Result<(), String> {
        let Some(request) = relation.request(mode) else {
            return Ok(());
        };
        counts.scenarios += 1;
        // To one that has dropped the relation it does not exist.
        let holders: Vec<&Session> = on
            .players
            .iter()
            .filter(|p| matches!(p.state, State::InTransaction) && p.is_clean)
            .map(|p| &p.session)
            .collect();
        let asker = match rng.u8(..4) {
            0 if !holders.is_empty() => holders[rng.usize(..holders.len())],
            _ => &self.observer,
        };
        let oid = relation.oid;
        let told = ask(asker, &oid.to_string(), oid, mode)?;
        let bulk = match rng.u8(..3) {
            0 => {
                let among = format!("{oid}, {}", on.relations.idle);
                Some(ask(asker, &among, oid, mode)?)
            }
            _ => None,
        };

        let running = self.probe.spawn(format!("BEGIN; {request}"));
        let waits = format!(
            "SELECT CASE WHEN locktype = 'relation' THEN relation END AS relation, pg_blocking_pids(pid) AS pids \
             FROM pg_locks WHERE pid = {} AND NOT granted",
            self.probe.pid()
        );
        let mut blocking = None;
        wait_until("the probe has its lock or waits", PATIENCE, || {
            blocking = on.database.ask(&waits).first().cloned();
            blocking.is_some() || running.is_finished()
        });
        // A statement that locks more than the relation may hang in something else once it has that.
        let blocking: Vec<i32> = match blocking {
            Some(row) if row.get("relation") == Some(&oid.to_string()) => {
                let pids = row.text("pids").trim_matches(['{', '}']);
                pids.split(',').map(|pid| pid.parse().unwrap()).collect()
            }
            _ => vec![],
        };
        let seen = locks_on(&self.observer, oid, self.probe.pid());
        if !running.is_finished() {
            let pid = self.probe.pid();
            on.database.ask(&format!("SELECT pg_cancel_backend({pid})"));
        }
        let outcome = running.wait(PATIENCE);
        if let (true, Err(error)) = (blocking.is_empty(), &outcome) {
            let code = error.code().map(|code| code.code().to_owned());
            if code.as_deref() != Some("57014") {
                return Err(format!("the probe's own request failed: {error}"));
            }
        }
        self.probe.run("ROLLBACK");

        let judge = |told: &BTreeMap<Who, Answer>, is_exact| {
            judge(told, &blocking, &seen, asker.pid(), mode, is_exact).map_err(|problem| {
                let bulk = if is_exact { " among sixty others" } else { "" };
                format!(
                    "{problem}\nasked of {}{bulk} in {} by pid {}:\nblockers_of: {told:?}\npg_blocking_pids: {blocking:?}\npg_locks: {seen:#?}",
                    relation.name,
                    mode.name(),
                    asker.pid(),
                )
            })
        };
        judge(&told, false)?;
        if let Some(bulk) = &bulk {
            judge(bulk, true)?;
            counts.asked_in_bulk += 1;
        }
        counts.note(&told, &seen, asker.pid());
        counts.on_an_index_or_toast_table += usize::from(!relation.is_table());
        Ok(())
    }
}

/// The locks on a relation of the session's database, of all but the backend `except`; a parallel query's under its leader.
pub fn locks_on(session: &Session, oid: u32, except: i32) -> BTreeMap<Who, Held> {
    let rows = session.run(&format!(
        "WITH l AS MATERIALIZED (SELECT * FROM pg_locks), \
              live AS (SELECT split_part(virtualtransaction, '/', 1) AS slot FROM l WHERE pid IS NOT NULL) \
         SELECT coalesce(a.leader_pid, l.pid) AS pid, a.leader_pid IS NOT NULL AS is_worker, p.gid, l.mode, l.granted, \
                l.virtualtransaction LIKE '-1/%' AS is_restored, \
                split_part(l.virtualtransaction, '/', 1) IN (SELECT slot FROM live) AS slot_is_taken \
         FROM l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
                LEFT JOIN l AS x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' \
                                AND x.virtualtransaction = l.virtualtransaction \
                LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid \
         WHERE l.locktype = 'relation' AND l.relation = {oid} AND l.pid IS DISTINCT FROM {except} \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ));
    let mut seen: BTreeMap<Who, Held> = BTreeMap::new();
    for row in rows.iter() {
        let who = match row.get("pid") {
            Some(pid) => Who::Pid(pid.parse().unwrap()),
            None => Who::Gid(row.text("gid").to_owned()),
        };
        let is_prepared = matches!(who, Who::Gid(_));
        let entry = seen.entry(who).or_default();
        let mode = Mode::named(row.text("mode"));
        if row.text("granted") == "t" {
            entry.held.insert(mode);
            entry.workers += usize::from(row.text("is_worker") == "t");
        } else {
            entry.awaited = entry.awaited.max(Some(mode));
        }
        entry.is_restored |= row.text("is_restored") == "t";
        entry.slot_is_taken |= is_prepared && row.text("slot_is_taken") == "t";
    }
    seen
}

impl Held {
    /// What `blockers_of` should tell of it for a request of `mode`, by the conflicts alone.
    pub fn against(&self, mode: Mode) -> Option<Answer> {
        let conflicts = |m: &Mode| mode.conflicts_with(*m);
        let (mode, granted) = match self.held.iter().any(conflicts) {
            true => (self.held.last().copied(), true),
            false => (self.awaited.filter(conflicts), false),
        };
        mode.map(|mode| Answer { mode, granted })
    }
}

/// The rows of `blockers_of` for one relation among those asked about.
pub fn ask(
    asker: &Session,
    among: &str,
    oid: u32,
    mode: Mode,
) -> Result<BTreeMap<Who, Answer>, String> {
    let rows = asker.run(&format!(
        "SELECT pid, gid, mode, granted, blocked_by, pg_blocking_pids(pid) AS really_blocked_by, \
                (SELECT array_agg(DISTINCT p) FROM unnest(blocked_by) p) \
                IS NOT DISTINCT FROM (SELECT array_agg(DISTINCT p) FROM unnest(pg_blocking_pids(pid)) p) AS is_blocked_so \
         FROM lockguard.blockers_of(ARRAY[{among}]::regclass[], '{}') WHERE relation = {oid}",
        mode.name()
    ));
    let mut told = BTreeMap::new();
    for row in rows.iter() {
        let who = match (row.get("pid"), row.get("gid")) {
            (Some(pid), None) => Who::Pid(pid.parse().unwrap()),
            (None, Some(gid)) => Who::Gid(gid.to_owned()),
            _ => {
                return Err(format!(
                    "neither a session nor a prepared transaction: {row:?}"
                ));
            }
        };
        if row.text("is_blocked_so") != "t" {
            return Err(format!("blocked_by is not pg_blocking_pids: {row:?}"));
        }
        let answer = Answer {
            mode: Mode::named(row.text("mode")),
            granted: row.text("granted") == "t",
        };
        if let Some(other) = told.insert(who, answer) {
            return Err(format!("told twice: {other:?} and {row:?}"));
        }
    }
    Ok(told)
}

/// Whether what `blockers_of` told is what the server then did, and its modes those of `pg_locks`.
///
/// The asker's own locks are no business of `blockers_of`, though they stand in another's way. One copy of the lock
/// table (`is_exact`) tells the strongest mode; asking who conflicts cannot tell SHARE with a certain weaker mode
/// from SHARE ROW EXCLUSIVE, its equal.
fn judge(
    told: &BTreeMap<Who, Answer>,
    blocking: &[i32],
    seen: &BTreeMap<Who, Held>,
    asker: i32,
    mode: Mode,
    is_exact: bool,
) -> Result<(), String> {
    let pids: BTreeSet<i32> = told
        .keys()
        .map(|who| match who {
            Who::Pid(pid) => *pid,
            Who::Gid(_) => 0,
        })
        .collect();
    let expected: BTreeSet<i32> = blocking
        .iter()
        .copied()
        .filter(|pid| *pid != asker)
        .collect();
    if pids != expected {
        return Err("blockers_of and pg_blocking_pids name different sessions".into());
    }
    let gids = told.keys().filter(|who| matches!(who, Who::Gid(_))).count();
    if gids != blocking.iter().filter(|pid| **pid == 0).count() {
        return Err("another number of prepared transactions".into());
    }
    for (who, answer) in told {
        let Some(locks) = seen.get(who) else {
            return Err(format!("pg_locks has nothing of {who:?}"));
        };
        let is_equal_of_share_row_exclusive = !is_exact
            && answer.granted
            && answer.mode == Mode::SHARE_ROW_EXCLUSIVE
            && locks.held.last() == Some(&Mode::SHARE)
            && [Mode::ROW_EXCLUSIVE, Mode::SHARE_UPDATE_EXCLUSIVE]
                .iter()
                .any(|weaker| locks.held.contains(weaker));
        if locks.against(mode).as_ref() != Some(answer) && !is_equal_of_share_row_exclusive {
            return Err(format!("the wrong mode, or granted, for {who:?}"));
        }
    }
    Ok(())
}

impl ProbeCounts {
    fn note(&mut self, told: &BTreeMap<Who, Answer>, seen: &BTreeMap<Who, Held>, asker: i32) {
        self.nobody_in_the_way += usize::from(told.is_empty());
        self.most_in_the_way = self.most_in_the_way.max(told.len());
        self.asked_by_a_holder += usize::from(seen.contains_key(&Who::Pid(asker)));
        for (who, answer) in told {
            let locks = &seen[who];
            self.holders += usize::from(answer.granted);
            self.queued += usize::from(!answer.granted);
            self.holders_that_queue_for_more +=
                usize::from(!locks.held.is_empty() && locks.awaited.is_some());
            self.parallel += usize::from(locks.workers > 0);
            self.prepared += usize::from(matches!(who, Who::Gid(_)));
            self.prepared_in_a_slot_since_taken += usize::from(locks.slot_is_taken);
            self.prepared_before_a_restart += usize::from(locks.is_restored);
        }
    }
}
