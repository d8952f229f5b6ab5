//! The words for states, reasons and kinds, the same in every face of the program. A state has a word, a mark and a
//! colour, and is told apart by any of the three. The colours are blue and yellow: people with red-green blindness see
//! them apart, and red and green mean opposite things in different conferencing apps.

use anstyle::{AnsiColor, Style};
use truemute_core::observed::{
    Api, ClientState, CountedBy, Identity, MicState, Purpose, VirtualMic,
};

use super::{Page, clean};
use crate::protocol::{Behaviour, ClientStats, GateState, Status};

/// What can be said about the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Sound may pass.
    Live,
    /// Clients get exact zeros.
    Muted,
    /// Nobody answers for the state.
    Unknown,
}

impl From<GateState> for Shown {
    fn from(gate: GateState) -> Self {
        match gate {
            GateState::Live => Self::Live,
            GateState::Muted => Self::Muted,
        }
    }
}

impl Shown {
    /// The one word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Muted => "MUTED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// What it means for the person who speaks.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Live => "apps on TrueMute hear the microphone",
            Self::Muted => "apps on TrueMute get exact zeros",
            Self::Unknown => "do not rely on being muted",
        }
    }

    /// Style of the word.
    pub(crate) fn style(self) -> Style {
        let (letters, ground) = match self {
            Self::Live => (AnsiColor::Black, AnsiColor::BrightYellow),
            Self::Muted => (AnsiColor::BrightWhite, AnsiColor::Blue),
            Self::Unknown => (AnsiColor::BrightWhite, AnsiColor::Red),
        };
        Style::new()
            .bold()
            .fg_color(Some(letters.into()))
            .bg_color(Some(ground.into()))
    }

    /// The first line of every text about the gate.
    pub(super) fn headline(self, meaning: &str, page: &Page) -> String {
        let style = self.style();
        let mut out = String::new();
        page.lines(
            &mut out,
            &format!("{style}{}{style:#}  ", self.word()),
            "  ",
            meaning,
        );
        out
    }
}

/// What the gate's state means now. The short meaning would mislead while there is no server or no mic, or while an
/// app goes around the gate.
pub(crate) fn meaning(status: &Status) -> String {
    let shown = Shown::from(status.gate);
    match (shown, status.bypasses.len()) {
        (Shown::Live, _) if !status.connected => {
            "the gate is open, but no audio server is connected: no app can record from TrueMute now".into()
        }
        (Shown::Live, _) if status.real_mic.state == MicState::Missing => {
            "the gate is open, but no real microphone was found".into()
        }
        (Shown::Live, _) if status.real_mic.state == MicState::Denied => {
            "the gate is open, but the system does not let TrueMute hear the microphone".into()
        }
        (Shown::Live, _) if status.real_mic.state == MicState::AllZero => {
            "the gate is open, but the microphone delivers nothing but zeros".into()
        }
        (Shown::Muted, 1..) => {
            let count = match status.bypasses.len() {
                1 => "1 app goes".into(),
                more => format!("{more} apps go"),
            };
            format!("NOT FOR ALL: {count} around TrueMute and can hear")
        }
        _ => shown.meaning().into(),
    }
}

/// Whether the word alone would mislead: muted, and an app hears the real mic all the same.
pub(crate) fn is_leaky(status: &Status) -> bool {
    status.gate == GateState::Muted && !status.bypasses.is_empty()
}

/// Who or what caused the state: [`Status::reason`] as a phrase.
pub(crate) fn reason(reason: &str) -> String {
    match reason {
        "cli" => "by a command".into(),
        "hotkey" => "by the hotkey".into(),
        "desktop" => "by the desktop's own mute".into(),
        "app" => "by an app's mute button".into(),
        "headset" => "by the headset's button".into(),
        "policy" => "by the administrator's policy".into(),
        "lease" | "lease_expired" => "because the daemon stopped answering for live".into(),
        "start" => "at the daemon's start".into(),
        "source_missing" => "because there is no real microphone".into(),
        "permission_denied" => "because the system refuses TrueMute the microphone".into(),
        "source_all_zero" => "because the microphone delivers only zeros".into(),
        "not_confirmed" => "because the audio thread did not confirm an unmute".into(),
        "sleep" => "because the machine went to sleep".into(),
        "stopped" => "because the daemon ends".into(),
        "server_lost" => "because the audio server is gone".into(),
        "no_server" => "because there is no audio server yet".into(),
        other => format!("reason: {}", clean(&other.replace('_', " "), 60)),
    }
}

/// What is done with the real mic.
pub(crate) fn mic(state: MicState) -> &'static str {
    match state {
        MicState::Capturing => "capturing",
        MicState::Released => "released",
        MicState::Denied => "denied",
        MicState::AllZero => "all zero",
        MicState::Missing => "missing",
    }
}

/// The virtual mic's format as clients get it; `idle` before the first cycle.
pub(crate) fn format(mic: &VirtualMic) -> String {
    let channels = match mic.channels {
        0 => return "idle".into(),
        1 => "mono".into(),
        2 => "stereo".into(),
        more => format!("{more} channels"),
    };
    match (mic.rate, mic.quantum) {
        (0, _) | (_, 0) => format!("{channels}, idle"),
        (rate, quantum) => format!("{channels}, {rate} Hz, {quantum} frames a cycle"),
    }
}

/// How far a name can be believed.
pub(crate) fn identity(identity: Identity) -> &'static str {
    match identity {
        Identity::Verified => "verified",
        Identity::Corroborated => "corroborated",
        Identity::Claimed => "claimed",
    }
}

/// Whether a stream runs, and what it is for unless it records: a level meter is not a listener.
pub(crate) fn state(client: &ClientStats) -> String {
    let state = match client.state {
        ClientState::Running => "running",
        ClientState::Corked => "corked",
        ClientState::Gone => "gone",
    };
    let state = match client.app_muted {
        true => format!("{state}, muted"),
        false => state.into(),
    };
    match client.who.purpose {
        Purpose::Recording => state,
        Purpose::Meter => format!("{state}, meter"),
        Purpose::Monitor => format!("{state}, monitor"),
        Purpose::Engine => format!("{state}, mixer"),
    }
}

/// The interface of a stream.
pub(crate) fn api(api: Api) -> &'static str {
    match api {
        Api::Pipewire => "pipewire",
        Api::Pulse => "pulse",
        Api::Alsa => "alsa",
        Api::Jack => "jack",
        Api::AlsaDevice => "alsa device",
        Api::CoreAudio => "core audio",
        Api::Wasapi => "wasapi",
        Api::Unknown => "unknown",
    }
}

/// What a client did while the gate was muted.
pub(crate) fn behaviour(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::Continuous => "continuous",
        Behaviour::Intermittent => "intermittent",
        Behaviour::Paused => "paused",
        Behaviour::None => "not there",
    }
}

/// How far the figures of a client can be believed (promise P5).
pub(crate) fn exactness(client: &ClientStats) -> String {
    let base = match client.counted_by {
        CountedBy::Profiler | CountedBy::Session | CountedBy::Events | CountedBy::Written => {
            "estimated"
        }
        CountedBy::Unattributed => "unattributed",
        CountedBy::ActivationRecord | CountedBy::Driver => match client.lost {
            1.. => "at least",
            0 if client.exact || client.xruns > 0 => "exact",
            0 => "not exact",
        },
    };
    match (client.lost, client.xruns) {
        (0, 0) => base.into(),
        (0, flagged) => format!("{base} but {flagged} flagged"),
        (lost, 0) => format!("{base}, {lost} lost"),
        (lost, flagged) => format!("{base}, {lost} lost, {flagged} flagged"),
    }
}
