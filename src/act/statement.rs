//! Statements as a target: their plan, worked out anew once their locks are held.

use crate::error::Error;
use crate::needs::{self, Planned, Preparation};
use crate::pg::catalog;
use crate::pg::changes::{self, Seen};
use crate::server_text::ServerText;
use crate::survey::Way;
use std::fmt;

/// How much of its text names a statement.
const SHOWN: usize = 60;

/// Reads what statements lock, from the catalogs as they are now.
type Reading = Box<dyn Fn() -> Vec<Planned>>;

/// One statement or several, about to run.
pub struct Statement {
    title: String,
    read: Reading,
    /// Before they were read last.
    seen: Seen,
    planned: Vec<Planned>,
    plan: Preparation,
}

impl Statement {
    /// Those of that text.
    ///
    /// # Errors
    /// Raises 42601 for what is no SQL.
    pub fn of_text(text: &ServerText) -> Result<Statement, Error> {
        let own = text.clone();
        let text = text.for_people();
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = words.join(" ");
        let line = line.trim_end_matches(';');
        let title = match line.is_empty() {
            true => "an empty text".into(),
            false => line.to_owned(),
        };
        let title = match title.chars().count() > SHOWN {
            true => format!(
                "{} …",
                title.chars().take(SHOWN).collect::<String>().trim_end()
            ),
            false => title,
        };
        Statement::new(title, Box::new(move || needs::script(&own)))
    }

    /// One by a name for messages, such as its command tag, that `read` works out.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn new(title: String, read: Reading) -> Result<Statement, Error> {
        let seen = Seen::now();
        let planned = read();
        Ok(Statement {
            seen,
            plan: Preparation::new(&planned)?,
            planned,
            title,
            read,
        })
    }

    /// The same, with the first relation that it needs in its name.
    pub fn named_by_relation(mut self) -> Statement {
        if let Some(need) = self.plan.needs.first() {
            self.title = format!("{} on {}", self.title, catalog::name(need.relation));
        }
        self
    }

    pub fn plan(&self) -> &Preparation {
        &self.plan
    }

    /// What is asked about.
    pub fn way(&self) -> Way<'_> {
        Way::Planned {
            needs: &self.plan.needs,
            snapshots: self.plan.awaits_snapshots,
        }
    }

    /// Whether the statements still need what they needed; where that has changed, it is what counts
    /// from now on.
    ///
    /// # Errors
    /// Those of planning.
    pub fn is_unchanged(&mut self) -> Result<bool, Error> {
        let seen = Seen::now();
        let now = changes::quietly(|| (self.read)());
        // All locks may be held by now: whose they are is not asked once more without need.
        if now == self.planned {
            self.seen = seen;
            return Ok(true);
        }
        let plan = Preparation::new(&now)?;
        let is_unchanged = plan == self.plan;
        (self.planned, self.plan, self.seen) = (now, plan, seen);
        Ok(is_unchanged)
    }

    /// Before the catalogs were read last.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// What of its locks is not taken beforehand though the rest is, for the end of a message.
    pub fn remark(&self) -> String {
        if self.plan.is_concurrent {
            return "; no lock is taken beforehand for a CONCURRENTLY form".into();
        }
        match &self.plan.left[..] {
            [] => String::new(),
            left => {
                let names: Vec<String> = left.iter().map(|r| catalog::name(*r)).collect();
                format!(
                    "; not locked beforehand, for this role could not by LOCK TABLE: {}",
                    crate::report::list(&names)
                )
            }
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the locks of {}", self.title)
    }
}
