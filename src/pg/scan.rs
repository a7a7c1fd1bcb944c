//! Rows of system catalogs, found by an index. Takes locks on those catalogs alone.

mod whole;

use super::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;

pub use whole::Reading;

/// A catalog and one of its indexes, by their OIDs, which do not change between majors.
#[derive(Clone, Copy)]
pub struct Index {
    pub catalog: u32,
    pub index: u32,
}

thread_local! {
    /// The numbers of columns by catalog and name: they never change while the server is of one major.
    static NUMBERS: RefCell<HashMap<(u32, &'static str), i16>> = RefCell::default();
}

/// The rows whose columns have those values, as the values of other columns: of types that fit in a
/// `Datum` (OIDs, numbers, booleans, `"char"`), 0 for NULL.
///
/// `key` are the first columns of the index. Both kinds of columns are given by name, for their numbers
/// differ between majors.
pub fn rows<const N: usize>(
    by: Index,
    key: &[(&'static str, u32)],
    columns: [&'static str; N],
) -> Vec<[u64; N]> {
    if !key.is_empty()
        && let Some(found) = whole::rows(by, key, &columns)
    {
        return found;
    }
    let mut found = vec![];
    scan(by, key, &columns, |values| {
        let mut row = [0; N];
        row.copy_from_slice(values);
        found.push(row);
    });
    found
}

/// The same of a column of type `pg_node_tree` or `text`, after one that fits in a `Datum`.
pub fn texts(
    by: Index,
    key: &[(&'static str, u32)],
    columns: [&'static str; 2],
) -> Vec<(u64, String)> {
    let mut found = vec![];
    scan(by, key, &columns, |values| {
        let text = pg_sys::Datum::from(values[1] as usize);
        let text = match values[1] {
            0 => None,
            // SAFETY: it is of such a type, and read before the next row is fetched.
            _ => unsafe { text::from_server(pg_sys::text_to_cstring(text.cast_mut_ptr())) },
        };
        found.push((values[0], text.unwrap_or_default()));
    });
    found
}

/// The number of a catalog's column; 0 if it has none of that name.
fn number(catalog: u32, column: &'static str) -> i16 {
    if let Some(number) = NUMBERS.with_borrow(|known| known.get(&(catalog, column)).copied()) {
        return number;
    }
    let Ok(name) = CString::new(column) else {
        return 0;
    };
    // SAFETY: a catalog look-up.
    let number = unsafe { pg_sys::get_attnum(pg_sys::Oid::from_u32(catalog), name.as_ptr()) };
    NUMBERS.with_borrow_mut(|known| known.insert((catalog, column), number));
    number
}

/// Hands over the values of these columns, row by row; without a key in no order.
fn scan(
    by: Index,
    key: &[(&'static str, u32)],
    columns: &[&'static str],
    mut each: impl FnMut(&[u64]),
) {
    let numbers: Vec<i16> = columns
        .iter()
        .map(|column| number(by.catalog, column))
        .collect();
    let mut values = vec![0; columns.len()];
    // SAFETY: an ordinary scan of a catalog by its index, opened and closed here. Each tuple is read
    // before the next is fetched, as the catalog's own descriptor has it.
    unsafe {
        let mut keys: Vec<pg_sys::ScanKeyData> = key
            .iter()
            .map(|(column, value)| {
                let mut entry = pg_sys::ScanKeyData::default();
                pg_sys::ScanKeyInit(
                    &mut entry,
                    number(by.catalog, column),
                    pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                    pg_sys::Oid::from_u32(match column.ends_with("subid") {
                        true => pg_sys::F_INT4EQ,
                        false => pg_sys::F_OIDEQ,
                    }),
                    pg_sys::Oid::from_u32(*value).into(),
                );
                entry
            })
            .collect();
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let catalog = pg_sys::table_open(pg_sys::Oid::from_u32(by.catalog), lock);
        let scan = pg_sys::systable_beginscan(
            catalog,
            pg_sys::Oid::from_u32(by.index),
            !keys.is_empty(),
            std::ptr::null_mut(),
            keys.len() as i32,
            keys.as_mut_ptr(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            for (value, number) in values.iter_mut().zip(&numbers) {
                let mut is_null = false;
                let datum =
                    pg_sys::heap_getattr(tuple, (*number).into(), (*catalog).rd_att, &mut is_null);
                *value = if is_null { 0 } else { datum.value() as u64 };
            }
            each(&values);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
    }
}
