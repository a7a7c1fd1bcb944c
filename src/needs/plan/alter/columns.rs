//! Columns: adding one (`ATExecAddColumn`), dropping one (`ATExecDropColumn`) and changing its type
//! (`ATExecAlterColumnType`), with who inherits it, and the indexes and constraints that are then made
//! again. Whether the table is written anew for it is the parser's to say, what is then locked that of
//! `rewrite`; what goes with a column that is dropped is followed by `deletion`.

use crate::ddl::{Address, Column, Constraint};
use crate::lock::LockMode::{self, *};
use crate::lock::RelationId;
use crate::needs::plan::Plan;
use crate::needs::plan::deletion::whole;
use crate::needs::plan::reach;
use crate::pg::depend::{self, catalog as class};
use crate::pg::{columns, constraints, types};
use crate::server_text::ServerText;
use std::collections::{HashMap, HashSet};

impl Plan {
    pub(in crate::needs::plan) fn lock_types(&mut self, column: &Column) {
        for composite in column
            .type_id
            .map(types::composites_of_type)
            .unwrap_or_default()
        {
            self.lock(
                composite,
                AccessShare,
                format!("type of the column {}", column.name.for_people()),
            );
        }
    }

    /// Those that get a new column, as direct heirs have it from there: who has such a column keeps it, and so
    /// do those that inherit from it (`ATExecAddColumn`).
    fn lock_heirs_of(
        &mut self,
        relation: RelationId,
        level: LockMode,
        column: &ServerText,
    ) -> Vec<RelationId> {
        let mut heirs = vec![relation];
        let mut known = HashSet::from([relation]);
        let mut next = 0;
        while next < heirs.len() {
            for child in self.children(heirs[next]) {
                let why = format!("inherits from {}", reach::name(heirs[next]));
                self.lock(child, level, why);
                if !known.contains(&child) && self.column_by_then(child, column).is_none() {
                    known.insert(child);
                    heirs.push(child);
                }
            }
            next += 1;
        }
        self.lost_columns
            .retain(|(table, name)| name != column || !known.contains(table));
        heirs
    }

    /// The column of that name, unless it has been dropped by then.
    pub(super) fn column_by_then(
        &self,
        relation: RelationId,
        name: &ServerText,
    ) -> Option<columns::Column> {
        let mut lost = self.lost_columns.iter();
        match lost.any(|(table, column)| *table == relation && column == name) {
            true => None,
            false => self.column(relation, name),
        }
    }

    /// A column goes from those that have it from there alone; the others keep it
    /// (`ATExecDropColumn`).
    pub(super) fn drop_column(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        column: &ServerText,
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
        let column_of = |(object, found): (RelationId, columns::Column)| Address {
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

    pub(super) fn add_column(&mut self, relation: RelationId, level: LockMode, column: &Column) {
        let heirs = self.lock_heirs_of(relation, level, &column.name);
        if column.rewrites {
            heirs
                .iter()
                .for_each(|member| self.rewrite(*member, AccessExclusive));
        }
        self.lock_types(column);
        let why = format!("named in the default of {}", column.name.for_people());
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

    pub(super) fn column_type(
        &mut self,
        relation: RelationId,
        only: bool,
        level: LockMode,
        column: &ServerText,
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
                    let why = format!("sequence of the column {}", column.for_people());
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
                        self.lock_index_with(column, dependent.object);
                    }
                    class::CONSTRAINT => self.rebuilt(dependent.object, member, column, rewrites),
                    class::ATTRIBUTE_DEFAULT => {
                        for named in depend::named_by(dependent) {
                            let why = format!(
                                "named in the default of the column {}",
                                column.for_people()
                            );
                            self.depend_on(named, why);
                        }
                    }
                    _ => (),
                }
            }
        }
    }

    /// An index that a change of a column's type drops and makes anew, with those of partitions.
    fn lock_index_with(&mut self, column: &ServerText, index: RelationId) {
        let why = format!("index with the column {}", column.for_people());
        self.lock(index, AccessExclusive, &*why);
        for child in reach::below(index) {
            self.lock(child, AccessExclusive, &*why);
        }
    }

    /// A constraint that a change of a column's type drops and makes anew.
    fn rebuilt(
        &mut self,
        constraint: u32,
        table: RelationId,
        column: &ServerText,
        rewritten: bool,
    ) {
        let Some(found) = constraints::constraint(constraint).filter(|_| !self.is_gone(constraint))
        else {
            return;
        };
        match found.kind {
            b'f' => self.rebuilt_key(constraint, table, column, rewritten),
            b'p' | b'u' | b'x' if found.index != 0 => {
                self.lock_index_with(column, found.index);
                for key in constraints::referencing(found.table) {
                    if key.index == found.index {
                        self.rebuilt_key(key.id, table, column, rewritten);
                    }
                }
            }
            _ => (),
        }
    }

    /// A foreign key that is made anew.
    fn rebuilt_key(&mut self, key: u32, table: RelationId, column: &ServerText, rewritten: bool) {
        let Some(found) = constraints::constraint(key).filter(|_| !self.is_gone(key)) else {
            return;
        };
        let name = constraints::name(key);
        let of_column = column.for_people();
        for (side, what) in [(found.table, "has"), (found.referenced, "is referenced by")] {
            if side != table {
                let why = format!("{what} the foreign key {name} with the column {of_column}");
                self.lock(side, AccessExclusive, why);
            }
        }
        self.depend_on(found.index, format!("index that foreign key {name} needs"));
        for member in reach::parts(found.referenced) {
            self.lock_because(member, ShareRowExclusive, || {
                format!("referenced by foreign key {name}")
            });
        }
        // What compares the columns is the same where the table is not written anew
        // (`TryReuseForeignKey`).
        if found.is_valid && rewritten {
            self.check(found.table, found.referenced);
        }
        for (dependent, _) in depend::dependents(whole(class::CONSTRAINT, key)) {
            if let Some(relation) = depend::relation_of(dependent) {
                self.lock_because(relation, AccessExclusive, || {
                    format!("part of the foreign key {name}")
                });
            }
        }
    }
}
