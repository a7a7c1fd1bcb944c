//! ALTER TABLE of a table that the script itself has made, or that is not there: nobody else can be in its
//! way, but what it refers to exists, and is locked when a reference is made, checked or dropped.

use crate::ddl::{Alter, Constraint, Name};
use crate::lock::LockMode::*;
use crate::needs::plan::Plan;
use crate::needs::plan::names::{Key, Link, Through};
use crate::needs::plan::reach;

impl Plan {
    pub(super) fn of_new_table(&mut self, name: &Name, command: &Alter) {
        match command {
            Alter::AddColumn { column, .. } => {
                self.lock_types(column);
                self.references_of(name, &column.constraints);
            }
            Alter::AddConstraint(constraint) => {
                self.references_of(name, std::slice::from_ref(constraint));
                if let Constraint::Foreign {
                    table,
                    not_valid: false,
                    ..
                } = constraint
                    && let Some(referenced) = self.find(table)
                {
                    self.read_for_key(referenced, "read to check the foreign key");
                }
            }
            Alter::Inherit(parent) => {
                if let Some(parent) = self.find(parent) {
                    self.lock(parent, ShareUpdateExclusive, "to be inherited from");
                }
            }
            Alter::Attach { partition, .. } => {
                if let Some(partition) = self.find(partition) {
                    self.lock_family(partition, false, AccessExclusive, "becomes a partition");
                }
            }
            Alter::DropConstraint { constraint, .. } => {
                let table = name.name.clone();
                self.unlink(name, |key| key.is_called(constraint, &table));
            }
            Alter::ValidateConstraint(constraint) => {
                let table = name.name.clone();
                for link in self.names.links(name) {
                    if matches!(&link.through, Through::Key(key) if key.is_called(constraint, &table))
                    {
                        self.read_for_key(link.to, "read to check the foreign key");
                    }
                }
            }
            Alter::DropColumn { column, .. } => {
                self.unlink(name, |key| key.columns.contains(column));
            }
            Alter::ColumnType { column, .. } => {
                for link in self.unlink(name, |key| key.columns.contains(column)) {
                    self.read_for_key(link.to, "read to check the foreign key");
                    self.names.link(name, link.to, &link.why, link.through);
                }
            }
            _ => (),
        }
    }

    /// Foreign keys of a table that was made before go.
    fn unlink(&mut self, name: &Name, is_meant: impl Fn(&Key) -> bool) -> Vec<Link> {
        let gone = self.names.unlink(
            name,
            |through| matches!(through, Through::Key(key) if is_meant(key)),
        );
        for link in &gone {
            self.lock(link.to, AccessExclusive, &*link.why);
        }
        gone
    }

    /// What foreign keys of a new table reference.
    pub(in crate::needs::plan) fn references_of(&mut self, of: &Name, constraints: &[Constraint]) {
        for constraint in constraints {
            if let Constraint::Foreign {
                name,
                columns,
                table,
                referenced,
                ..
            } = constraint
            {
                self.reference(table, referenced, None);
                if let Some(found) = self.find(table) {
                    for member in reach::parts(found) {
                        let why = "referenced by a foreign key that is dropped";
                        let key = Key {
                            name: name.clone(),
                            columns: columns.clone(),
                        };
                        self.names.link(of, member, why, Through::Key(key));
                    }
                }
            }
        }
    }
}
