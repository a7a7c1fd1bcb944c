//! What a lock is on: a relation, a transaction, an advisory key.

use super::RelationId;

/// The server's `LOCKTAG`, field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LockTag {
    pub field1: u32,
    pub field2: u32,
    pub field3: u32,
    pub field4: u16,
    /// `LockTagType`.
    pub kind: u8,
    pub method: u8,
}

const RELATION: u8 = 0;
const VIRTUAL_TRANSACTION: u8 = 6;
const DEFAULT_METHOD: u8 = 1;

impl LockTag {
    /// A whole relation; `database` is 0 for a shared one.
    pub const fn relation(database: u32, relation: RelationId) -> LockTag {
        LockTag {
            field1: database,
            field2: relation,
            field3: 0,
            field4: 0,
            kind: RELATION,
            method: DEFAULT_METHOD,
        }
    }

    /// A virtual transaction, by its backend slot and its number there: what everybody holds on his
    /// own, and who waits for the transaction asks for.
    pub const fn virtual_transaction(slot: i32, local: u32) -> LockTag {
        LockTag {
            field1: slot as u32,
            field2: local,
            field3: 0,
            field4: 0,
            kind: VIRTUAL_TRANSACTION,
            method: DEFAULT_METHOD,
        }
    }

    pub fn is_virtual_transaction(self) -> bool {
        self.kind == VIRTUAL_TRANSACTION && self.method == DEFAULT_METHOD
    }

    /// The database and the relation, if it is a lock on a whole relation.
    pub fn as_relation(self) -> Option<(u32, RelationId)> {
        (self.kind == RELATION && self.method == DEFAULT_METHOD)
            .then_some((self.field1, self.field2))
    }

    /// What it is on, for a message about a lock that is not on a relation of this database.
    pub fn kind_name(self) -> &'static str {
        // The order of LockTagType in lock.h; pg_locks.locktype has much the same words.
        const KINDS: [&str; 12] = [
            "a relation of another database",
            "the extension of a relation",
            "a database's frozen ids",
            "a page",
            "a row",
            "a transaction",
            "a virtual transaction",
            "a speculative insertion",
            "an object",
            "a user lock",
            "an advisory key",
            "a remote transaction",
        ];
        let kind = KINDS.get(usize::from(self.kind)).copied();
        kind.unwrap_or("a lockable object")
    }
}
