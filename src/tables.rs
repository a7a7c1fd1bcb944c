//! The extension's own tables, read without waiting for anybody who has locked them, and for less than a
//! second for who has locked an index of theirs.

use crate::error::Error;
use crate::lock::{LockMode, RelationId};
use crate::pg::{catalog, extension, settings, take};
use crate::server_text::ServerText;

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
/// And 55P03 where somebody holds it in ACCESS EXCLUSIVE mode.
pub fn for_reading(name: &str, what_fails: &str) -> Result<RelationId, Error> {
    let table = find(name)?;
    if take::try_lock(table, LockMode::AccessShare) {
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

/// Reads from them, as whoever is current.
pub fn reading<R>(work: impl FnOnce() -> R) -> R {
    settings::with_settings_kept(|| {
        settings::limit_lock_waits("900ms");
        work()
    })
}
