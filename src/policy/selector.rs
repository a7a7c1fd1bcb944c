//! Whom `preempt` and `spare` name: classes, and rules over names, query and age.

use crate::pattern::Pattern;
use crate::session::{Class, Rights, Session};
use std::time::Duration;

/// One entry of `preempt` or `spare`.
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// A class by its name. Never `application`.
    Class(Class),
    /// All that are given must match.
    Rule(Box<Rule>),
}

/// A rule of a policy: at least one criterion, and with class `application` at least one more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    pub class: Option<Class>,
    pub application_name: Option<Pattern>,
    pub usename: Option<Pattern>,
    pub backend_type: Option<Pattern>,
    pub query: Option<Pattern>,
    pub client_addr: Option<Pattern>,
    pub older_than: Option<Duration>,
    pub younger_than: Option<Duration>,
}

/// Whether a session falls under a rule, as far as the caller may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    No,
    /// It would depend on what `pg_stat_activity` hides from the caller.
    Hidden,
    Yes,
}

/// A session as a rule is given it.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    pub session: &'a Session,
    pub class: Class,
    /// The age of its transaction.
    pub age: Duration,
    /// What whoever the rules are of may do with it.
    pub rights: Rights,
}

impl Given<'_> {
    /// Whether the session is of that class. Of one that the caller may neither see nor signal,
    /// `class` is what public facts make of it; whether it is of a class that hidden facts tell
    /// stays open, unless the public class comes first.
    fn is_of(self, class: Class) -> Verdict {
        let rights = self.rights;
        if class == self.class {
            Verdict::Yes
        } else if !rights.judge
            && !rights.signal
            && class.is_told_by_hidden_facts()
            && class < self.class
        {
            Verdict::Hidden
        } else {
            Verdict::No
        }
    }
}

impl Rule {
    fn verdict(&self, given: Given<'_>) -> Verdict {
        let session = given.session;
        let matches = |pattern: &Option<Pattern>, value: &Option<String>| {
            pattern
                .as_ref()
                .is_none_or(|p| value.as_deref().is_some_and(|v| p.matches(v)))
        };
        let class = self.class.map_or(Verdict::Yes, |class| given.is_of(class));
        let public = class != Verdict::No
            && matches(&self.application_name, &session.application_name)
            && matches(&self.usename, &session.usename);
        if !public {
            return Verdict::No;
        }
        let asks_hidden = self.backend_type.is_some()
            || self.query.is_some()
            || self.client_addr.is_some()
            || self.older_than.is_some()
            || self.younger_than.is_some();
        if class == Verdict::Hidden || asks_hidden && !given.rights.judge {
            return Verdict::Hidden;
        }
        let hidden = matches(&self.backend_type, &session.backend_type)
            && matches(&self.query, &session.query)
            && matches(&self.client_addr, &session.client_addr)
            && self.older_than.is_none_or(|limit| given.age > limit)
            && self.younger_than.is_none_or(|limit| given.age < limit);
        if hidden { Verdict::Yes } else { Verdict::No }
    }
}

/// The entries of `preempt` or of `spare`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selectors(pub Vec<Selector>);

impl Selectors {
    /// Classes alone.
    pub fn classes(classes: &[Class]) -> Selectors {
        Selectors(classes.iter().copied().map(Selector::Class).collect())
    }

    /// Whether any entry names the session.
    pub fn verdict(&self, given: Given<'_>) -> Verdict {
        self.0
            .iter()
            .map(|selector| match selector {
                Selector::Class(class) => given.is_of(*class),
                Selector::Rule(rule) => rule.verdict(given),
            })
            .max()
            .unwrap_or(Verdict::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixtures::application;

    fn by_query(pattern: &str) -> Selectors {
        let rule = Rule {
            query: Some(Pattern::new(pattern)),
            ..Rule::default()
        };
        Selectors(vec![Selector::Rule(Box::new(rule))])
    }

    fn given(session: &Session) -> Given<'_> {
        Given {
            session,
            class: Class::Application,
            age: Duration::from_secs(10),
            rights: session.rights,
        }
    }

    #[test]
    fn all_criteria_of_a_rule_must_match() {
        let session = application(1);
        let mut rule = Rule {
            usename: Some(Pattern::new("app")),
            ..Rule::default()
        };
        let verdict = |rule: &Rule| {
            Selectors(vec![Selector::Rule(Box::new(rule.clone()))]).verdict(given(&session))
        };
        assert_eq!(verdict(&rule), Verdict::Yes);
        rule.older_than = Some(Duration::from_secs(5));
        assert_eq!(verdict(&rule), Verdict::Yes);
        rule.younger_than = Some(Duration::from_secs(5));
        assert_eq!(verdict(&rule), Verdict::No);
    }

    #[test]
    fn a_rule_learns_nothing_of_what_is_hidden() {
        let mut session = application(1);
        session.rights = Rights {
            see: false,
            judge: false,
            signal: false,
            own_signal: false,
        };
        assert_eq!(
            by_query("SELECT 1").verdict(given(&session)),
            Verdict::Hidden
        );
        assert_eq!(
            by_query("no such").verdict(given(&session)),
            Verdict::Hidden
        );
        (session.rights.see, session.rights.judge) = (true, true);
        assert_eq!(by_query("SELECT 1").verdict(given(&session)), Verdict::Yes);
        assert_eq!(by_query("no such").verdict(given(&session)), Verdict::No);
    }

    #[test]
    fn whether_a_strangers_session_is_idle_stays_open() {
        let mut session = application(1);
        let idle = Selectors::classes(&[Class::IdleInTransaction]);
        assert_eq!(idle.verdict(given(&session)), Verdict::No);
        session.rights = Rights {
            see: false,
            judge: false,
            signal: false,
            own_signal: false,
        };
        assert_eq!(idle.verdict(given(&session)), Verdict::Hidden);
        let backup = Given {
            class: Class::Backup,
            ..given(&session)
        };
        assert_eq!(
            idle.verdict(backup),
            Verdict::No,
            "a backup is a backup first"
        );
    }

    #[test]
    fn an_absent_value_matches_no_pattern() {
        let mut session = application(1);
        session.query = None;
        assert_eq!(by_query("*").verdict(given(&session)), Verdict::No);
    }
}
