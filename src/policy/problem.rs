//! What is wrong with a policy document, where in it, and what was probably meant.

use crate::nearest::nearest;

/// A refusal of a document: SQLSTATE 22023, or 42501 where a stored policy does not allow so much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as an SQL/JSON path: `$.preempt[2].older_than`.
    pub path: String,
    /// What is wrong there; no capital, no full stop.
    pub message: String,
    /// What to write instead; a whole sentence.
    pub hint: Option<String>,
    /// It would be fine, were it not for the stored policy.
    pub is_too_wide: bool,
}

impl Problem {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem {
            path: path.into(),
            message: message.into(),
            hint: None,
            is_too_wide: false,
        }
    }

    /// The same for what only the stored policy does not allow.
    pub fn too_wide(self) -> Problem {
        Problem {
            is_too_wide: true,
            ..self
        }
    }

    pub fn hint(self, hint: impl Into<String>) -> Problem {
        Problem {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Hints at the valid word most like `given`, or else lists them all.
    pub fn hint_nearest(self, given: &str, valid: &[&str]) -> Problem {
        match nearest(given, valid.iter().copied()) {
            Some(word) => self.hint(format!("Perhaps you meant \"{word}\".")),
            None => self.hint(format!("Valid are: {}.", valid.join(", "))),
        }
    }
}

/// At most this many characters of somebody's input are repeated in a message.
const QUOTED: usize = 60;

/// Somebody's word for a message: in double quotes, any of its own doubled, cut where it is long.
pub fn quoted(word: &str) -> String {
    let (shown, more) = match word.char_indices().nth(QUOTED) {
        None => (word, ""),
        Some((end, _)) => (&word[..end], "…"),
    };
    format!("\"{}{more}\"", shown.replace('"', "\"\""))
}
