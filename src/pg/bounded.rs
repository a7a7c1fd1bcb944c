//! Reading for so long at most: what the catalogs, or the extension's own tables, say may have to be waited for
//! where somebody has locked them.

use super::subtransaction::{kept, limit_lock_waits};
use std::cell::Cell;
use std::time::Duration;

thread_local! {
    static IS_WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Whether waits for locks are bounded here, so that one may be waited for.
pub fn is_within() -> bool {
    IS_WITHIN.get()
}

/// Puts back whether they were, also when an ERROR unwinds.
struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        IS_WITHIN.set(self.0);
    }
}

/// Reads with no lock waited for longer than `limit` (a millisecond at least); none where one could not be had by
/// then. Locks on tables that were taken for reading stay, as those of a query do.
///
/// # Errors
/// Those of the reading but for 55P03, and of a cancel or a terminate.
pub fn within<R>(limit: Duration, read: impl FnOnce() -> R) -> Option<R> {
    let mut result = None;
    let outcome = &mut result;
    let is_kept = kept(move || {
        limit_lock_waits(limit);
        let _restore = Restore(IS_WITHIN.replace(true));
        *outcome = Some(read());
        true
    });
    result.filter(|_| is_kept)
}
