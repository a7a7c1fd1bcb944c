//! ALTER and RENAME (`tablecmds.c`): which statement and which subcommand is decided where. What is
//! decided in one step, because the lock on the table itself is nearly all of it, is decided here.

mod columns;
mod constraints;
mod new_table;
mod owner;
mod partitions;
mod rename;
mod rewrite;
mod types;

use super::deletion::whole;
use super::names::Found;
use super::reach::{self, PARTITIONED};
use super::{MADE_ON_IT, Plan};
use crate::ddl::{Alter, Name, Statement, Triggers};
use crate::lock::LockMode::{self, *};
use crate::lock::RelationId;
use crate::pg::depend::{self, AUTO, catalog as class};
use crate::pg::{self, catalog, tablespace};

impl Plan {
    pub(super) fn alter(&mut self, statement: &Statement) {
        match statement {
            Statement::AlterTable {
                name,
                missing_ok,
                level,
                commands,
            } => self.table(name, *missing_ok, *level, commands),
            Statement::Rename { kind, name, to } => self.rename(*kind, name, to),
            Statement::RenamePart {
                part,
                table,
                name,
                to,
            } => {
                self.rename_part(*part, table, name);
                self.part_is_called(*part, table, name, to);
            }
            Statement::SetSchema { name, schema } => self.set_schema(name, schema),
            Statement::MoveObject {
                object,
                name,
                schema,
            } => {
                self.move_into(*object, schema);
                if let Some(name) = name {
                    self.names.rename(name, &name.name, Some(schema));
                }
            }
            Statement::MoveAll {
                kind,
                from,
                to,
                owners,
            } => {
                for relation in tablespace::relations(from, to, *kind, owners) {
                    self.lock(
                        relation,
                        AccessExclusive,
                        format!("in the tablespace {}", from.for_people()),
                    );
                    self.lock_toast(relation, AccessExclusive, "which moves with it");
                }
            }
            Statement::AlterDomain { domain } => self.domain(*domain),
            Statement::AlterTypeOwner { type_id, owner } => {
                self.change_type_owner(*type_id, *owner)
            }
            Statement::AlterSequence { name, owned_by } => self.sequence(name, owned_by.as_ref()),
            _ => (),
        }
    }

    fn table(
        &mut self,
        name: &Name,
        missing_ok: bool,
        level: Option<LockMode>,
        commands: &[Alter],
    ) {
        let Some(relation) = self.find_if(name, missing_ok) else {
            if missing_ok && self.names.find(name) == Found::Missing {
                return;
            }
            // Tables that exist may be named in what is done to one that does not yet.
            return commands
                .iter()
                .for_each(|command| self.of_new_table(name, command));
        };
        let level = level.unwrap_or(AccessExclusive);
        self.lock(relation, level, "altered");
        let typed = self.typed(relation);
        // What drops comes first, then what changes types (`AT_PASS_DROP`, `AT_PASS_ALTER_TYPE`).
        let mut in_passes: Vec<&Alter> = commands.iter().collect();
        in_passes.sort_by_key(|command| match command {
            Alter::DropColumn { .. } | Alter::DropConstraint { .. } => 0,
            Alter::ColumnType { .. } => 1,
            _ => 2,
        });
        let rewritten = commands
            .iter()
            .any(|command| self.is_rewritten_by(relation, command));
        for command in in_passes {
            self.subcommand(relation, name.only, level, rewritten, command);
            for table in &typed {
                self.lock(*table, level, "it is of that type");
                self.subcommand(*table, false, level, rewritten, command);
            }
        }
    }

    fn sequence(&mut self, name: &Name, owned_by: Option<&Name>) {
        if let Some(sequence) = self.find_if(name, true) {
            self.lock(sequence, ShareRowExclusive, "altered");
        }
        if let Some(table) = owned_by.and_then(|table| self.find(table)) {
            self.lock(table, AccessShare, "it is to own the sequence");
            if let Some(sequence) = self.find_if(name, true) {
                let (sequence, table) = (whole(class::CLASS, sequence), whole(class::CLASS, table));
                self.made.push((sequence, table, AUTO));
            }
        }
    }

    /// `rewritten`: the whole statement writes the table anew.
    fn subcommand(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        rewritten: bool,
        command: &Alter,
    ) {
        match command {
            Alter::AddColumn {
                column,
                if_not_exists,
            } => {
                if !if_not_exists || self.column_by_then(relation, &column.name).is_none() {
                    self.add_column(relation, level, column);
                }
            }
            Alter::DropColumn { column, cascade } => {
                self.drop_column(relation, only, level, column, *cascade);
            }
            Alter::ColumnType { column, .. } => {
                self.column_type(relation, only, level, column, rewritten);
                self.retyped.push((relation, column.clone()));
            }
            Alter::Family => {
                self.lock_family(relation, only, level, "altered");
            }
            Alter::Default(references) => {
                self.lock_family(relation, only, level, "altered");
                self.named_in_stored(references, "named in the default");
            }
            Alter::SetNotNull { column } => {
                // Partitions have it where their parent has, and are asked for it where only their parent is
                // to get it (`ATPrepSetNotNull`).
                let is_partitioned = reach::kind(relation) == PARTITIONED;
                let has_it = self
                    .column(relation, column)
                    .is_some_and(|found| found.not_null);
                if !is_partitioned || !has_it {
                    self.lock_family(relation, only && !is_partitioned, level, "altered");
                }
            }
            Alter::SetExpression { column } => {
                self.column_type(relation, only, level, column, true);
            }
            Alter::Identity { column } => {
                if let Some(found) = self.column(relation, column)
                    && found.identity
                {
                    for sequence in depend::owned_sequences(relation, Some(found.number)) {
                        self.lock(
                            sequence,
                            ShareRowExclusive,
                            format!("sequence of {}", column.for_people()),
                        );
                    }
                }
            }
            Alter::DropIdentity { column } => {
                if let Some(found) = self.column(relation, column)
                    && found.identity
                {
                    for sequence in depend::owned_sequences(relation, Some(found.number)) {
                        self.delete(vec![whole(class::CLASS, sequence)], false);
                    }
                }
            }
            Alter::AddConstraint(constraint) => {
                self.add_constraint(relation, only, level, constraint)
            }
            Alter::ValidateConstraint(name) => self.validate(relation, only, level, name),
            Alter::ChangeConstraint(name) => self.alter_constraint(relation, level, name),
            Alter::DropConstraint {
                constraint,
                cascade,
            } => {
                self.drop_constraint(relation, only, level, constraint, *cascade);
            }
            Alter::Triggers(which) => {
                let only = only
                    || reach::kind(relation) != PARTITIONED
                    || !self.has_row_triggers(relation, which);
                self.lock_family(relation, only, level, "altered");
            }
            Alter::ClusterOn(index) => {
                if let Some(index) = self.index_of(relation, index) {
                    self.lock(index, level, "to be clustered on");
                }
            }
            Alter::ReplicaIdentityIndex(index) => {
                if let Some(index) = self.index_of(relation, index) {
                    self.lock(index, Share, "to be the replica identity");
                }
            }
            Alter::Persistence { .. } => {
                if !self.is_rewritten_by(relation, command) {
                    return;
                }
                self.rewrite(relation, AccessExclusive);
                for sequence in self.owned_sequences(relation) {
                    let why = format!("sequence of {}", reach::name(relation));
                    self.lock(sequence, AccessExclusive, why);
                }
            }
            Alter::AccessMethod(method) => {
                if tablespace::is_other_access_method(relation, method.as_ref()) {
                    self.rewrite(relation, AccessExclusive);
                }
            }
            Alter::Tablespace(name) => {
                let storage = reach::kind(relation) != PARTITIONED
                    && reach::kind(relation) != reach::PARTITIONED_INDEX;
                if storage && tablespace::is_other(relation, name) {
                    self.lock_toast(relation, level, "which moves with it");
                }
            }
            Alter::Options => {
                if let Some(toast) = catalog::relation(relation).and_then(|facts| facts.toast) {
                    let why = format!(
                        "TOAST table of {}, whose options are set with it",
                        reach::name(relation)
                    );
                    self.lock(toast, level, why);
                }
            }
            Alter::Inherit(parent) => self.inherit(relation, parent),
            Alter::NoInherit(parent) => self.no_inherit(relation, parent),
            Alter::Of(type_id) => {
                if let Some(composite) = type_id.and_then(pg::types::relation_of_type) {
                    self.lock(
                        composite,
                        AccessShare,
                        "the type that the table is to be of",
                    );
                }
            }
            Alter::Owner(owner) => self.change_owner(relation, *owner, "altered"),
            Alter::Attach { partition, .. } => self.attach(relation, partition),
            Alter::Detach {
                partition,
                concurrently,
            } => self.detach(relation, partition, *concurrently),
            Alter::DetachFinalize(partition) => {
                if let Some(partition) = self.find(partition) {
                    self.lock_family(partition, false, AccessExclusive, "detached");
                    self.detach_indexes(partition);
                    self.detach_foreign_keys(partition, false);
                }
            }
            Alter::AttachIndex(index) => self.attach_index(relation, index),
            Alter::Itself => (),
        }
    }

    /// Whether there are triggers FOR EACH ROW among those: partitions have them too.
    fn has_row_triggers(&self, relation: RelationId, which: &Triggers) -> bool {
        let mut made = self.made.iter();
        if made.any(|(by, ..)| by.object == relation && by.part == MADE_ON_IT) {
            return true;
        }
        let mut triggers = depend::row_triggers(relation).into_iter();
        match which {
            Triggers::All => triggers.next().is_some(),
            Triggers::User => triggers.any(|(_, is_internal)| !is_internal),
            Triggers::Named(name) => {
                let named = self.named(class::TRIGGER, relation, name);
                named.is_some_and(|named| triggers.any(|(id, _)| id == named.object))
            }
        }
    }
}
