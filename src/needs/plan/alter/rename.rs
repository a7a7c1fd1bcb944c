//! Another name (`renameatt`, `RenameConstraint`, `RenameRelation`) and another schema
//! (`AlterTableNamespace`). What a name means afterwards is kept by `names`.

use crate::ddl::{Address, Kind, Name, Part};
use crate::lock::LockMode::*;
use crate::needs::plan::Plan;
use crate::needs::plan::deletion::whole;
use crate::needs::plan::names::{Found, Schema};
use crate::needs::plan::reach::{self, PARTITIONED};
use crate::pg::depend::{NORMAL, catalog as class};
use crate::pg::{catalog, constraints};
use crate::server_text::ServerText;

impl Plan {
    pub(super) fn rename(&mut self, kind: Kind, name: &Name, to: &ServerText) {
        if let Some(relation) = self.find_if(name, true) {
            let mode = match kind {
                Kind::Index if reach::is_index(relation) => ShareUpdateExclusive,
                _ => AccessExclusive,
            };
            self.lock(relation, mode, "renamed");
        }
        self.names.rename(name, to, None);
    }

    pub(super) fn set_schema(&mut self, name: &Name, schema: &ServerText) {
        if let Some(relation) = self.find_if(name, true) {
            self.lock(relation, AccessExclusive, "moved to another schema");
            self.move_into(whole(class::CLASS, relation), schema);
            for sequence in self.owned_sequences(relation) {
                let why = format!("sequence of {}", reach::name(relation));
                self.lock(sequence, AccessExclusive, why);
            }
        }
        let moved = self.names.find(name);
        self.names.rename(name, &name.name, Some(schema));
        if let Found::Existing(relation) = moved {
            let along = reach::indexes(relation).into_iter();
            for part in along.chain(self.owned_sequences(relation)) {
                self.names.move_along(part, schema);
            }
        }
    }

    /// Dropping that schema will reach it.
    pub(super) fn move_into(&mut self, object: Address, schema: &ServerText) {
        let schema = match self.names.schema(schema) {
            Some(Schema::Existing(schema)) => catalog::schema(&schema),
            _ => None,
        };
        if let Some(schema) = schema {
            self.made
                .push((object, whole(class::SCHEMA, schema), NORMAL));
        }
    }

    pub(super) fn rename_part(&mut self, part: Part, table: &Name, name: &ServerText) {
        let Some(relation) = self.find_if(table, true) else {
            return;
        };
        match part {
            Part::Column => {
                for typed in self.typed(relation) {
                    self.lock_family(typed, false, AccessExclusive, "it is of that type");
                }
                self.lock_family(
                    relation,
                    table.only,
                    AccessExclusive,
                    "a column of it is renamed",
                );
            }
            Part::Constraint => {
                self.lock(relation, AccessExclusive, "a constraint of it is renamed");
                let Some(found) = self
                    .named(class::CONSTRAINT, relation, name)
                    .and_then(|address| constraints::constraint(address.object))
                else {
                    return;
                };
                if matches!(found.kind, b'c' | b'n') && !found.no_inherit {
                    self.lock_family(
                        relation,
                        table.only,
                        AccessExclusive,
                        "a constraint of it is renamed",
                    );
                }
                if found.index != 0 && matches!(found.kind, b'p' | b'u' | b'x') {
                    self.lock(found.index, ShareUpdateExclusive, "index of the constraint");
                }
            }
            Part::Trigger => {
                let only = reach::kind(relation) != PARTITIONED;
                self.lock_family(
                    relation,
                    only,
                    AccessExclusive,
                    "a trigger on it is renamed",
                );
            }
            Part::Rule | Part::Policy => {
                self.lock(relation, AccessExclusive, "something on it is renamed");
            }
        }
    }
}
