//! Whether the server's lock table has room for what is to be taken: a call that used it up would make every other
//! session's requests fail.
//!
//! An estimate: others come and go meanwhile, and the table may take somewhat more than it is made for, out of what
//! shared memory has left. So the statement itself is never refused in guard mode: it is left to the server.

use super::Manner;
use super::target::Aim;
use crate::error::Error;
use crate::lock::Need;
use crate::pg::capacity::{Room, Wanted, wanted};
use crate::pg::{catalog, message};
use crate::report::count;

/// Whether what the target needs may be taken.
///
/// # Errors
/// 53200 where there is no room for it, for a call.
pub fn has_room(aim: &Aim, manner: Manner) -> Result<bool, Error> {
    has_room_for(aim.to_take(), aim, manner)
}

/// The same of these locks.
pub fn has_room_for(needs: &[Need], aim: &Aim, manner: Manner) -> Result<bool, Error> {
    let room = Room::now();
    let all = Wanted {
        locks: needs.len(),
        holders: needs.len(),
    };
    if room.has(all) {
        return Ok(true);
    }
    // What of it is there already is looked for only where that matters.
    let wanted = wanted(needs, catalog::database());
    if room.has(wanted) {
        return Ok(true);
    }
    let detail = room.arithmetic(wanted);
    match manner {
        Manner::Guard => {
            message::warning(&without_taking(aim), &detail);
            Ok(false)
        }
        Manner::Call | Manner::CallByItself => Err(Error::NoRoom {
            message: format!("the lock table has not enough room to take {aim}"),
            detail,
            hint: format!(
                "Raise max_locks_per_transaction to {} or more, which needs a restart, or clear the way without taking the lock: \"take_lock\": false.",
                room.needed_per_transaction(wanted)
            ),
        }),
    }
}

/// Says that it was not taken, because the server had no room for it when it was tried.
pub fn warn(aim: &Aim) {
    let wanted = wanted(aim.to_take(), catalog::database());
    message::warning(&without_taking(aim), &Room::now().arithmetic(wanted));
}

fn without_taking(aim: &Aim) -> String {
    format!(
        "lockguard does not take {aim}, and only clears the way to them: the lock table has not enough room"
    )
}

impl Room {
    /// How many locks the table is made for. For their holders there is twice as much room (`InitLocks` in
    /// `lock.c`).
    fn made_for(&self) -> usize {
        self.per_transaction.saturating_mul(self.transactions)
    }

    fn has_locks(&self, wanted: Wanted) -> bool {
        self.locks.saturating_add(wanted.locks) <= self.made_for()
    }

    fn has(&self, wanted: Wanted) -> bool {
        let holders = self.holders.saturating_add(wanted.holders);
        self.has_locks(wanted) && holders <= self.made_for().saturating_mul(2)
    }

    fn arithmetic(&self, wanted: Wanted) -> String {
        let made_for = self.made_for();
        let setting = format!(
            "max_locks_per_transaction {} × {} sessions and prepared transactions",
            self.per_transaction, self.transactions
        );
        match self.has_locks(wanted) {
            false => format!(
                "It would add {}. The table is made for {made_for} ({setting}), and {} are in use.",
                count(wanted.locks, "lock"),
                self.locks
            ),
            true => format!(
                "It would add {} of locks. The table is made for {} (2 × {setting}), and there are {}.",
                count(wanted.holders, "holder"),
                made_for.saturating_mul(2),
                self.holders
            ),
        }
    }

    /// With how many `max_locks_per_transaction` there would be room.
    fn needed_per_transaction(&self, wanted: Wanted) -> usize {
        let transactions = self.transactions.max(1);
        let for_locks = self
            .locks
            .saturating_add(wanted.locks)
            .div_ceil(transactions);
        let holders = self.holders.saturating_add(wanted.holders);
        for_locks.max(holders.div_ceil(2 * transactions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(locks: usize, holders: usize) -> Room {
        Room {
            per_transaction: 10,
            transactions: 50,
            locks,
            holders,
        }
    }

    fn wanted(locks: usize, holders: usize) -> Wanted {
        Wanted { locks, holders }
    }

    #[test]
    fn there_must_be_room_for_locks_and_for_holders() {
        for (now, more, fits) in [
            (room(0, 0), wanted(500, 500), true),
            (room(0, 0), wanted(501, 501), false),
            (room(120, 130), wanted(380, 400), true),
            (room(120, 130), wanted(381, 400), false),
            // The table took more than it is made for.
            (room(510, 600), wanted(1, 1), false),
            (room(510, 600), wanted(0, 0), false),
            // The locks are others' already.
            (room(400, 900), wanted(0, 100), true),
            (room(400, 900), wanted(0, 101), false),
        ] {
            assert_eq!(now.has(more), fits, "{now:?} {more:?}");
        }
    }

    #[test]
    fn with_what_is_to_be_raised_there_is_room() {
        for (now, more) in [
            (room(120, 130), wanted(381, 381)),
            (room(0, 0), wanted(60_000, 60_000)),
            (room(400, 900), wanted(50, 200)),
        ] {
            assert!(!now.has(more));
            let with = |per_transaction| Room {
                per_transaction,
                ..now
            };
            let raised = now.needed_per_transaction(more);
            assert!(with(raised).has(more), "{raised}");
            assert!(!with(raised - 1).has(more), "{raised}");
        }
    }
}
