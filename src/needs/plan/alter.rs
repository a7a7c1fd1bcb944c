//! ALTER and RENAME (`tablecmds.c`).

use super::create::matching_indexes;
use super::deletion::{Handed, whole};
use super::foreign_key::MadeKey;
use super::names::{Found, Key, Link, Schema, Through};
use super::reach::{self, COMPOSITE, PARTITIONED};
use super::{Effect, MADE_ON_IT, Plan};
use crate::ddl::{Address, Alter, Column, Constraint, Kind, Name, Part, Statement, Triggers};
use crate::lock::LockMode::{self, *};
use crate::lock::RelationId;
use crate::pg::depend::{self, AUTO, NORMAL, catalog as class};
use crate::pg::{catalog, tablespace};
use std::collections::HashMap;

impl Plan {
    pub(super) fn alter(&mut self, statement: &Statement) {
        match statement {
            Statement::AlterTable {
                name,
                missing_ok,
                level,
                commands,
            } => {
                let Some(relation) = self.find_if(name, *missing_ok) else {
                    if *missing_ok && self.names.find(name) == Found::Missing {
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
            Statement::Rename { kind, name, to } => {
                if let Some(relation) = self.find_if(name, true) {
                    let mode = match kind {
                        Kind::Index if reach::is_index(relation) => ShareUpdateExclusive,
                        _ => AccessExclusive,
                    };
                    self.lock(relation, mode, "renamed");
                }
                self.names.rename(name, to, None);
            }
            Statement::RenamePart {
                part,
                table,
                name,
                to,
            } => {
                self.rename_part(*part, table, name);
                self.part_is_called(*part, table, name, to);
            }
            Statement::SetSchema { name, schema } => {
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
                        format!("in the tablespace {from}"),
                    );
                    self.lock_toast(relation, AccessExclusive, "which moves with it");
                }
            }
            Statement::AlterDomain { domain, .. } => self.domain(*domain),
            Statement::AlterTypeOwner { type_id, owner } => {
                self.change_type_owner(*type_id, *owner)
            }
            Statement::AlterSequence { name, owned_by } => {
                if let Some(sequence) = self.find_if(name, true) {
                    self.lock(sequence, ShareRowExclusive, "altered");
                }
                if let Some(table) = owned_by.as_ref().and_then(|table| self.find(table)) {
                    self.lock(table, AccessShare, "it is to own the sequence");
                    if let Some(sequence) = self.find_if(name, true) {
                        let (sequence, table) =
                            (whole(class::CLASS, sequence), whole(class::CLASS, table));
                        self.made.push((sequence, table, AUTO));
                    }
                }
            }
            Statement::AlterStatistics { .. } => (),
            _ => (),
        }
    }

    /// The tables that are of a composite type.
    fn typed(&self, relation: RelationId) -> Vec<RelationId> {
        match catalog::relation(relation) {
            Some(facts) if facts.kind == COMPOSITE => {
                depend::dependents(whole(class::TYPE, facts.row_type))
                    .into_iter()
                    .filter(|(by, _)| by.class == class::CLASS && by.part == 0)
                    .map(|(by, _)| by.object)
                    .filter(|table| matches!(reach::kind(*table), reach::TABLE | PARTITIONED))
                    .collect()
            }
            _ => vec![],
        }
    }

    /// Dropping that schema will reach it.
    fn move_into(&mut self, object: Address, schema: &str) {
        let schema = match self.names.schema(schema) {
            Some(Schema::Existing(schema)) => catalog::schema(&schema),
            _ => None,
        };
        if let Some(schema) = schema {
            self.made
                .push((object, whole(class::SCHEMA, schema), NORMAL));
        }
    }

    fn of_new_table(&mut self, name: &Name, command: &Alter) {
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
    pub(super) fn references_of(&mut self, of: &Name, constraints: &[Constraint]) {
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

    /// Whether that is known to write the table anew before constraints are looked at.
    fn is_rewritten_by(&self, relation: RelationId, command: &Alter) -> bool {
        match command {
            // Of what type the column is by then is not known where it has been altered before.
            Alter::ColumnType { column, rewrites } => {
                let is_it =
                    |(table, name): &(RelationId, String)| *table == relation && name == column;
                *rewrites || self.retyped.iter().any(is_it)
            }
            Alter::Persistence { logged } => {
                let facts = catalog::relation(relation);
                facts.is_some_and(|facts| (facts.persistence == b'p') != *logged)
            }
            Alter::AccessMethod(method) => {
                tablespace::is_other_access_method(relation, method.as_deref())
            }
            _ => false,
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
                        self.lock(sequence, ShareRowExclusive, format!("sequence of {column}"));
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
                if tablespace::is_other_access_method(relation, method.as_deref()) {
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
            Alter::Inherit(parent) => {
                if let Some(parent) = self.find(parent) {
                    self.lock(parent, ShareUpdateExclusive, "to be inherited from");
                    self.parted.retain(|pair| *pair != (relation, parent));
                    let (child, parent) =
                        (whole(class::CLASS, relation), whole(class::CLASS, parent));
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
            Alter::NoInherit(parent) => {
                if let Some(parent) = self.find(parent) {
                    self.lock(parent, AccessShare, "no longer inherited from");
                    self.part(relation, parent);
                }
            }
            Alter::Of(type_id) => {
                if let Some(composite) = type_id.and_then(catalog::relation_of_type) {
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

    /// An index named without schema: it is in that of its table.
    pub(super) fn index_of(&mut self, table: RelationId, index: &str) -> Option<RelationId> {
        match self.names.find_beside(Found::Existing(table), index) {
            Found::Existing(index) => Some(index),
            _ => None,
        }
    }

    /// The table is written anew: so are its indexes and its TOAST table.
    pub(super) fn rewrite(&mut self, relation: RelationId, mode: LockMode) {
        if reach::kind(relation) != PARTITIONED {
            self.lock_composites(relation);
            self.lock_storage(relation, mode, "which is written anew");
        }
    }

    /// The tables whose rows are in a relation's columns, which are looked at when it is made again. So are
    /// composite types that are nothing else, but for that moment alone, and only their own ALTER or DROP
    /// would be in the way.
    pub(super) fn lock_composites(&mut self, relation: RelationId) {
        for type_id in catalog::column_types(relation) {
            for composite in catalog::composites_of_type(type_id) {
                let why = format!("type of a column of {}", reach::name(relation));
                match reach::kind(composite) {
                    // Looked at, and let go of at once.
                    COMPOSITE => self.depend_on(composite, why),
                    _ => self.lock(composite, AccessShare, why),
                }
            }
        }
    }

    pub(super) fn lock_types(&mut self, column: &Column) {
        for composite in column
            .type_id
            .map(catalog::composites_of_type)
            .unwrap_or_default()
        {
            self.lock(
                composite,
                AccessShare,
                format!("type of the column {}", column.name),
            );
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

    /// Those that get a new column, as direct heirs have it from there: who has such a column keeps it, and so
    /// do those that inherit from it (`ATExecAddColumn`).
    fn lock_heirs_of(
        &mut self,
        relation: RelationId,
        level: LockMode,
        column: &str,
    ) -> Vec<RelationId> {
        let mut heirs = vec![relation];
        let mut next = 0;
        while next < heirs.len() {
            for child in self.children(heirs[next]) {
                let why = format!("inherits from {}", reach::name(heirs[next]));
                self.lock(child, level, why);
                if !heirs.contains(&child) && self.column_by_then(child, column).is_none() {
                    heirs.push(child);
                }
            }
            next += 1;
        }
        self.lost_columns
            .retain(|(table, name)| name != column || !heirs.contains(table));
        heirs
    }

    /// The column of that name, unless it has been dropped by then.
    fn column_by_then(&self, relation: RelationId, name: &str) -> Option<catalog::Column> {
        let mut lost = self.lost_columns.iter();
        match lost.any(|(table, column)| *table == relation && column == name) {
            true => None,
            false => self.column(relation, name),
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

    /// A column goes from those that have it from there alone; the others keep it
    /// (`ATExecDropColumn`).
    fn drop_column(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        column: &str,
        cascade: bool,
    ) {
        let Some(found) = self.column_by_then(relation, column) else {
            // It may have been made before, with a foreign key.
            drop(self.remove_made_keys_with(relation, column));
            return;
        };
        let mut losers = vec![(relation, found)];
        let mut parents_left: HashMap<RelationId, i32> = HashMap::new();
        let mut next = 0;
        while next < losers.len() {
            let parent = losers[next].0;
            for child in self.children(parent) {
                let why = format!("inherits from {}", reach::name(parent));
                self.lock(child, level, why);
                let Some(found) = self.column(child, column).filter(|_| !only) else {
                    continue;
                };
                let left = parents_left.entry(child).or_insert(found.inherited);
                *left -= 1;
                if *left == 0 && !found.is_local {
                    losers.push((child, found));
                }
            }
            next += 1;
        }
        let column_of = |(object, found): (RelationId, catalog::Column)| Address {
            class: class::CLASS,
            object,
            part: found.number.into(),
        };
        for (table, _) in &losers {
            drop(self.remove_made_keys_with(*table, column));
            self.lost_columns.push((*table, column.to_owned()));
        }
        self.delete(losers.into_iter().map(column_of).collect(), cascade);
    }

    fn add_column(&mut self, relation: RelationId, level: LockMode, column: &Column) {
        let heirs = self.lock_heirs_of(relation, level, &column.name);
        if column.rewrites {
            heirs
                .iter()
                .for_each(|member| self.rewrite(*member, AccessExclusive));
        }
        self.lock_types(column);
        let why = format!("named in the default of {}", column.name);
        for (name, naming) in &column.references {
            if let (Some(named), Some(mode)) = (self.find(name), naming.when_run()) {
                self.lock(named, mode, &*why);
            }
        }
        self.named_in_stored(&column.references, &why);
        for constraint in &column.constraints {
            if let Constraint::Foreign {
                table, referenced, ..
            } = constraint
            {
                // A column that is null everywhere needs no check.
                let from = column.has_default.then_some(relation);
                self.reference(table, referenced, from);
                self.made_key(relation, constraint);
            }
        }
    }

    fn column_type(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        column: &str,
        rewrites: bool,
    ) {
        for member in self.lock_family(relation, only, level, "altered") {
            let Some(found) = self.column(member, column) else {
                // It was made before.
                if rewrites {
                    self.rewrite(member, AccessExclusive);
                }
                for key in self.remove_made_keys_with(member, column) {
                    self.check(member, key.to);
                    self.made_keys.push(key);
                }
                continue;
            };
            if rewrites {
                self.rewrite(member, AccessExclusive);
            }
            // A foreign key is dropped and made anew.
            let keys = self.remove_made_keys_with(member, column);
            self.made_keys.extend(keys);
            if found.identity {
                for sequence in depend::owned_sequences(member, Some(found.number)) {
                    let why = format!("sequence of the column {column}");
                    self.lock(sequence, ShareRowExclusive, why);
                }
            }
            let on = Address {
                class: class::CLASS,
                object: member,
                part: found.number.into(),
            };
            for (dependent, _) in depend::dependents(on) {
                match dependent.class {
                    class::CLASS if reach::is_index(dependent.object) => {
                        let why = format!("index with the column {column}");
                        self.lock(dependent.object, AccessExclusive, why);
                        for child in reach::below(dependent.object) {
                            self.lock(
                                child,
                                AccessExclusive,
                                format!("index with the column {column}"),
                            );
                        }
                    }
                    class::CONSTRAINT => self.rebuilt(dependent.object, member, column, rewrites),
                    class::ATTRIBUTE_DEFAULT => {
                        for named in depend::named_by(dependent) {
                            let why = format!("named in the default of the column {column}");
                            self.depend_on(named, why);
                        }
                    }
                    _ => (),
                }
            }
        }
    }

    /// A constraint that a change of a column's type drops and makes anew.
    fn rebuilt(&mut self, constraint: u32, table: RelationId, column: &str, rewritten: bool) {
        let Some(found) = depend::constraint(constraint).filter(|_| !self.is_gone(constraint))
        else {
            return;
        };
        let name = depend::constraint_name(constraint);
        match found.kind {
            b'f' => {
                for (side, what) in [(found.table, "has"), (found.referenced, "is referenced by")] {
                    if side != table {
                        let why = format!("{what} the foreign key {name} with the column {column}");
                        self.lock(side, AccessExclusive, why);
                    }
                }
                self.depend_on(found.index, format!("index that foreign key {name} needs"));
                for member in reach::parts(found.referenced) {
                    self.lock(
                        member,
                        ShareRowExclusive,
                        format!("referenced by foreign key {name}"),
                    );
                }
                // What compares the columns is the same where the table is not written anew
                // (`TryReuseForeignKey`).
                if found.is_valid && rewritten {
                    self.check(found.table, found.referenced);
                }
                for (dependent, _) in depend::dependents(whole(class::CONSTRAINT, constraint)) {
                    if let Some(relation) = depend::relation_of(dependent) {
                        self.lock(
                            relation,
                            AccessExclusive,
                            format!("part of the foreign key {name}"),
                        );
                    }
                }
            }
            b'p' | b'u' | b'x' if found.index != 0 => {
                let why = format!("index with the column {column}");
                self.lock(found.index, AccessExclusive, why);
                for child in reach::below(found.index) {
                    self.lock(
                        child,
                        AccessExclusive,
                        format!("index with the column {column}"),
                    );
                }
                for key in depend::referencing(found.table) {
                    if key.index == found.index {
                        self.rebuilt(key.id, table, column, rewritten);
                    }
                }
            }
            _ => (),
        }
    }

    fn add_constraint(
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

    fn validate(&mut self, relation: RelationId, only: bool, level: LockMode, name: &str) {
        let Some(address) = self.constraint_by_then(relation, name) else {
            if let Some(key) = self.made_key_named(relation, name) {
                self.check(relation, key.to);
            }
            return;
        };
        let Some(found) = depend::constraint(address.object) else {
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

    fn alter_constraint(&mut self, relation: RelationId, level: LockMode, name: &str) {
        let Some(address) = self.constraint_by_then(relation, name) else {
            return;
        };
        let mut left = vec![address.object];
        while let Some(constraint) = left.pop() {
            for child in depend::child_constraints(constraint) {
                self.lock(
                    child.table,
                    level,
                    format!("its constraint comes from {name}"),
                );
                left.push(child.id);
            }
        }
    }

    fn constraint_by_then(&self, table: RelationId, name: &str) -> Option<Address> {
        let found = self.named(class::CONSTRAINT, table, name);
        found.filter(|constraint| !self.is_gone(constraint.object))
    }

    fn drop_constraint(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        name: &str,
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
            let Some(found) = depend::constraint(address.object) else {
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
                let why = format!("referenced by foreign key {name}");
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
        name: &str,
    ) {
        let found = self
            .named(class::CONSTRAINT, relation, name)
            .and_then(|address| depend::constraint(address.object));
        if found.is_some_and(|found| matches!(found.kind, b'c' | b'n') && !found.no_inherit) {
            self.lock_children(relation, only, level);
        }
    }

    /// A relation's new owner becomes that of its indexes, TOAST table and sequences (`ATExecChangeOwner`).
    pub(super) fn change_owner(&mut self, relation: RelationId, owner: Option<u32>, why: &str) {
        self.lock(relation, AccessExclusive, why);
        let Some(facts) = catalog::relation(relation) else {
            return;
        };
        if let Some(owner) = owner {
            self.handed.push((Handed::Relation(relation), owner));
        }
        if owner == Some(facts.owner) {
            return;
        }
        if facts.kind == COMPOSITE || reach::is_index(relation) || facts.kind == reach::SEQUENCE {
            return;
        }
        self.lock_storage(relation, AccessExclusive, "whose owner changes with it");
        for sequence in self.owned_sequences(relation) {
            let why = format!(
                "sequence of {}, whose owner changes with it",
                reach::name(relation)
            );
            self.lock(sequence, AccessExclusive, why);
        }
    }

    pub(super) fn change_type_owner(&mut self, type_id: u32, owner: Option<u32>) {
        if let Some(composite) = catalog::relation_of_type(type_id)
            && catalog::relation(composite).is_some_and(|facts| owner != Some(facts.owner))
        {
            self.lock(composite, AccessExclusive, "the type's relation");
        }
    }

    fn attach(&mut self, parent: RelationId, partition: &Name) {
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
            for key in depend::constraints(parent)
                .into_iter()
                .filter(|key| key.kind == b'f')
            {
                self.read_for_key(key.referenced, "read to check the foreign key");
            }
            self.link_partition(parent, partition);
        }
    }

    /// What dropping a partition that was made here locks.
    pub(super) fn link_partition(&mut self, parent: RelationId, partition: &Name) {
        let why = "its partition is dropped";
        self.names.link(partition, parent, why, Through::Partition);
        if let Some(member) = reach::default_partition(parent) {
            self.names.link(partition, member, why, Through::Partition);
        }
        for key in depend::constraints(parent)
            .into_iter()
            .filter(|key| key.kind == b'f')
        {
            for member in reach::parts(key.referenced) {
                let why = "referenced by a foreign key that is dropped";
                self.names.link(partition, member, why, Through::Itself);
            }
        }
        for key in depend::referencing(parent) {
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
    pub(super) fn partition_of(&mut self, parent: RelationId, partition: Option<RelationId>) {
        for index in reach::indexes(parent) {
            let why = format!(
                "index of {}, which the partition gets too",
                reach::name(parent)
            );
            self.lock(index, ShareUpdateExclusive, why);
            // A partition that is partitioned itself gets its own first.
            if let (Some(partition), Some(facts)) = (partition, catalog::index(index)) {
                let columns: Option<Vec<String>> = facts
                    .keys
                    .iter()
                    .map(|number| catalog::column_name(parent, *number))
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

    fn detach(&mut self, parent: RelationId, partition: &Name, concurrently: bool) {
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
        for key in depend::constraints(partition) {
            if key.kind == b'f' {
                self.made_keys.push(MadeKey {
                    from: partition,
                    to: key.referenced,
                    name: depend::constraint_name(key.id),
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

    /// One no longer inherits from the other.
    fn part(&mut self, child: RelationId, parent: RelationId) {
        self.parted.push((child, parent));
        let (child, parent) = (whole(class::CLASS, child), whole(class::CLASS, parent));
        self.made
            .retain(|(by, on, _)| *by != child || *on != parent);
    }

    fn detach_indexes(&mut self, partition: RelationId) {
        for index in reach::indexes(partition) {
            if !reach::parents(index).is_empty() {
                let why = format!("index of {}, detached with it", reach::name(partition));
                self.lock(index, AccessExclusive, why);
            }
        }
    }

    fn attach_index(&mut self, parent: RelationId, index: &Name) {
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

    fn rename_part(&mut self, part: Part, table: &Name, name: &str) {
        let Some(relation) = self.find_if(table, true) else {
            return;
        };
        match part {
            Part::Column => {
                for typed in self.typed(relation) {
                    self.lock(typed, AccessExclusive, "it is of that type");
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
                    .and_then(|address| depend::constraint(address.object))
                else {
                    return;
                };
                if found.kind == b'c' && !found.no_inherit {
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

    /// Tables with columns of a domain whose values are checked (`get_rels_with_domain` in
    /// `typecmds.c`).
    fn domain(&mut self, domain: u32) {
        for composite in catalog::composites_of_type(domain) {
            self.lock(composite, AccessShare, "the domain's type");
        }
        let mut left = vec![domain];
        let mut seen = vec![];
        while let Some(type_id) = left.pop() {
            if seen.contains(&type_id) {
                continue;
            }
            seen.push(type_id);
            for (dependent, _) in depend::dependents(whole(class::TYPE, type_id)) {
                match dependent.class {
                    class::TYPE => left.push(dependent.object),
                    class::CLASS if dependent.part != 0 => match reach::kind(dependent.object) {
                        COMPOSITE => {
                            if let Some(facts) = catalog::relation(dependent.object) {
                                left.push(facts.row_type);
                            }
                        }
                        reach::TABLE | reach::MATERIALIZED_VIEW => {
                            self.lock(dependent.object, Share, "has columns of the domain");
                        }
                        _ => (),
                    },
                    _ => (),
                }
            }
        }
    }
}
