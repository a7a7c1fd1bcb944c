//! Bad input, and odd input that is good: every document gets its designed answer, nothing is signalled
//! on the way to a refusal, and the connection survives.

mod cases;
mod depth;
mod encodings;
mod fuzz;
mod hostile;
mod memory;
mod raw_names;
mod size;
mod targets;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pg_test::{Database, Session};

use crate::world::World;

const SOON: Duration = Duration::from_secs(10);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    [
        cases::trials,
        targets::trials,
        size::trials,
        depth::trials,
        memory::trials,
        fuzz::trials,
        hostile::trials,
        encodings::trials,
        raw_names::trials,
    ]
    .into_iter()
    .flat_map(|of| of(world))
    .collect()
}

/// What a document must give.
#[derive(Clone, Debug)]
enum Answer {
    Works,
    /// An error with this SQLSTATE, the path in its DETAIL if one is given, and a HINT with these words.
    Refused {
        sqlstate: &'static str,
        path: Option<String>,
        hint: String,
    },
}

/// A document and its answer.
#[derive(Clone, Debug)]
struct Case {
    document: String,
    answer: Answer,
}

fn works(document: impl Into<String>) -> Case {
    Case {
        document: document.into(),
        answer: Answer::Works,
    }
}

/// Refused as no policy, at that path. An empty `hint` stands for any or none.
fn bad(document: impl Into<String>, path: &str, hint: &str) -> Case {
    refused(document, "22023", Some(path), hint)
}

fn refused(
    document: impl Into<String>,
    sqlstate: &'static str,
    path: Option<&str>,
    hint: &str,
) -> Case {
    Case {
        document: document.into(),
        answer: Answer::Refused {
            sqlstate,
            path: path.map(str::to_owned),
            hint: hint.to_owned(),
        },
    }
}

/// A database with a table `t`, in whose way a backup stands that any policy may preempt, and one
/// `free` of everybody.
struct Ground {
    database: Database,
    backup: Session,
    caller: Session,
}

impl Ground {
    fn new(world: &World) -> Self {
        let database = world.database();
        let caller = database.session("migrate");
        caller.run("CREATE TABLE t (i int); CREATE TABLE free (i int)");
        let backup = database.session("pg_dump");
        backup.run("BEGIN; SELECT FROM t");
        Self {
            database,
            backup,
            caller,
        }
    }

    /// Runs each case over the one connection, and tells all that went wrong.
    #[track_caller]
    fn check(&self, cases: &[Case]) {
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|case| self.try_case(case))
            .collect();
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            cases.len(),
            wrong.join("\n")
        );
        self.backup.run("SELECT count(*) FROM t");
        println!("{} documents", cases.len());
    }

    /// What is wrong with the answer to a case.
    fn try_case(&self, case: &Case) -> Option<String> {
        let pid = self.caller.pid().to_string();
        let outcome = self.caller.try_run(&call(&case.document));
        let shown: String = case.document.chars().take(120).collect();
        if self.caller.run("SELECT pg_backend_pid()").value() != Some(&pid) {
            return Some(format!("{shown}\n  lost the connection"));
        }
        let error = match (&case.answer, &outcome) {
            (Answer::Works, Ok(_)) => return None,
            (Answer::Refused { .. }, Ok(rows)) => {
                return Some(format!("{shown}\n  works: {rows:?}"));
            }
            (_, Err(error)) => error.as_db_error()?,
        };
        let told = format!(
            "{shown}\n  {}: {}\n  DETAIL: {:?}\n  HINT: {:?}",
            error.code().code(),
            error.message(),
            error.detail(),
            error.hint()
        );
        let Answer::Refused {
            sqlstate,
            path,
            hint,
        } = &case.answer
        else {
            return Some(told);
        };
        let detail = path
            .as_ref()
            .map(|path| format!("At {path} in the policy."));
        let is_right = error.code().code() == *sqlstate
            && (detail.is_none() || error.detail() == detail.as_deref())
            && error.hint().unwrap_or_default().contains(hint.as_str());
        // Nobody wants to be told his megabyte again.
        let is_short = error.message().len() < 500 && error.hint().unwrap_or_default().len() < 500;
        (!is_right || !is_short).then(|| {
            format!("{told}\n  expected {:?}", case.answer)
                .chars()
                .take(2000)
                .collect()
        })
    }
}

fn call(document: &str) -> String {
    format!("SELECT * FROM lockguard.preempt_maintenance($document${document}$document$)")
}
