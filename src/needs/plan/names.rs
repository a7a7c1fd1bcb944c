//! What a name means at a point of a script: objects made, renamed, moved and dropped by earlier
//! statements of it count.

use crate::ddl::Name;
use crate::lock::RelationId;
use crate::pg::catalog;
use std::collections::HashMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It exists now.
    Existing(RelationId),
    /// It will have been made by then.
    Made,
    Missing,
}

/// What earlier statements have changed, by schema and name.
#[derive(Clone, Default)]
pub struct Names {
    changed: HashMap<(String, String), Found>,
    /// What the removal of something that was made here locks, and why.
    links: HashMap<(String, String), Vec<(RelationId, String)>>,
}

const TEMPORARY: &str = "pg_temp";

impl Names {
    pub fn find(&self, name: &Name) -> Found {
        let look = |schema: &str| self.changed.get(&(schema.to_owned(), name.name.clone()));
        let existing = || catalog::resolve_parts(name.schema.as_deref(), &name.name);
        if self.changed.is_empty() {
            return existing().map_or(Found::Missing, Found::Existing);
        }
        if let Some(schema) = &name.schema {
            return match look(schema) {
                Some(found) => *found,
                None => existing().map_or(Found::Missing, Found::Existing),
            };
        }
        // Along the search path, temporary ones first.
        let path = std::iter::once(TEMPORARY.to_owned()).chain(catalog::search_path());
        for schema in path {
            match look(&schema) {
                Some(Found::Missing) => continue,
                Some(found) => return *found,
                None => (),
            }
            if let Some(relation) = catalog::resolve_parts(Some(&schema), &name.name) {
                return Found::Existing(relation);
            }
        }
        Found::Missing
    }

    /// It is there from here on. What exists anyway stays what it is: the statement replaces it, skips it
    /// or fails.
    pub fn make(&mut self, name: &Name) {
        let schema = match (&name.schema, name.temporary) {
            (_, true) => TEMPORARY.to_owned(),
            (Some(schema), _) => schema.clone(),
            (None, _) => catalog::creation_schema().unwrap_or_default(),
        };
        let key = (schema, name.name.clone());
        let exists = match self.changed.get(&key) {
            Some(found) => *found != Found::Missing,
            None => catalog::resolve_parts(Some(&key.0), &key.1).is_some(),
        };
        if !exists {
            self.changed.insert(key, Found::Made);
        }
    }

    /// Dropping that, which was made here, will lock this.
    pub fn link(&mut self, name: &Name, to: RelationId, why: &str) {
        if let Some(schema) = self.schema_of(name) {
            let links = self.links.entry((schema, name.name.clone())).or_default();
            links.push((to, why.to_owned()));
        }
    }

    /// What dropping that locks, where it was made here.
    pub fn links(&mut self, name: &Name) -> Vec<(RelationId, String)> {
        let schema = self.schema_of(name).unwrap_or_default();
        self.links
            .remove(&(schema, name.name.clone()))
            .unwrap_or_default()
    }

    /// It is gone from here on.
    pub fn drop(&mut self, name: &Name) {
        if let Some(schema) = self.schema_of(name) {
            self.changed
                .insert((schema, name.name.clone()), Found::Missing);
        }
    }

    /// It is called `to` from here on, in the schema `into`.
    pub fn rename(&mut self, name: &Name, to: &str, into: Option<&str>) {
        let found = self.find(name);
        if found == Found::Missing {
            return;
        }
        if let Some(schema) = self.schema_of(name) {
            self.drop(name);
            let into = into.unwrap_or(&schema).to_owned();
            self.changed.insert((into, to.to_owned()), found);
        }
    }

    fn schema_of(&self, name: &Name) -> Option<String> {
        if let Some(schema) = &name.schema {
            return Some(schema.clone());
        }
        let mut path = std::iter::once(TEMPORARY.to_owned()).chain(catalog::search_path());
        path.find(
            |schema| match self.changed.get(&(schema.clone(), name.name.clone())) {
                Some(found) => *found != Found::Missing,
                None => catalog::resolve_parts(Some(schema), &name.name).is_some(),
            },
        )
    }
}
