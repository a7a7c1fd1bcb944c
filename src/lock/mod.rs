//! The vocabulary of table locks: the eight modes, which of them conflict, and what a session
//! needs. Pure data; who holds what is the business of `survey`.
//!
//! Source of the conflict table: the manual, "Explicit Locking", and `LockConflicts` in
//! `src/backend/storage/lmgr/lock.c`.

mod mode;
mod tag;

pub use mode::{LockMode, ModeSet, UnknownMode};
pub use tag::LockTag;

/// A relation of the current database, by its OID in `pg_class`.
pub type RelationId = u32;

/// A lock that somebody is about to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Need {
    pub relation: RelationId,
    pub mode: LockMode,
}
