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
    whole: Option<Whole>,
}

/// The columns of a key, as many as there are, and zeros.
type Key = [u64; LONGEST_KEY];

/// No search that we make has a longer one.
const LONGEST_KEY: usize = 3;

/// A whole catalog.
struct Whole {
    /// The wanted columns of rows with the same key one after the other, otherwise as they come.
    values: Vec<u64>,
    /// The first row with a key, and how many there are.
    places: HashMap<Key, (usize, usize)>,
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
    let mut wanted = Key::default();
    wanted
        .iter_mut()
        .zip(key)
        .for_each(|(part, (_, value))| *part = u64::from(*value));
    if key.len() > LONGEST_KEY {
        return None;
    }
    let outcome = with_searches(by, all(), |searches| {
        searches.count += 1;
        match &searches.whole {
            Some(whole) => Ok(whole.rows(&wanted)),
            None => Err(searches.count),
        }
    })?;
    let count = match outcome {
        Ok(found) => return Some(found),
        Err(count) => count,
    };
    // How large the catalog is need not be asked each time.
    let is_asked = count % SEARCHES == 0;
    if !is_asked || count * ROWS_A_SEARCH < pages(by.catalog) * ROWS_A_PAGE {
        return None;
    }
    // Reading may raise an error: nothing is borrowed meanwhile.
    let whole = Whole::read(by, &all().collect::<Columns>(), key.len());
    let found = whole.rows(&wanted);
    with_searches(by, all(), |searches| searches.whole = Some(whole));
    Some(found)
}

/// Does something with the searches of that kind; none outside of any [`Reading`].
fn with_searches<R>(
    by: Index,
    columns: impl Iterator<Item = &'static str> + Clone,
    work: impl FnOnce(&mut Searches) -> R,
) -> Option<R> {
    READING.with_borrow_mut(|reading| {
        let of_index = reading.as_mut()?.entry(by.index).or_default();
        let known = of_index
            .iter()
            .position(|(known, _)| known.iter().copied().eq(columns.clone()));
        let at = known.unwrap_or_else(|| {
            of_index.push((columns.collect(), Searches::default()));
            of_index.len() - 1
        });
        Some(work(&mut of_index[at].1))
    })
}

impl Whole {
    /// Reads the columns, the first of which are the key.
    fn read(by: Index, columns: &[&'static str], keys: usize) -> Whole {
        let width = columns.len() - keys;
        // Which key each row has, by the order in which the keys come, and how many rows have each.
        let mut numbers: HashMap<Key, usize> = HashMap::new();
        let mut rows_of: Vec<usize> = vec![];
        let mut key_of: Vec<usize> = vec![];
        let mut unordered: Vec<u64> = vec![];
        scan(by, &[], columns, |row| {
            let mut key = Key::default();
            key[..keys].copy_from_slice(&row[..keys]);
            let number = *numbers.entry(key).or_insert_with(|| {
                rows_of.push(0);
                rows_of.len() - 1
            });
            rows_of[number] += 1;
            key_of.push(number);
            unordered.extend_from_slice(&row[keys..]);
        });
        let mut first: Vec<usize> = rows_of
            .iter()
            .scan(0, |next, count| {
                let first = *next;
                *next += count;
                Some(first)
            })
            .collect();
        let places = numbers
            .into_iter()
            .map(|(key, number)| (key, (first[number], rows_of[number])))
            .collect();
        let mut values = vec![0; unordered.len()];
        for (row, number) in unordered.chunks_exact(width).zip(key_of) {
            let at = first[number] * width;
            values[at..at + width].copy_from_slice(row);
            first[number] += 1;
        }
        Whole { values, places }
    }

    /// The rows with that key.
    fn rows<const N: usize>(&self, key: &Key) -> Vec<[u64; N]> {
        let (first, count) = self.places.get(key).copied().unwrap_or_default();
        let rows = self.values[first * N..(first + count) * N].chunks_exact(N);
        rows.map(|row| {
            let mut values = [0; N];
            values.copy_from_slice(row);
            values
        })
        .collect()
    }
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
