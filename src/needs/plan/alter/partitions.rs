//! Who inherits from whom: INHERIT (`ATExecAddInherit`, `ATExecDropInherit`), partitions attached
//! (`ATExecAttachPartition`) and detached (`ATExecDetachPartition`), those of indexes too
//! (`ATExecAttachPartitionIdx`), and what a new partition, attached or created, takes from its parent.
//! Foreign keys that are copied to it or taken from it are left to `foreign_key`.

use crate::ddl::Name;
use crate::lock::LockMode::*;
use crate::lock::RelationId;
use crate::needs::plan::create::matching_indexes;
use crate::needs::plan::deletion::whole;
use crate::needs::plan::foreign_key::MadeKey;
use crate::needs::plan::names::Through;
use crate::needs::plan::reach;
use crate::needs::plan::{Effect, Plan};
use crate::pg::depend::{AUTO, NORMAL, catalog as class};
use crate::pg::{catalog, columns, constraints};
use crate::server_text::ServerText;

impl Plan {
    pub(super) fn inherit(&mut self, relation: RelationId, parent: &Name) {
        if let Some(parent) = self.find(parent) {
            self.lock(parent, ShareUpdateExclusive, "to be inherited from");
            self.parted.retain(|pair| *pair != (relation, parent));
            let (child, parent) = (whole(class::CLASS, relation), whole(class::CLASS, parent));
            self.made.push((child, parent, NORMAL));
        }
        for child in reach::below(relation) {
            self.lock(
                child,
                AccessShare,
                format!("inherits from {}", reach::name(relation)),
            );
        }
    }

    pub(super) fn no_inherit(&mut self, relation: RelationId, parent: &Name) {
        if let Some(parent) = self.find(parent) {
            self.lock(parent, AccessShare, "no longer inherited from");
            self.part(relation, parent);
        }
    }

    /// One no longer inherits from the other.
    fn part(&mut self, child: RelationId, parent: RelationId) {
        self.parted.push((child, parent));
        let (child, parent) = (whole(class::CLASS, child), whole(class::CLASS, parent));
        self.made
            .retain(|(by, on, _)| *by != child || *on != parent);
    }

    pub(super) fn attach(&mut self, parent: RelationId, partition: &Name) {
        let default = reach::default_partition(parent);
        let found = self.find(partition);
        if let Some(partition) = found {
            self.parted.retain(|pair| *pair != (partition, parent));
            self.made.push((
                whole(class::CLASS, partition),
                whole(class::CLASS, parent),
                AUTO,
            ));
            for member in reach::family(partition, false) {
                self.lock(member, AccessExclusive, "becomes a partition");
            }
        }
        if let Some(default) = default {
            for member in reach::family(default, false) {
                let why = format!(
                    "default partition of {}, read for rows that belong to the new one",
                    reach::name(parent)
                );
                self.lock(member, AccessExclusive, why);
            }
        }
        for ancestor in reach::ancestors(parent) {
            let why = "its bounds say which rows may be in the partition";
            self.lock(ancestor, AccessShare, why);
        }
        self.partition_of(parent, found);
        if found.is_none() {
            for key in constraints::on(parent)
                .into_iter()
                .filter(|key| key.kind == b'f')
            {
                self.read_for_key(key.referenced, "read to check the foreign key");
            }
            self.link_partition(parent, partition);
        }
    }

    /// What dropping a partition that was made here locks.
    pub(in crate::needs::plan) fn link_partition(&mut self, parent: RelationId, partition: &Name) {
        let why = "its partition is dropped";
        self.names.link(partition, parent, why, Through::Partition);
        if let Some(member) = reach::default_partition(parent) {
            self.names.link(partition, member, why, Through::Partition);
        }
        for key in constraints::on(parent)
            .into_iter()
            .filter(|key| key.kind == b'f')
        {
            for member in reach::parts(key.referenced) {
                let why = "referenced by a foreign key that is dropped";
                self.names.link(partition, member, why, Through::Itself);
            }
        }
        for key in constraints::referencing(parent) {
            for member in reach::family(parent, false)
                .into_iter()
                .chain(reach::parts(key.table))
            {
                let why = "its foreign key to the partition is dropped";
                self.names.link(partition, member, why, Through::Partition);
            }
        }
    }

    /// What a new partition takes from its parent: indexes and foreign keys.
    pub(in crate::needs::plan) fn partition_of(
        &mut self,
        parent: RelationId,
        partition: Option<RelationId>,
    ) {
        for index in reach::indexes(parent) {
            let why = format!(
                "index of {}, which the partition gets too",
                reach::name(parent)
            );
            self.lock(index, ShareUpdateExclusive, why);
            // A partition that is partitioned itself gets its own first.
            if let (Some(partition), Some(facts)) = (partition, catalog::index(index)) {
                let columns: Option<Vec<ServerText>> = facts
                    .keys
                    .iter()
                    .map(|number| columns::column_name(parent, *number))
                    .collect();
                if let Some(columns) = columns {
                    self.lock_matching_indexes(partition, &columns, facts.is_unique);
                    if let Some(own) =
                        matching_indexes(partition, &columns, facts.is_unique).first()
                    {
                        let (own, index) = (whole(class::CLASS, *own), whole(class::CLASS, index));
                        self.made.push((own, index, AUTO));
                    }
                }
            }
        }
        self.clone_foreign_keys(parent, partition);
    }

    pub(super) fn detach(&mut self, parent: RelationId, partition: &Name, concurrently: bool) {
        let Some(partition) = self.find(partition) else {
            return self.detach_made(parent, partition);
        };
        if concurrently {
            self.lock_family(partition, false, AccessExclusive, "detached");
            // It gets its bounds as a constraint.
            for ancestor in reach::ancestors(parent) {
                let why = "its bounds say which rows are in the partition";
                self.lock(ancestor, AccessShare, why);
            }
            let why = "waits until no transaction uses the table as it was";
            self.note(Some(parent), Effect::AwaitLockers(AccessExclusive), why);
        } else {
            self.lock_family(partition, false, AccessExclusive, "detached");
            if let Some(default) = reach::default_partition(parent) {
                let why = format!("default partition of {}", reach::name(parent));
                self.lock(default, AccessExclusive, why);
            }
        }
        self.detach_indexes(partition);
        self.detach_foreign_keys(partition, true);
        // They are its own from here on.
        for key in constraints::on(partition) {
            if key.kind == b'f' {
                self.made_keys.push(MadeKey {
                    from: partition,
                    to: key.referenced,
                    name: constraints::server_name(key.id),
                    columns: vec![],
                    referenced: vec![],
                });
            }
        }
        let of_parent = |key: &&MadeKey| key.from == parent;
        let inherited = self.made_keys.iter().filter(of_parent).cloned();
        let inherited: Vec<MadeKey> = inherited
            .map(|key| MadeKey {
                from: partition,
                ..key
            })
            .collect();
        self.made_keys.extend(inherited);
        self.part(partition, parent);
    }

    /// As [`detach`](Plan::detach), of a partition that the script has made.
    fn detach_made(&mut self, parent: RelationId, partition: &Name) {
        self.names
            .unlink(partition, |through| *through == Through::Partition);
        if let Some(default) = reach::default_partition(parent) {
            let why = format!("default partition of {}", reach::name(parent));
            self.lock(default, AccessExclusive, why);
        }
        self.detach_foreign_keys_of(parent);
    }

    pub(super) fn detach_indexes(&mut self, partition: RelationId) {
        for index in reach::indexes(partition) {
            if !reach::parents(index).is_empty() {
                let why = format!("index of {}, detached with it", reach::name(partition));
                self.lock(index, AccessExclusive, why);
            }
        }
    }

    pub(super) fn attach_index(&mut self, parent: RelationId, index: &Name) {
        if let Some(table) = catalog::table_of_index(parent) {
            self.lock(table, AccessShare, "table of the index");
        }
        if let Some(index) = self.find(index) {
            self.lock(index, AccessExclusive, "becomes a partition of the index");
            if let Some(table) = catalog::table_of_index(index) {
                self.lock(table, AccessShare, "table of the index");
            }
        }
    }
}
