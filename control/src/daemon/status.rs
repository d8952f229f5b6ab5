//! Makes a [`Status`] of what the actor knows. Pure.

use std::time::SystemTime;

use truemute_core::observed::{ClientState, MicState, MutedApp, Purpose, Snapshot, VirtualMic};

use super::state::Reason;
use crate::backend::OF_SYSTEM;
use crate::protocol::{Bypass, Forced, GateState, Origin, RealMic, SCHEMA, Status};
use crate::stats;

/// What a status is made of.
pub(super) struct Facts<'a> {
    pub(super) gate: GateState,
    pub(super) reason: Reason,
    pub(super) since: SystemTime,
    /// The backend's description of itself; absent while the audio server is not connected.
    pub(super) backend: Option<String>,
    /// Whether an audio server has gone since the daemon started.
    pub(super) lost: bool,
    pub(super) look: Option<&'a Snapshot>,
    pub(super) locked: bool,
    pub(super) muted_apps: &'a [MutedApp],
    pub(super) forced: &'a [Forced],
    pub(super) warnings: Vec<String>,
}

/// The status.
pub(super) fn status(facts: Facts<'_>) -> Status {
    let connected = facts.backend.is_some();
    let clients = facts.look.map_or(0, |look| {
        let connected = look
            .clients
            .iter()
            .filter(|client| client.state != ClientState::Gone)
            .filter(|client| client.who.purpose != Purpose::Engine);
        u32::try_from(connected.count()).unwrap_or(u32::MAX)
    });
    Status {
        schema: SCHEMA,
        gate: facts.gate,
        reason: reason(&facts),
        since: rfc3339(facts.since),
        backend: facts.backend.unwrap_or_else(|| OF_SYSTEM[0].into()),
        connected,
        real_mic: real_mic(facts.look),
        virtual_mic: virtual_mic(facts.look),
        clients,
        locked: facts.locked,
        muted_apps: facts.muted_apps.to_vec(),
        bypasses: facts.look.map_or_else(Vec::new, bypasses),
        forced: facts.forced.to_vec(),
        warnings: facts.warnings,
        daemon_pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// Whether two say the same but for the figures of bypasses, which grow all the time: those alone are no change of the state.
pub(super) fn same(one: &Status, other: &Status) -> bool {
    let still = |status: &Status| {
        let mut status = status.clone();
        for bypass in &mut status.bypasses {
            (bypass.seconds, bypass.frames) = (0.0, 0);
        }
        status
    };
    one == other || still(one) == still(other)
}

/// A reason as the contract writes it.
pub(super) fn reason_text(reason: Reason) -> String {
    match reason {
        Reason::Commanded(origin) => match origin {
            Origin::Cli => "cli",
            Origin::Hotkey => "hotkey",
            Origin::Desktop => "desktop",
            Origin::App => "app",
            Origin::Headset => "headset",
            Origin::Policy => "policy",
            Origin::Lease => "lease",
            Origin::Start => "start",
        },
        Reason::NotConfirmed => "not_confirmed",
        Reason::Asleep => "sleep",
        Reason::Stopped => "stopped",
    }
    .into()
}

/// What keeps the gate silent, if it is commanded live; else who commanded it.
fn reason(facts: &Facts<'_>) -> String {
    if facts.backend.is_none() {
        let why = if facts.lost {
            "server_lost"
        } else {
            "no_server"
        };
        why.into()
    } else {
        let mic = facts.look.map(|look| look.real_mic.state);
        match (facts.gate, mic) {
            (GateState::Live, Some(MicState::Missing)) => "source_missing".into(),
            (GateState::Live, Some(MicState::Denied)) => "permission_denied".into(),
            (GateState::Live, Some(MicState::AllZero)) => "source_all_zero".into(),
            _ => reason_text(facts.reason),
        }
    }
}

fn real_mic(look: Option<&Snapshot>) -> RealMic {
    match look {
        Some(look) => RealMic {
            name: look.real_mic.name.clone(),
            description: look.real_mic.description.clone(),
            state: look.real_mic.state,
        },
        None => RealMic {
            name: String::new(),
            description: String::new(),
            state: MicState::Missing,
        },
    }
}

fn bypasses(look: &Snapshot) -> Vec<Bypass> {
    look.bypasses
        .iter()
        .filter(|bypass| bypass.state != ClientState::Gone)
        .map(|bypass| stats::of_bypass(look.instance, bypass))
        .collect()
}

fn virtual_mic(look: Option<&Snapshot>) -> VirtualMic {
    match look {
        Some(look) => look.virtual_mic.clone(),
        None => VirtualMic {
            name: OF_SYSTEM[1].into(),
            rate: 0,
            channels: 0,
            quantum: 0,
        },
    }
}

/// A time as the contract writes it: RFC 3339 in UTC.
fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| time.to_string())
}
