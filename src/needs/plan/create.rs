//! CREATE.

use super::deletion::whole;
use super::names::{Found, Through};
use super::reach::{self, PARTITIONED};
use super::{Effect, MADE_ON_IT, Plan};
use crate::ddl::{Address, CreateTable, IndexShape, Name, Naming, Reference, Statement};
use crate::lock::LockMode::*;
use crate::lock::{LockMode, RelationId};
use crate::pg::depend::{self, NORMAL, catalog as class};
use crate::pg::{catalog, columns, index, inheritance, settings, types, wait};
use crate::server_text::ServerText;
use std::collections::HashSet;

impl Plan {
    pub(super) fn create(&mut self, statement: &Statement) {
        match statement {
            Statement::CreateIndex {
                table,
                name,
                shape,
                concurrently,
                if_not_exists,
            } => {
                self.create_index(table, name.as_ref(), shape, *concurrently, *if_not_exists);
            }
            Statement::CreateTrigger {
                table,
                from,
                function,
                row,
            } => {
                if let Some(relation) = self.find(table) {
                    let only = !row || reach::kind(relation) != PARTITIONED;
                    self.lock_family(relation, only, ShareRowExclusive, "gets a trigger");
                    self.made_triggers.push((relation, *function));
                    if let Some(function) = function {
                        let trigger = Address {
                            part: MADE_ON_IT,
                            ..whole(class::CLASS, relation)
                        };
                        self.made.push((trigger, *function, NORMAL));
                    }
                }
                if let Some(from) = from.as_ref().and_then(|from| self.find(from)) {
                    self.lock(from, AccessShare, "named in the constraint trigger");
                    if let Some(relation) = self.find(table) {
                        let trigger = Address {
                            part: MADE_ON_IT,
                            ..whole(class::CLASS, relation)
                        };
                        self.made.push((trigger, whole(class::CLASS, from), NORMAL));
                    }
                }
            }
            Statement::CreateRule { table, references } => {
                if let Some(relation) = self.find(table) {
                    self.lock(relation, AccessExclusive, "gets a rule");
                }
                self.named_in_stored(references, "named in the rule");
            }
            Statement::Policy {
                table,
                altered,
                references,
            } => {
                if let Some(relation) = self.find(table) {
                    let altered = altered
                        .as_ref()
                        .and_then(|name| self.named(class::POLICY, relation, name));
                    for named in altered.map(depend::named_by).unwrap_or_default() {
                        self.depend_on(named, "named in the policy");
                    }
                    self.lock(relation, AccessExclusive, "its policies change");
                }
                self.named_in_stored(references, "named in the policy");
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
                self.named_in_stored(references, "named in the query");
                if *replaces && let Found::Existing(view) = self.names.find_in_place(name) {
                    self.lock(view, AccessExclusive, "replaced");
                    self.replaced_views.insert(view, self.reads(references));
                }
                let reads = self.reads(references);
                self.make(name);
                self.names.reads(name, reads, true);
            }
            Statement::CreateTableAs {
                name,
                references,
                if_not_exists,
                runs,
            } => {
                let exists = *if_not_exists && self.names.find_in_place(name) != Found::Missing;
                self.query(references, *runs && !exists);
                if !exists {
                    self.columns_of(references);
                    let reads = self.reads(references);
                    self.make(name);
                    self.names.reads(name, reads, false);
                }
            }
            Statement::CreateTable(table) => self.create_table(table),
            Statement::CreateSequence { name, owned_by } => {
                if let Some(table) = owned_by.as_ref().and_then(|table| self.find(table)) {
                    self.lock(table, AccessShare, "it is to own the sequence");
                }
                self.make(name);
            }
            Statement::Publication { names } => self.publish(names),
            Statement::AlterPublication { sets, names } => {
                self.publish(names);
                for relation in sets.map(depend::published).unwrap_or_default() {
                    self.lock(relation, ShareUpdateExclusive, "published until now");
                }
            }
            Statement::CreateType { name, types } => {
                for composite in types
                    .iter()
                    .flat_map(|type_id| types::composites_of_type(*type_id))
                {
                    self.lock(composite, AccessShare, "type of an attribute");
                }
                self.make(name);
            }
            Statement::CreateFunction {
                references,
                is_checked,
                search_path,
            } => {
                let session_path = settings::search_path_setting();
                if let Some(path) = search_path {
                    settings::set_search_path(path);
                }
                self.named_in_stored(references, "named in the function");
                let mut rewritten = HashSet::new();
                for (name, naming) in references.iter().filter(|_| *is_checked) {
                    if let (Naming::Relation(mode), Some(relation)) = (naming, self.find(name)) {
                        self.rewritten(relation, *mode, &mut rewritten);
                    }
                }
                if search_path.is_some() {
                    settings::set_search_path(&session_path);
                }
            }
            _ => (),
        }
    }

    /// What is named in something that is stored and not run: the sequence of a `nextval` is only looked up.
    pub(super) fn named_in_stored(&mut self, references: &[Reference], why: &str) {
        for (name, naming) in references {
            match (self.find(name), naming) {
                (Some(relation), Naming::Relation(mode)) => self.lock(relation, *mode, why),
                (Some(relation), Naming::Constant(_)) => self.depend_on(relation, why),
                (None, _) => (),
            }
        }
    }

    /// Defaults are made anew for a new table's columns.
    fn copy_defaults(&mut self, relation: RelationId) {
        for default in depend::on_relation(class::ATTRIBUTE_DEFAULT, relation) {
            for named in depend::named_by(default) {
                self.depend_on(named, "named in a default");
            }
        }
    }

    /// What the rewriter puts in the place of a view, or adds to a change of rows (`fireRIRrules`,
    /// `rewriteTargetView` and `fireRules` in `rewriteHandler.c`).
    pub(super) fn rewritten(
        &mut self,
        relation: RelationId,
        mode: LockMode,
        seen: &mut HashSet<(RelationId, LockMode)>,
    ) {
        let mut left = vec![];
        let mut next = Some((relation, mode));
        while let Some((relation, mode)) = next {
            if seen.insert((relation, mode)) {
                let mut reads = self.put_in_place_of(relation, mode);
                reads.reverse();
                left.extend(reads);
            }
            next = left.pop().map(|(read, mode, why): (_, _, String)| {
                self.lock(read, mode, why);
                (read, mode)
            });
        }
    }

    /// The relations that it does so with, how they are locked, and why.
    fn put_in_place_of(
        &self,
        relation: RelationId,
        mode: LockMode,
    ) -> Vec<(RelationId, LockMode, String)> {
        let name = reach::name(relation);
        let mut found = vec![];
        if reach::kind(relation) == reach::VIEW {
            // Its rows are not changed where triggers do something else instead.
            let triggers = depend::triggers(relation);
            let mode = match triggers.iter().any(|trigger| trigger.is_instead) {
                true => AccessShare,
                false => mode,
            };
            for read in self.existing_read_by(Found::Existing(relation)) {
                found.push((read, mode, format!("read by the view {name}")));
            }
        }
        if mode == RowExclusive {
            for (other, mode) in depend::locked_by_rules(relation, false) {
                found.push((other, mode, format!("in a rule of {name}")));
            }
        }
        found
    }

    /// The types of what a query reads become those of a new relation.
    fn columns_of(&mut self, references: &[Reference]) {
        for (name, naming) in references {
            if let (Naming::Relation(_), Some(relation)) = (naming, self.find(name)) {
                self.lock_composites(relation);
            }
        }
    }

    fn publish(&mut self, names: &[Name]) {
        for name in names {
            if let Some(relation) = self.find(name) {
                let only = name.only || reach::kind(relation) == PARTITIONED;
                self.lock_family(relation, only, ShareUpdateExclusive, "published");
            }
        }
    }

    fn create_index(
        &mut self,
        table: &Name,
        name: Option<&Name>,
        shape: &IndexShape,
        concurrently: bool,
        if_not_exists: bool,
    ) {
        let Some(relation) = self.find(table) else {
            if let Some(name) = name {
                self.names.make_beside(self.names.find(table), &name.name);
            }
            return;
        };
        let place = Found::Existing(relation);
        let exists = if_not_exists
            && name.is_some_and(|name| self.names.find_beside(place, &name.name) != Found::Missing);
        let mut taken = vec![];
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
        } else {
            // Whether there is one of that name is looked at when all are locked.
            let only = table.only || reach::kind(relation) != PARTITIONED;
            self.lock_family(relation, only, Share, "gets an index");
            if !only && !exists {
                self.take_partitions_indexes(relation, shape, &mut taken);
            }
        }
        if let (Some(name), false) = (name, exists) {
            self.names.make_beside(place, &name.name);
            if let Found::Made(index) = self.names.find_beside(place, &name.name) {
                let only = reach::kind(relation) != PARTITIONED;
                for member in reach::family(relation, only).into_iter().chain(taken) {
                    let why = "an index that was made before is dropped";
                    self.names.link_made(index, member, why, Through::Itself);
                }
            }
        }
    }

    /// The indexes that become those of the partitions: the first of each that will do, and where there is
    /// one, those further down stay what they are (`DefineIndex` in `indexcmds.c`).
    fn take_partitions_indexes(
        &mut self,
        table: RelationId,
        shape: &IndexShape,
        taken: &mut Vec<RelationId>,
    ) {
        let further = |table| inheritance::children(table).into_iter().rev();
        let mut left: Vec<RelationId> = further(table).collect();
        while let Some(partition) = left.pop() {
            wait::answer_interrupts();
            let mut indexes = reach::indexes(partition);
            indexes.sort_unstable();
            let will_do = |index: &RelationId| {
                reach::parents(*index).is_empty() && index::will_do(*index, partition, shape)
            };
            match indexes.into_iter().find(will_do) {
                Some(index) => {
                    let why = format!("index of {} that will do for it", reach::name(partition));
                    self.lock(index, Share, why);
                    taken.push(index);
                }
                None => left.extend(further(partition)),
            }
        }
    }

    /// Indexes of partitions that will do as those of the new index (`CompareIndexInfo` in `index.c`).
    pub(super) fn lock_matching_indexes(
        &mut self,
        table: RelationId,
        columns: &[ServerText],
        unique: bool,
    ) {
        for member in reach::below(table) {
            for index in matching_indexes(member, columns, unique) {
                let why = format!("index of {} that will do for it", reach::name(member));
                self.lock(index, Share, why);
            }
        }
    }

    fn create_table(&mut self, table: &CreateTable) {
        let exists = self.names.find_in_place(&table.name) != Found::Missing;
        if exists && table.if_not_exists {
            return;
        }
        for parent in &table.parents {
            let Some(parent) = self.find(parent) else {
                continue;
            };
            self.copy_defaults(parent);
            self.lock_composites(parent);
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
            self.make(&table.name);
            self.link_partition(parent, &table.name);
        }
        for (like, defaults) in &table.likes {
            if let Some(relation) = self.find(like) {
                self.lock(relation, AccessShare, "copied from");
                if *defaults {
                    self.copy_defaults(relation);
                }
                self.lock_composites(relation);
            }
        }
        if let Some(composite) = table.of_type.and_then(types::relation_of_type) {
            self.lock(composite, AccessShare, "the type that the table is of");
        }
        for column in &table.columns {
            self.lock_types(column);
            self.named_in_stored(&column.references, "named in a default");
        }
        // A foreign key may reference the new table itself.
        self.make(&table.name);
        if exists {
            // It fails for that before it comes to what its foreign keys reference.
            return;
        }
        let of_columns = table.columns.iter().flat_map(|column| &column.constraints);
        let all: Vec<_> = of_columns.chain(&table.constraints).cloned().collect();
        self.references_of(&table.name, &all);
    }
}

/// The indexes of a table on these columns that belong to none of its parent's yet.
pub fn matching_indexes(
    table: RelationId,
    columns: &[ServerText],
    unique: bool,
) -> Vec<RelationId> {
    let numbers: Option<Vec<i16>> = columns
        .iter()
        .map(|column| Some(columns::column(table, column)?.number))
        .collect();
    let Some(numbers) = numbers else {
        return vec![];
    };
    let will_do = |index: &RelationId| {
        let facts = catalog::index(*index);
        facts.is_some_and(|facts| {
            facts.keys == numbers && facts.is_unique == unique && facts.is_valid
        }) && reach::parents(*index).is_empty()
    };
    reach::indexes(table).into_iter().filter(will_do).collect()
}
