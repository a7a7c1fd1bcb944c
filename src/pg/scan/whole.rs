//! Catalogs read as a whole, once so much of one is asked for that this costs less, as for the thousands
//! of objects that hang on a large partition tree.

use super::{Index, scan};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;

/// One search of an index costs about as much as reading so many rows one after the other.
const ROWS_A_SEARCH: u64 = 10;

/// About how many rows there are on a page of the catalogs that are searched most.
const ROWS_A_PAGE: u64 = 100;

/// How often it is asked whether the catalog should be read as a whole.
const SEARCHES: u64 = 500;

/// The columns of one kind of search: those of the key, then those that are wanted.
type Columns = Vec<&'static str>;

/// By index, what has been searched for by it.
type ByIndex = HashMap<u32, Vec<(Columns, Searches)>>;

/// The searches of one kind.
#[derive(Default)]
struct Searches {
    count: u64,
    /// The whole catalog: rows in the order of the key's columns, one after the other.
    whole: Option<Vec<u64>>,
}

thread_local! {
    static READING: RefCell<Option<ByIndex>> = const { RefCell::new(None) };
}

/// While there is one, catalogs may be read as a whole. What changes in them meanwhile is then not seen.
pub struct Reading(());

impl Reading {
    pub fn begin() -> Reading {
        READING.set(Some(HashMap::new()));
        Reading(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READING.set(None);
    }
}

/// As [`rows`](super::rows), in a catalog that is read as a whole; none where this one is not.
pub(super) fn rows<const N: usize>(
    by: Index,
    key: &[(&'static str, u32)],
    columns: &[&'static str; N],
) -> Option<Vec<[u64; N]>> {
    let all = || key.iter().map(|(column, _)| *column).chain(*columns);
    let count = READING.with_borrow_mut(|reading| {
        let of_index = reading.as_mut()?.entry(by.index).or_default();
        let known = of_index
            .iter()
            .position(|(known, _)| known.iter().copied().eq(all()));
        let at = known.unwrap_or_else(|| {
            of_index.push((all().collect(), Searches::default()));
            of_index.len() - 1
        });
        let searches = &mut of_index[at].1;
        searches.count += 1;
        // How large the catalog is need not be asked each time.
        Some(searches.count).filter(|count| searches.whole.is_none() && count % SEARCHES == 0)
    });
    if let Some(count) = count
        && count * ROWS_A_SEARCH >= pages(by.catalog) * ROWS_A_PAGE
    {
        // Reading may raise an error: nothing is borrowed meanwhile.
        let whole = read(by, &all().collect::<Columns>(), key.len());
        with_searches(by, all(), |searches| searches.whole = Some(whole));
    }
    with_searches(by, all(), |searches| {
        let width = key.len() + N;
        let whole = searches.whole.as_deref()?;
        let wanted: Vec<u64> = key.iter().map(|(_, value)| u64::from(*value)).collect();
        let key_at = |at: usize| &whole[at * width..at * width + key.len()];
        let (mut from, mut to) = (0, whole.len() / width);
        while from < to {
            let middle = from.midpoint(to);
            match key_at(middle) < &wanted[..] {
                true => from = middle + 1,
                false => to = middle,
            }
        }
        let found = whole[from * width..]
            .chunks_exact(width)
            .take_while(|row| row[..key.len()] == wanted[..])
            .map(|row| {
                let mut values = [0; N];
                values.copy_from_slice(&row[key.len()..]);
                values
            });
        Some(found.collect())
    })
    .flatten()
}

fn with_searches<R>(
    by: Index,
    columns: impl Iterator<Item = &'static str> + Clone,
    work: impl FnOnce(&mut Searches) -> R,
) -> Option<R> {
    READING.with_borrow_mut(|reading| {
        let of_index = reading.as_mut()?.get_mut(&by.index)?;
        let (_, searches) = of_index
            .iter_mut()
            .find(|(known, _)| known.iter().copied().eq(columns.clone()))?;
        Some(work(searches))
    })
}

/// All rows of a catalog, in the order of the first columns, otherwise as they come.
fn read(by: Index, columns: &[&'static str], keys: usize) -> Vec<u64> {
    let mut values: Vec<u64> = vec![];
    scan(by, &[], columns, |row| values.extend_from_slice(row));
    let mut rows: Vec<&[u64]> = values.chunks_exact(columns.len()).collect();
    rows.sort_by_key(|row| &row[..keys]);
    rows.concat()
}

fn pages(catalog: u32) -> u64 {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the catalog is opened and closed here.
    unsafe {
        let catalog = pg_sys::table_open(pg_sys::Oid::from_u32(catalog), lock);
        let pages =
            pg_sys::RelationGetNumberOfBlocksInFork(catalog, pg_sys::ForkNumber::MAIN_FORKNUM);
        pg_sys::table_close(catalog, lock);
        pages.into()
    }
}
