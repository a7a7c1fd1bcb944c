//! What belongs to a relation: its kinds of storage, its family.

use super::Plan;
use super::deletion::whole;
use super::names::Found;
use crate::ddl::{Address, Name, Part};
use crate::lock::{LockMode, RelationId};
use crate::pg::depend::{self, catalog as class};
use crate::pg::{catalog, columns, inheritance, types, wait};
use crate::server_text::ServerText;
use std::collections::HashSet;

pub const TABLE: u8 = b'r';
pub const PARTITIONED: u8 = b'p';
pub const INDEX: u8 = b'i';
pub const PARTITIONED_INDEX: u8 = b'I';
pub const SEQUENCE: u8 = b'S';
pub const VIEW: u8 = b'v';
pub const MATERIALIZED_VIEW: u8 = b'm';
pub const COMPOSITE: u8 = b'c';

pub fn kind(relation: RelationId) -> u8 {
    catalog::relation(relation).map_or(0, |facts| facts.kind)
}

pub fn is_index(relation: RelationId) -> bool {
    matches!(kind(relation), INDEX | PARTITIONED_INDEX)
}

pub fn indexes(relation: RelationId) -> Vec<RelationId> {
    match catalog::relation(relation) {
        Some(facts) if facts.has_indexes => catalog::indexes(relation),
        _ => vec![],
    }
}

/// The relation and, unless only it is meant, all that inherit from it.
pub fn family(relation: RelationId, only: bool) -> Vec<RelationId> {
    match catalog::relation(relation) {
        Some(facts) if facts.has_children && !only => inheritance::descendants(relation),
        _ => vec![relation],
    }
}

/// The relation and its partitions: a foreign key means the rows of these, and none of tables that merely
/// inherit.
pub fn parts(relation: RelationId) -> Vec<RelationId> {
    family(relation, kind(relation) != PARTITIONED)
}

/// Those below a relation.
pub fn below(relation: RelationId) -> Vec<RelationId> {
    let mut all = family(relation, false);
    all.retain(|member| *member != relation);
    all
}

pub fn default_partition(parent: RelationId) -> Option<RelationId> {
    catalog::default_partition(parent)
}

pub fn parents(relation: RelationId) -> Vec<RelationId> {
    inheritance::parents(Some(relation))
        .remove(&relation)
        .unwrap_or_default()
}

/// All that a relation inherits from, directly or not.
pub fn ancestors(relation: RelationId) -> Vec<RelationId> {
    let mut all = reached(relation, parents);
    all.remove(0);
    all
}

/// The relation and all that are come to from it by such steps, however many, each once, the nearest first.
fn reached(relation: RelationId, step: impl Fn(RelationId) -> Vec<RelationId>) -> Vec<RelationId> {
    let mut all = vec![relation];
    let mut seen = HashSet::from([relation]);
    let mut next = 0;
    while next < all.len() {
        wait::answer_interrupts();
        let further = step(all[next]);
        all.extend(further.into_iter().filter(|one| seen.insert(*one)));
        next += 1;
    }
    all
}

/// In quotes of its own only where SQL needs them.
pub fn name(relation: RelationId) -> String {
    catalog::name(relation)
}

/// The catalog that has the names of such parts.
pub fn class_of(part: Part) -> u32 {
    match part {
        Part::Column => class::CLASS,
        Part::Constraint => class::CONSTRAINT,
        Part::Trigger => class::TRIGGER,
        Part::Rule => class::REWRITE,
        Part::Policy => class::POLICY,
    }
}

impl Plan {
    /// What is called so on a relation at this point of the script, of those that exist now.
    pub(super) fn named(
        &self,
        class: u32,
        relation: RelationId,
        name: &ServerText,
    ) -> Option<Address> {
        depend::named(class, relation, self.first_name(class, relation, name))
    }

    /// The same of a column.
    pub(super) fn column(
        &self,
        relation: RelationId,
        name: &ServerText,
    ) -> Option<columns::Column> {
        columns::column(relation, self.first_name(class::CLASS, relation, name))
    }

    fn first_name<'a>(
        &'a self,
        class: u32,
        relation: RelationId,
        name: &'a ServerText,
    ) -> &'a ServerText {
        let key = (class, relation, name.clone());
        self.renamed_parts.get(&key).unwrap_or(name)
    }

    /// A part of a relation is called `to` from here on, in those too that inherit it.
    pub(super) fn part_is_called(
        &mut self,
        part: Part,
        table: &Name,
        name: &ServerText,
        to: &ServerText,
    ) {
        if part == Part::Constraint {
            self.names.rename_key(table, name, to);
        }
        let Found::Existing(relation) = self.names.find(table) else {
            return;
        };
        let mut keys = self.made_keys.iter();
        if part == Part::Constraint
            && let Some(at) = keys.position(|key| key.from == relation && key.name == *name)
        {
            self.made_keys.change(at, |key| key.name.clone_from(to));
            return;
        }
        let class = class_of(part);
        for member in family(relation, table.only) {
            let first = self.first_name(class, member, name).clone();
            self.renamed_parts.remove(&(class, member, name.clone()));
            self.renamed_parts
                .insert((class, member, to.clone()), first);
        }
    }

    /// All members, and each that is not the first because it inherits.
    pub(super) fn lock_family(
        &mut self,
        relation: RelationId,
        only: bool,
        mode: LockMode,
        reason: &str,
    ) -> Vec<RelationId> {
        let family = match only {
            true => vec![relation],
            false => self.family_by_then(relation),
        };
        for member in &family {
            wait::answer_interrupts();
            match *member == relation {
                true => self.lock(*member, mode, reason),
                false => self.lock_because(*member, mode, || {
                    format!("inherits from {}", name(relation))
                }),
            }
        }
        family
    }

    /// The sequences that belong to columns of a table, those too that an earlier statement gave it.
    pub(super) fn owned_sequences(&self, table: RelationId) -> Vec<RelationId> {
        let of_table = |(by, on, _): &&(Address, Address, u8)| {
            *on == whole(class::CLASS, table) && kind(by.object) == SEQUENCE
        };
        let made = self.made.iter().filter(of_table);
        let made: Vec<RelationId> = made.map(|(by, _, _)| by.object).collect();
        let mut all = depend::owned_sequences(table, None);
        all.extend(made);
        all
    }

    /// The relation and all that inherit from it by then: earlier statements may have put some under one of
    /// them, and taken others out.
    pub(super) fn family_by_then(&self, relation: RelationId) -> Vec<RelationId> {
        if self.made.is_empty() && self.parted.is_empty() {
            return family(relation, false);
        }
        reached(relation, |parent| self.children(parent))
    }

    /// Those that inherit directly from a relation by then.
    pub(super) fn children(&self, parent: RelationId) -> Vec<RelationId> {
        let mut all = match catalog::relation(parent) {
            Some(facts) if facts.has_children => inheritance::children(parent),
            _ => vec![],
        };
        all.retain(|child| !self.parted.contains(&(*child, parent)));
        for (child, on, _) in &self.made {
            let is_child = child.class == class::CLASS && child.part == 0;
            if is_child
                && *on == whole(class::CLASS, parent)
                && kind(child.object) != SEQUENCE
                && !all.contains(&child.object)
            {
                all.push(child.object);
            }
        }
        all
    }

    /// A table's indexes, and its TOAST table with its index.
    pub(super) fn lock_storage(&mut self, relation: RelationId, mode: LockMode, what: &str) {
        self.lock_indexes(relation, mode, what);
        self.lock_toast(relation, mode, what);
    }

    pub(super) fn lock_indexes(&mut self, relation: RelationId, mode: LockMode, what: &str) {
        for index in indexes(relation) {
            self.lock_because(index, mode, || {
                format!("index of {}, {what}", name(relation))
            });
        }
    }

    pub(super) fn lock_toast(&mut self, relation: RelationId, mode: LockMode, what: &str) {
        let Some(toast) = catalog::relation(relation).and_then(|facts| facts.toast) else {
            return;
        };
        let of = name(relation);
        self.lock_because(toast, mode, || format!("TOAST table of {of}, {what}"));
        for index in catalog::indexes(toast) {
            self.lock_because(index, mode, || {
                format!("index of the TOAST table of {of}, {what}")
            });
        }
    }

    /// The tables whose rows are in a relation's columns, which are looked at when it is made again. So are
    /// composite types that are nothing else, but for that moment alone, and only their own ALTER or DROP
    /// would be in the way.
    pub(super) fn lock_composites(&mut self, relation: RelationId) {
        for type_id in columns::column_types(relation) {
            for composite in types::composites_of_type(type_id) {
                let why = format!("type of a column of {}", name(relation));
                self.lock(composite, LockMode::AccessShare, why);
            }
        }
    }

    /// An index named without schema: it is in that of its table.
    pub(super) fn index_of(&mut self, table: RelationId, index: &ServerText) -> Option<RelationId> {
        match self.names.find_beside(Found::Existing(table), index) {
            Found::Existing(index) => Some(index),
            _ => None,
        }
    }
}
