//! Reading the catalogs again: whether they can say something else than before, for little more than
//! nothing, and doing it without a word.

use super::settings;
use pgrx::pg_sys;

/// How far this session had come in taking in what others do to the catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// To be asked for before the catalogs are read.
    pub fn now() -> Seen {
        // SAFETY: a counter of this process alone (inval.c), which each message of a change moves on.
        Seen(unsafe { pg_sys::SharedInvalidMessageCounter })
    }

    /// Whether nothing has changed since, as far as this session has
    /// [caught up](super::catalog::catch_up). What changes in another database counts as well.
    pub fn is_current(self) -> bool {
        self == Seen::now()
    }
}

/// Does the work without what the server has to say of it short of errors: that was said the first time.
pub fn quietly<R>(work: impl FnOnce() -> R) -> R {
    settings::with_settings_kept(|| {
        settings::set(c"client_min_messages", Some(c"error"));
        work()
    })
}
