//! What a stored policy is lent for: relations of the role that calls, and of all others on whose behalf it does.

use super::Call;
use super::target::Aim;
use crate::error::Error;
use crate::lock::RelationId;
use crate::pg::principals::Principals;
use crate::pg::{catalog, roles};
use crate::session::Warrant;
use crate::survey::Sighting;

impl Call<'_> {
    /// With whose rights a session is judged and signalled that was seen in the way so. A stored policy is lent for
    /// what all who call own, an index and a TOAST table as its table; for who is in the way by a snapshot
    /// alone, which is no relation's, only where the policy itself says so.
    pub(super) fn warrant(&self, sighting: &Sighting) -> Warrant {
        let Some(stored) = self.stored else {
            return Warrant::Own;
        };
        let is_by_snapshot = sighting.behind.is_none() && sighting.tag.is_virtual_transaction();
        match sighting.relation {
            Some(relation) if is_own(relation, &self.principals) => Warrant::Lent,
            None if is_by_snapshot && stored.policy.snapshots => Warrant::Lent,
            None if is_by_snapshot => Warrant::Own,
            _ => Warrant::None,
        }
    }
}

impl Aim {
    /// Refuses a target that is not owned by all of them, as who runs such DDL must. Of a session
    /// that waits, what it waits for counts, once that is known.
    ///
    /// # Errors
    /// 42501.
    pub fn must_be_owned(&self, principals: &Principals) -> Result<(), Error> {
        match self {
            Aim::Relations { relations, .. } => all(relations.iter().copied(), principals),
            Aim::Statement(statement) => {
                let needs = statement.plan().needs.iter();
                all(needs.map(|need| need.relation), principals)
            }
            Aim::All { .. } => {
                let others = catalog::owners_of_user_relations();
                match others.iter().find(|owner| !principals.act_for(**owner)) {
                    None => Ok(()),
                    Some(owner) => Err(refused(format!(
                        "with \"all\" the role must own every relation, and role \"{}\" owns some",
                        roles::name(*owner).unwrap_or_default()
                    ))),
                }
            }
            Aim::Waiter {
                wait: Some(wait), ..
            } => match wait.tag.as_relation() {
                Some((database, relation)) if database == catalog::database() => {
                    all([relation].into_iter(), principals)
                }
                _ => Err(refused(format!(
                    "{self} is not a lock on a relation of this role"
                ))),
            },
            Aim::Waiter { wait: None, .. } => Ok(()),
        }
    }
}

/// Whether there is such a relation, and all of them own it.
pub fn is_own(relation: RelationId, principals: &Principals) -> bool {
    catalog::relation(relation).is_some_and(|facts| principals.act_for(facts.owner))
}

fn all(
    mut relations: impl Iterator<Item = RelationId>,
    principals: &Principals,
) -> Result<(), Error> {
    let is_others = |relation: &RelationId| {
        let facts = catalog::relation(*relation);
        facts.is_some_and(|facts| !principals.act_for(facts.owner))
    };
    match relations.find(is_others) {
        None => Ok(()),
        Some(relation) => Err(refused(format!(
            "must be owner of {}",
            catalog::name(relation)
        ))),
    }
}

fn refused(why: String) -> Error {
    Error::NotAllowed {
        message: format!("not through a stored policy: {why}"),
        hint: "A stored policy is lent for what the role could run DDL on itself: it must own each relation of the target, or be a member of the owner; so must who has set the policy, and who calls a SECURITY DEFINER function."
            .into(),
    }
}
