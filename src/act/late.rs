//! Whether there is time enough left to begin with a victim.

use std::time::Duration;

/// What a victim needs to let go, and a call to see it.
const TO_LET_GO: Duration = Duration::from_millis(100);

/// Whether a first signal would come too late to be of use: whoever gets it has hardly the time to let
/// go, and the call none to see it. A short call needs less, or it could do nothing at all.
pub fn is_too_late(left: Duration, timeout: Duration) -> bool {
    left < TO_LET_GO.min(timeout / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_late(left: u64, timeout: u64) -> bool {
        is_too_late(Duration::from_millis(left), Duration::from_millis(timeout))
    }

    #[test]
    fn the_last_tenth_of_a_second_is_too_late() {
        for timeout in [1_000, 30_000, 600_000] {
            assert!(too_late(99, timeout) && too_late(0, timeout), "{timeout}");
            assert!(!too_late(100, timeout), "{timeout}");
        }
    }

    #[test]
    fn of_a_short_call_the_last_tenth_is() {
        assert!(too_late(19, 200));
        assert!(!too_late(20, 200));
        assert!(!too_late(1, 1));
    }
}
