//! Foreign keys, of both sides: made, checked, copied to a partition and taken from it.

use super::Plan;
use super::reach::{self, PARTITIONED};
use crate::ddl::Name;
use crate::lock::LockMode::{AccessExclusive, AccessShare, RowShare, ShareRowExclusive};
use crate::lock::RelationId;
use crate::pg::{catalog, depend};

impl Plan {
    /// A new foreign key that references that table (`ATAddForeignKeyConstraint` in `tablecmds.c`); `from`
    /// what it is on, where that exists and its rows are checked.
    pub(super) fn reference(&mut self, to: &Name, columns: &[String], from: Option<RelationId>) {
        if let Some(referenced) = self.find(to) {
            self.reference_existing(referenced, columns, from);
        }
    }

    fn reference_existing(
        &mut self,
        referenced: RelationId,
        columns: &[String],
        from: Option<RelationId>,
    ) {
        for member in reach::family(referenced, false) {
            self.lock(
                member,
                ShareRowExclusive,
                "referenced by the new foreign key",
            );
            if let Some(index) = key_index(member, columns) {
                let why = format!(
                    "index of {}, which the new foreign key references",
                    reach::name(member)
                );
                self.lock(index, AccessShare, why);
            }
        }
        if let Some(from) = from {
            self.check(from, referenced);
        }
    }

    /// The rows of one are looked up in the other (`RI_Initial_Check` in `ri_triggers.c`).
    pub(super) fn check(&mut self, from: RelationId, referenced: RelationId) {
        self.lock(
            referenced,
            RowShare,
            "referenced by the foreign key that is checked",
        );
        for table in [from, referenced] {
            self.read_planned(table, "read to check the foreign key");
        }
    }

    /// What a query on a table locks when it is planned: partitions and indexes.
    pub(super) fn read_planned(&mut self, table: RelationId, what: &str) {
        for member in reach::family(table, false) {
            self.lock(member, AccessShare, what);
            if reach::kind(member) != PARTITIONED || catalog::PLANNER_LOCKS_PARTITIONED_INDEXES {
                self.lock_indexes(member, AccessShare, what);
            }
        }
    }

    /// Those that a partitioned table has or is referenced by become those of a new partition
    /// (`CloneForeignKeyConstraints`).
    pub(super) fn clone_foreign_keys(&mut self, parent: RelationId, partition: Option<RelationId>) {
        for key in depend::constraints(parent) {
            if key.kind != b'f' {
                continue;
            }
            let name = depend::constraint_name(key.id);
            for member in reach::family(key.referenced, false) {
                let why = format!("referenced by foreign key {name}, which the partition gets too");
                self.lock(member, ShareRowExclusive, why);
            }
            self.lock(
                key.index,
                AccessShare,
                format!("index that foreign key {name} needs"),
            );
            if let Some(partition) = partition
                && !has_same(partition, key.referenced)
            {
                self.check(partition, key.referenced);
            }
        }
        for key in depend::referencing(parent) {
            if key.parent == 0 {
                let name = depend::constraint_name(key.id);
                let why = format!("its foreign key {name} references the partition too");
                self.lock(key.table, ShareRowExclusive, why);
            }
        }
    }

    /// The other way round (`DetachPartitionFinalize`).
    pub(super) fn detach_foreign_keys(&mut self, parent: RelationId, partition: RelationId) {
        for key in depend::constraints(partition) {
            if key.kind != b'f' || key.parent == 0 {
                continue;
            }
            let name = depend::constraint_name(key.id);
            for member in reach::family(key.referenced, false) {
                self.lock(
                    member,
                    ShareRowExclusive,
                    format!("referenced by foreign key {name}"),
                );
                if member != key.referenced
                    && let Some(index) = key_index(member, &[])
                {
                    self.lock(
                        index,
                        AccessShare,
                        format!("index that foreign key {name} needs"),
                    );
                }
            }
        }
        for key in depend::referencing(parent) {
            if key.parent != 0 {
                continue;
            }
            let name = depend::constraint_name(key.id);
            let why = format!("its foreign key {name} references the partition");
            self.lock(key.table, AccessExclusive, why);
            self.read_planned(key.table, "read to find rows that reference the partition");
            self.read_planned(partition, "read to find rows that are referenced");
            self.lock(parent, AccessShare, "read to find rows that are referenced");
        }
    }
}

/// Whether a table has a foreign key to that one already.
fn has_same(table: RelationId, referenced: RelationId) -> bool {
    depend::constraints(table)
        .iter()
        .any(|key| key.kind == b'f' && key.referenced == referenced)
}

/// The index that a foreign key to those columns needs: without columns, that of the primary key.
fn key_index(table: RelationId, columns: &[String]) -> Option<RelationId> {
    let mut numbers: Vec<i16> = columns
        .iter()
        .filter_map(|column| Some(catalog::column(table, column)?.number))
        .collect();
    numbers.sort_unstable();
    let unique = reach::indexes(table)
        .into_iter()
        .filter_map(|index| Some((index, catalog::index(index)?)));
    unique
        .filter(|(_, facts)| facts.is_unique)
        .find(|(_, facts)| {
            let mut keys = facts.keys.clone();
            keys.sort_unstable();
            match columns.is_empty() {
                true => facts.is_primary,
                false => keys == numbers,
            }
        })
        .map(|(index, _)| index)
}
