//! The one error of the harness: a sentence for the person at the terminal.
//!
//! Nobody here reacts to the kind of an error; it is read by a human, so it carries words alone: what
//! went wrong, with which file or program, and what to type next.

use std::fmt;

/// What went wrong, in words that tell the reader what to do.
pub struct Failure(String);

impl Failure {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// `unwrap` in a scenario and `fn main() -> Result` print Debug: let that be the sentence too.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Turns an error into a [`Failure`] that says what was being done.
pub trait During<T> {
    /// `Err(e)` becomes "could not {what}: {e}"; say `what` as a verb with its object.
    fn during(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("could not {what}: {error}")))
    }
}
