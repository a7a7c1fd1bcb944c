//! CREATE.

use super::reach::{self, PARTITIONED};
use super::{Effect, Plan};
use crate::ddl::{CreateTable, Name, Reference, Statement};
use crate::lock::LockMode::*;
use crate::pg::catalog;

impl Plan {
    pub(super) fn create(&mut self, statement: &Statement) {
        match statement {
            Statement::CreateIndex {
                table,
                name,
                concurrently,
                if_not_exists,
            } => {
                self.create_index(table, name.as_ref(), *concurrently, *if_not_exists);
            }
            Statement::CreateTrigger { table, from, row } => {
                if let Some(relation) = self.find(table) {
                    let only = !row || reach::kind(relation) != PARTITIONED;
                    self.lock_family(relation, only, ShareRowExclusive, "gets a trigger");
                }
                if let Some(from) = from.as_ref().and_then(|from| self.find(from)) {
                    self.lock(from, AccessShare, "named in the constraint trigger");
                }
            }
            Statement::CreateRule { table, references } => {
                if let Some(relation) = self.find(table) {
                    self.lock(relation, AccessExclusive, "gets a rule");
                }
                self.named_in(references, "named in the rule");
            }
            Statement::Policy { table, references } => {
                if let Some(relation) = self.find(table) {
                    self.lock(relation, AccessExclusive, "its policies change");
                }
                self.named_in(references, "named in the policy");
            }
            Statement::CreateStatistics { tables } => {
                for table in tables {
                    if let Some(relation) = self.find(table) {
                        self.lock(relation, ShareUpdateExclusive, "gets a statistics object");
                    }
                }
            }
            Statement::CreateView {
                name,
                references,
                replaces,
            } => {
                self.named_in(references, "named in the query");
                if *replaces && let Some(view) = self.find_if(name, true) {
                    self.lock(view, AccessExclusive, "replaced");
                }
                self.names.make(name);
            }
            Statement::CreateTableAs {
                name,
                references,
                if_not_exists,
                runs,
            } => {
                if *if_not_exists && self.find_if(name, true).is_some() {
                    return;
                }
                self.query(references, *runs);
                self.names.make(name);
            }
            Statement::CreateTable(table) => self.create_table(table),
            Statement::CreateSequence { name, owned_by } => {
                if let Some(table) = owned_by.as_ref().and_then(|table| self.find(table)) {
                    self.lock(table, AccessShare, "it is to own the sequence");
                }
                self.names.make(name);
            }
            Statement::Publication { names } => self.publish(names),
            Statement::AlterPublication { names, .. } => self.publish(names),
            _ => (),
        }
    }

    pub(super) fn named_in(&mut self, references: &[Reference], why: &str) {
        for (name, mode) in references {
            if let Some(relation) = self.find(name) {
                self.lock(relation, *mode, why);
            }
        }
    }

    fn publish(&mut self, names: &[Name]) {
        for name in names {
            if let Some(relation) = self.find(name) {
                self.lock_family(relation, name.only, ShareUpdateExclusive, "published");
            }
        }
    }

    fn create_index(
        &mut self,
        table: &Name,
        name: Option<&Name>,
        concurrently: bool,
        if_not_exists: bool,
    ) {
        let Some(relation) = self.find(table) else {
            return;
        };
        let exists = if_not_exists
            && name.is_some_and(|name| {
                let name = Name {
                    schema: catalog::schema_of(relation),
                    ..name.clone()
                };
                self.find_if(&name, true).is_some()
            });
        if concurrently {
            self.lock(relation, ShareUpdateExclusive, "gets an index");
            if !exists {
                let why = "waits until no transaction writes that began without the index";
                self.note(Some(relation), Effect::AwaitLockers(Share), why);
                self.note(
                    None,
                    Effect::AwaitSnapshots,
                    "waits for all transactions with an older snapshot",
                );
            }
        } else if exists {
            self.lock(relation, Share, "named");
        } else {
            self.lock_family(relation, table.only, Share, "gets an index");
        }
        if let (Some(name), false) = (name, exists) {
            let schema = catalog::schema_of(relation);
            self.names.make(&Name {
                schema,
                ..name.clone()
            });
        }
    }

    fn create_table(&mut self, table: &CreateTable) {
        if table.if_not_exists && self.find_if(&table.name, true).is_some() {
            return;
        }
        for parent in &table.parents {
            let Some(parent) = self.find(parent) else {
                continue;
            };
            if !table.is_partition {
                self.lock(parent, ShareUpdateExclusive, "inherited from");
                continue;
            }
            self.lock(parent, AccessExclusive, "gets a partition");
            if let Some(default) = reach::default_partition(parent) {
                for member in reach::family(default, false) {
                    let why = format!(
                        "default partition of {}, read for rows that belong to the new one",
                        reach::name(parent)
                    );
                    self.lock(member, AccessExclusive, why);
                }
            }
            self.partition_of(parent, None);
        }
        for like in &table.likes {
            if let Some(relation) = self.find(like) {
                self.lock(relation, AccessShare, "copied from");
            }
        }
        if let Some(composite) = table.of_type.and_then(catalog::relation_of_type) {
            self.lock(composite, AccessShare, "the type that the table is of");
        }
        for column in &table.columns {
            if let Some(composite) = column.type_id.and_then(catalog::composite_of_type) {
                self.lock(
                    composite,
                    AccessShare,
                    format!("type of the column {}", column.name),
                );
            }
        }
        // A foreign key may reference the new table itself.
        self.names.make(&table.name);
        let of_columns = table.columns.iter().flat_map(|column| &column.constraints);
        let all: Vec<_> = of_columns.chain(&table.constraints).cloned().collect();
        self.references_of(&all);
    }
}
