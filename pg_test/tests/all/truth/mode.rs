//! The eight table lock modes and which of them conflict, as the manual's chapter "Explicit Locking" has it:
//! written down again, so that the extension's own table is not judged by itself.

/// A table lock mode; a later one is what people call stronger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mode(usize);

const MODES: [(&str, &str); 8] = [
    ("AccessShareLock", "ACCESS SHARE"),
    ("RowShareLock", "ROW SHARE"),
    ("RowExclusiveLock", "ROW EXCLUSIVE"),
    ("ShareUpdateExclusiveLock", "SHARE UPDATE EXCLUSIVE"),
    ("ShareLock", "SHARE"),
    ("ShareRowExclusiveLock", "SHARE ROW EXCLUSIVE"),
    ("ExclusiveLock", "EXCLUSIVE"),
    ("AccessExclusiveLock", "ACCESS EXCLUSIVE"),
];

/// Table 13.2, "Conflicting Lock Modes".
const CONFLICTS: [&str; 8] = [
    ".......X", //
    "......XX", //
    "....XXXX", //
    "...XXXXX", //
    "..XX.XXX", //
    "..XXXXXX", //
    ".XXXXXXX", //
    "XXXXXXXX", //
];

impl Mode {
    pub const ACCESS_SHARE: Mode = Mode(0);
    pub const ROW_SHARE: Mode = Mode(1);
    pub const ROW_EXCLUSIVE: Mode = Mode(2);
    pub const SHARE_UPDATE_EXCLUSIVE: Mode = Mode(3);
    pub const SHARE: Mode = Mode(4);
    pub const SHARE_ROW_EXCLUSIVE: Mode = Mode(5);
    pub const ACCESS_EXCLUSIVE: Mode = Mode(7);

    /// All of them, the weakest first.
    pub fn all() -> impl Iterator<Item = Mode> {
        (0..MODES.len()).map(Mode)
    }

    /// As in `pg_locks`.
    pub fn name(self) -> &'static str {
        MODES[self.0].0
    }

    /// As in `LOCK TABLE`.
    pub fn sql(self) -> &'static str {
        MODES[self.0].1
    }

    /// The mode of that name in `pg_locks`.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> Mode {
        match MODES.iter().position(|(known, _)| *known == name) {
            Some(at) => Mode(at),
            None => panic!("no table lock mode: {name}"),
        }
    }

    pub fn conflicts_with(self, other: Mode) -> bool {
        CONFLICTS[self.0].as_bytes()[other.0] == b'X'
    }
}

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
