//! From the text of statements to the locks that they would take: parsed by the server, worked out on
//! the catalogs, never run.

mod alter;
mod create;
mod deletion;
mod foreign_key;
mod maintenance;
mod names;
mod query;
mod reach;
mod transaction;
mod unseen;

use crate::ddl::{Address, Name, Statement};
use crate::lock::{LockMode, ModeSet, RelationId};
use crate::pg::depend::catalog as class;
use crate::pg::event::EventTrigger;
use crate::pg::{catalog, parser, roles, settings, wait};
use crate::server_text::ServerText;
use crate::undo::{List, Map};
use deletion::Handed;
use foreign_key::MadeKey;
use names::{Found, Names};
use std::collections::{HashMap, HashSet};

/// One thing that a statement would lock or wait for, or that cannot be told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The statement's place in the text, from 1 on.
    pub statement: i32,
    /// None where it cannot be told ahead, as in a DO block.
    pub relation: Option<RelationId>,
    pub effect: Effect,
    /// Why, in a few words.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The relation is locked in that mode.
    Lock(LockMode),
    /// Not locked so, but waited for until no other transaction holds a lock on the relation that
    /// conflicts with that mode (`WaitForLockers` in `lmgr.c`).
    AwaitLockers(LockMode),
    /// Every transaction of this database with a snapshot older than the statement's is waited for
    /// (`WaitForOlderSnapshots` in `indexcmds.c`).
    AwaitSnapshots,
    /// It cannot be told ahead.
    Unseen,
}

/// What the statements would lock and wait for, in their order.
///
/// # Errors
/// Raises 42601 for text that is no SQL, with its position.
pub fn script(text: &ServerText) -> Vec<Planned> {
    settings::with_settings_kept(|| {
        let _reading = catalog::Reading::begin();
        let mut plan = Plan::default();
        let mut left = parser::parse(text);
        while let Some(parsed) = left.next(&mut plan.types) {
            wait::answer_interrupts();
            plan.next();
            if let Some(tag) = &parsed.tag_of_ddl {
                plan.event_triggers(tag);
            }
            plan.statement(&parsed.statement);
        }
        plan.rows
    })
}

/// What one statement would lock and wait for.
pub fn statement(statement: &Statement) -> Vec<Planned> {
    settings::with_settings_kept(|| {
        let _reading = catalog::Reading::begin();
        let mut plan = Plan::default();
        plan.next();
        plan.statement(statement);
        plan.rows
    })
}

/// What has been found so far.
#[derive(Default)]
struct Plan {
    number: i32,
    rows: Vec<Planned>,
    /// What this statement locks already.
    locked: HashMap<RelationId, Locked>,
    /// What of this statement has been said that is no lock.
    noted: HashSet<(Option<RelationId>, Effect, String)>,
    names: Names,
    /// Foreign keys that earlier statements have made between tables that exist.
    made_keys: List<MadeKey>,
    /// Columns that earlier statements, or parts of this one, have dropped.
    lost_columns: List<(RelationId, ServerText)>,
    /// Columns that have got another type.
    retyped: List<(RelationId, ServerText)>,
    /// What has been dropped by then.
    gone: Map<Address, ()>,
    /// Who inherits no longer from whom, since an earlier statement.
    parted: List<(RelationId, RelationId)>,
    /// What is called so by now, by its catalog and relation, and the name that it has there.
    renamed_parts: Map<(u32, RelationId, ServerText), ServerText>,
    /// Views that an earlier statement has replaced, and what they read now.
    replaced_views: Map<RelationId, Vec<Found>>,
    /// Tables on which earlier statements have made a trigger, and the function of that where it exists.
    made_triggers: List<(RelationId, Option<Address>)>,
    /// What earlier statements have given to whom.
    handed: List<(Handed, u32)>,
    /// What depends on what since an earlier statement, and how.
    made: List<(Address, Address, u8)>,
    /// What the names of types mean by now.
    types: parser::Types,
    /// Where a transaction, and each savepoint in it, began.
    saved: Vec<transaction::Saved>,
    event_triggers: Option<Vec<EventTrigger>>,
}

/// What one statement locks of one relation.
#[derive(Default)]
struct Locked {
    /// Against which modes its locks stand.
    against: ModeSet,
    /// Where its rows are.
    rows: Vec<usize>,
}

/// The part of a relation that is something which an earlier statement has made on it.
const MADE_ON_IT: i32 = -1;

impl Plan {
    fn next(&mut self) {
        self.number += 1;
        self.locked.clear();
        self.noted.clear();
    }

    /// The relation is locked in that mode. System catalogs are not told of.
    fn lock(&mut self, relation: RelationId, mode: LockMode, reason: impl Into<String>) {
        self.lock_because(relation, mode, || reason.into());
    }

    /// The same, with a reason that is made up only where it is wanted: of a large tree most relations are
    /// reached several times.
    fn lock_because(
        &mut self,
        relation: RelationId,
        mode: LockMode,
        reason: impl FnOnce() -> String,
    ) {
        wait::answer_interrupts();
        if self
            .gone
            .contains_key(&deletion::whole(class::CLASS, relation))
        {
            return;
        }
        let known = self.locked.entry(relation).or_default();
        if mode.conflicts().is_subset_of(known.against) {
            return;
        }
        if catalog::relation(relation).is_none_or(|facts| facts.is_catalog) {
            return;
        }
        known.against = known.against.union(mode.conflicts());
        let row = Planned {
            statement: self.number,
            relation: Some(relation),
            effect: Effect::Lock(mode),
            reason: reason(),
        };
        // A stronger lock says all that a weaker one did.
        let is_weaker = |row: &Planned| matches!(row.effect, Effect::Lock(weaker) if weaker.conflicts().is_subset_of(mode.conflicts()));
        match known
            .rows
            .iter()
            .rev()
            .find(|at| is_weaker(&self.rows[**at]))
        {
            Some(weaker) => self.rows[*weaker] = row,
            None => {
                known.rows.push(self.rows.len());
                self.rows.push(row);
            }
        }
    }

    /// Something that is made, and stored, comes to depend on the relation.
    fn depend_on(&mut self, relation: RelationId, reason: impl Into<String>) {
        if catalog::locks_dependencies() {
            self.lock(relation, LockMode::AccessShare, reason);
        }
    }

    fn note(&mut self, relation: Option<RelationId>, effect: Effect, reason: impl Into<String>) {
        let reason = reason.into();
        if self.noted.insert((relation, effect, reason.clone())) {
            self.rows.push(Planned {
                statement: self.number,
                relation,
                effect,
                reason,
            });
        }
    }

    fn unseen(&mut self, reason: impl Into<String>) {
        self.note(None, Effect::Unseen, reason);
    }

    /// The relation that exists now and that a name means at this point of the script. None where it
    /// was made earlier in the script, or, which is said, where there is none.
    fn find(&mut self, name: &Name) -> Option<RelationId> {
        self.find_if(name, false)
    }

    fn find_if(&mut self, name: &Name, missing_ok: bool) -> Option<RelationId> {
        wait::answer_interrupts();
        match self.names.find(name) {
            Found::Existing(relation) => Some(relation),
            Found::Made(_) => None,
            Found::Missing => {
                if !self.is_elsewhere(name) && !missing_ok {
                    self.unseen(format!("relation \"{}\" does not exist", shown(name)));
                }
                None
            }
        }
    }

    /// It is there from here on.
    fn make(&mut self, name: &Name) {
        if !self.is_elsewhere(name) {
            self.names.make(name);
        }
    }

    /// Whether a name has another database in front, which is said: the server refuses the statement.
    fn is_elsewhere(&mut self, name: &Name) -> bool {
        if name.other_database.is_some() {
            self.unseen(format!(
                "relation \"{}\" is in another database",
                shown(name)
            ));
        }
        name.other_database.is_some()
    }

    fn statement(&mut self, statement: &Statement) {
        use Statement::*;
        wait::check_stack();
        match statement {
            Drop { .. }
            | DropObjects { .. }
            | DropPart { .. }
            | DropSchemas { .. }
            | DropOwned { .. }
            | ReassignOwned { .. } => self.deletion(statement),
            AlterTable { .. }
            | Rename { .. }
            | RenamePart { .. }
            | SetSchema { .. }
            | MoveObject { .. }
            | MoveAll { .. }
            | AlterDomain { .. }
            | AlterTypeOwner { .. }
            | AlterSequence { .. } => self.alter(statement),
            CreateIndex { .. }
            | CreateTrigger { .. }
            | CreateRule { .. }
            | Policy { .. }
            | CreateStatistics { .. }
            | CreateView { .. }
            | CreateTableAs { .. }
            | CreateTable(_)
            | CreateType { .. }
            | CreateFunction { .. }
            | CreateSequence { .. }
            | Publication { .. }
            | AlterPublication { .. } => self.create(statement),
            Truncate { .. }
            | Cluster { .. }
            | Vacuum { .. }
            | Reindex { .. }
            | Refresh { .. }
            | Lock { .. } => self.maintenance(statement),
            Query { references, runs } => self.query(references, *runs),
            Describe { name } => {
                if let Some(relation) = self.find(name) {
                    self.lock(relation, LockMode::ShareUpdateExclusive, "named");
                }
            }
            DescribePart { table } => {
                if let Some(relation) = self.find(table) {
                    self.lock(relation, LockMode::AccessShare, "named");
                }
            }
            Grant { names } => {
                for name in names {
                    match self.find(name) {
                        Some(relation) if catalog::GRANT_LOCKS_RELATIONS => {
                            self.lock(relation, LockMode::AccessShare, "named");
                        }
                        _ => (),
                    }
                }
            }
            DependsOn { name } => {
                if let Some(relation) = self.find(name) {
                    self.lock(relation, LockMode::AccessExclusive, "named");
                }
            }
            Made(name) => self.make(name),
            Transaction(step) => self.transaction(step),
            Several(all) => all.iter().for_each(|one| self.statement(one)),
            CreateSchema { name, elements } => {
                self.names.make_schema(name);
                // It is searched first for what is made in it.
                let path = settings::search_path_setting();
                let first = name.quoted();
                let both = match path.as_bytes().trim_ascii().is_empty() {
                    true => first,
                    false => ServerText::join(&[first, path.clone()], c", "),
                };
                settings::set_search_path(&both);
                elements.iter().for_each(|one| self.statement(one));
                settings::set_search_path(&path);
            }
            RenameSchema { name, to } => self.names.rename_schema(name, to),
            SearchPath(path) => match path {
                Some(path) => settings::set_search_path(path),
                None => settings::set_search_path(&settings::search_path_at_first()),
            },
            ChecksOfBodies(is_on) => settings::set_checks_of_bodies(*is_on),
            Role(role) => {
                let role = role.clone().or_else(roles::session);
                self.names.set_role(role);
            }
            Unseen(why) => self.unseen(why),
            Nothing => (),
        }
    }
}

fn shown(name: &Name) -> String {
    let parts = [&name.other_database, &name.schema].into_iter().flatten();
    let parts: Vec<ServerText> = parts.chain([&name.name]).cloned().collect();
    ServerText::join(&parts, c".").for_people()
}
