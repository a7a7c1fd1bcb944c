//! The relations that existed before a statement, and the locks a session holds on them.

use std::collections::{BTreeMap, BTreeSet};

use pg_test::{Row, Rows, Session};

use crate::truth::mode::Mode;

/// Modes by relation.
pub type Locks = BTreeMap<u32, BTreeSet<Mode>>;

/// A relation of the user's.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Quoted as needed, with its schema.
    pub name: String,
    /// As in `pg_class`, without its schema.
    pub plain_name: String,
    /// `relkind`.
    pub kind: char,
    /// Quoted as needed.
    pub owner: String,
    /// Of a TOAST table.
    pub toast_index: Option<(u32, String)>,
    /// What to call it in a report.
    pub label: String,
}

/// Every relation that is neither the system's nor lockguard's.
pub struct Relations(pub BTreeMap<u32, Relation>);

const EXISTING: &str = "
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relname AS plain_name, c.relkind AS kind,
        quote_ident(pg_get_userbyid(c.relowner)) AS owner, i.indexrelid AS toast_index,
        i.indexrelid::regclass AS toast_index_name,
        coalesce('toast of ' || (SELECT t.oid::regclass FROM pg_class t WHERE t.reltoastrelid = c.oid),
            'index of toast of ' || (SELECT t.oid::regclass FROM pg_class t
                JOIN pg_index x ON x.indrelid = t.reltoastrelid WHERE x.indexrelid = c.oid),
            c.oid::regclass::text) AS label
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_index i ON c.relkind = 't' AND i.indrelid = c.oid
    WHERE c.oid >= 16384 AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'lockguard')
        AND coalesce((SELECT t.relnamespace::regnamespace::text FROM pg_class t
                LEFT JOIN pg_index x ON x.indrelid = t.reltoastrelid
                WHERE c.oid IN (t.reltoastrelid, x.indexrelid)), '') <> 'lockguard'";

/// Of the session that asks; its own look at the catalogs is not among them.
pub const OWN_LOCKS: &str = "
    SELECT relation, mode FROM pg_locks
    WHERE locktype = 'relation' AND granted AND pid = pg_backend_pid() AND relation >= 16384
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

impl Relations {
    /// Those that exist now.
    pub fn existing(session: &Session) -> Self {
        let rows = session.run(EXISTING);
        let relation = |row: &Row| {
            let toast_index = row
                .get("toast_index")
                .map(|oid| (number(oid), row.text("toast_index_name").to_owned()));
            let relation = Relation {
                name: row.text("name").to_owned(),
                plain_name: row.text("plain_name").to_owned(),
                kind: row.text("kind").chars().next().unwrap_or_default(),
                owner: row.text("owner").to_owned(),
                toast_index,
                label: row.text("label").to_owned(),
            };
            (number(row.text("oid")), relation)
        };
        Self(rows.iter().map(relation).collect())
    }

    /// The locks in rows of `relation` and `mode`, on these relations alone.
    pub fn locks(&self, rows: &Rows) -> Locks {
        let mut locks = Locks::new();
        for row in rows.iter() {
            let relation = number(row.text("relation"));
            if self.0.contains_key(&relation) {
                let mode = Mode::named(row.text("mode"));
                locks.entry(relation).or_default().insert(mode);
            }
        }
        locks
    }

    /// What to call one in a report.
    pub fn label(&self, relation: u32) -> String {
        match self.0.get(&relation) {
            Some(known) => format!("{}({})", known.label, known.kind),
            None => format!("relation {relation}"),
        }
    }

    /// Whether a statement names it.
    pub fn is_named(&self, relation: u32, statement: &str) -> bool {
        let text = statement.to_lowercase();
        self.0.get(&relation).is_some_and(|relation| {
            let name = relation.plain_name.to_lowercase();
            text.match_indices(&name).any(|(at, _)| {
                let is_word = |c: char| c.is_alphanumeric() || c == '_';
                !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word)
            })
        })
    }
}

/// An OID as the server writes it.
///
/// # Panics
/// When it is none.
pub fn number(text: &str) -> u32 {
    match text.parse() {
        Ok(oid) => oid,
        Err(_) => panic!("no OID: {text}"),
    }
}
