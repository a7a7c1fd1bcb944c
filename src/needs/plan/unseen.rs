//! What runs with a statement though its text does not say so, and cannot be seen ahead: triggers, event
//! triggers, and functions that views, defaults and policies call.

use super::Plan;
use super::deletion::whole;
use super::reach::{self, VIEW};
use crate::ddl::Address;
use crate::lock::RelationId;
use crate::pg::depend::{self, catalog as class};
use crate::pg::{catalog, constraints, event, functions};

impl Plan {
    /// What a query on that relation sets off. `writes`: its rows are changed.
    pub(super) fn set_off(&mut self, relation: RelationId, writes: bool) {
        let name = reach::name(relation);
        if writes {
            self.triggers(relation, false);
        }
        if reach::kind(relation) == VIEW {
            self.called_by_query_of(relation);
        } else if writes {
            self.called_by(class::REWRITE, relation, &format!("rules on {name}"));
            self.called_by(
                class::ATTRIBUTE_DEFAULT,
                relation,
                &format!("defaults of {name}"),
            );
            for check in constraints::on(relation) {
                let check = whole(class::CONSTRAINT, check.id);
                self.called(check, &format!("constraints of {name}"));
            }
        }
        self.called_by(class::POLICY, relation, &format!("policies on {name}"));
    }

    /// Triggers for TRUNCATE, or those for changes of rows.
    pub(super) fn triggers(&mut self, relation: RelationId, on_truncate: bool) {
        if !catalog::relation(relation).is_some_and(|facts| facts.has_triggers) {
            return;
        }
        let is_set_off = |trigger: &depend::Trigger| {
            trigger.on_truncate == on_truncate && functions::is_opaque(trigger.function)
        };
        if depend::triggers(relation).iter().any(is_set_off) {
            let name = reach::name(relation);
            self.unseen(format!(
                "triggers on {name}: what they run cannot be seen ahead"
            ));
        }
    }

    /// Functions called by the query of a view or materialized view.
    pub(super) fn called_by_query_of(&mut self, view: RelationId) {
        self.called_by(class::REWRITE, view, &reach::name(view));
    }

    /// Functions called by all objects of that kind that a relation has.
    fn called_by(&mut self, kind: u32, relation: RelationId, whose: &str) {
        for object in depend::on_relation(kind, relation) {
            self.called(object, whose);
        }
    }

    /// The functions that an object calls.
    fn called(&mut self, by: Address, whose: &str) {
        for function in depend::functions_of(by) {
            if functions::is_opaque(function) {
                let name = functions::name(function);
                self.unseen(format!(
                    "function {name}(), called by {whose}: what it runs cannot be seen ahead"
                ));
            }
        }
    }

    /// Event triggers that fire for a statement of that command tag.
    pub(super) fn event_triggers(&mut self, tag: &str) {
        let all = self.event_triggers.get_or_insert_with(event::triggers);
        let fire: Vec<String> = all
            .iter()
            .filter(|trigger| trigger.fires_for(tag))
            .map(|trigger| trigger.name.clone())
            .collect();
        for name in fire {
            self.unseen(format!(
                "event trigger {name}: what it runs cannot be seen ahead"
            ));
        }
    }
}
