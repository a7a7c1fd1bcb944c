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

    /// Remembers a foreign key that an earlier statement made between two tables that exist.
    pub(super) fn made_key(&mut self, from: RelationId, to: &Name) {
        if let Some(to) = self.find(to) {
            self.made_keys.push((from, to));
        }
    }

    /// The tables with one of those to that table.
    pub(super) fn made_keys_to(&self, table: RelationId) -> Vec<RelationId> {
        let to_it = self.made_keys.iter().filter(|(_, to)| *to == table);
        to_it.map(|(from, _)| *from).collect()
    }

    /// What the removal of a table, or of a part of it, locks through those.
    pub(super) fn remove_made_keys(&mut self, table: RelationId) {
        let keys = self.made_keys.clone();
        for (from, to) in keys {
            let (other, why) = match table {
                table if table == to => (from, "its foreign key, made before, goes too"),
                table if table == from => (to, "referenced by a foreign key that goes too"),
                _ => continue,
            };
            for member in reach::parts(other) {
                self.lock(member, AccessExclusive, why);
            }
        }
    }

    fn reference_existing(
        &mut self,
        referenced: RelationId,
        columns: &[String],
        from: Option<RelationId>,
    ) {
        for member in reach::parts(referenced) {
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
                self.depend_on(index, why);
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
            self.read_for_key(table, "read to check the foreign key");
        }
    }

    /// What a query on a table locks when it is planned: those that inherit, and indexes.
    pub(super) fn read_planned(&mut self, table: RelationId, what: &str) {
        self.read_all(&reach::family(table, false), what);
    }

    /// The same of a query that checks a foreign key.
    pub(super) fn read_for_key(&mut self, table: RelationId, what: &str) {
        self.read_all(&reach::parts(table), what);
    }

    fn read_all(&mut self, tables: &[RelationId], what: &str) {
        for member in tables.iter().copied() {
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
            for member in reach::parts(key.referenced) {
                let why = format!("referenced by foreign key {name}, which the partition gets too");
                self.lock(member, ShareRowExclusive, why);
            }
            self.depend_on(key.index, format!("index that foreign key {name} needs"));
            if let Some(partition) = partition
                && !has_same(partition, key.referenced)
            {
                self.check(partition, key.referenced);
            }
        }
        for from in self.made_keys_to(parent) {
            let why = "its foreign key, made before, references the partition too";
            self.lock(from, ShareRowExclusive, why);
        }
        for key in depend::referencing(parent) {
            if key.parent == 0 {
                let name = depend::constraint_name(key.id);
                let why = format!("its foreign key {name} references the partition too");
                self.lock(key.table, ShareRowExclusive, why);
            }
        }
    }

    /// The foreign keys to a partition that earlier statements have made, when it is taken out.
    fn detach_made_keys(&mut self, ancestors: &[RelationId], partition: RelationId) {
        let keys = ancestors.iter().flat_map(|table| self.made_keys_to(*table));
        for from in keys.collect::<Vec<_>>() {
            let why = "its foreign key, made before, references the partition";
            self.lock_family(from, false, AccessExclusive, why);
            self.read_for_key(from, "read to find rows that reference the partition");
            self.read_for_key(partition, "read to find rows that are referenced");
        }
    }

    /// The other way round (`DetachPartitionFinalize`).
    pub(super) fn detach_foreign_keys(&mut self, partition: RelationId) {
        for key in depend::constraints(partition) {
            if key.kind != b'f' || key.parent == 0 {
                continue;
            }
            let name = depend::constraint_name(key.id);
            for member in reach::parts(key.referenced) {
                self.lock(
                    member,
                    ShareRowExclusive,
                    format!("referenced by foreign key {name}"),
                );
                if member != key.referenced
                    && let Some(index) = key_index(member, &[])
                {
                    self.depend_on(index, format!("index that foreign key {name} needs"));
                }
            }
        }
        let mut ancestors = reach::parents(partition);
        let mut next = 0;
        while next < ancestors.len() {
            ancestors.extend(reach::parents(ancestors[next]));
            next += 1;
        }
        self.detach_made_keys(&ancestors, partition);
        for key in depend::referencing(partition) {
            // One of its own stays.
            if key.parent == 0 {
                continue;
            }
            let name = depend::constraint_name(key.id);
            let why = format!("its foreign key {name} references the partition");
            self.lock(key.table, AccessExclusive, why);
            self.read_for_key(key.table, "read to find rows that reference the partition");
            self.read_for_key(partition, "read to find rows that are referenced");
            for ancestor in &ancestors {
                let why = "its bounds say which rows are in the partition";
                self.lock(*ancestor, AccessShare, why);
            }
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
