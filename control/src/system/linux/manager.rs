//! systemd, or `truemute supervise` in its place: sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;

use crate::supervise::STOP;
use crate::system::Sign;

/// How long the manager lets the daemon be silent, if it watches.
pub(crate) fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Tells the manager, if there is one.
pub(crate) fn tell_manager(sign: Sign) {
    // Nobody feeds the watchdog of a daemon that ends, and a backend that is just being started is waited for.
    let limit = |limit: Duration| {
        NotifyState::WatchdogUsec(u32::try_from(limit.as_micros()).unwrap_or(u32::MAX))
    };
    let states: &[NotifyState<'_>] = match sign {
        Sign::Ready => &[NotifyState::Ready],
        Sign::Ending => &[NotifyState::Stopping, limit(STOP)],
        Sign::Alive => &[NotifyState::Watchdog],
        Sign::Patience(patience) => &[limit(patience)],
    };
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
