//! Tells systemd that the actor answers. Only the actor calls it, so that a hung actor gets the daemon restarted.

use std::time::{Duration, Instant};

/// The service manager's watchdog.
pub struct Watchdog {
    period: Duration,
    fed: Option<Instant>,
}

impl Watchdog {
    /// The watchdog that the service manager asks for, if it does.
    pub fn from_environment() -> Option<Watchdog> {
        sd_notify::watchdog_enabled().map(|limit| Watchdog {
            period: limit / 3,
            fed: None,
        })
    }

    /// Time between two signs of life: a third of the manager's limit.
    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// A sign of life, if one is due.
    pub(super) fn feed(&mut self) {
        if self.fed.is_none_or(|fed| fed.elapsed() >= self.period / 2) {
            self.fed = Some(Instant::now());
            if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]) {
                tracing::warn!("the service manager's watchdog cannot be fed: {error}");
            }
        }
    }
}
