//! Rows of system catalogs, found by an index. Takes locks on those catalogs alone.

use pgrx::pg_sys;
use std::ffi::CString;

/// A catalog and one of its indexes, by their OIDs, which do not change between majors.
#[derive(Clone, Copy)]
pub struct Index {
    pub catalog: u32,
    pub index: u32,
}

/// The rows whose columns have those values, as the values of other columns: of types that fit in a
/// `Datum` (OIDs, numbers, booleans, `"char"`), 0 for NULL.
///
/// `key` are the first columns of the index. Both kinds of columns are given by name, for their numbers
/// differ between majors.
pub fn rows<const N: usize>(by: Index, key: &[(&str, u32)], columns: [&str; N]) -> Vec<[u64; N]> {
    let catalog_oid = pg_sys::Oid::from_u32(by.catalog);
    let number = |column: &str| {
        let Ok(name) = CString::new(column) else {
            return 0;
        };
        // SAFETY: a catalog look-up.
        unsafe { pg_sys::get_attnum(catalog_oid, name.as_ptr()) }
    };
    let numbers = columns.map(number);
    let mut found = vec![];
    // SAFETY: an ordinary scan of a catalog by its index, opened and closed here. Each tuple is read
    // before the next is fetched, as the catalog's own descriptor has it.
    unsafe {
        let mut keys: Vec<pg_sys::ScanKeyData> = key
            .iter()
            .map(|(column, value)| {
                let mut entry = pg_sys::ScanKeyData::default();
                pg_sys::ScanKeyInit(
                    &mut entry,
                    number(column),
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
        let catalog = pg_sys::table_open(catalog_oid, lock);
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
            found.push(numbers.map(|number| {
                let mut is_null = false;
                let value =
                    pg_sys::heap_getattr(tuple, number.into(), (*catalog).rd_att, &mut is_null);
                if is_null { 0 } else { value.value() as u64 }
            }));
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
    }
    found
}
