//! JSON to [`Policy`]: keys, types, bounds, defaults. A new key is read here.

use super::document::{Node, Object};
use super::narrow::narrow;
use super::problem::{Problem, quoted};
use super::selector::{Rule, Selector, Selectors};
use super::{OnTimeout, Policy, Request, Signal, Target};
use crate::lock::LockMode;
use crate::pattern::Pattern;
use crate::server_text::ServerText;
use crate::session::Class;
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;

/// Reads an interval as PostgreSQL does: a text with units to a length, or why not.
pub type ReadInterval<'a> = &'a dyn Fn(&str) -> Result<Duration, String>;

/// In bytes, as text.
const LONGEST_DOCUMENT: usize = 8 << 20;
/// How many relations a call may name.
pub const MOST_RELATIONS: usize = 100_000;

/// The strings under a key of the document, its value or the elements of its value, as the server has them: what
/// is looked up there is not what people read.
pub type AsGiven<'a> = &'a dyn Fn(&str) -> Vec<ServerText>;

/// What a single call is for, and what goes with that alone.
const TARGET_KEYS: [&str; 4] = ["relations", "statement", "pid", "mode"];
const DRY_RUN: &str = "dry_run";

/// The stored policy to start from.
pub(super) const STORED: &str = "policy";

/// How far a stored policy's loan reaches.
const SNAPSHOTS: &str = "snapshots";

const STANDING_KEYS: [&str; 13] = [
    "preempt",
    "spare",
    "signal",
    "grace",
    "timeout",
    "finish_within",
    "take_lock",
    "max_stall",
    "max_victims",
    "on_timeout",
    "require_trail",
    "label",
    SNAPSHOTS,
];

const RULE_KEYS: [&str; 8] = [
    "class",
    "application_name",
    "usename",
    "backend_type",
    "query",
    "client_addr",
    "older_than",
    "younger_than",
];

const DEFAULT_PREEMPT: [Class; 4] = [
    Class::Backup,
    Class::Autovacuum,
    Class::Vacuum,
    Class::Analyze,
];
const DEFAULT_SPARE: [Class; 1] = [Class::AutovacuumWraparound];
const DEFAULT_GRACE: Duration = Duration::from_secs(2);
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_FINISH_WITHIN: Duration = Duration::from_secs(5);
const DEFAULT_MAX_STALL: Duration = Duration::from_millis(100);
const SHORTEST_MAX_STALL: Duration = Duration::from_millis(1);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that `timeout` and `grace` may be: a wait of more than a week is a mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * DAY.as_secs());
/// The longest age that a rule may ask for.
const LONGEST_AGE: Duration = Duration::from_secs(36_525 * DAY.as_secs());

/// The longest `label`, in characters.
const LONGEST_LABEL: usize = 200;

/// The longest pattern, in characters, and the most entries in `preempt` and `spare` each: matching
/// is not interrupted, and no name and hardly any query is longer.
const LONGEST_PATTERN: usize = 1_000;
const MOST_ENTRIES: usize = 100;

/// The call that a document asks for, or the first thing that is wrong with it. `stored`: the policy
/// that it names and may only narrow. `deadlock_timeout` is the server's setting: a queue must be left
/// before anybody looks for a deadlock in it.
///
/// # Errors
/// A [`Problem`] with the path of the offending value.
pub fn parse(
    document: &Value,
    as_given: AsGiven<'_>,
    stored: Option<&Policy>,
    interval: ReadInterval<'_>,
    deadlock_timeout: Duration,
) -> Result<Request, Problem> {
    let object = Node::root(document).object()?;
    let keys = TARGET_KEYS.into_iter().chain([STORED, DRY_RUN]);
    let keys: Vec<&str> = keys.chain(STANDING_KEYS).collect();
    object.only(&keys)?;
    let target = target(&object, as_given)?;
    let policy = policy(&object, interval, deadlock_timeout)?;
    Ok(Request {
        target,
        policy: match stored {
            Some(stored) => narrow(&object, policy, stored)?,
            None => ad_hoc(&object, policy)?,
        },
    })
}

/// How long the call may take that a document asks for, as far as it says so itself: for what is read before the
/// whole of it can be judged.
///
/// # Errors
/// As for [`parse`], of this key alone.
pub fn timeout(document: &Value, interval: ReadInterval<'_>) -> Result<Duration, Problem> {
    timeout_in(&Node::root(document).object()?, interval)
}

fn timeout_in(object: &Object<'_>, interval: ReadInterval<'_>) -> Result<Duration, Problem> {
    let given = object.get("timeout");
    let given = given.map(|n| length(&n, interval, Duration::from_millis(1), LONGEST_WAIT));
    Ok(given.transpose()?.unwrap_or(DEFAULT_TIMEOUT))
}

/// A policy that stands for calls to come, each with a target of its own: so it names none.
///
/// # Errors
/// As for [`parse`].
pub fn parse_standing(
    document: &Value,
    stored: Option<&Policy>,
    interval: ReadInterval<'_>,
    deadlock_timeout: Duration,
) -> Result<Policy, Problem> {
    let object = Node::root(document).object()?;
    let mut call_keys = TARGET_KEYS.iter().chain([&DRY_RUN]);
    if let Some(node) = call_keys.find_map(|key| object.get(key)) {
        return Err(node
            .problem("this key belongs to a single call")
            .hint("In guard mode each DDL statement is the target, and is carried out."));
    }
    let keys: Vec<&str> = [STORED].into_iter().chain(STANDING_KEYS).collect();
    object.only(&keys)?;
    let policy = policy(&object, interval, deadlock_timeout)?;
    match stored {
        Some(stored) => narrow(&object, policy, stored),
        None => ad_hoc(&object, policy),
    }
}

/// A policy that does not start from a stored one.
fn ad_hoc(object: &Object<'_>, policy: Policy) -> Result<Policy, Problem> {
    match object.get(SNAPSHOTS) {
        None => Ok(policy),
        Some(node) => Err(node
            .problem("this key belongs to a stored policy")
            .hint("It says how far the loan of one reaches; without a loan the role's own rights count everywhere.")),
    }
}

/// A policy to be stored: without a target, and not in terms of another one.
///
/// # Errors
/// As for [`parse`].
pub fn parse_stored(
    document: &Value,
    interval: ReadInterval<'_>,
    deadlock_timeout: Duration,
) -> Result<Policy, Problem> {
    let object = Node::root(document).object()?;
    if let Some(node) = TARGET_KEYS.iter().find_map(|key| object.get(key)) {
        return Err(node
            .problem("this key belongs to a single call")
            .hint("A stored policy has no target: each call names its own."));
    }
    if let Some(node) = object.get(STORED) {
        return Err(node
            .problem("a stored policy does not start from another one")
            .hint("Write out what it shall say."));
    }
    let keys: Vec<&str> = [DRY_RUN].into_iter().chain(STANDING_KEYS).collect();
    object.only(&keys)?;
    policy(&object, interval, deadlock_timeout)
}

fn policy(
    object: &Object<'_>,
    interval: ReadInterval<'_>,
    deadlock_timeout: Duration,
) -> Result<Policy, Problem> {
    let get = |key| object.get(key);
    Ok(Policy {
        preempt: get("preempt")
            .map(|n| selectors(&n, interval))
            .transpose()?
            .unwrap_or_else(|| Selectors::classes(&DEFAULT_PREEMPT)),
        spare: get("spare")
            .map(|n| selectors(&n, interval))
            .transpose()?
            .unwrap_or_else(|| Selectors::classes(&DEFAULT_SPARE)),
        spare_too: Selectors::default(),
        signal: get("signal")
            .map(|n| {
                n.word(&[
                    ("cancel", Signal::Cancel),
                    ("terminate", Signal::Terminate),
                    ("escalate", Signal::Escalate),
                ])
            })
            .transpose()?
            .unwrap_or(Signal::Escalate),
        grace: get("grace")
            .map(|n| length(&n, interval, Duration::ZERO, LONGEST_WAIT))
            .transpose()?
            .unwrap_or(DEFAULT_GRACE),
        timeout: timeout_in(object, interval)?,
        finish_within: get("finish_within")
            .map(|n| length(&n, interval, Duration::ZERO, LONGEST_WAIT))
            .transpose()?
            .unwrap_or(DEFAULT_FINISH_WITHIN),
        take_lock: get("take_lock")
            .map(|n| n.boolean())
            .transpose()?
            .unwrap_or(true),
        max_stall: get("max_stall")
            .map(|n| max_stall(&n, interval, deadlock_timeout))
            .transpose()?
            .unwrap_or(DEFAULT_MAX_STALL.min(deadlock_timeout / 2)),
        max_victims: get("max_victims")
            .map(|n| n.integer(0, i64::from(i32::MAX)).map(|v| v as usize))
            .transpose()?,
        dry_run: get("dry_run")
            .map(|n| n.boolean())
            .transpose()?
            .unwrap_or(false),
        on_timeout: get("on_timeout")
            .map(|n| n.word(&[("error", OnTimeout::Error), ("report", OnTimeout::Report)]))
            .transpose()?
            .unwrap_or(OnTimeout::Error),
        require_trail: get("require_trail")
            .map(|n| n.boolean())
            .transpose()?
            .unwrap_or(false),
        label: get("label").map(|n| label(&n)).transpose()?,
        snapshots: get(SNAPSHOTS)
            .map(|n| n.boolean())
            .transpose()?
            .unwrap_or(false),
    })
}

fn label(node: &Node<'_>) -> Result<String, Problem> {
    let label = node.string()?;
    let length = label.chars().count();
    match length <= LONGEST_LABEL {
        true => Ok(label.to_owned()),
        false => Err(node.problem(format!(
            "a label of {length} characters is longer than the {LONGEST_LABEL} that are allowed"
        ))),
    }
}

/// The document that a text is, if it is one.
///
/// `room_for` is asked for the memory that it takes beforehand: many times the text's, where each of its bytes is
/// an entry.
pub fn read(text: &str, room_for: impl Fn(usize)) -> Result<Value, Problem> {
    const TAKES: usize = 64;
    if text.len() > LONGEST_DOCUMENT {
        return Err(Problem::new(
            "$",
            format!(
                "a document of {} bytes is longer than the {LONGEST_DOCUMENT} that are allowed",
                text.len()
            ),
        ));
    }
    room_for(text.len().saturating_mul(TAKES));
    serde_json::from_str(text)
        .map_err(|error| Problem::new("$", format!("it cannot be read: {error}")))
}

fn target(object: &Object<'_>, as_given: AsGiven<'_>) -> Result<Target, Problem> {
    const TARGETS: [&str; 3] = ["relations", "statement", "pid"];
    let given: Vec<Node<'_>> = TARGETS.iter().filter_map(|key| object.get(key)).collect();
    match (given.len(), object.get("relations"), object.get("statement")) {
        (0, ..) => Err(Problem::new("$", "no target is given").hint(
            "Give \"relations\", an array of names or \"all\", \"statement\", the DDL about to run, or \"pid\", a session that waits.",
        )),
        (1, Some(names), _) => relations(&names, as_given, object.get("mode")),
        (1, None, Some(statement)) => {
            without_mode(
                object,
                "With \"statement\", the mode for each relation is worked out from the DDL.",
            )?;
            statement.string()?;
            let text = as_given("statement").into_iter().next();
            Ok(Target::Statement(text.ok_or_else(|| unreadable(&statement))?))
        }
        (1, None, None) => {
            without_mode(
                object,
                "With \"pid\", the mode is the one that the session waits for.",
            )?;
            Ok(Target::Pid(given[0].integer(1, i64::from(i32::MAX))? as i32))
        }
        _ => Err(Problem::new("$", "more than one target is given")
            .hint("Give one of \"relations\", \"statement\" and \"pid\".")),
    }
}

fn without_mode(object: &Object<'_>, hint: &str) -> Result<(), Problem> {
    match object.get("mode") {
        None => Ok(()),
        Some(mode) => Err(mode
            .problem("a lock mode goes with \"relations\" only")
            .hint(hint)),
    }
}

/// Of a string that no server can have.
pub(super) fn unreadable(node: &Node<'_>) -> Problem {
    node.problem("it is no text in the database's encoding")
}

fn relations(
    given: &Node<'_>,
    as_given: AsGiven<'_>,
    wanted: Option<Node<'_>>,
) -> Result<Target, Problem> {
    let mode = || match &wanted {
        Some(node) => mode(node),
        None => Ok(LockMode::AccessExclusive),
    };
    match given.value {
        Value::String(all) if all == "all" => Ok(Target::All { mode: mode()? }),
        Value::String(other) => Err(given
            .problem(format!(
                "expected an array of names or \"all\", not {}",
                quoted(other)
            ))
            .hint("Write the name of a single relation as an array of one.")),
        _ => {
            let items = given.array()?;
            if items.is_empty() {
                return Err(given
                    .problem("the array of relations is empty")
                    .hint("Name the relations that are about to be locked, or write \"all\"."));
            }
            let mut different = HashSet::new();
            for item in &items {
                different.insert(item.string()?);
                if different.len() > MOST_RELATIONS {
                    return Err(given.problem(format!(
                        "more than the {MOST_RELATIONS} different names that are allowed"
                    )));
                }
            }
            let names = as_given("relations");
            if names.len() != items.len() {
                return Err(unreadable(given));
            }
            Ok(Target::Relations {
                names,
                mode: mode()?,
            })
        }
    }
}

fn mode(node: &Node<'_>) -> Result<LockMode, Problem> {
    LockMode::parse(node.string()?).map_err(|unknown| {
        let names: Vec<&str> = LockMode::ALL.into_iter().map(LockMode::name).collect();
        let problem = node.problem(format!("unknown lock mode {}", quoted(&unknown.given)));
        match unknown.nearest {
            Some(word) => problem.hint(format!("Perhaps you meant \"{word}\".")),
            None => problem.hint(format!("Valid are: {}.", names.join(", "))),
        }
    })
}

fn class(node: &Node<'_>) -> Result<Class, Problem> {
    let given = node.string()?;
    Class::from_name(given).ok_or_else(|| {
        let names: Vec<&str> = Class::ALL.into_iter().map(Class::name).collect();
        node.problem(format!("unknown class {}", quoted(given)))
            .hint_nearest(given, &names)
    })
}

fn selectors(node: &Node<'_>, interval: ReadInterval<'_>) -> Result<Selectors, Problem> {
    let items = node.array()?;
    if items.len() > MOST_ENTRIES {
        return Err(node.problem(format!(
            "{} entries are more than the {MOST_ENTRIES} that are allowed",
            items.len()
        )));
    }
    items
        .iter()
        .map(|item| selector(item, interval))
        .collect::<Result<_, _>>()
        .map(Selectors)
}

fn selector(node: &Node<'_>, interval: ReadInterval<'_>) -> Result<Selector, Problem> {
    const TOO_BROAD: &str = "the class \"application\" by itself would name everybody";
    const NARROW: &str = "Write a rule that names more than the class, such as {\"class\": \"application\", \"usename\": \"etl\"}.";
    match node.value {
        Value::String(_) => match class(node)? {
            Class::Application => Err(node.problem(TOO_BROAD).hint(NARROW)),
            class => Ok(Selector::Class(class)),
        },
        Value::Object(_) => {
            let rule = rule(&node.object()?, interval)?;
            let names_class_alone = rule
                == Rule {
                    class: Some(Class::Application),
                    ..Rule::default()
                };
            if names_class_alone {
                return Err(node.problem(TOO_BROAD).hint(NARROW));
            }
            if rule == Rule::default() {
                return Err(node
                    .problem("a rule must have at least one criterion")
                    .hint(format!("Criteria are: {}.", RULE_KEYS.join(", "))));
            }
            Ok(Selector::Rule(Box::new(rule)))
        }
        _ => Err(node.problem("expected the name of a class or a rule object")),
    }
}

fn pattern(node: &Node<'_>) -> Result<Pattern, Problem> {
    let pattern = node.string()?;
    let length = pattern.chars().count();
    if length > LONGEST_PATTERN {
        return Err(node.problem(format!(
            "a pattern of {length} characters is longer than the {LONGEST_PATTERN} that are allowed"
        )));
    }
    Ok(Pattern::new(pattern))
}

fn rule(object: &Object<'_>, interval: ReadInterval<'_>) -> Result<Rule, Problem> {
    object.only(&RULE_KEYS)?;
    let pattern = |key| object.get(key).map(|n| pattern(&n)).transpose();
    let age = |key| {
        object
            .get(key)
            .map(|n| length(&n, interval, Duration::ZERO, LONGEST_AGE))
            .transpose()
    };
    Ok(Rule {
        class: object.get("class").map(|n| class(&n)).transpose()?,
        application_name: pattern("application_name")?,
        usename: pattern("usename")?,
        backend_type: pattern("backend_type")?,
        query: pattern("query")?,
        client_addr: pattern("client_addr")?,
        older_than: age("older_than")?,
        younger_than: age("younger_than")?,
    })
}

/// A length of time below `deadlock_timeout`.
fn max_stall(
    node: &Node<'_>,
    interval: ReadInterval<'_>,
    deadlock_timeout: Duration,
) -> Result<Duration, Problem> {
    let given = length(node, interval, SHORTEST_MAX_STALL, LONGEST_WAIT)?;
    if given >= deadlock_timeout {
        let problem = node.problem(format!(
            "max_stall must be below deadlock_timeout, which is {}",
            in_words(deadlock_timeout)
        ));
        return Err(problem.hint(format!(
            "Use a value below {}; the default is {}.",
            in_words(deadlock_timeout),
            in_words(DEFAULT_MAX_STALL)
        )));
    }
    Ok(given)
}

/// An interval with a unit, within the bounds, both included.
fn length(
    node: &Node<'_>,
    interval: ReadInterval<'_>,
    least: Duration,
    most: Duration,
) -> Result<Duration, Problem> {
    const WITH_UNIT: &str = "Write an interval with its unit, such as \"500ms\" or \"2 min\".";
    let text = match node.value {
        Value::Number(n) => {
            return Err(node
                .problem(format!("expected an interval, not the bare number {n}"))
                .hint(WITH_UNIT));
        }
        _ => node.string()?,
    };
    // PostgreSQL would take a number without a unit for seconds.
    let bare = text.trim();
    if !bare.is_empty()
        && bare
            .bytes()
            .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
    {
        return Err(node
            .problem(format!("the interval {} has no unit", quoted(text)))
            .hint(WITH_UNIT));
    }
    let length = interval(text).map_err(|why| {
        node.problem(format!("invalid interval {}: {why}", quoted(text)))
            .hint(WITH_UNIT)
    })?;
    if length < least || length > most {
        return Err(node
            .problem(format!("the interval {} is out of range", quoted(text)))
            .hint(format!(
                "It may be from {} to {}.",
                in_words(least),
                in_words(most)
            )));
    }
    Ok(length)
}

pub(super) fn in_words(length: Duration) -> String {
    match length {
        d if d.is_zero() => "0s".into(),
        d if d >= DAY => format!("{} days", d.as_secs() / DAY.as_secs()),
        d => format!("{}ms", d.as_millis()),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
