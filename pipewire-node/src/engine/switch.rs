//! When a mute or unmute may be acknowledged: a pure state machine over what the real-time thread published.
//! Nothing here touches the gate or the graph.

use std::{sync::mpsc::SyncSender, time::Duration};

use truemute_core::{gate::Epoch, observed::Applied};

use crate::{Failure, sample::Seen};

/// The longest that a command waits for the audio thread. Longer than a device takes to open, shorter than a person
/// takes for broken.
pub(crate) const PATIENCE: Duration = Duration::from_millis(900);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A cycle that saw the epoch, with no delivery of an older one in flight.
    Muted,
    /// A live cycle of the epoch; with `mic` false (none is there) any cycle that saw it.
    Live {
        /// Whether a real mic can be expected to deliver.
        mic: bool,
    },
}

/// A command that waits for its effect.
pub(crate) struct Pending {
    pub(crate) wanted: Wanted,
    /// The epoch that the command opened.
    pub(crate) epoch: Epoch,
    /// When the command came, monotonic nanoseconds.
    pub(crate) asked_ns: u64,
    pub(crate) reply: SyncSender<Result<Applied, Failure>>,
}

/// What the engine knows at this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) seen: &'a Seen,
    /// Whether the graph runs the virtual mic.
    pub(crate) streaming: bool,
    /// No delivery from before the pending epoch is in flight.
    pub(crate) settled: bool,
    pub(crate) now_ns: u64,
}

impl Pending {
    /// The reply, once there is one.
    pub(crate) fn judge(&self, facts: Facts<'_>) -> Option<Result<Applied, Failure>> {
        let took_us = facts.now_ns.saturating_sub(self.asked_ns) / 1_000;
        if !facts.streaming {
            return facts.settled.then_some(Ok(Applied::Idle { took_us }));
        }
        let seen = facts.seen;
        let epoch = self.epoch.get();
        let place = match self.wanted {
            // A newer epoch was opened meanwhile: its first cycle is where this one ended.
            Wanted::Muted if seen.epoch >= epoch && facts.settled => Some(seen.epoch_at),
            Wanted::Live { .. } if seen.epoch > epoch => return Some(Err(Failure::Overtaken)),
            Wanted::Live { mic: false } if seen.epoch == epoch => {
                seen.live_at.or(Some(seen.epoch_at))
            }
            Wanted::Live { mic: true } if seen.epoch == epoch => seen.live_at,
            _ => None,
        };
        match place {
            Some(at) => Some(Ok(Applied::Cycle {
                clock: at.clock.to_string(),
                position: at.position,
                took_us,
            })),
            None if facts.now_ns < self.deadline_ns() => None,
            // The audio thread runs in the new state; only the mic has not delivered, and some take seconds to open
            // (Bluetooth). The gate stays open for what it delivers then.
            None if self.wanted != Wanted::Muted && seen.epoch == epoch => {
                Some(Ok(Applied::Idle { took_us }))
            }
            None => Some(Err(Failure::NotConfirmed {
                waited_ms: PATIENCE.as_millis() as u64,
            })),
        }
    }

    /// When waiting ends, monotonic nanoseconds.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.asked_ns.saturating_add(PATIENCE.as_nanos() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use truemute_core::gate::Gate;

    use super::*;
    use crate::sample::At;

    fn fifth() -> Epoch {
        let gate = Gate::new();
        (0..5).map(|_| gate.mute()).last().expect("five commands")
    }

    fn pending(wanted: Wanted) -> Pending {
        Pending {
            wanted,
            epoch: fifth(),
            asked_ns: 1_000_000,
            reply: sync_channel(1).0,
        }
    }

    fn facts(seen: &Seen) -> Facts<'_> {
        Facts {
            seen,
            streaming: true,
            settled: true,
            now_ns: 3_000_000,
        }
    }

    const AT: At = At {
        clock: 42,
        position: 4096,
    };

    #[test]
    fn mute_waits_for_a_cycle_that_saw_it() {
        let old = Seen {
            cycles: 9,
            epoch: 4,
            epoch_at: AT,
            ..Seen::default()
        };
        assert_eq!(pending(Wanted::Muted).judge(facts(&old)), None);
        let new = Seen { epoch: 5, ..old };
        assert_eq!(
            pending(Wanted::Muted).judge(Facts {
                settled: false,
                ..facts(&new)
            }),
            None
        );
        assert_eq!(
            pending(Wanted::Muted).judge(facts(&new)),
            Some(Ok(Applied::Cycle {
                clock: "42".into(),
                position: 4096,
                took_us: 2_000
            }))
        );
    }

    #[test]
    fn unmute_waits_for_sound_only_if_there_is_a_mic() {
        let seen = Seen {
            cycles: 9,
            epoch: 5,
            epoch_at: AT,
            ..Seen::default()
        };
        assert_eq!(
            pending(Wanted::Live { mic: true }).judge(facts(&seen)),
            None
        );
        assert!(
            pending(Wanted::Live { mic: false })
                .judge(facts(&seen))
                .is_some()
        );
        let live = Seen {
            live_at: Some(At {
                clock: 43,
                position: 64,
            }),
            ..seen
        };
        assert_eq!(
            pending(Wanted::Live { mic: true }).judge(facts(&live)),
            Some(Ok(Applied::Cycle {
                clock: "43".into(),
                position: 64,
                took_us: 2_000
            }))
        );
    }

    #[test]
    fn nothing_running_is_idle_and_silence_is_not_waited_for_forever() {
        let seen = Seen::default();
        let idle = Facts {
            streaming: false,
            ..facts(&seen)
        };
        assert_eq!(
            pending(Wanted::Muted).judge(idle),
            Some(Ok(Applied::Idle { took_us: 2_000 }))
        );
        assert_eq!(
            pending(Wanted::Muted).judge(Facts {
                settled: false,
                ..idle
            }),
            None
        );
        let late = Facts {
            now_ns: 1_000_000 + 900_000_000,
            ..facts(&seen)
        };
        assert_eq!(
            pending(Wanted::Muted).judge(late),
            Some(Err(Failure::NotConfirmed { waited_ms: 900 }))
        );
    }

    #[test]
    fn a_mic_that_opens_slowly_leaves_the_gate_open() {
        let seen = Seen {
            cycles: 9,
            epoch: 5,
            epoch_at: AT,
            ..Seen::default()
        };
        let late = Facts {
            now_ns: 1_000_000 + 900_000_000,
            ..facts(&seen)
        };
        assert_eq!(
            pending(Wanted::Live { mic: true }).judge(late),
            Some(Ok(Applied::Idle { took_us: 900_000 }))
        );
        let unseen = Seen { epoch: 4, ..seen };
        assert_eq!(
            pending(Wanted::Live { mic: true }).judge(Facts {
                seen: &unseen,
                ..late
            }),
            Some(Err(Failure::NotConfirmed { waited_ms: 900 }))
        );
    }

    #[test]
    fn an_unmute_that_a_mute_overtook_says_so() {
        let seen = Seen {
            cycles: 1,
            epoch: 6,
            epoch_at: AT,
            ..Seen::default()
        };
        assert_eq!(
            pending(Wanted::Live { mic: true }).judge(facts(&seen)),
            Some(Err(Failure::Overtaken))
        );
        assert!(matches!(
            pending(Wanted::Muted).judge(facts(&seen)),
            Some(Ok(Applied::Cycle { .. }))
        ));
    }
}
