//! systemd, or `truemute supervise` in its place: sd_notify(3).

use std::time::Duration;

use sd_notify::NotifyState;

use crate::system::Sign;

/// How long the manager lets the daemon be silent, if it watches.
pub(crate) fn watchdog_limit() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Tells the manager, if there is one.
pub(crate) fn tell_manager(sign: Sign) {
    let state = match sign {
        Sign::Ready => NotifyState::Ready,
        Sign::Ending => NotifyState::Stopping,
        Sign::Alive => NotifyState::Watchdog,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
