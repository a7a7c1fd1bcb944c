//! How much slower than usual servers are: under valgrind, twenty times and more.
//!
//! One factor, from one place, stretches every limit that a scenario sets to what a server does: the time that it is
//! waited for (`wait_until`, `Running::wait`, programs), a session's own `statement_timeout`, and what a scenario
//! says that something may take at most. What lockguard is told, such as a policy's `timeout`, stays as it is.

use std::sync::OnceLock;
use std::time::Duration;

/// The environment variable that gives the factor.
pub const SLOWNESS_VARIABLE: &str = "LOCKGUARD_SLOWNESS";

/// The limit, stretched.
pub fn slow(limit: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| factor(std::env::var(SLOWNESS_VARIABLE).ok().as_deref()));
    limit.saturating_mul(*factor)
}

/// One, where nothing is said or it is no number from one on.
fn factor(text: Option<&str>) -> u32 {
    let number = text.and_then(|text| text.trim().parse().ok());
    number.filter(|factor| *factor >= 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_stretched_unless_asked() {
        let of = [None, Some(""), Some("0"), Some("fast"), Some("30")].map(factor);
        assert_eq!(of, [1, 1, 1, 1, 30]);
    }
}
