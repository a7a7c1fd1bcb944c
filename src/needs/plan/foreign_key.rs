//! Foreign keys, of both sides: made, checked, copied to a partition and taken from it.

use super::Plan;
use super::deletion::whole;
use super::names::Through;
use super::reach::{self, PARTITIONED};
use crate::ddl::{Constraint, Name};
use crate::lock::LockMode::{AccessExclusive, AccessShare, RowShare, ShareRowExclusive};
use crate::lock::RelationId;
use crate::pg::depend::catalog as class;
use crate::pg::{catalog, columns, constraints};
use crate::server_text::ServerText;
use std::collections::HashSet;

/// A foreign key that an earlier statement has made between two tables that exist.
#[derive(Clone, Debug)]
pub struct MadeKey {
    pub from: RelationId,
    pub to: RelationId,
    pub name: ServerText,
    /// Of the table that it is on.
    pub columns: Vec<ServerText>,
    /// Of the other.
    pub referenced: Vec<ServerText>,
}

impl Plan {
    /// A new foreign key that references that table (`ATAddForeignKeyConstraint` in `tablecmds.c`); `from`
    /// what it is on, where that exists and its rows are checked.
    pub(super) fn reference(
        &mut self,
        to: &Name,
        columns: &[ServerText],
        from: Option<RelationId>,
    ) {
        let Some(referenced) = self.find(to) else {
            if let Some(from) = from {
                self.read_for_key(from, "read to check the foreign key");
            }
            return;
        };
        for member in reach::parts(referenced) {
            let why = "referenced by the new foreign key";
            self.lock(member, ShareRowExclusive, why);
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

    /// Remembers a foreign key that a statement makes between two tables that exist.
    pub(super) fn made_key(&mut self, from: RelationId, key: &Constraint) {
        let Constraint::Foreign {
            name,
            columns,
            table,
            referenced,
            ..
        } = key
        else {
            return;
        };
        if let Some(to) = self.find(table) {
            // As `ChooseConstraintName` has it where there is none of that name yet.
            let chosen = || {
                let table = catalog::bare_name(from).unwrap_or_default();
                ServerText::join(
                    &[table, ServerText::join(columns, c"_"), c"fkey".into()],
                    c"_",
                )
            };
            self.made_keys.push(MadeKey {
                from,
                to,
                name: name.clone().unwrap_or_else(chosen),
                columns: columns.clone(),
                referenced: match referenced.is_empty() {
                    true => primary_key(to),
                    false => referenced.clone(),
                },
            });
        } else {
            for member in reach::parts(from) {
                let why = "its foreign key, made before, goes too";
                self.names.link(table, member, why, Through::Itself);
            }
        }
    }

    pub(super) fn made_key_named(&self, from: RelationId, name: &ServerText) -> Option<MadeKey> {
        let mut keys = self.made_keys.iter();
        keys.find(|key| key.from == from && key.name == *name)
            .cloned()
    }

    /// The tables with one of those to that table.
    pub(super) fn made_keys_to(&self, table: RelationId) -> Vec<RelationId> {
        let to_it = self.made_keys.iter().filter(|key| key.to == table);
        to_it.map(|key| key.from).collect()
    }

    /// What the removal of a table, or of a part of it, locks through those.
    pub(super) fn remove_made_keys(&mut self, table: RelationId) {
        drop(self.remove_made_keys_where(|key| key.from == table || key.to == table));
    }

    /// The same of what those that reference the table need.
    pub(super) fn remove_made_keys_to(&mut self, table: RelationId) {
        drop(self.remove_made_keys_where(|key| key.to == table));
    }

    /// The same of a column.
    pub(super) fn remove_made_keys_with(
        &mut self,
        table: RelationId,
        column: &ServerText,
    ) -> Vec<MadeKey> {
        self.remove_made_keys_where(|key| {
            (key.from == table && key.columns.iter().any(|name| name == column))
                || (key.to == table && key.referenced.iter().any(|name| name == column))
        })
    }

    fn remove_made_keys_where(&mut self, is_one: impl Fn(&MadeKey) -> bool) -> Vec<MadeKey> {
        let gone = self.made_keys.take(is_one);
        for key in &gone {
            self.remove_made_key(key);
        }
        gone
    }

    pub(super) fn remove_made_key(&mut self, key: &MadeKey) {
        for (side, why) in [
            (key.from, "its foreign key, made before, goes too"),
            (key.to, "referenced by a foreign key that goes too"),
        ] {
            for member in reach::parts(side) {
                self.lock(member, AccessExclusive, why);
            }
        }
    }

    /// The rows of one are looked up in the other (`RI_Initial_Check` in `ri_triggers.c`), a partition with rows
    /// at a time.
    pub(super) fn check(&mut self, from: RelationId, referenced: RelationId) {
        let mut with_rows = reach::parts(from);
        with_rows.retain(|member| reach::kind(*member) != PARTITIONED);
        if with_rows.is_empty() {
            return;
        }
        self.lock(
            referenced,
            RowShare,
            "referenced by the foreign key that is checked",
        );
        self.read_all(&with_rows, "read to check the foreign key");
        self.read_for_key(referenced, "read to check the foreign key");
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
        // Which rows a partitioned table may have is of use to the planner (`set_baserel_partition_constraint`
        // in `plancat.c`).
        if let Some(table) = tables.first().copied()
            && reach::kind(table) == PARTITIONED
        {
            for ancestor in reach::ancestors(table) {
                self.lock(ancestor, AccessShare, "its bounds say which rows are there");
            }
        }
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
        for key in self.topmost(constraints::on(parent)) {
            let name = constraints::name(key.id);
            // One that the partition has already becomes part of it, and the triggers of that go
            // (`tryAttachPartitionForeignKey`).
            let has_same = partition.is_some_and(|partition| {
                has_same(partition, &key)
                    || self
                        .made_keys
                        .iter()
                        .any(|made| made.from == partition && made.to == key.referenced)
            });
            let mode = match has_same {
                true => AccessExclusive,
                false => ShareRowExclusive,
            };
            for member in reach::parts(key.referenced) {
                let why = format!("referenced by foreign key {name}, which the partition gets too");
                self.lock(member, mode, why);
            }
            self.depend_on(key.index, format!("index that foreign key {name} needs"));
            if let Some(partition) = partition.filter(|_| !has_same) {
                self.check(partition, key.referenced);
            }
        }
        for referenced in std::iter::once(parent).chain(reach::ancestors(parent)) {
            for from in self.made_keys_to(referenced) {
                let why = "its foreign key, made before, references the partition too";
                self.lock(from, ShareRowExclusive, why);
            }
        }
        for key in self.topmost(constraints::referencing(parent)) {
            // Not one that references the table that it is on.
            if key.table != parent {
                let name = constraints::name(key.id);
                let why = format!("its foreign key {name} references the partition too");
                self.lock(key.table, ShareRowExclusive, why);
                if let Some(index) = partition.and_then(|one| index_like(one, key.index)) {
                    self.depend_on(index, format!("index that foreign key {name} needs"));
                }
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

    /// The other way round (`DetachPartitionFinalize`); `checks`: no row may reference it.
    pub(super) fn detach_foreign_keys(&mut self, partition: RelationId, checks: bool) {
        for key in constraints::on(partition) {
            if key.kind != b'f' || key.parent == 0 {
                continue;
            }
            let name = constraints::name(key.id);
            for member in reach::parts(key.referenced) {
                self.lock(
                    member,
                    ShareRowExclusive,
                    format!("referenced by foreign key {name}"),
                );
                if member != key.referenced
                    && let Some(index) = index_like(member, key.index)
                {
                    self.depend_on(index, format!("index that foreign key {name} needs"));
                }
            }
        }
        let ancestors = reach::ancestors(partition);
        self.detach_made_keys(&ancestors, partition);
        for key in constraints::referencing(partition) {
            // One of its own stays.
            if key.parent == 0 {
                continue;
            }
            let name = constraints::name(key.id);
            let why = format!("its foreign key {name} references the partition");
            self.lock(key.table, AccessExclusive, why);
            if !checks {
                self.lock_indexes(partition, AccessShare, "which is referenced");
                continue;
            }
            self.read_for_key(partition, "read to find rows that are referenced");
            self.read_for_key(key.table, "read to find rows that reference the partition");
            for ancestor in &ancestors {
                let why = "its bounds say which rows are in the partition";
                self.lock(*ancestor, AccessShare, why);
            }
        }
    }

    /// The foreign keys among those that are there by then, without any that another of them has brought along.
    fn topmost(&self, mut keys: Vec<constraints::Constraint>) -> Vec<constraints::Constraint> {
        keys.retain(|key| key.kind == b'f' && !self.is_gone(key.id));
        let all: HashSet<u32> = keys.iter().map(|key| key.id).collect();
        keys.retain(|key| !all.contains(&key.parent));
        keys
    }

    /// Whether a constraint has been dropped by then.
    pub(super) fn is_gone(&self, constraint: u32) -> bool {
        self.gone
            .contains_key(&whole(class::CONSTRAINT, constraint))
    }

    /// The same where the partition is new, and has those that its parent has.
    pub(super) fn detach_foreign_keys_of(&mut self, parent: RelationId) {
        for key in self.topmost(constraints::on(parent)) {
            let name = constraints::name(key.id);
            for member in reach::parts(key.referenced) {
                let why = format!("referenced by foreign key {name}");
                self.lock(member, ShareRowExclusive, why);
                if member != key.referenced
                    && let Some(index) = index_like(member, key.index)
                {
                    self.depend_on(index, format!("index that foreign key {name} needs"));
                }
            }
        }
        for key in self.topmost(constraints::referencing(parent)) {
            let name = constraints::name(key.id);
            let why = format!("its foreign key {name} references the partition");
            self.lock(key.table, AccessExclusive, why);
            self.read_for_key(key.table, "read to find rows that reference the partition");
            for ancestor in reach::ancestors(parent) {
                let why = "its bounds say which rows are in the partition";
                self.lock(ancestor, AccessShare, why);
            }
        }
    }
}

/// The columns of a table's primary key.
fn primary_key(table: RelationId) -> Vec<ServerText> {
    let facts = reach::indexes(table).into_iter().filter_map(catalog::index);
    let keys = facts
        .filter(|facts| facts.is_primary)
        .flat_map(|facts| facts.keys);
    keys.filter_map(|number| columns::column_name(table, number))
        .collect()
}

/// Whether a table, or a part of it, has the same foreign key already.
fn has_same(table: RelationId, key: &constraints::Constraint) -> bool {
    let wanted = constraints::foreign_key_traits(key);
    reach::parts(table).into_iter().any(|member| {
        let own = constraints::on(member).into_iter();
        own.filter(|own| own.kind == b'f' && own.referenced == key.referenced && own.is_valid)
            .any(|own| constraints::foreign_key_traits(&own) == wanted)
    })
}

/// The index of a partition that is on the same columns as that index of another table in the tree.
fn index_like(table: RelationId, index: RelationId) -> Option<RelationId> {
    let of = catalog::table_of_index(index)?;
    let keys = catalog::index(index)?.keys.into_iter();
    let columns: Option<Vec<ServerText>> = keys
        .map(|number| columns::column_name(of, number))
        .collect();
    key_index(table, &columns?)
}

/// The index that a foreign key to those columns needs: without columns, that of the primary key.
fn key_index(table: RelationId, columns: &[ServerText]) -> Option<RelationId> {
    let mut numbers: Vec<i16> = columns
        .iter()
        .filter_map(|column| Some(columns::column(table, column)?.number))
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
