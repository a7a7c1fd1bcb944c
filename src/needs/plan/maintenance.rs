//! TRUNCATE, LOCK TABLE, VACUUM, ANALYZE, CLUSTER, REINDEX, REFRESH.

use super::names::Found;
use super::query::read_by_view;
use super::reach::{self, MATERIALIZED_VIEW, PARTITIONED, PARTITIONED_INDEX, TABLE, VIEW};
use super::{Effect, Plan};
use crate::ddl::{Name, Reach, Statement};
use crate::lock::LockMode::{self, *};
use crate::lock::RelationId;
use crate::pg::{catalog, constraints, tablespace};
use crate::server_text::ServerText;
use std::collections::HashSet;

impl Plan {
    pub(super) fn maintenance(&mut self, statement: &Statement) {
        match statement {
            Statement::Truncate {
                names,
                cascade,
                restarts,
            } => self.truncate(names, *cascade, *restarts),
            Statement::Cluster { name, index } => self.cluster(name.as_ref(), index.as_ref()),
            Statement::Vacuum {
                names,
                full,
                analyzes,
                vacuums,
                main,
                toast,
            } => {
                let relations: Vec<(RelationId, bool)> = match names.is_empty() {
                    true => tablespace::vacuumed()
                        .into_iter()
                        .map(|relation| (relation, false))
                        .collect(),
                    false => names
                        .iter()
                        .filter_map(|name| Some((self.find(name)?, name.only)))
                        .collect(),
                };
                for (relation, only) in relations {
                    let follows = catalog::VACUUM_FOLLOWS_INHERITANCE && !names.is_empty();
                    let only = only || (reach::kind(relation) != PARTITIONED && !follows);
                    for member in reach::family(relation, only) {
                        self.vacuum(member, *full, *analyzes, *vacuums, *main, *toast);
                    }
                }
            }
            Statement::Reindex {
                reach,
                concurrently,
            } => self.reindex(reach, *concurrently),
            Statement::Refresh {
                name,
                concurrently,
                with_data,
            } => {
                self.refresh(name, *concurrently, *with_data);
            }
            Statement::Lock { names, mode } => self.lock_tables(names, *mode),
            _ => (),
        }
    }

    /// LOCK TABLE takes a view's relations with it (`LockViewRecurse` in `lockcmds.c`).
    fn lock_tables(&mut self, names: &[Name], mode: LockMode) {
        let mut seen = HashSet::new();
        for name in names {
            let view = match self.find(name) {
                Some(relation) if reach::kind(relation) != VIEW => {
                    self.lock_family(relation, name.only, mode, "named");
                    continue;
                }
                Some(view) => {
                    self.lock(view, mode, "named");
                    Found::Existing(view)
                }
                None => self.names.find(name),
            };
            if !self.is_view(view) {
                continue;
            }
            self.each_behind(view, &mut seen, |plan, view, read| {
                if let Found::Existing(relation) = read {
                    let why = read_by_view(view);
                    match reach::kind(relation) {
                        TABLE | PARTITIONED => drop(plan.lock_family(relation, false, mode, &why)),
                        VIEW => plan.lock(relation, mode, why),
                        _ => (),
                    }
                }
                plan.is_view(read)
            });
        }
    }

    fn is_view(&self, found: Found) -> bool {
        match found {
            Found::Existing(relation) => reach::kind(relation) == VIEW,
            Found::Made(made) => self.names.is_view(made),
            Found::Missing => false,
        }
    }

    fn truncate(&mut self, names: &[Name], cascade: bool, restarts: bool) {
        let mut all: Vec<RelationId> = vec![];
        for name in names {
            if let Some(relation) = self.find(name) {
                all.extend(self.lock_family(relation, name.only, AccessExclusive, "truncated"));
            }
        }
        let mut known: HashSet<RelationId> = all.iter().copied().collect();
        let mut next = 0;
        while cascade && next < all.len() {
            for key in constraints::referencing(all[next]) {
                if !known.contains(&key.table) {
                    let why = format!(
                        "its foreign key {} references {}",
                        constraints::name(key.id),
                        reach::name(all[next])
                    );
                    for member in reach::parts(key.table) {
                        self.lock(member, AccessExclusive, &*why);
                        known.insert(member);
                        all.push(member);
                    }
                }
            }
            for from in self.made_keys_to(all[next]) {
                if !known.contains(&from) {
                    let why = "its foreign key, made before, references one of them";
                    let family = self.lock_family(from, false, AccessExclusive, why);
                    known.extend(&family);
                    all.extend(family);
                }
            }
            next += 1;
        }
        for relation in all {
            if reach::kind(relation) == TABLE {
                self.lock_storage(relation, AccessExclusive, "which is truncated");
            }
            self.triggers(relation, true);
            if restarts {
                for sequence in self.owned_sequences(relation) {
                    let why = format!("sequence of {}, restarted", reach::name(relation));
                    self.lock(sequence, catalog::RESTART_LOCK, why);
                }
            }
        }
    }

    fn cluster(&mut self, name: Option<&Name>, index: Option<&ServerText>) {
        let Some(name) = name else {
            for table in tablespace::clustered() {
                self.cluster_one(table, "clustered on an index before");
            }
            return;
        };
        let Some(relation) = self.find(name) else {
            return;
        };
        self.lock(relation, AccessExclusive, "clustered");
        if let Some(index) = index {
            self.index_of(relation, index);
        }
        for member in reach::parts(relation) {
            if reach::kind(member) != PARTITIONED {
                self.cluster_one(member, "clustered");
            } else if let Some(index) = index.and_then(|index| self.index_of(relation, index)) {
                self.lock(index, AccessShare, "to be clustered on");
            }
        }
    }

    fn cluster_one(&mut self, table: RelationId, why: &str) {
        self.lock_composites(table);
        self.lock(table, AccessExclusive, why);
        self.lock_storage(table, AccessExclusive, "which is clustered");
    }

    fn vacuum(
        &mut self,
        relation: RelationId,
        full: bool,
        analyzes: bool,
        vacuums: bool,
        main: bool,
        toast: bool,
    ) {
        let storage = reach::kind(relation) != PARTITIONED;
        if vacuums && !storage {
            // It has nothing to vacuum, which is found out when it is open.
            let mode = if full {
                AccessExclusive
            } else {
                ShareUpdateExclusive
            };
            self.lock(relation, mode, "named, or one of those to vacuum");
        } else if vacuums && full {
            self.lock_composites(relation);
            self.lock(relation, AccessExclusive, "vacuumed in full");
            self.lock_storage(relation, AccessExclusive, "which is vacuumed in full");
        } else if vacuums {
            if main {
                self.lock(relation, ShareUpdateExclusive, "vacuumed");
                self.lock_indexes(relation, RowExclusive, "which is vacuumed");
            }
            let toast_table = catalog::relation(relation).and_then(|facts| facts.toast);
            if let Some(table) = toast_table.filter(|_| toast) {
                let why = format!("TOAST table of {}, vacuumed too", reach::name(relation));
                self.lock(table, ShareUpdateExclusive, why);
                self.lock_indexes(table, RowExclusive, "which is vacuumed");
            }
        }
        if analyzes {
            self.lock(relation, ShareUpdateExclusive, "analyzed");
            if storage {
                self.lock_indexes(relation, AccessShare, "which is analyzed");
            }
            for child in reach::below(relation) {
                self.lock(
                    child,
                    AccessShare,
                    format!("read with {}", reach::name(relation)),
                );
            }
        }
    }

    fn reindex(&mut self, reach: &Reach, concurrently: bool) {
        match reach {
            Reach::Index(name) => {
                let Some(index) = self.find(name) else {
                    return;
                };
                self.reindex_index(index, concurrently);
                for member in self.lock_below(index) {
                    self.reindex_index(member, concurrently);
                }
            }
            Reach::Table(name) => {
                let Some(relation) = self.find(name) else {
                    return;
                };
                self.reindex_table(relation, concurrently);
                if reach::kind(relation) == PARTITIONED {
                    for member in self.lock_below(relation) {
                        self.reindex_table(member, concurrently);
                    }
                }
            }
            Reach::Schema(schema) => {
                for relation in tablespace::reindexed(catalog::schema(schema)) {
                    self.reindex_table(relation, concurrently);
                }
            }
            Reach::Database => {
                for relation in tablespace::reindexed(None) {
                    self.reindex_table(relation, concurrently);
                }
            }
            Reach::System => (),
        }
    }

    /// What hangs below a partitioned relation is listed first (`ReindexPartitions` in `indexcmds.c`), and
    /// then rebuilt as far as it has storage.
    fn lock_below(&mut self, relation: RelationId) -> Vec<RelationId> {
        let mut below = reach::below(relation);
        for member in &below {
            let why = format!("part of {}", reach::name(relation));
            self.lock(*member, Share, why);
        }
        below.retain(|member| !matches!(reach::kind(*member), PARTITIONED | PARTITIONED_INDEX));
        below
    }

    fn reindex_index(&mut self, index: RelationId, concurrently: bool) {
        let Some(table) = catalog::table_of_index(index) else {
            return;
        };
        match concurrently {
            true => self.reindex_concurrently(table, &[index]),
            false => {
                self.lock(table, Share, "its index is rebuilt");
                self.lock(index, AccessExclusive, "rebuilt");
            }
        }
    }

    fn reindex_table(&mut self, relation: RelationId, concurrently: bool) {
        let toast = catalog::relation(relation).and_then(|facts| facts.toast);
        if concurrently {
            let own = match reach::kind(relation) {
                PARTITIONED => vec![],
                _ => reach::indexes(relation),
            };
            self.reindex_concurrently(relation, &own);
            if let Some(toast) = toast {
                self.reindex_concurrently(toast, &reach::indexes(toast));
            }
            return;
        }
        self.lock(relation, Share, "its indexes are rebuilt");
        if reach::kind(relation) != PARTITIONED {
            self.lock_indexes(relation, AccessExclusive, "rebuilt");
        }
        if let Some(toast) = toast {
            self.lock(
                toast,
                Share,
                format!(
                    "TOAST table of {}, its index is rebuilt",
                    reach::name(relation)
                ),
            );
            self.lock_indexes(toast, AccessExclusive, "rebuilt");
        }
    }

    fn reindex_concurrently(&mut self, table: RelationId, indexes: &[RelationId]) {
        self.lock(table, ShareUpdateExclusive, "its indexes are rebuilt");
        if reach::kind(table) == PARTITIONED {
            for index in indexes {
                self.lock(*index, ShareUpdateExclusive, "its parts are rebuilt");
            }
            return;
        }
        for index in indexes {
            // One that excludes is passed over; of the others the old one goes, once nobody uses it.
            let (mode, why) = match catalog::index(*index).is_some_and(|facts| facts.excludes) {
                true => (ShareUpdateExclusive, "looked at"),
                false => (AccessExclusive, "rebuilt, then dropped"),
            };
            self.lock(*index, mode, why);
        }
        let why = "waits until no transaction uses the table's indexes as they were";
        self.note(Some(table), Effect::AwaitLockers(AccessExclusive), why);
        self.note(
            None,
            Effect::AwaitSnapshots,
            "waits for all transactions with an older snapshot",
        );
    }

    fn refresh(&mut self, name: &Name, concurrently: bool, with_data: bool) {
        let Some(view) = self.find(name) else {
            if with_data {
                self.read_by(self.names.find(name));
            }
            return;
        };
        if reach::kind(view) != MATERIALIZED_VIEW {
            return;
        }
        match concurrently {
            true => {
                self.lock(view, Exclusive, "refreshed");
                self.lock_indexes(view, RowExclusive, "which is refreshed");
            }
            false => {
                self.lock(view, AccessExclusive, "refreshed");
                self.lock_storage(view, AccessExclusive, "which is refreshed");
            }
        }
        if with_data {
            self.read_by(Found::Existing(view));
        }
    }

    /// What the query of a materialized view reads.
    fn read_by(&mut self, view: Found) {
        if let Found::Existing(view) = view {
            self.called_by_query_of(view);
        }
        self.each_behind(view, &mut HashSet::new(), |plan, view, read| {
            let why = match view {
                Found::Existing(view) => format!("read by {}", reach::name(view)),
                _ => "read by a view that was made before".into(),
            };
            match read {
                Found::Existing(relation) if plan.is_view(read) => {
                    plan.lock(relation, AccessShare, why);
                    plan.called_by_query_of(relation);
                }
                Found::Existing(relation) => plan.read_planned(relation, &why),
                _ => (),
            }
            plan.is_view(read)
        });
    }
}
