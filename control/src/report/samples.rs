//! Data for the tests of the faces: a plain day, trouble, and names that want to deceive.

use jiff::tz::{Offset, TimeZone};
use truemute_core::observed::{
    Api, ClientState, CountedBy, Countermeasure, Identity, MicState, Puller, Purpose, VirtualMic,
    Who,
};

use super::Page;
use crate::protocol::{
    AppliedHow, Behaviour, Bypass, BypassPath, ClientStats, Connected, Figures, Forced, GateState,
    IntervalUs, RealMic, SCHEMA, Stats, Status, Switched, Unattributed,
};

/// A page at 09:04:07 in a zone one hour east.
pub(crate) fn page(width: Option<u16>) -> Page {
    Page {
        width,
        now: "2026-11-22T08:04:07Z".parse().expect("a fixed time"),
        zone: TimeZone::fixed(Offset::constant(1)),
    }
}

/// `text` without styles, as a pipe gets it.
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

pub(crate) fn muted() -> Status {
    Status {
        schema: SCHEMA,
        gate: GateState::Muted,
        reason: "hotkey".into(),
        since: "2026-11-22T08:00:00Z".into(),
        backend: "pipewire 1.4.2".into(),
        connected: true,
        real_mic: RealMic {
            name: "alsa_input.pci-0000_00_1f.3.analog-stereo".into(),
            description: "Built-in Audio Analog Stereo".into(),
            state: MicState::Released,
        },
        virtual_mic: VirtualMic {
            name: "truemute.mic".into(),
            rate: 48_000,
            channels: 2,
            quantum: 1024,
        },
        clients: 3,
        locked: false,
        muted_apps: Vec::new(),
        bypasses: Vec::new(),
        forced: Vec::new(),
        warnings: Vec::new(),
        daemon_pid: 812,
        version: "0.1.0".into(),
    }
}

pub(crate) fn live() -> Status {
    let mut status = muted();
    status.gate = GateState::Live;
    status.reason = "cli".into();
    status.real_mic.state = MicState::Capturing;
    status
}

pub(crate) fn trouble() -> Status {
    let mut status = muted();
    status.reason = "server_lost".into();
    status.connected = false;
    status.real_mic = RealMic {
        name: String::new(),
        description: String::new(),
        state: MicState::Missing,
    };
    status.virtual_mic.quantum = 0;
    status.clients = 0;
    status.bypasses = vec![bypass()];
    status.forced = vec![Forced {
        key: "while_muted".into(),
        value: "\"release\"".into(),
    }];
    status.warnings = vec![
        "The store's disk is full. Counts are kept in memory; free some space.".into(),
        "The hotkey ctrl+alt+m belongs to another program.".into(),
    ];
    status
}

/// One that came through pipewire-pulse and is linked to the mic itself.
pub(crate) fn bypass() -> Bypass {
    Bypass {
        id: 1,
        instance: 1,
        who: Who {
            app: "ZOOM VoiceEngine".into(),
            stream: "recStream".into(),
            pid: Some(4242),
            executable: Some("/opt/zoom/zoom".into()),
            identity: Identity::Corroborated,
            puller: None,
            api: Api::Pulse,
            purpose: Purpose::Recording,
        },
        state: ClientState::Running,
        real_mic: "alsa_input.usb-Yeti-00.analog-stereo".into(),
        path: BypassPath::Direct,
        through: Vec::new(),
        since: "2026-11-22T08:59:00Z".into(),
        until: None,
        seconds: 61.5,
        frames: 2_952_000,
        frames_exact: false,
        done: Countermeasure::Reported,
        cuts: 0,
    }
}

pub(crate) fn hostile_status() -> Status {
    let mut status = trouble();
    status.bypasses[0].who.app = "x\nLIVE  apps hear the microphone\u{1b}[2J\u{202E}".into();
    status.real_mic.description = "Mic\r\nLIVE\u{2028}LIVE".into();
    status.real_mic.state = MicState::Capturing;
    status.reason = "\u{1b}]0;LIVE\u{7}".into();
    status
}

pub(crate) fn switched_at(gate: GateState, position: Option<u64>) -> Switched {
    Switched {
        schema: SCHEMA,
        gate,
        changed: true,
        applied: if position.is_some() {
            AppliedHow::Cycle
        } else {
            AppliedHow::Idle
        },
        clock: position.map(|_| "37".into()),
        position,
        took_us: 3_249,
    }
}

pub(crate) fn client(id: u64, app: &str, stream: &str) -> ClientStats {
    ClientStats {
        id,
        instance: 1,
        who: Who {
            app: app.into(),
            stream: stream.into(),
            pid: Some(4242),
            executable: Some("/usr/lib/firefox-esr/firefox-esr".into()),
            identity: Identity::Corroborated,
            puller: Some(Puller {
                pid: 611,
                name: "pipewire-pulse".into(),
            }),
            api: Api::Pulse,
            purpose: Purpose::Recording,
        },
        state: ClientState::Running,
        live: Figures {
            pulls: 2_812,
            frames: 2_879_488,
            seconds: 59.99,
        },
        muted: Figures {
            pulls: 11_578,
            frames: 11_855_872,
            seconds: 246.997,
        },
        exact: true,
        app_muted: false,
        counted_by: CountedBy::ActivationRecord,
        xruns: 0,
        lost: 0,
        first_seen: "2026-11-22T07:59:00Z".into(),
        last_pull: Some("2026-11-22T08:04:06.99Z".into()),
        interval_us: IntervalUs {
            p50: 21_333,
            p99: 21_391,
            max: 43_002,
        },
        connected: Connected {
            live_seconds: 60.0,
            muted_seconds: 247.0,
        },
        behaviour_while_muted: Behaviour::Continuous,
        offers: None,
    }
}

pub(crate) fn stats() -> Stats {
    let mut second = client(2, "Firefox", "Meet: weekly");
    second.xruns = 3;
    second.exact = false;
    let mut recorder = client(3, "pw-record", "pw-record");
    recorder.who.pid = Some(5150);
    recorder.who.executable = Some("/usr/bin/pw-cat".into());
    recorder.who.identity = Identity::Verified;
    recorder.who.puller = Some(Puller {
        pid: 5150,
        name: "pw-cat".into(),
    });
    recorder.who.api = Api::Pipewire;
    recorder.state = ClientState::Gone;
    recorder.counted_by = CountedBy::Profiler;
    recorder.exact = false;
    recorder.lost = 12;
    recorder.behaviour_while_muted = Behaviour::Intermittent;
    let mut meter = client(4, "PulseAudio Volume Control", "Peak detect");
    meter.who.pid = None;
    meter.who.executable = None;
    meter.who.identity = Identity::Claimed;
    meter.who.purpose = Purpose::Meter;
    meter.state = ClientState::Corked;
    meter.live = Figures::default();
    meter.muted = Figures::default();
    meter.last_pull = None;
    meter.interval_us = IntervalUs::default();
    meter.behaviour_while_muted = Behaviour::Paused;
    Stats {
        schema: SCHEMA,
        since: "2026-11-22T07:00:00Z".into(),
        until: "2026-11-22T08:04:07Z".into(),
        clients: vec![client(1, "Firefox", "AudioStream"), recorder, second, meter],
        unattributed: Unattributed {
            pulls: 2,
            frames: 2_048,
        },
        bypasses: Vec::new(),
    }
}

pub(crate) fn nobody() -> Stats {
    Stats {
        clients: Vec::new(),
        unattributed: Unattributed::default(),
        ..stats()
    }
}

pub(crate) fn many(count: u64) -> Stats {
    let clients = (0..count)
        .map(|id| {
            let mut client = client(id, &format!("app {}", id / 4), &format!("stream {id}"));
            client.live.pulls = id * id * 997;
            client
        })
        .collect();
    Stats {
        clients,
        ..nobody()
    }
}

pub(crate) fn hostile() -> Stats {
    let names = [
        "Zoom\"  pid 1  verified  /usr/bin/zoom",
        "x\u{1b}[1A\u{1b}[2KLIVE",
        "שלום 123 עולם",
        "\u{202E}xoferiF",
        "",
        "a\nMUTED  apps get exact zeros",
    ];
    let clients = (1..)
        .zip(names)
        .map(|(id, name)| client(id, name, name))
        .collect();
    Stats {
        clients,
        ..nobody()
    }
}
