//! Whether the caller may take the locks that it names.

use crate::error::Error;
use crate::lock::{LockMode, RelationId};
use crate::pg::{catalog, roles};

/// What `LOCK TABLE` in that mode asks of a role, for each relation that was named; for an index or
/// a TOAST table, of their table. What `LOCK TABLE` does not lock, such as a sequence or a materialized
/// view, must be the role's own, as it must for DDL. What belongs to these is locked with them, as it
/// is by `LOCK TABLE` and by DDL.
///
/// # Errors
/// 42501.
pub fn may_lock(relations: &[RelationId], mode: LockMode) -> Result<(), Error> {
    for relation in relations {
        let table = table_of(*relation);
        let kind = catalog::relation(table).map(|facts| facts.kind);
        let may_lock = match kind {
            Some(b'r' | b'p' | b'v') | None => roles::may_lock(table, mode),
            Some(_) => roles::owns(table),
        };
        if !may_lock {
            let name = catalog::name(table);
            const OR_WITHOUT: &str =
                "With \"take_lock\": false the way is cleared without taking the lock.";
            return Err(match kind {
                Some(b'r' | b'p' | b'v') | None => {
                    let privileges = match mode {
                        LockMode::AccessShare => "SELECT",
                        LockMode::RowExclusive => "INSERT, UPDATE, DELETE or TRUNCATE",
                        _ => "UPDATE, DELETE or TRUNCATE",
                    };
                    Error::NotAllowed {
                        message: format!("permission denied to lock {name} in {mode}"),
                        hint: format!(
                            "As for LOCK TABLE, the role needs {privileges} on {name}, or to own it. {OR_WITHOUT}"
                        ),
                    }
                }
                Some(_) => Error::NotAllowed {
                    message: format!("must be owner of {name} to lock it"),
                    hint: format!("LOCK TABLE does not lock such a relation at all. {OR_WITHOUT}"),
                },
            });
        }
    }
    Ok(())
}

/// The table that a relation's rights go by.
fn table_of(relation: RelationId) -> RelationId {
    let table = catalog::table_of_index(relation).unwrap_or(relation);
    match catalog::relation(table).is_some_and(|facts| facts.kind == b't') {
        true => catalog::table_of_toast(table).unwrap_or(table),
        false => table,
    }
}
