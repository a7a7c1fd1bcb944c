//! What the server log tells of signals, and when: its times are the machine's, in milliseconds of the day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// From one time of day to a later one, which may be past midnight; 0 if it is a little earlier.
pub fn since(earlier: Duration, later: Duration) -> Duration {
    let past_midnight = later + DAY / 2 < earlier;
    let later = if past_midnight { later + DAY } else { later };
    later.saturating_sub(earlier)
}

/// The time since midnight, UTC, in whole milliseconds as the server log has it.
pub fn time_of_day() -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Duration::from_millis((now.as_millis() % DAY.as_millis()) as u64)
}

/// When lockguard signalled whom, from lines like
/// `2026-11-23 06:40:28.123 UTC [7] manage.py migrate postgres@db1 LOG:  lockguard cancels pid 24484 for …`.
pub fn signals_in(log: &str) -> Vec<(Duration, String)> {
    let signal = |line: &str| {
        let (prefix, text) = line.split_once("LOG:  ")?;
        text.starts_with("lockguard ").then_some(())?;
        let mut time = prefix.split(' ').nth(1)?.splitn(3, ':');
        let mut next = || time.next()?.parse::<f64>().ok();
        let seconds = next()? * 3600.0 + next()? * 60.0 + next()?;
        Some((Duration::from_secs_f64(seconds), text.to_owned()))
    };
    log.lines().filter_map(signal).collect()
}
