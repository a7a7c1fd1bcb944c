//! How long a lock queue may be sat in, and when again: each stay is paid for by staying out of it
//! for more than ten times as long, so that those behind it never wait for a tenth of the time.
//! Pure; time is what the caller says it is.

use std::time::Duration;

/// How many times as long as it sat in the queue a call stays out of it, at least.
const PAUSE: u32 = 10;

/// Keeps the account of one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    /// Since the start of the call: when it is free to queue again.
    free_at: Duration,
}

impl Backoff {
    /// How long to stay out of the queue still, at that time since the start of the call.
    pub fn pause(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }

    /// Takes in that others may have had to wait for that long behind a request that came to
    /// nothing. `jitter`, from 0 to 1, keeps two such callers from meeting again and again.
    pub fn spent(&mut self, now: Duration, stalled: Duration, jitter: f64) {
        let pause = stalled * PAUSE;
        self.free_at = self.free_at.max(now) + pause + pause.mul_f64(jitter.clamp(0.0, 1.0) / 2.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_attempt_may_be_made_at_once() {
        assert_eq!(Backoff::default().pause(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn jitter_lengthens_the_pause_by_up_to_a_half() {
        for (jitter, pause) in [(0.0, 1_000), (1.0, 1_500), (9.0, 1_500)] {
            let mut backoff = Backoff::default();
            backoff.spent(
                Duration::from_millis(100),
                Duration::from_millis(100),
                jitter,
            );
            assert_eq!(
                backoff.pause(Duration::from_millis(100)),
                Duration::from_millis(pause)
            );
        }
    }

    proptest! {
        #[test]
        fn less_than_a_tenth_of_the_time_is_spent_in_queues(
            attempts in prop::collection::vec((0u64..200_000, 0.0f64..=1.0, 0u64..500_000), 1..50),
        ) {
            let mut backoff = Backoff::default();
            let (mut now, mut queued) = (Duration::ZERO, Duration::ZERO);
            for (stalled, jitter, idle) in attempts {
                let stalled = Duration::from_micros(stalled);
                now += backoff.pause(now) + Duration::from_micros(idle);
                prop_assert!(queued * 10 <= now, "{queued:?} of {now:?}");
                now += stalled;
                queued += stalled;
                backoff.spent(now, stalled, jitter);
            }
        }
    }
}
