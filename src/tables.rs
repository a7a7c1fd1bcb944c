//! The extension's own tables, read without waiting for anybody who has locked them, and for less than a
//! second for who has locked an index of theirs; where the waiting is bounded, for as long as that allows. Nobody
//! who is only queued is waited for.

use crate::error::Error;
use crate::lock::{LockMode, RelationId};
use crate::pg::past_queue::{self, Row};
use crate::pg::{bounded, catalog, extension, settings, take};
use crate::server_text::ServerText;
use std::time::Duration;

/// The table of that name in the extension's schema.
///
/// # Errors
/// 42P01 where there is none.
pub fn find(name: &str) -> Result<RelationId, Error> {
    // Once the extension is dropped, somebody else can make a table of that name.
    let found = ServerText::of_bytes(name)
        .and_then(|name| catalog::resolve_parts(Some(&c"lockguard".into()), &name));
    let table = found.filter(|t| extension::owns(*t));
    table.ok_or_else(|| Error::UnknownRelation {
        message: format!("table lockguard.{name} does not exist"),
        detail: None,
        hint: Some("Is the extension lockguard created in this database?".into()),
    })
}

/// The same, locked for reading. `what_fails` without it, as a sentence.
///
/// # Errors
/// And 55P03 where somebody holds it in ACCESS EXCLUSIVE mode, unless the waiting for that is
/// [bounded](bounded::within).
pub fn for_reading(name: &str, what_fails: &str) -> Result<RelationId, Error> {
    let table = find(name)?;
    if take::try_lock(table, LockMode::AccessShare) {
        return Ok(table);
    }
    if bounded::is_within() {
        take::lock(table, LockMode::AccessShare);
        return Ok(table);
    }
    Err(Error::NotFree {
        message: format!("lockguard.{name} is locked"),
        detail: what_fails.into(),
        hint: format!(
            "See who holds it with: SELECT * FROM pg_locks WHERE relation = 'lockguard.{name}'::regclass AND mode = 'AccessExclusiveLock';"
        ),
    })
}

/// The rows of these tables, as texts by these columns, where somebody is queued for the lock of one of them and
/// nobody holds it so that it could not be read; none where they are to be read in the usual way.
///
/// # Errors
/// As for [`find`].
pub fn past_queue<const N: usize>(
    wanted: [(&str, &[&str]); N],
) -> Result<Option<[Vec<Row>; N]>, Error> {
    let mut tables = vec![];
    for (name, columns) in wanted {
        tables.push((find(name)?, columns));
    }
    let is_free = |(table, _): &(RelationId, _)| take::try_lock(*table, LockMode::AccessShare);
    if tables.iter().all(is_free) {
        return Ok(None);
    }
    let rows = tables.into_iter();
    let rows = rows.map(|(table, columns)| past_queue::rows(table, columns));
    let rows: Option<Vec<Vec<Row>>> = rows.collect();
    Ok(rows.and_then(|rows| rows.try_into().ok()))
}

/// Reads from them, as whoever is current.
pub fn reading<R>(work: impl FnOnce() -> R) -> R {
    settings::with_settings_kept(|| {
        if !bounded::is_within() {
            settings::limit_lock_waits(Duration::from_millis(900));
        }
        work()
    })
}
