//! The mute state and the rules of who may change it: pure, with time as a parameter. What is done to the backend is the
//! actor's ([`super::actor`]).

use std::time::Duration;

use crate::protocol::{GateState, Origin};

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Silence.
    Mute,
    /// Sound.
    Unmute,
    /// The other of the two.
    Toggle,
}

/// Why the gate is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Somebody commanded it.
    Commanded(Origin),
    /// The audio thread did not confirm an unmute, so that it was taken back.
    NotConfirmed,
    /// The machine goes to sleep.
    Asleep,
    /// The daemon ends.
    Stopped,
}

/// What to do about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Silence the gate (again, if it is silent already: an acknowledged mute is always a fresh one).
    Mute,
    /// Open the gate.
    Unmute,
    /// The gate is live already.
    StayLive,
    /// This origin may not unmute.
    Refuse,
    /// Nobody may, for the lock holds.
    RefuseLocked,
    /// A mirror that may unmute cleared its flag so soon after a mute that it can be an echo.
    IgnoreEcho,
}

/// A mirror's report of an earlier unmute can come this much after a mute. Chromium's and WirePlumber's came within
/// a second of the change.
pub const ECHO_WINDOW: Duration = Duration::from_secs(1);

/// The one mute state.
#[derive(Clone, Debug)]
pub(super) struct MuteState {
    gate: GateState,
    reason: Reason,
    unmute_origins: Vec<Origin>,
    locked: bool,
    /// When a mute came last from elsewhere than the desktop flag, on the caller's clock.
    muted_at: Option<Duration>,
}

impl MuteState {
    /// The state at the start.
    pub(super) fn new(gate: GateState, origin: Origin, unmute_origins: Vec<Origin>) -> MuteState {
        MuteState {
            gate,
            reason: Reason::Commanded(origin),
            unmute_origins,
            locked: false,
            muted_at: None,
        }
    }

    /// Live or muted, as commanded.
    pub(super) fn gate(&self) -> GateState {
        self.gate
    }

    /// The origin of the last change.
    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether every unmute is refused.
    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Locks or unlocks. True if that is a change. The gate must be silent before it is locked.
    pub(super) fn set_locked(&mut self, locked: bool) -> bool {
        std::mem::replace(&mut self.locked, locked) != locked
    }

    /// What to do when `origin` asks for `want` at `now` (any clock that never goes back).
    pub(super) fn decide(&self, want: Want, origin: Origin, now: Duration) -> Decision {
        match (want, self.gate) {
            (Want::Mute, _) | (Want::Toggle, GateState::Live) => Decision::Mute,
            (Want::Unmute, GateState::Live) => Decision::StayLive,
            (Want::Unmute | Want::Toggle, GateState::Muted) => {
                if self.locked {
                    Decision::RefuseLocked
                } else if !self.may_unmute(origin) {
                    Decision::Refuse
                } else if is_mirror(origin) && self.may_be_echo(now) {
                    Decision::IgnoreEcho
                } else {
                    Decision::Unmute
                }
            }
        }
    }

    /// Whether commands of this origin may open anything.
    pub(super) fn may_unmute(&self, origin: Origin) -> bool {
        self.unmute_origins.contains(&origin)
    }

    /// The gate is silent now, because of `reason`. True if that is a change.
    pub(super) fn muted(&mut self, reason: Reason, now: Duration) -> bool {
        if !matches!(reason, Reason::Commanded(origin) if is_mirror(origin)) {
            self.muted_at = Some(now);
        }
        self.set(GateState::Muted, reason)
    }

    /// The gate is live now, because of `reason`. True if that is a change.
    pub(super) fn unmuted(&mut self, origin: Origin) -> bool {
        self.set(GateState::Live, Reason::Commanded(origin))
    }

    fn set(&mut self, gate: GateState, reason: Reason) -> bool {
        let changed = self.gate != gate;
        if changed {
            self.gate = gate;
            self.reason = reason;
        }
        changed
    }

    fn may_be_echo(&self, now: Duration) -> bool {
        self.muted_at
            .is_some_and(|muted_at| now.saturating_sub(muted_at) < ECHO_WINDOW)
    }
}

/// Whether the origin reports a state of its own that can be late or an echo of ours.
fn is_mirror(origin: Origin) -> bool {
    matches!(origin, Origin::Desktop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGINS: [Origin; 8] = [
        Origin::Cli,
        Origin::Hotkey,
        Origin::Desktop,
        Origin::App,
        Origin::Headset,
        Origin::Policy,
        Origin::Lease,
        Origin::Start,
    ];

    fn origin() -> impl Strategy<Value = Origin> {
        prop::sample::select(&ORIGINS[..])
    }

    fn want() -> impl Strategy<Value = Want> {
        prop::sample::select(&[Want::Mute, Want::Unmute, Want::Toggle][..])
    }

    /// Does to the state what the actor does with a backend that always obeys.
    fn obey(state: &mut MuteState, want: Want, origin: Origin, now: Duration) -> Decision {
        let decision = state.decide(want, origin, now);
        match decision {
            Decision::Mute => {
                state.muted(Reason::Commanded(origin), now);
            }
            Decision::Unmute => {
                state.unmuted(origin);
            }
            Decision::StayLive
            | Decision::Refuse
            | Decision::RefuseLocked
            | Decision::IgnoreEcho => {}
        }
        decision
    }

    proptest! {
        #[test]
        fn only_permitted_origins_open(
            allowed in prop::collection::vec(origin(), 0..4),
            live in any::<bool>(),
            commands in prop::collection::vec((want(), origin(), 0u64..3000), 0..50),
        ) {
            let gate = if live { GateState::Live } else { GateState::Muted };
            let mut state = MuteState::new(gate, Origin::Start, allowed.clone());
            let mut now = Duration::ZERO;
            for (want, origin, wait_ms) in commands {
                now += Duration::from_millis(wait_ms);
                let before = state.gate();
                obey(&mut state, want, origin, now);
                if before == GateState::Muted && state.gate() == GateState::Live {
                    prop_assert!(allowed.contains(&origin));
                }
            }
        }

        #[test]
        fn any_origin_mutes(
            allowed in prop::collection::vec(origin(), 0..4),
            live in any::<bool>(),
            from in origin(),
        ) {
            let gate = if live { GateState::Live } else { GateState::Muted };
            let mut state = MuteState::new(gate, Origin::Start, allowed);
            obey(&mut state, Want::Mute, from, Duration::ZERO);
            prop_assert_eq!(state.gate(), GateState::Muted);
        }

        /// Every change that people make through the CLI is echoed by the desktop flag up to a second later, in order. Even
        /// with `desktop` permitted, the state must be what the CLI asked for last, at all times.
        #[test]
        fn an_echo_never_unmutes(
            commands in prop::collection::vec((any::<bool>(), 0u64..1500, 0u64..1000), 0..40),
        ) {
            let mut state = MuteState::new(
                GateState::Muted,
                Origin::Start,
                vec![Origin::Cli, Origin::Desktop],
            );
            let mut now = 0;
            let mut last_echo = 0;
            let mut timeline: Vec<(u64, Origin, bool)> = Vec::new();
            for (mute, wait_ms, echo_ms) in commands {
                now += wait_ms;
                timeline.push((now, Origin::Cli, mute));
                last_echo = last_echo.max(now + echo_ms);
                timeline.push((last_echo, Origin::Desktop, mute));
            }
            timeline.sort_by_key(|(at, ..)| *at);
            let mut asked_live = false;
            for (at, origin, mute) in timeline {
                let want = if mute { Want::Mute } else { Want::Unmute };
                obey(&mut state, want, origin, Duration::from_millis(at));
                if origin == Origin::Cli {
                    asked_live = !mute;
                }
                prop_assert!(asked_live || state.gate() == GateState::Muted);
            }
        }
    }

    #[test]
    fn the_desktop_may_take_back_its_own_mute_at_once() {
        let mut state = MuteState::new(GateState::Live, Origin::Start, vec![Origin::Desktop]);
        obey(&mut state, Want::Mute, Origin::Desktop, Duration::ZERO);
        let decision = obey(&mut state, Want::Unmute, Origin::Desktop, Duration::ZERO);
        assert_eq!(decision, Decision::Unmute);
    }

    #[test]
    fn a_refused_command_changes_nothing() {
        let mut state = MuteState::new(GateState::Muted, Origin::Cli, vec![Origin::Cli]);
        let decision = obey(&mut state, Want::Toggle, Origin::App, Duration::ZERO);
        assert_eq!(decision, Decision::Refuse);
        assert_eq!(state.gate(), GateState::Muted);
        assert_eq!(state.reason(), Reason::Commanded(Origin::Cli));
    }
}
