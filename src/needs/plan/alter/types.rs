//! Composite types and domains: the tables that are of one, have it in a column or are checked against it.

use crate::lock::LockMode::*;
use crate::lock::RelationId;
use crate::needs::plan::Plan;
use crate::needs::plan::deletion::whole;
use crate::needs::plan::reach::{self, COMPOSITE, PARTITIONED};
use crate::pg::depend::{self, catalog as class};
use crate::pg::{catalog, types, wait};
use std::collections::HashSet;

impl Plan {
    /// The tables that are of a composite type.
    pub(super) fn typed(&self, relation: RelationId) -> Vec<RelationId> {
        match catalog::relation(relation) {
            Some(facts) if facts.kind == COMPOSITE => {
                depend::dependents(whole(class::TYPE, facts.row_type))
                    .into_iter()
                    .filter(|(by, _)| by.class == class::CLASS && by.part == 0)
                    .map(|(by, _)| by.object)
                    .filter(|table| matches!(reach::kind(*table), reach::TABLE | PARTITIONED))
                    .collect()
            }
            _ => vec![],
        }
    }

    /// Tables with columns of a domain whose values are checked (`get_rels_with_domain` in
    /// `typecmds.c`).
    pub(super) fn domain(&mut self, domain: u32) {
        for composite in types::composites_of_type(domain) {
            self.lock(composite, AccessShare, "the domain's type");
        }
        let mut left = vec![domain];
        let mut seen = HashSet::new();
        while let Some(type_id) = left.pop() {
            wait::answer_interrupts();
            if !seen.insert(type_id) {
                continue;
            }
            for (dependent, _) in depend::dependents(whole(class::TYPE, type_id)) {
                match dependent.class {
                    class::TYPE => left.push(dependent.object),
                    class::CLASS if dependent.part != 0 => match reach::kind(dependent.object) {
                        COMPOSITE => {
                            if let Some(facts) = catalog::relation(dependent.object) {
                                left.push(facts.row_type);
                            }
                        }
                        reach::TABLE | reach::MATERIALIZED_VIEW => {
                            self.lock(dependent.object, Share, "has columns of the domain");
                        }
                        _ => (),
                    },
                    _ => (),
                }
            }
        }
    }
}
