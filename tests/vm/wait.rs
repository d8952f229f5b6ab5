//! Waiting for a state, with a deadline.

use std::time::{Duration, Instant};

/// How often a state is looked at: much less than what is measured, seldom enough to leave the machine its two cores.
const PERIOD: Duration = Duration::from_millis(5);

/// Waits until `state` gives a value, and says what it is and how long that took.
pub(crate) fn wait<T>(
    limit: Duration,
    mut state: impl FnMut() -> Option<T>,
) -> Option<(T, Duration)> {
    let started = Instant::now();
    loop {
        if let Some(value) = state() {
            return Some((value, started.elapsed()));
        }
        if started.elapsed() > limit {
            return None;
        }
        std::thread::sleep(PERIOD);
    }
}

/// Waits until `state` holds.
pub(crate) fn until(limit: Duration, mut state: impl FnMut() -> bool) -> Option<Duration> {
    wait(limit, || state().then_some(())).map(|((), took)| took)
}
