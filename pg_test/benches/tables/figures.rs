//! From measurements to figures: medians, and how a time is written.

use std::time::Duration;

use pg_test::figures::grouped;

/// The middle and the ends of some times; zero of none.
#[derive(Clone, Copy)]
pub struct Spread {
    pub min: Duration,
    pub median: Duration,
    pub max: Duration,
}

/// Sums up `times`.
pub fn spread(times: impl IntoIterator<Item = Duration>) -> Spread {
    let mut times: Vec<Duration> = times.into_iter().collect();
    times.sort();
    Spread {
        min: times.first().copied().unwrap_or_default(),
        median: times.get(times.len() / 2).copied().unwrap_or_default(),
        max: times.last().copied().unwrap_or_default(),
    }
}

/// `1,234.5 ms`: with more digits the shorter it is.
pub fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        0.0..1.0 => format!("{ms:.3} ms"),
        1.0..100.0 => format!("{ms:.1} ms"),
        _ => format!("{} ms", grouped(ms.round() as u128)),
    }
}

/// Seconds, to the millisecond where that says something.
pub fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 3.0 {
        format!("{seconds:.3} s")
    } else {
        format!("{seconds:.1} s")
    }
}
