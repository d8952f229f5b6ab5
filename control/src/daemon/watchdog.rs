//! Tells the service manager (systemd, or `truemute supervise`; launchd does not ask) that the daemon lives: that the actor answers, for only the actor calls it, and
//! that the others do on whom sound depends. Whoever stops hearing that kills the daemon and starts it again.

use std::time::{Duration, Instant};

use crate::system::{self, Sign};

/// How long the machine may take to fall asleep and to wake up, on a clock that stands still in between. The user's processes,
/// service manager and daemon, are frozen for a part of that; which of them goes on first, nobody knows.
const SLEEP: Duration = Duration::from_secs(60);

/// The service manager's watchdog.
pub struct Watchdog {
    limit: Duration,
    /// Since when the manager bears [`SLEEP`].
    asleep: Option<Instant>,
    period: Duration,
    fed: Option<Instant>,
    hungry: bool,
}

impl Watchdog {
    /// The watchdog that the service manager asks for, if it does.
    pub fn from_environment() -> Option<Watchdog> {
        system::watchdog_limit().map(Watchdog::with_limit)
    }

    fn with_limit(limit: Duration) -> Watchdog {
        Watchdog {
            limit,
            asleep: None,
            period: limit / 4,
            fed: None,
            hungry: false,
        }
    }

    /// Time between two signs of life: a quarter of the manager's limit.
    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// From now on the manager bears that the machine sleeps; or no longer.
    pub(super) fn bear_sleep(&mut self, asleep: bool) {
        self.asleep = asleep.then(Instant::now);
        let patience = if asleep { SLEEP } else { self.limit };
        system::tell_manager(Sign::Patience(patience));
    }

    /// A sign of life, if one is due and the other threads give theirs.
    pub(super) fn feed(&mut self, others_are_alive: impl FnOnce() -> bool) {
        if self.fed.is_some_and(|fed| fed.elapsed() < self.period / 2) {
            return;
        }
        if !others_are_alive() {
            if !std::mem::replace(&mut self.hungry, true) {
                tracing::warn!(
                    "a thread of the daemon has not answered for {:?}",
                    self.period
                );
            }
            return;
        }
        // Nobody said that the machine is awake, and it has been for long.
        if self.asleep.is_some_and(|since| since.elapsed() > SLEEP) {
            self.bear_sleep(false);
        }
        self.hungry = false;
        self.fed = Some(Instant::now());
        system::tell_manager(Sign::Alive);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::daemon::actor::BACKEND_CALL;
    use crate::supervise::{STOP, WATCHDOG};

    #[test]
    fn a_thread_that_hangs_is_killed_within_two_seconds_and_one_that_waits_is_not() {
        let unit = include_str!("../../packaging/systemd/truemute.service");
        let limit = format!("WatchdogSec={}ms\n", WATCHDOG.as_millis());
        assert!(unit.contains(&limit));
        assert!(unit.contains(&format!("TimeoutStopSec={}\n", STOP.as_secs())));
        let period = Watchdog::with_limit(WATCHDOG).period();
        // The first sign of life after a hang still passes, for the thread's last answer came before. It comes with the first
        // wake-up that is half a period after the one before; the actor wakes up at least once in a period.
        let last_sign = period / 2 + period;
        assert!(last_sign + WATCHDOG <= Duration::from_secs(2));
        // Before each wait for the backend there is a sign, or there was one less than half a period ago.
        assert!(period / 2 + BACKEND_CALL < WATCHDOG);
    }
}
