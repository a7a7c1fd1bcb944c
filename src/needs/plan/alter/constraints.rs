//! Constraints: adding one (`ATExecAddConstraint`), checking it (`ATExecValidateConstraint`), changing it
//! (`ATExecAlterConstraint`) and dropping it (`ATExecDropConstraint`), on a table and on who inherits from
//! it. What a foreign key locks on either side is left to `foreign_key`.

use crate::ddl::{Address, Constraint};
use crate::lock::LockMode::{self, *};
use crate::lock::RelationId;
use crate::needs::plan::Plan;
use crate::needs::plan::reach::{self, PARTITIONED};
use crate::pg::depend::catalog as class;
use crate::pg::{catalog, constraints};
use crate::server_text::ServerText;

impl Plan {
    pub(super) fn add_constraint(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        constraint: &Constraint,
    ) {
        let is_primary = matches!(constraint, Constraint::Index { primary: true, .. });
        if catalog::ADD_CONSTRAINT_LOCKS_HEIRS && !is_primary {
            self.lock_family(relation, only, level, "altered");
        }
        match constraint {
            Constraint::Check { no_inherit, .. } => {
                self.lock_family(relation, only || *no_inherit, level, "altered");
            }
            Constraint::NotNull { .. } => {
                self.lock_family(relation, only, level, "altered");
            }
            Constraint::Index {
                using: Some(index),
                renames,
                ..
            } => {
                if let Some(index) = self.index_of(relation, index) {
                    let mode = if *renames {
                        ShareUpdateExclusive
                    } else {
                        AccessShare
                    };
                    self.lock(index, mode, "becomes the index of the constraint");
                }
            }
            Constraint::Index {
                using: None,
                primary,
                columns,
                ..
            } => {
                let table_only = only;
                let only = only && reach::kind(relation) == PARTITIONED;
                // Partitions need not be asked where their parent has it (`ATPrepSetNotNull`).
                let has_nulls = *primary
                    && columns.iter().any(|column| {
                        self.column(relation, column).is_some_and(|column| {
                            !column.not_null || reach::kind(relation) != PARTITIONED
                        })
                    });
                let mode = if has_nulls { level } else { Share };
                if reach::kind(relation) == PARTITIONED {
                    self.lock_family(relation, only, mode, "gets an index of its own");
                    self.lock_matching_indexes(relation, columns, true);
                } else if has_nulls {
                    self.lock_family(relation, table_only, level, "altered");
                }
            }
            Constraint::Foreign {
                table,
                referenced,
                not_valid,
                ..
            } => {
                // Only partitions get a foreign key of their parent's.
                let only = reach::kind(relation) != PARTITIONED;
                self.lock_family(relation, only, level, "altered");
                let from = (!not_valid).then_some(relation);
                self.reference(table, referenced, from);
                self.made_key(relation, constraint);
            }
            Constraint::Other => (),
        }
    }

    pub(super) fn validate(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        name: &ServerText,
    ) {
        let Some(address) = self.constraint_by_then(relation, name) else {
            if let Some(key) = self.made_key_named(relation, name) {
                self.check(relation, key.to);
            }
            return;
        };
        let Some(found) = constraints::constraint(address.object) else {
            return;
        };
        if found.is_valid {
            return;
        }
        match found.kind {
            b'f' => {
                self.check(found.table, found.referenced);
            }
            _ => {
                self.lock_family(relation, only || found.no_inherit, level, "altered");
            }
        }
    }

    pub(super) fn alter_constraint(
        &mut self,
        relation: RelationId,
        level: LockMode,
        name: &ServerText,
    ) {
        let Some(address) = self.constraint_by_then(relation, name) else {
            return;
        };
        let mut left = vec![address.object];
        while let Some(constraint) = left.pop() {
            for child in constraints::children(constraint) {
                self.lock(
                    child.table,
                    level,
                    format!("its constraint comes from {}", name.for_people()),
                );
                left.push(child.id);
            }
        }
    }

    fn constraint_by_then(&self, table: RelationId, name: &ServerText) -> Option<Address> {
        let found = self.named(class::CONSTRAINT, table, name);
        found.filter(|constraint| !self.is_gone(constraint.object))
    }

    pub(super) fn drop_constraint(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        name: &ServerText,
        cascade: bool,
    ) {
        let mut targets = vec![];
        self.lock_children_of_check(relation, only, level, name);
        if reach::kind(relation) == PARTITIONED {
            // None may be in use (`ATCheckPartitionsNotInUse`).
            self.lock_family(relation, false, level, "altered");
        }
        match self.made_key_named(relation, name) {
            Some(key) => self.remove_made_key(&key),
            None if cascade => self.remove_made_keys_to(relation),
            None => (),
        }
        for member in self.family_by_then(relation) {
            if member != relation && only {
                continue;
            }
            let Some(address) = self.constraint_by_then(member, name) else {
                continue;
            };
            let Some(found) = constraints::constraint(address.object) else {
                continue;
            };
            if member != relation && found.kind != b'c' && found.kind != b'n' {
                continue;
            }
            if found.no_inherit && member != relation {
                continue;
            }
            self.lock(member, level, "altered");
            if found.kind == b'f' {
                let why = format!("referenced by foreign key {}", name.for_people());
                self.lock(found.referenced, AccessExclusive, why);
            }
            targets.push(address);
        }
        self.delete(targets, cascade);
    }

    fn lock_children_of_check(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        name: &ServerText,
    ) {
        let found = self
            .named(class::CONSTRAINT, relation, name)
            .and_then(|address| constraints::constraint(address.object));
        if found.is_some_and(|found| matches!(found.kind, b'c' | b'n') && !found.no_inherit) {
            self.lock_children(relation, only, level);
        }
    }

    /// Those that inherit directly keep what they had as their own.
    fn lock_children(&mut self, relation: RelationId, only: bool, level: LockMode) {
        if only {
            for child in crate::pg::inheritance::children(relation) {
                self.lock(
                    child,
                    level,
                    format!("inherits from {}", reach::name(relation)),
                );
            }
        }
    }
}
