//! Sessions that hold locks on relations, each ready to give up just what stands in a watched statement's way.

use pg_test::{Database, Session};

use super::quiet_session;
use super::relations::Relation;
use crate::truth::mode::Mode;

/// A lock that is held, and how it is had.
struct Step {
    relation: u32,
    mode: Mode,
    sql: String,
}

/// A session that holds locks, each taken after a savepoint of its own.
pub struct Holder {
    session: Session,
    steps: Vec<Step>,
}

impl Holder {
    /// Holds one relation in every mode that an ordinary statement can, the weakest first.
    ///
    /// A TOAST table's index goes with it: nothing else locks the TOAST table alone.
    pub fn of(database: &Database, oid: u32, relation: &Relation) -> Self {
        let session = quiet_session(database, "holder");
        let mut steps = vec![];
        let mut step = |relation, mode, sql| {
            steps.push(Step {
                relation,
                mode,
                sql,
            });
        };
        let name = &relation.name;
        match (relation.kind, &relation.toast_index) {
            ('r' | 'p', _) => {
                for mode in Mode::all() {
                    let sql = format!("LOCK TABLE ONLY {name} IN {} MODE", mode.sql());
                    step(oid, mode, sql);
                }
            }
            ('t', Some((index, index_name))) => {
                step(
                    *index,
                    Mode::ACCESS_EXCLUSIVE,
                    exclusively(index_name, 'i', &relation.owner),
                );
                let sql = format!("CLUSTER {name} USING {}", unqualified(index_name));
                step(oid, Mode::ACCESS_EXCLUSIVE, sql);
            }
            // Nothing takes it alone and leaves it as it is.
            ('c', _) => {}
            (kind, _) => {
                let sql = exclusively(name, kind, &relation.owner);
                step(oid, Mode::ACCESS_EXCLUSIVE, sql);
            }
        }
        Self::taking(session, steps)
    }

    /// Holds one relation in that mode, and nothing else; none where that cannot be done.
    pub fn of_mode(database: &Database, oid: u32, relation: &Relation, mode: Mode) -> Option<Self> {
        let name = &relation.name;
        let sql = match relation.kind {
            'r' | 'p' => format!("LOCK TABLE ONLY {name} IN {} MODE", mode.sql()),
            't' => return None,
            'c' => format!(
                "DO $do$BEGIN EXECUTE (SELECT format('ALTER TYPE {name} RENAME ATTRIBUTE %I TO held CASCADE', attname) \
                 FROM pg_attribute WHERE attrelid = {oid} AND attnum = 1); END$do$"
            ),
            kind => exclusively(name, kind, &relation.owner),
        };
        let step = Step {
            relation: oid,
            mode,
            sql,
        };
        Some(Self::taking(quiet_session(database, "holder"), vec![step]))
    }

    /// Holds all of these relations exclusively, but for TOAST tables, of which it holds the index.
    pub fn of_all<'a>(
        database: &Database,
        relations: impl Iterator<Item = (u32, &'a Relation)>,
    ) -> Self {
        let session = quiet_session(database, "holder of the rest");
        let lockable = relations.filter(|(_, relation)| !['t', 'c'].contains(&relation.kind));
        let step = |(oid, relation): (u32, &Relation)| Step {
            relation: oid,
            mode: Mode::ACCESS_EXCLUSIVE,
            sql: exclusively(&relation.name, relation.kind, &relation.owner),
        };
        Self::taking(session, lockable.map(step).collect())
    }

    fn taking(session: Session, steps: Vec<Step>) -> Self {
        let mut sql = String::from("SET allow_system_table_mods = on; BEGIN;");
        for (at, step) in steps.iter().enumerate() {
            sql.push_str(&format!("SAVEPOINT s{at}; {};", step.sql));
        }
        session.run(&sql);
        Self { session, steps }
    }

    /// The process id of its backend.
    pub fn pid(&self) -> i32 {
        self.session.pid()
    }

    /// Gives up what conflicts with that request, and whatever was taken later.
    pub fn make_way(&mut self, relation: u32, mode: Mode) {
        let in_the_way = |step: &Step| step.relation == relation && step.mode.conflicts_with(mode);
        if let Some(at) = self.steps.iter().position(in_the_way) {
            self.session.run(&format!("ROLLBACK TO SAVEPOINT s{at}"));
            self.steps.truncate(at);
        }
    }

    /// Gives up everything, and its transaction.
    pub fn end(&mut self) {
        self.session.run("ROLLBACK");
        self.steps.clear();
    }
}

/// A statement that changes nothing and takes ACCESS EXCLUSIVE on that relation alone.
fn exclusively(name: &str, kind: char, owner: &str) -> String {
    match kind {
        'r' | 'p' => format!("LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE"),
        'I' => format!("ALTER INDEX {name} SET TABLESPACE pg_default"),
        _ => format!("ALTER TABLE {name} OWNER TO {owner}"),
    }
}

fn unqualified(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, name)| name)
}
