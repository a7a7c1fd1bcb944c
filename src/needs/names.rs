//! Names and OIDs that people give, checked.

use crate::error::Error;
use crate::lock::RelationId;
use crate::pg::catalog::{self, NameProblem};
use crate::policy::Problem;
use crate::server_text::ServerText;

/// The relations that a policy names, in its order.
///
/// # Errors
/// 22023 for what is no name, 42P01 for what names nothing, 42501 for a system catalog.
pub fn named(names: &[ServerText]) -> Result<Vec<RelationId>, Error> {
    names
        .iter()
        .enumerate()
        .map(|(i, name)| one(i, name))
        .collect()
}

fn one(place: usize, given: &ServerText) -> Result<RelationId, Error> {
    let path = format!("$.relations[{place}]");
    let unknown = |message, hint: &str| Error::UnknownRelation {
        message,
        detail: Some(format!("At {path} in the policy.")),
        hint: Some(hint.into()),
    };
    let name = given.for_people();
    // As it was written; in quotes of its own where it has none.
    let shown: String = name.chars().take(200).collect();
    let shown = match shown.contains('"') {
        true => shown,
        false => format!("\"{shown}\""),
    };
    let relation = catalog::resolve(given).map_err(|problem| match problem {
        NameProblem::Syntax => Error::Policy(
            Problem::new(path.clone(), format!("invalid relation name {shown}"))
                .hint("Write it as in SQL: events, app.events, \"Mixed Case\"."),
        ),
        NameProblem::OtherDatabase(database) => unknown(
            format!("relation {shown} is in another database"),
            &format!("Connect to database \"{}\" for it.", database.for_people()),
        ),
        NameProblem::Unknown if !name.contains('"') && name.chars().any(char::is_uppercase) => unknown(
            format!("relation {} does not exist", shown.to_lowercase()),
            "A name with capitals is written in double quotes, in JSON \"\\\"Events\\\"\"; without them it is lower case.",
        ),
        NameProblem::Unknown => unknown(
            format!("relation {shown} does not exist"),
            "Check the spelling and the search_path.",
        ),
    })?;
    match catalog::relation(relation) {
        Some(facts) if facts.is_catalog => Err(Error::NotAllowed {
            message: format!("{shown} is a system catalog"),
            hint: "Maintenance is preempted for user relations only.".into(),
        }),
        _ => Ok(relation),
    }
}

/// The relations themselves, if all exist.
///
/// # Errors
/// 42P01 for an OID that is none's.
pub fn existing(relations: Vec<RelationId>) -> Result<Vec<RelationId>, Error> {
    match relations.iter().find(|r| catalog::relation(**r).is_none()) {
        None => Ok(relations),
        Some(gone) => Err(Error::UnknownRelation {
            message: format!("relation with OID {gone} does not exist"),
            detail: None,
            hint: None,
        }),
    }
}
