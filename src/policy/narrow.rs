//! A call through a stored policy: what it may set, and that it only narrows.

use super::Policy;
use super::document::{Node, Object};
use super::parse::{AsGiven, STORED, in_words, unreadable};
use super::problem::{Problem, quoted};
use super::selector::Selectors;
use crate::server_text::ServerText;
use serde_json::Value;
use std::time::Duration;

/// What a call says beside the stored policy's name: its target, and what makes it do less.
const MAY_SET: [&str; 13] = [
    "relations",
    "statement",
    "pid",
    "mode",
    STORED,
    "label",
    "timeout",
    "grace",
    "max_stall",
    "max_victims",
    "spare",
    "dry_run",
    "require_trail",
];

/// The name of the stored policy that a document starts from, if it does.
///
/// # Errors
/// A [`Problem`] where it is no name, or the document no object.
pub fn stored_name(document: &Value, as_given: AsGiven<'_>) -> Result<Option<ServerText>, Problem> {
    let Some(node) = Node::root(document).object()?.get(STORED) else {
        return Ok(None);
    };
    node.string()?;
    let name = as_given(STORED).into_iter().next();
    name.map(Some).ok_or_else(|| unreadable(&node))
}

/// `given`, which was read from `object` by itself, on top of `stored`.
///
/// # Errors
/// A [`Problem`] that is too wide, for what the stored policy does not say or allow.
pub(super) fn narrow(
    object: &Object<'_>,
    given: Policy,
    stored: &Policy,
) -> Result<Policy, Problem> {
    if let Some(node) = object.other_than(&MAY_SET) {
        return Err(node
            .problem("this is for the stored policy to say")
            .hint(
                "A call through a stored policy may set the target, lower timeout, grace, max_stall and max_victims, \
                 add to spare, turn dry_run and require_trail on, and give a label where the policy has none.",
            )
            .too_wide());
    }
    let lower = |key: &str, given: Duration, stored: Duration| match object.get(key) {
        None => Ok(stored),
        Some(_) if given <= stored => Ok(given),
        Some(node) => Err(node
            .problem(format!(
                "{key} may only be lowered, and the stored policy allows {}",
                in_words(stored)
            ))
            .too_wide()),
    };
    let max_victims = match (object.get("max_victims"), stored.max_victims) {
        (None, stored) => stored,
        (Some(_), None) => given.max_victims,
        (Some(_), Some(most)) if given.max_victims <= Some(most) => given.max_victims,
        (Some(node), Some(most)) => {
            return Err(node
                .problem(format!(
                    "max_victims may only be lowered, and the stored policy allows {most}"
                ))
                .too_wide());
        }
    };
    for (key, given, stored) in [
        ("dry_run", given.dry_run, stored.dry_run),
        ("require_trail", given.require_trail, stored.require_trail),
    ] {
        if let Some(node) = object.get(key).filter(|_| stored && !given) {
            return Err(node
                .problem(format!(
                    "{key} may only be turned on, and the stored policy has it on"
                ))
                .too_wide());
        }
    }
    let label = match (object.get("label"), &stored.label) {
        (Some(node), Some(label)) if given.label.as_ref() != Some(label) => {
            return Err(node
                .problem(format!(
                    "the stored policy has a label already, {}",
                    quoted(label)
                ))
                .too_wide());
        }
        (_, Some(label)) => Some(label.clone()),
        (_, None) => given.label,
    };
    Ok(Policy {
        spare_too: match object.get("spare") {
            Some(_) => given.spare,
            None => Selectors::default(),
        },
        timeout: lower("timeout", given.timeout, stored.timeout)?,
        grace: lower("grace", given.grace, stored.grace)?,
        max_stall: lower("max_stall", given.max_stall, stored.max_stall)?,
        max_victims,
        dry_run: stored.dry_run || given.dry_run,
        require_trail: stored.require_trail || given.require_trail,
        label,
        ..stored.clone()
    })
}

#[cfg(test)]
mod tests;
