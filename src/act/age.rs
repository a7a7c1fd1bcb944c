//! How old things are: as the server's clock has it when they are first seen, and from then on by a clock that
//! nobody sets. A server's clock is set forward and back; nobody is long, idle or about to finish for that.

use crate::session::{Session, Timestamp};
use std::time::{Duration, Instant};

/// The age of what began at some moment.
#[derive(Clone, Copy, Debug, Default)]
struct Age(Option<First>);

/// What was told at first sight.
#[derive(Clone, Copy, Debug)]
struct First {
    /// When it began; another moment is that of another thing.
    began: Timestamp,
    seen: Instant,
    age: Duration,
}

impl Age {
    /// Takes in when it began, as seen at `now`, which the server's clock calls `stamp`.
    fn look(&mut self, began: Option<Timestamp>, now: Instant, stamp: Timestamp) {
        self.0 = began.map(|began| match self.0 {
            Some(first) if first.began == began => first,
            _ => First {
                began,
                seen: now,
                age: stamp.since(began),
            },
        });
    }

    fn at(&self, now: Instant) -> Option<Duration> {
        self.0
            .map(|first| first.age + now.saturating_duration_since(first.seen))
    }
}

/// What of a session has an age.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ages {
    transaction: Age,
    query: Age,
    state: Age,
}

impl Ages {
    /// Takes in what the session tells of itself.
    pub(super) fn look(&mut self, session: &Session, now: Instant, stamp: Timestamp) {
        self.transaction.look(session.xact_start, now, stamp);
        self.query.look(session.query_start, now, stamp);
        self.state.look(session.state_change, now, stamp);
    }

    pub(super) fn of_transaction(&self, now: Instant) -> Option<Duration> {
        self.transaction.at(now)
    }

    pub(super) fn of_query(&self, now: Instant) -> Option<Duration> {
        self.query.at(now)
    }

    pub(super) fn of_state(&self, now: Instant) -> Option<Duration> {
        self.state.at(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_begins_anew_is_young_again() {
        let start = Instant::now();
        let mut age = Age::default();
        assert_eq!(age.at(start), None);
        age.look(Some(Timestamp(0)), start, Timestamp(5_000_000));
        assert_eq!(age.at(start + SECOND), Some(6 * SECOND));
        age.look(
            Some(Timestamp(5_500_000)),
            start + SECOND,
            Timestamp(6_000_000),
        );
        assert_eq!(age.at(start + SECOND), Some(SECOND / 2));
        age.look(None, start + SECOND, Timestamp(6_000_000));
        assert_eq!(age.at(start + SECOND), None);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_is_set_to_an_age_grows_with_time(
            began in -1_000_000_000i64..1_000_000_000,
            told_first in 0u64..100_000_000,
            looks in prop::collection::vec((0u64..10_000_000, any::<i32>()), 0..20),
        ) {
            let start = Instant::now();
            let mut age = Age::default();
            let began = Timestamp(began);
            let told_first = Duration::from_micros(told_first);
            age.look(Some(began), start, began.after(told_first));
            let mut passed = Duration::ZERO;
            for (step, stamp) in looks {
                passed += Duration::from_micros(step);
                age.look(Some(began), start + passed, Timestamp(i64::from(stamp)));
                prop_assert_eq!(age.at(start + passed), Some(told_first + passed));
            }
        }
    }
}
