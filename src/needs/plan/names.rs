//! What a name means at a point of a script: objects and schemas made, renamed, moved and dropped by
//! earlier statements of it count.

use crate::ddl::Name;
use crate::lock::RelationId;
use crate::pg::{catalog, roles, settings};
use crate::server_text::ServerText;
use crate::undo::{List, Map, Undo, Value};
use std::ffi::CStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// It exists now.
    Existing(RelationId),
    /// It will have been made by then.
    Made(Made),
    Missing,
}

/// Which of the relations made by earlier statements, whatever it is called by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Made(usize);

/// What a statement has made, as far as later ones may ask.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// What its query reads.
    reads: Vec<Found>,
    is_view: bool,
}

/// What the removal of something that was made locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub to: RelationId,
    pub why: String,
    pub through: Through,
}

/// By what a relation that was made is tied to one that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Through {
    Itself,
    /// It is a partition of it.
    Partition,
    /// A foreign key.
    Key(Key),
}

/// A foreign key that an earlier statement has made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// None where the server gives it one.
    pub name: Option<ServerText>,
    pub columns: Vec<ServerText>,
}

impl Key {
    /// Whether that is its name, on a table that had that name when it was made
    /// (`ChooseForeignKeyConstraintNameAddition` in `tablecmds.c`).
    pub fn is_called(&self, name: &ServerText, table: &ServerText) -> bool {
        match &self.name {
            Some(own) => own == name,
            None => {
                let columns = ServerText::join(&self.columns, c"_");
                let end = [b"_", columns.as_bytes(), b"_fkey"].concat();
                let whole = [table.as_bytes(), &end].concat();
                name.as_bytes().starts_with(&whole) || name.as_bytes().ends_with(&end)
            }
        }
    }
}

/// A schema, whatever it is called by now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Schema {
    Temporary,
    /// By the name that it has in the catalogs.
    Existing(ServerText),
    Made(usize),
}

type Place = (Schema, ServerText);

/// What earlier statements have changed.
#[derive(Default)]
pub struct Names {
    changed: Map<Place, Found>,
    /// What went with something else, from where it is in the catalogs.
    gone: Map<RelationId, ()>,
    /// Where what was made or moved is.
    places: Map<Found, Place>,
    made: List<Facts>,
    links: List<(Made, Link)>,
    /// What is called so by now; none where nothing is any more.
    schemas: Map<ServerText, Option<Schema>>,
    /// How many were ever made, those included that are rolled back.
    made_schemas: usize,
    /// The role that was set.
    role: Value<Option<ServerText>>,
}

const TEMPORARY: &CStr = c"pg_temp";
const CATALOG: &CStr = c"pg_catalog";

impl Names {
    /// What a rollback brings back.
    pub fn kept(&mut self) -> [&mut dyn Undo; 7] {
        [
            &mut self.changed,
            &mut self.gone,
            &mut self.places,
            &mut self.made,
            &mut self.links,
            &mut self.schemas,
            &mut self.role,
        ]
    }

    pub fn find(&self, name: &Name) -> Found {
        if name.other_database.is_some() {
            return Found::Missing;
        }
        if self.is_unchanged() {
            let found = catalog::resolve_parts(name.schema.as_ref(), &name.name);
            return found.map_or(Found::Missing, Found::Existing);
        }
        match self.place_of(name) {
            Some(place) => self.look(&place),
            None => Found::Missing,
        }
    }

    fn is_unchanged(&self) -> bool {
        self.changed.is_empty()
            && self.gone.is_empty()
            && self.schemas.is_empty()
            && self.role.is_none()
    }

    /// Where a name leads that means something.
    fn place_of(&self, name: &Name) -> Option<Place> {
        if name.other_database.is_some() {
            return None;
        }
        let schemas = match &name.schema {
            Some(schema) => self.schema(schema).into_iter().collect(),
            None => self.path(),
        };
        let mut places = schemas
            .into_iter()
            .map(|schema| (schema, name.name.clone()));
        places.find(|place| self.look(place) != Found::Missing)
    }

    fn look(&self, place: &Place) -> Found {
        if let Some(found) = self.changed.get(place) {
            return *found;
        }
        let temporary = ServerText::from(TEMPORARY);
        let schema = match &place.0 {
            Schema::Temporary => &temporary,
            Schema::Existing(name) => name,
            Schema::Made(_) => return Found::Missing,
        };
        catalog::resolve_parts(Some(schema), &place.1)
            .filter(|relation| !self.gone.contains_key(relation))
            .map_or(Found::Missing, Found::Existing)
    }

    /// The schema that is called so by now.
    pub fn schema(&self, name: &ServerText) -> Option<Schema> {
        match self.schemas.get(name) {
            Some(known) => known.clone(),
            None if *name == *TEMPORARY => Some(Schema::Temporary),
            None => catalog::schema(name).map(|_| Schema::Existing(name.clone())),
        }
    }

    /// The schemas that a name without one is looked up in, in their order (`recomputeNamespacePath` in
    /// `namespace.c`).
    fn path(&self) -> Vec<Schema> {
        let listed = self.listed_path();
        let is_listed = |schema: &Schema| listed.contains(schema);
        let implied = [Schema::Temporary, Schema::Existing(CATALOG.into())];
        let mut path: Vec<Schema> = implied
            .into_iter()
            .filter(|schema| !is_listed(schema))
            .collect();
        path.extend(listed);
        path
    }

    fn listed_path(&self) -> Vec<Schema> {
        let usable = settings::search_path();
        let entries = settings::search_path_entries();
        let schemas = entries.into_iter().filter_map(|entry| {
            if entry != *c"$user" {
                let schema = self.schema(&entry)?;
                // The server passes over those that this role may not use.
                let is_other = self.role.is_some() || self.schemas.contains_key(&entry);
                let is_usable = is_other || entry == *TEMPORARY || usable.contains(&entry);
                return is_usable.then_some(schema);
            }
            self.schema(&self.role.clone().or_else(roles::current)?)
        });
        schemas.collect()
    }

    fn creation_place(&self, name: &Name) -> Option<Place> {
        if name.other_database.is_some() {
            return None;
        }
        let schema = match (&name.schema, name.temporary) {
            (_, true) => Schema::Temporary,
            // Should it not exist, the statement fails.
            (Some(schema), _) => self.schema(schema)?,
            (None, _) => self.listed_path().into_iter().next()?,
        };
        Some((schema, name.name.clone()))
    }

    /// What stands where a statement would make something of that name.
    pub fn find_in_place(&self, name: &Name) -> Found {
        match self.creation_place(name) {
            Some(place) => self.look(&place),
            None => Found::Missing,
        }
    }

    /// It is there from here on. What exists anyway stays what it is: the statement replaces it, skips it
    /// or fails.
    pub fn make(&mut self, name: &Name) {
        if let Some(place) = self.creation_place(name) {
            self.make_at(place);
        }
    }

    /// The same, in the schema that a relation is in.
    pub fn make_beside(&mut self, relation: Found, name: &ServerText) {
        if let Some((schema, _)) = self.place_found(relation) {
            self.make_at((schema, name.clone()));
        }
    }

    fn make_at(&mut self, place: Place) {
        if self.look(&place) == Found::Missing {
            let made = Found::Made(Made(self.made.len()));
            self.changed.insert(place.clone(), made);
            self.places.insert(made, place);
            self.made.push(Facts::default());
        }
    }

    /// What is called so in the schema that a relation is in.
    pub fn find_beside(&self, relation: Found, name: &ServerText) -> Found {
        match self.place_found(relation) {
            Some((schema, _)) => self.look(&(schema, name.clone())),
            None => Found::Missing,
        }
    }

    /// Where something is by now.
    fn place_found(&self, what: Found) -> Option<Place> {
        match (self.places.get(&what), what) {
            (Some(place), _) => Some(place.clone()),
            (None, Found::Existing(relation)) => {
                let schema = Schema::Existing(catalog::schema_of(relation)?);
                Some((schema, catalog::bare_name(relation)?))
            }
            _ => None,
        }
    }

    /// What is made by that name, and reads that.
    pub fn reads(&mut self, name: &Name, reads: Vec<Found>, is_view: bool) {
        if let Found::Made(made) = self.find(name) {
            self.made.change(made.0, |facts| {
                facts.reads = reads;
                facts.is_view = is_view;
            });
        }
    }

    /// What something made reads.
    pub fn read_by(&self, made: Made) -> Vec<Found> {
        let facts = self.made.get(made.0);
        facts.map(|facts| facts.reads.clone()).unwrap_or_default()
    }

    pub fn is_view(&self, made: Made) -> bool {
        self.made.get(made.0).is_some_and(|facts| facts.is_view)
    }

    /// Dropping that, which was made here, will lock this.
    pub fn link(&mut self, name: &Name, to: RelationId, why: &str, through: Through) {
        if let Found::Made(made) = self.find(name) {
            self.link_made(made, to, why, through);
        }
    }

    pub fn link_made(&mut self, made: Made, to: RelationId, why: &str, through: Through) {
        let why = why.to_owned();
        self.links.push((made, Link { to, why, through }));
    }

    /// What dropping that locks, where it was made here, as far as that is through such.
    pub fn unlink(&mut self, name: &Name, is_meant: impl Fn(&Through) -> bool) -> Vec<Link> {
        let Found::Made(made) = self.find(name) else {
            return vec![];
        };
        let gone = self
            .links
            .take(|(of, link)| *of == made && is_meant(&link.through));
        gone.into_iter().map(|(_, link)| link).collect()
    }

    /// What dropping that locks, where it was made here.
    pub fn links(&self, name: &Name) -> Vec<Link> {
        match self.find(name) {
            Found::Made(made) => self.links_of(made),
            _ => vec![],
        }
    }

    /// A foreign key of something made is called `to` from here on.
    pub fn rename_key(&mut self, table: &Name, name: &ServerText, to: &ServerText) {
        let Found::Made(made) = self.find(table) else {
            return;
        };
        for at in 0..self.links.len() {
            let (of, link) = &self.links[at];
            let is_meant = |key: &Key| *of == made && key.is_called(name, &table.name);
            if matches!(&link.through, Through::Key(key) if is_meant(key)) {
                self.links.change(at, |(_, link)| {
                    if let Through::Key(key) = &mut link.through {
                        key.name = Some(to.clone());
                    }
                });
            }
        }
    }

    /// It is gone from here on.
    pub fn drop(&mut self, name: &Name) {
        if let Some(place) = self.place_of(name) {
            self.changed.insert(place, Found::Missing);
        }
    }

    /// The same of what goes with something else.
    pub fn drop_found(&mut self, relation: RelationId) {
        match self.places.get(&Found::Existing(relation)) {
            Some(place) => {
                self.changed.insert(place.clone(), Found::Missing);
            }
            // Of a tree of thousands nobody may ever ask by name.
            None => {
                self.gone.insert(relation, ());
            }
        }
    }

    /// It is called `to` from here on, in the schema `into`.
    pub fn rename(&mut self, name: &Name, to: &ServerText, into: Option<&ServerText>) {
        let Some(place) = self.place_of(name) else {
            return;
        };
        let schema = match into {
            Some(into) => self.schema(into),
            None => Some(place.0.clone()),
        };
        if let Some(schema) = schema {
            self.set(place, (schema, to.clone()));
        }
    }

    /// It goes along into that schema, as the index of a table does.
    pub fn move_along(&mut self, relation: RelationId, into: &ServerText) {
        let place = self.place_found(Found::Existing(relation));
        if let (Some(place), Some(schema)) = (place, self.schema(into)) {
            let name = place.1.clone();
            self.set(place, (schema, name));
        }
    }

    fn set(&mut self, from: Place, to: Place) {
        let found = self.look(&from);
        self.changed.insert(from, Found::Missing);
        self.changed.insert(to.clone(), found);
        self.places.insert(found, to);
    }

    pub fn make_schema(&mut self, name: &ServerText) {
        if self.schema(name).is_none() {
            self.made_schemas += 1;
            let made = Schema::Made(self.made_schemas);
            self.schemas.insert(name.clone(), Some(made));
        }
    }

    pub fn rename_schema(&mut self, name: &ServerText, to: &ServerText) {
        let schema = self.schema(name);
        self.schemas.insert(name.clone(), None);
        self.schemas.insert(to.clone(), schema);
    }

    /// The relations that were moved into a schema, or made in it, go with it.
    pub fn drop_schema(&mut self, name: &ServerText) -> Vec<Found> {
        let schema = self.schema(name);
        self.schemas.insert(name.clone(), None);
        let inside = self.changed.iter();
        let inside: Vec<(Place, Found)> = inside
            .filter(|(place, found)| Some(&place.0) == schema.as_ref() && **found != Found::Missing)
            .map(|(place, found)| (place.clone(), *found))
            .collect();
        let gone = inside.into_iter().map(|(place, found)| {
            self.changed.insert(place, Found::Missing);
            found
        });
        gone.collect()
    }

    /// What dropping something made locks.
    pub fn links_of(&self, made: Made) -> Vec<Link> {
        let links = self.links.iter().filter(|(of, _)| *of == made);
        links.map(|(_, link)| link.clone()).collect()
    }

    /// Whose the script's statements are from here on.
    pub fn set_role(&mut self, role: Option<ServerText>) {
        self.role.set(role);
    }
}
