//! A new owner (`ATExecChangeOwner`), of a relation with all that belongs to it, or of a type. Who owns what
//! by then matters to `deletion` (DROP OWNED, REASSIGN OWNED), from which this is called too.

use crate::lock::LockMode::*;
use crate::lock::RelationId;
use crate::needs::plan::Plan;
use crate::needs::plan::deletion::Handed;
use crate::needs::plan::reach::{self, COMPOSITE};
use crate::pg::{catalog, types};

impl Plan {
    /// A relation's new owner becomes that of its indexes, TOAST table and sequences (`ATExecChangeOwner`).
    pub(in crate::needs::plan) fn change_owner(
        &mut self,
        relation: RelationId,
        owner: Option<u32>,
        why: &str,
    ) {
        self.lock(relation, AccessExclusive, why);
        let Some(facts) = catalog::relation(relation) else {
            return;
        };
        if let Some(owner) = owner {
            self.handed.push((Handed::Relation(relation), owner));
        }
        if owner == Some(facts.owner) {
            return;
        }
        if facts.kind == COMPOSITE || reach::is_index(relation) || facts.kind == reach::SEQUENCE {
            return;
        }
        self.lock_storage(relation, AccessExclusive, "whose owner changes with it");
        for sequence in self.owned_sequences(relation) {
            let why = format!(
                "sequence of {}, whose owner changes with it",
                reach::name(relation)
            );
            self.lock(sequence, AccessExclusive, why);
        }
    }

    pub(in crate::needs::plan) fn change_type_owner(&mut self, type_id: u32, owner: Option<u32>) {
        if let Some(composite) = types::relation_of_type(type_id)
            && catalog::relation(composite).is_some_and(|facts| owner != Some(facts.owner))
        {
            self.lock(composite, AccessExclusive, "the type's relation");
        }
    }
}
