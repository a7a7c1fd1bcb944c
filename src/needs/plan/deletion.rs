//! DROP: everything that goes with an object, by `pg_depend` (`findDependentObjects` in `dependency.c`),
//! and what the removal of each locks.

use super::names::{Found, Schema};
use super::reach::{self, COMPOSITE};
use super::{Effect, MADE_ON_IT, Plan};
use crate::ddl::{Address, Name, Part, Statement};
use crate::lock::{LockMode, RelationId};
use crate::pg::depend::catalog as class;
use crate::pg::depend::{self, EXTENSION, INTERNAL, NORMAL};
use crate::pg::{catalog, constraints, wait};
use crate::server_text::ServerText;
use std::collections::HashSet;

use LockMode::{AccessExclusive, ShareUpdateExclusive};

/// What an earlier statement has given another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    Relation(RelationId),
    /// All that a role had.
    AllOf(u32),
}

impl Plan {
    pub(super) fn deletion(&mut self, statement: &Statement) {
        match statement {
            Statement::Drop {
                names,
                cascade,
                missing_ok,
                concurrently,
                ..
            } => {
                let mut targets = vec![];
                for name in names {
                    if let Some(relation) = self.find_if(name, *missing_ok) {
                        match concurrently {
                            true => self.drop_concurrently(relation),
                            false => targets.push(whole(class::CLASS, relation)),
                        }
                    }
                }
                self.delete(targets, *cascade);
                for name in names {
                    for link in self.names.unlink(name, |_| true) {
                        self.lock(link.to, AccessExclusive, link.why);
                    }
                    self.names.drop(name);
                }
            }
            Statement::DropSchemas { names, cascade } => {
                let mut targets = vec![];
                for name in names {
                    if let Some(Schema::Existing(schema)) = self.names.schema(name) {
                        let schema = catalog::schema(&schema);
                        targets.extend(schema.map(|schema| whole(class::SCHEMA, schema)));
                    }
                    for inside in self.names.drop_schema(name) {
                        match inside {
                            Found::Existing(relation) => {
                                targets.push(whole(class::CLASS, relation));
                            }
                            Found::Made(made) => {
                                for link in self.names.links_of(made) {
                                    self.lock(link.to, AccessExclusive, link.why);
                                }
                            }
                            Found::Missing => (),
                        }
                    }
                }
                self.delete(targets, *cascade);
            }
            Statement::DropObjects {
                objects,
                has_made,
                cascade,
            } => {
                self.delete(objects.clone(), *cascade);
                if *has_made && *cascade {
                    for (relation, _) in self.made_triggers_of(None) {
                        let why = "a trigger on it, made before, may call one of them";
                        let only = reach::kind(relation) != reach::PARTITIONED;
                        self.lock_family(relation, only, AccessExclusive, why);
                    }
                }
            }
            Statement::DropPart {
                part,
                table,
                name,
                cascade,
            } => {
                self.drop_part(*part, table, name, *cascade);
            }
            Statement::DropOwned { roles, cascade } => self.drop_owned(roles, *cascade),
            Statement::ReassignOwned { roles, to } => self.reassign_owned(roles, *to),
            _ => (),
        }
    }

    /// The tables with triggers that earlier statements have made, calling that.
    fn made_triggers_of(&self, function: Option<Address>) -> Vec<(RelationId, Option<Address>)> {
        let made = self.made_triggers.iter();
        made.filter(|(_, calls)| *calls == function)
            .copied()
            .collect()
    }

    fn drop_concurrently(&mut self, index: RelationId) {
        // At the end, once nobody uses it any more.
        self.lock(index, AccessExclusive, "dropped concurrently");
        if let Some(table) = catalog::table_of_index(index) {
            let why = format!("table of the index {}", reach::name(index));
            self.lock(table, ShareUpdateExclusive, why);
            let why = "waits until no transaction uses the table's indexes";
            self.note(Some(table), Effect::AwaitLockers(AccessExclusive), why);
        }
    }

    fn drop_part(&mut self, part: Part, table: &Name, name: &ServerText, cascade: bool) {
        let Some(relation) = self.find(table) else {
            return;
        };
        let class = match part {
            Part::Trigger => class::TRIGGER,
            Part::Rule => class::REWRITE,
            Part::Policy => class::POLICY,
            Part::Constraint => class::CONSTRAINT,
            Part::Column => return,
        };
        match self.named(class, relation, name) {
            Some(address) => {
                self.lock(
                    relation,
                    AccessExclusive,
                    format!("{} on it is dropped", name.for_people()),
                );
                self.delete(vec![address], cascade);
            }
            None if part == Part::Trigger
                && self.made_triggers.iter().any(|(on, _)| *on == relation) =>
            {
                let only = reach::kind(relation) != reach::PARTITIONED;
                let why = "a trigger on it, made before, is dropped";
                self.lock_family(relation, only, AccessExclusive, why);
            }
            None => self.lock(
                relation,
                LockMode::AccessShare,
                format!("{} on it is looked for", name.for_people()),
            ),
        }
    }

    fn drop_owned(&mut self, roles: &[u32], cascade: bool) {
        let mut targets = self.owned_now(roles);
        for role in roles {
            for (by, kind) in depend::dependents_of_role(*role) {
                // A policy goes with the last of its roles; until then its table is not locked.
                if kind == b'r' && depend::roles_of(by).iter().all(|one| roles.contains(one)) {
                    targets.push(by);
                }
            }
        }
        self.delete(targets, cascade);
    }

    fn reassign_owned(&mut self, roles: &[u32], to: u32) {
        for by in self.owned_now(roles) {
            match by.class {
                class::CLASS => self.change_owner(by.object, Some(to), "owned by that role"),
                class::TYPE => self.change_type_owner(by.object, Some(to)),
                _ => (),
            }
        }
        let all = roles.iter().map(|role| (Handed::AllOf(*role), to));
        self.handed.extend(all);
    }

    /// What those roles own by now.
    fn owned_now(&self, roles: &[u32]) -> Vec<Address> {
        let mut owned: Vec<(Address, u32)> = vec![];
        let mut at_first = roles.to_vec();
        for (handed, _) in &self.handed {
            match handed {
                Handed::Relation(relation) => {
                    let facts = catalog::relation(*relation);
                    let owner = facts.map(|facts| (whole(class::CLASS, *relation), facts.owner));
                    owned.extend(owner.filter(|one| !owned.contains(one)));
                }
                Handed::AllOf(role) if !at_first.contains(role) => at_first.push(*role),
                Handed::AllOf(_) => (),
            }
        }
        for role in at_first {
            for (by, kind) in depend::dependents_of_role(role) {
                if kind == b'o' && !owned.contains(&(by, role)) {
                    owned.push((by, role));
                }
            }
        }
        let is_theirs = |(object, owner): &(Address, u32)| {
            let mut owner = *owner;
            for (handed, to) in &self.handed {
                let is_it = match handed {
                    Handed::Relation(relation) => whole(class::CLASS, *relation) == *object,
                    Handed::AllOf(role) => *role == owner,
                };
                if is_it {
                    owner = *to;
                }
            }
            roles.contains(&owner)
        };
        owned.retain(is_theirs);
        owned.into_iter().map(|(object, _)| object).collect()
    }

    /// What goes with these objects, and what that locks. With RESTRICT the statement fails where
    /// something else depends on them, so that nothing else is reached.
    pub(super) fn delete(&mut self, targets: Vec<Address>, cascade: bool) {
        let mut seen: HashSet<Address> = HashSet::new();
        let mut left: Vec<(Address, Option<(Address, u8)>)> = targets
            .into_iter()
            .rev()
            .map(|target| (target, None))
            .collect();
        let mut gone = vec![];
        while let Some((object, from)) = left.pop() {
            wait::answer_interrupts();
            let whole_one = Address { part: 0, ..object };
            if seen.contains(&whole_one) || !seen.insert(object) {
                continue;
            }
            self.removal(object, from);
            self.gone.insert(object, ());
            if object.class == class::CLASS && object.part == 0 {
                self.remove_made_keys(object.object);
                gone.push(object.object);
                if cascade
                    && catalog::index(object.object).is_some_and(|facts| facts.is_unique)
                    && let Some(table) = catalog::table_of_index(object.object)
                {
                    self.remove_made_keys_to(table);
                }
            }
            if from.is_some() {
                for (owner, kind) in depend::dependencies(object) {
                    // Who owns it goes instead, and it with that: so does a table with a column that it is
                    // partitioned by.
                    if matches!(kind, INTERNAL | EXTENSION)
                        && !seen.contains(&Address { part: 0, ..owner })
                        && !seen.contains(&owner)
                    {
                        left.push((owner, Some((object, NORMAL))));
                    }
                }
            }
            let made = self.made.iter().filter(|(_, on, _)| *on == object);
            let made: Vec<_> = made.map(|(by, _, kind)| (*by, *kind)).collect();
            for (dependent, kind) in made.into_iter().chain(depend::dependents(object)).rev() {
                let is_parted = self.parted.contains(&(dependent.object, object.object));
                if (kind != NORMAL || cascade) && !is_parted {
                    left.push((dependent, Some((object, kind))));
                }
            }
        }
        for relation in gone {
            self.names.drop_found(relation);
        }
    }

    /// What the removal of one object locks (`doDeletion` and `AcquireDeletionLock`).
    fn removal(&mut self, object: Address, from: Option<(Address, u8)>) {
        let because = |what: &str| match from {
            None => "dropped".to_owned(),
            Some((by, NORMAL)) => format!("{what} depends on {}", described(by)),
            Some((by, _)) => format!("{what} belongs to {}", described(by)),
        };
        match object.class {
            class::CLASS if object.part == 0 => {
                let Some(facts) = catalog::relation(object.object) else {
                    return;
                };
                if facts.kind != COMPOSITE || from.is_none_or(|(by, _)| by.class != class::TYPE) {
                    self.lock_because(object.object, AccessExclusive, || because("it"));
                } else {
                    self.lock(object.object, AccessExclusive, "dropped with its type");
                }
                if matches!(facts.kind, reach::INDEX | reach::PARTITIONED_INDEX) {
                    self.removal_of_index(object.object, facts.kind);
                } else if facts.is_partition && !from.is_some_and(|(by, _)| is_tree(by)) {
                    self.removal_of_partition(object.object);
                }
            }
            class::CLASS => {
                let what = match object.part {
                    MADE_ON_IT => "what was made on it before",
                    _ => "a column of it",
                };
                self.lock_because(object.object, AccessExclusive, || because(what));
            }
            class::CONSTRAINT => {
                let constraint = constraints::constraint(object.object);
                if let Some(constraint) = constraint.filter(|constraint| constraint.table != 0) {
                    self.lock_because(constraint.table, AccessExclusive, || {
                        let name = constraints::name(object.object);
                        because(&match constraint.kind {
                            b'f' => format!("its foreign key {name}"),
                            _ => format!("its constraint {name}"),
                        })
                    });
                }
            }
            class::TRIGGER => {
                if let Some(relation) = depend::relation_of(object) {
                    self.lock_because(
                        relation,
                        AccessExclusive,
                        || match depend::trigger_constraint(object.object) {
                            Some(key) => {
                                let key = constraints::name(key);
                                format!("referenced by foreign key {key}")
                            }
                            None => because("a trigger on it"),
                        },
                    );
                }
            }
            class::STATISTICS => {
                if let Some(relation) = depend::relation_of(object) {
                    self.lock_because(relation, ShareUpdateExclusive, || {
                        because("a statistics object on it")
                    });
                }
            }
            class::REWRITE | class::POLICY | class::ATTRIBUTE_DEFAULT => {
                let what = match object.class {
                    class::REWRITE => "a rule of it",
                    class::POLICY => "a policy on it",
                    _ => "a default in it",
                };
                if let Some(relation) = depend::relation_of(object) {
                    self.lock_because(relation, AccessExclusive, || because(what));
                }
            }
            _ => (),
        }
    }

    /// What the removal of an index locks besides.
    fn removal_of_index(&mut self, index: RelationId, kind: u8) {
        let Some(table) = catalog::table_of_index(index) else {
            return;
        };
        let why = || format!("its index {} is dropped", reach::name(index));
        match kind == reach::PARTITIONED_INDEX {
            true => drop(self.lock_family(table, false, AccessExclusive, &why())),
            false => self.lock_because(table, AccessExclusive, why),
        }
    }

    /// What the removal of a partition locks besides, unless it goes with all of its tree.
    fn removal_of_partition(&mut self, partition: RelationId) {
        for parent in reach::parents(partition) {
            let why = || format!("its partition {} is dropped", reach::name(partition));
            self.lock_because(parent, AccessExclusive, why);
            if let Some(default) = reach::default_partition(parent) {
                let why = || format!("default partition of {}", reach::name(parent));
                self.lock_because(default, AccessExclusive, why);
            }
        }
    }
}

/// Whether an object is a whole table that has partitions.
fn is_tree(object: Address) -> bool {
    object.class == class::CLASS
        && object.part == 0
        && reach::kind(object.object) == reach::PARTITIONED
}

pub fn whole(class: u32, object: u32) -> Address {
    Address {
        class,
        object,
        part: 0,
    }
}

/// An object in a reason.
fn described(object: Address) -> String {
    match object.class {
        class::CLASS if object.part == 0 => reach::name(object.object),
        class::CLASS => format!("a column of {}", reach::name(object.object)),
        class::CONSTRAINT => format!("constraint {}", constraints::name(object.object)),
        class::TYPE => "that type".into(),
        class::SCHEMA => "that schema".into(),
        _ => match depend::relation_of(object) {
            Some(relation) => format!("something on {}", reach::name(relation)),
            None => "what is dropped".into(),
        },
    }
}
