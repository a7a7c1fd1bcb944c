//! The eight table lock modes: their names, their numbers, their conflicts.

use crate::nearest::nearest;
use thiserror::Error;

/// A table lock mode. The discriminants are the server's (`lockdefs.h`), so that a greater one is
/// what people call stronger, though strength is no total order: what counts is [`conflicts`].
///
/// [`conflicts`]: LockMode::conflicts
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LockMode {
    AccessShare = 1,
    RowShare = 2,
    RowExclusive = 3,
    ShareUpdateExclusive = 4,
    Share = 5,
    ShareRowExclusive = 6,
    Exclusive = 7,
    AccessExclusive = 8,
}

/// Neither the name that `pg_locks` gives a mode nor the SQL spelling of one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown lock mode \"{given}\"")]
pub struct UnknownMode {
    pub given: String,
    /// The valid name most like it.
    pub nearest: Option<&'static str>,
}

use LockMode::*;

impl LockMode {
    pub const ALL: [LockMode; 8] = [
        AccessShare,
        RowShare,
        RowExclusive,
        ShareUpdateExclusive,
        Share,
        ShareRowExclusive,
        Exclusive,
        AccessExclusive,
    ];

    /// The name in `pg_locks.mode`.
    pub const fn name(self) -> &'static str {
        match self {
            AccessShare => "AccessShareLock",
            RowShare => "RowShareLock",
            RowExclusive => "RowExclusiveLock",
            ShareUpdateExclusive => "ShareUpdateExclusiveLock",
            Share => "ShareLock",
            ShareRowExclusive => "ShareRowExclusiveLock",
            Exclusive => "ExclusiveLock",
            AccessExclusive => "AccessExclusiveLock",
        }
    }

    /// The words after `IN` and before `MODE` in `LOCK TABLE`.
    pub const fn sql(self) -> &'static str {
        match self {
            AccessShare => "ACCESS SHARE",
            RowShare => "ROW SHARE",
            RowExclusive => "ROW EXCLUSIVE",
            ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Share => "SHARE",
            ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Exclusive => "EXCLUSIVE",
            AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// The server's number of the mode, 1 to 8.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The mode that the server numbers so; none for `NoLock` (0) and for numbers that are no mode.
    pub fn from_number(number: i32) -> Option<LockMode> {
        LockMode::ALL.into_iter().find(|m| m.number() == number)
    }

    /// Reads `AccessExclusiveLock` or `ACCESS EXCLUSIVE`, in any case and with any white space
    /// between the words.
    pub fn parse(text: &str) -> Result<LockMode, UnknownMode> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let spaced = words.join(" ");
        LockMode::ALL
            .into_iter()
            .find(|m| {
                m.sql().eq_ignore_ascii_case(&spaced) || m.name().eq_ignore_ascii_case(&spaced)
            })
            .ok_or_else(|| UnknownMode {
                given: text.to_owned(),
                nearest: nearest(
                    &spaced,
                    LockMode::ALL.into_iter().flat_map(|m| [m.name(), m.sql()]),
                ),
            })
    }

    /// The one mode that conflicts with just what these two conflict with between them.
    pub fn joined(self, other: LockMode) -> LockMode {
        let both = self.conflicts().union(other.conflicts());
        LockMode::ALL
            .into_iter()
            .find(|mode| mode.conflicts() == both)
            .unwrap_or(AccessExclusive)
    }

    /// The modes that another session must not hold while this one is granted.
    pub const fn conflicts(self) -> ModeSet {
        match self {
            AccessShare => ModeSet::of(&[AccessExclusive]),
            RowShare => ModeSet::of(&[Exclusive, AccessExclusive]),
            RowExclusive => ModeSet::of(&[Share, ShareRowExclusive, Exclusive, AccessExclusive]),
            ShareUpdateExclusive => ModeSet::of(&[
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
            Share => ModeSet::of(&[
                RowExclusive,
                ShareUpdateExclusive,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
            ShareRowExclusive => ModeSet::of(&[
                RowExclusive,
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
            Exclusive => ModeSet::of(&[
                RowShare,
                RowExclusive,
                ShareUpdateExclusive,
                Share,
                ShareRowExclusive,
                Exclusive,
                AccessExclusive,
            ]),
            AccessExclusive => ModeSet::of(&LockMode::ALL),
        }
    }
}

impl std::fmt::Display for LockMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of lock modes, laid out as the server's `LOCKMASK`: bit *n* for mode number *n*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModeSet(i32);

impl ModeSet {
    pub const EMPTY: ModeSet = ModeSet(0);
    const VALID: i32 = 0b1_1111_1110;

    /// The set that a `LOCKMASK` of the server stands for.
    pub const fn from_mask(mask: i32) -> ModeSet {
        ModeSet(mask & ModeSet::VALID)
    }

    const fn of(modes: &[LockMode]) -> ModeSet {
        let mut mask = 0;
        let mut i = 0;
        while i < modes.len() {
            mask |= 1 << modes[i] as i32;
            i += 1;
        }
        ModeSet(mask)
    }

    pub const fn contains(self, mode: LockMode) -> bool {
        self.0 & (1 << mode as i32) != 0
    }

    /// Whether all of these are among those.
    pub const fn is_subset_of(self, other: ModeSet) -> bool {
        self.0 & !other.0 == 0
    }

    /// Those of either.
    pub const fn union(self, other: ModeSet) -> ModeSet {
        ModeSet(self.0 | other.0)
    }

    pub const fn intersects(self, other: ModeSet) -> bool {
        self.0 & other.0 != 0
    }

    pub fn insert(&mut self, mode: LockMode) {
        self.0 |= 1 << mode as i32;
    }

    /// The mode with the greatest number.
    pub fn strongest(self) -> Option<LockMode> {
        LockMode::ALL.into_iter().rev().find(|m| self.contains(*m))
    }

    /// The strongest mode that a session holds, known only from which requests its locks stand
    /// against: `stands_against` are the modes whose requests would have to wait for it.
    ///
    /// SHARE together with ROW EXCLUSIVE or SHARE UPDATE EXCLUSIVE stands against just what SHARE
    /// ROW EXCLUSIVE does, and reads as that. Nothing at all: no lock is held.
    pub fn strongest_standing_against(stands_against: ModeSet) -> Option<LockMode> {
        let against = |m| stands_against.contains(m);
        Some(match () {
            () if against(AccessShare) => AccessExclusive,
            () if against(RowShare) => Exclusive,
            // SHARE or SHARE ROW EXCLUSIVE; of the two, only the second stands against SHARE.
            () if against(RowExclusive) && against(Share) => ShareRowExclusive,
            () if against(RowExclusive) => Share,
            () if against(ShareUpdateExclusive) => ShareUpdateExclusive,
            () if against(Share) => RowExclusive,
            () if against(Exclusive) => RowShare,
            () if against(AccessExclusive) => AccessShare,
            () => return None,
        })
    }
}

impl FromIterator<LockMode> for ModeSet {
    fn from_iter<I: IntoIterator<Item = LockMode>>(modes: I) -> ModeSet {
        let mut set = ModeSet::EMPTY;
        modes.into_iter().for_each(|m| set.insert(m));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_symmetric() {
        for a in LockMode::ALL {
            for b in LockMode::ALL {
                assert_eq!(
                    a.conflicts().contains(b),
                    b.conflicts().contains(a),
                    "{a} {b}"
                );
            }
        }
    }

    #[test]
    fn two_modes_joined_stand_against_what_either_does() {
        for a in LockMode::ALL {
            for b in LockMode::ALL {
                let conflicts = |m: LockMode, by: LockMode| m.conflicts().contains(by);
                for by in LockMode::ALL {
                    let either = conflicts(a, by) || conflicts(b, by);
                    assert_eq!(conflicts(a.joined(b), by), either, "{a} {b} {by}");
                }
            }
        }
        assert_eq!(Share.joined(ShareUpdateExclusive), ShareRowExclusive);
    }

    #[test]
    fn both_spellings_are_read_in_any_case() {
        for mode in LockMode::ALL {
            assert_eq!(LockMode::parse(mode.name()), Ok(mode));
            assert_eq!(LockMode::parse(mode.sql()), Ok(mode));
            assert_eq!(LockMode::parse(&mode.sql().to_lowercase()), Ok(mode));
            assert_eq!(LockMode::parse(&mode.name().to_uppercase()), Ok(mode));
        }
        assert_eq!(
            LockMode::parse("  access \t exclusive "),
            Ok(AccessExclusive)
        );
    }

    #[test]
    fn an_unknown_mode_names_the_nearest() {
        let nearest = |text: &str| LockMode::parse(text).unwrap_err().nearest;
        assert_eq!(nearest("AccesExclusiveLock"), Some("AccessExclusiveLock"));
        assert_eq!(nearest("acess exclusive"), Some("ACCESS EXCLUSIVE"));
        assert_eq!(nearest("purple"), None);
    }

    #[test]
    fn the_strongest_mode_is_told_from_what_it_stands_against() {
        for held in LockMode::ALL {
            let against = LockMode::ALL
                .into_iter()
                .filter(|m| m.conflicts().contains(held))
                .collect();
            assert_eq!(ModeSet::strongest_standing_against(against), Some(held));
        }
        assert_eq!(ModeSet::strongest_standing_against(ModeSet::EMPTY), None);
    }

    #[test]
    fn every_combination_reads_as_its_strongest_or_as_the_equal_of_share_row_exclusive() {
        for mask in 1..256i32 {
            let held = ModeSet::from_mask(mask << 1);
            let against: ModeSet = LockMode::ALL
                .into_iter()
                .filter(|m| m.conflicts().intersects(held))
                .collect();
            let told = ModeSet::strongest_standing_against(against);
            let share_with_weaker = held.strongest() == Some(Share)
                && (held.contains(RowExclusive) || held.contains(ShareUpdateExclusive));
            let expected = if share_with_weaker {
                Some(ShareRowExclusive)
            } else {
                held.strongest()
            };
            assert_eq!(told, expected, "{held:?}");
        }
    }
}
