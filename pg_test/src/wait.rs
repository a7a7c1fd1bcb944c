//! Waiting for a state by looking for it: never a sleep in the hope that it has come.

use std::time::{Duration, Instant};

use crate::slowness::slow;

/// How long to pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks every 5 ms until `state` is true, for at most `timeout`, stretched where servers are slow.
///
/// # Panics
/// When it is still false after `timeout`, with `what` in the message: name the state as a claim, for
/// instance "the DROP TABLE waits for its lock".
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut state: impl FnMut() -> bool) {
    assert!(
        becomes_true(timeout, &mut state),
        "not within {:?}: {what}",
        slow(timeout)
    );
}

/// Looks every 5 ms until `state` is true, for at most `timeout`, stretched likewise; says whether it became true.
pub fn becomes_true(timeout: Duration, mut state: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + slow(timeout);
    loop {
        if state() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}
