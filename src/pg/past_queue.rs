//! Reading a table of the extension past the queue for its lock. A request for ACCESS EXCLUSIVE that waits has changed
//! nothing yet, but whoever comes after it waits behind it for as long as somebody else reads the table: a backup, for
//! one, which a call is to end that has to know from that very table what a backup is.

use super::changes::Seen;
use super::subtransaction::tried;
use super::{catalog, locks, roles, text};
use crate::lock::{LockMode, LockTag, RelationId};
use crate::server_text::ServerText;
use pgrx::pg_sys;
use std::ffi::CString;

/// How often it is read again where something has changed meanwhile, be it elsewhere.
const TRIES: usize = 3;

/// One row: a text for each column, roles by their OID; none for NULL.
pub type Row = Vec<Option<ServerText>>;

/// These columns of all rows, as they are committed now. None where somebody holds ACCESS EXCLUSIVE, or has come to
/// hold it meanwhile; and where the current role may not read the table, or not all of it.
///
/// No lock is held while it is read. What somebody makes of the table in that moment is seen afterwards, and what was
/// read is thrown away then.
///
/// # Errors
/// Those of an interrupt.
pub fn rows(table: RelationId, columns: &[&str]) -> Option<Vec<Row>> {
    if !roles::may_lock(table, LockMode::AccessShare) {
        return None;
    }
    (0..TRIES).find_map(|_| {
        catalog::catch_up();
        let seen = Seen::now();
        if is_held(table) {
            return None;
        }
        // SAFETY: in a transaction; an error ends the subtransaction, and with it all that was opened.
        let rows = tried(|| unsafe { read(table, columns) });
        let is_unchanged = !is_held(table) && {
            catalog::catch_up();
            seen.is_current()
        };
        rows.ok().flatten().filter(|_| is_unchanged)
    })
}

fn is_held(table: RelationId) -> bool {
    let tag = LockTag::relation(catalog::database(), table);
    let found = locks::in_way(tag, LockMode::AccessShare);
    found.iter().any(|found| found.granted)
}

/// # Safety
/// In a transaction.
unsafe fn read(table: RelationId, columns: &[&str]) -> Option<Vec<Row>> {
    let table = pg_sys::Oid::from_u32(table);
    let mut found = vec![];
    // SAFETY: the relation's entry in the cache is kept while it is open, and so is what a scan of it has read: a page
    // of a file that somebody is about to drop is not given away while it is in use. Whatever is opened is closed.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(table);
        if relation.is_null() {
            return None;
        }
        let is_whole = !(*(*relation).rd_rel).relrowsecurity;
        let columns = columns.iter().flat_map(|column| CString::new(*column));
        let columns: Vec<(pg_sys::AttrNumber, pg_sys::Oid)> = columns
            .map(|column| pg_sys::get_attnum(table, column.as_ptr()))
            .map(|number| (number, pg_sys::get_atttype(table, number)))
            .collect();
        let is_known = columns.iter().all(|(number, _)| *number > 0);
        if is_whole && is_known {
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot());
            let scan = pg_sys::systable_beginscan(
                relation,
                pg_sys::InvalidOid,
                false,
                snapshot,
                0,
                std::ptr::null_mut(),
            );
            loop {
                let tuple = pg_sys::systable_getnext(scan);
                if tuple.is_null() {
                    break;
                }
                let row = columns.iter().map(|(number, kind)| {
                    let mut is_null = false;
                    let descriptor = (*relation).rd_att;
                    let datum =
                        pg_sys::heap_getattr(tuple, (*number).into(), descriptor, &mut is_null);
                    match (is_null, *kind) {
                        (true, _) => None,
                        (false, pg_sys::REGROLEOID) => {
                            ServerText::of_bytes((datum.value() as u32).to_string())
                        }
                        (false, kind) => output(datum, kind),
                    }
                });
                found.push(row.collect());
            }
            pg_sys::systable_endscan(scan);
            pg_sys::UnregisterSnapshot(snapshot);
        }
        pg_sys::RelationClose(relation);
        (is_whole && is_known).then_some(found)
    }
}

/// A value as the server writes it, in its own bytes.
///
/// # Safety
/// It is of that type.
unsafe fn output(datum: pg_sys::Datum, kind: pg_sys::Oid) -> Option<ServerText> {
    let (mut function, mut is_variable) = (pg_sys::InvalidOid, false);
    // SAFETY: as promised.
    unsafe {
        pg_sys::getTypeOutputInfo(kind, &mut function, &mut is_variable);
        text::kept(pg_sys::OidOutputFunctionCall(function, datum))
    }
}
