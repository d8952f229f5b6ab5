//! What a sleep of the machine means: silence until somebody unmutes. The host's clock stands still meanwhile, and with it the
//! lease and the age of what is in the ring; so without this the gate could still be open after a night.

use std::sync::atomic::{AtomicU64, Ordering};
use truemute_core::gate::Gate;

/// As long as a lease lasts: who answered for "live" so long ago does so no more.
pub const LONGEST_SLEEP_NS: u64 = truemute_bridge::LEASE_NS;

/// The sleep that the gate has paid for with a mute. Any thread, real-time safe.
#[derive(Debug)]
pub struct Sleep {
    paid_ns: AtomicU64,
}

impl Sleep {
    /// What the machine slept before now, in nanoseconds, is of no account.
    pub const fn new(asleep_ns: u64) -> Self {
        Self {
            paid_ns: AtomicU64::new(asleep_ns),
        }
    }

    /// Mutes the gate if the machine slept more than [`LONGEST_SLEEP_NS`] since the last time that it did so. `asleep_ns` is all that
    /// it slept so far.
    pub fn look(&self, asleep_ns: u64, gate: &Gate) {
        let paid_ns = self.paid_ns.load(Ordering::Acquire);
        if asleep_ns.saturating_sub(paid_ns) > LONGEST_SLEEP_NS {
            // First, so that whoever sees it paid finds the gate muted. Two who see it at once both mute, the later one
            // perhaps what was unmuted in between: silence, and a state that is told.
            gate.mute();
            gate.revoke_lease();
            self.paid_ns.fetch_max(asleep_ns, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: u64 = 8 * 3600 * 1_000_000_000;

    #[test]
    fn a_sleep_mutes_once_and_short_ones_add_up() {
        let gate = Gate::new();
        let sleep = Sleep::new(NIGHT);
        let opened = gate.unmute(0);
        sleep.look(NIGHT, &gate);
        sleep.look(NIGHT + LONGEST_SLEEP_NS, &gate);
        assert_eq!(gate.state(), (opened, true), "nothing to speak of");
        sleep.look(NIGHT + LONGEST_SLEEP_NS + 1, &gate);
        assert!(!gate.state().1);
        let opened = gate.unmute(0);
        sleep.look(NIGHT + LONGEST_SLEEP_NS + 1, &gate);
        // A look that began before another one's, and comes after it.
        sleep.look(NIGHT, &gate);
        assert_eq!(gate.state(), (opened, true), "that was paid for");
        sleep.look(2 * NIGHT, &gate);
        assert!(!gate.state().1);
    }
}
