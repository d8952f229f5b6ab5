//! Clients of every kind that matters here: native and PulseAudio, each asking for the default source and naming one.

use std::fs;
use std::time::Duration;

use truemute::demo::RunningDaemon;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{App, AppRecording, Format, PrivateServer, Signal, Wanted};
use truemute_tests::recorder::{Recorder, RecorderOptions, Recorders, wait_until};
use truemute_tests::servers::{Version, installed_parts};
use truemute_tests::stage::{LIMIT, Scene};

/// The most that a client may wait for a buffer, whatever happens.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server as it is after `truemute install`, and a mic that is never silent.
pub(crate) fn installed(version: Version) -> Scene {
    Scene {
        version,
        signals: vec![Signal::Noise { seed: 41 }],
        dropins: installed_parts(version),
        ..Scene::default()
    }
}

/// How a client chooses its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// The default.
    Default,
    /// The virtual mic, by its name.
    VirtualMic,
}

/// One client of each kind.
pub(crate) struct Clients {
    native: Vec<Recorder>,
    pulse: Vec<AppRecording>,
}

impl Clients {
    /// Starts the native ones.
    pub(crate) fn native(recorders: &Recorders, wants: &[Wants]) -> Self {
        let native = wants.iter().map(|wants| {
            let options = RecorderOptions {
                name: format!("native-{wants:?}"),
                target: (*wants == Wants::VirtualMic).then(|| VIRTUAL_MIC.to_owned()),
                ..RecorderOptions::default()
            };
            recorders.add(options).expect("a native client")
        });
        Self {
            native: native.collect(),
            pulse: Vec::new(),
        }
    }

    /// Starts PulseAudio ones as well.
    pub(crate) fn and_pulse(mut self, server: &PrivateServer, wants: &[Wants]) -> Self {
        for wants in wants {
            let wanted = Wanted {
                name: format!("{wants:?}"),
                device: (*wants == Wants::VirtualMic).then(|| VIRTUAL_MIC.to_owned()),
                channels: 1,
                rate: 48_000,
                format: Format::F32,
            };
            let recording = App::Parec.record(server, &wanted, server.directory());
            self.pulse.push(recording.expect("a PulseAudio client"));
        }
        self
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        (self.native.len() + self.pulse.len()) as u32
    }

    /// Each gets more buffers.
    pub(crate) fn go_on(&self, server: &PrivateServer) {
        for client in &self.native {
            let more = client.tape().pulls() + 100;
            assert!(
                client.wait_for_pulls(more, LIMIT),
                "{} gets nothing and is {:?}\n{}",
                client.name(),
                client.state(),
                server.log()
            );
        }
        for client in &self.pulse {
            let more = client.bytes() + 100 * 1024;
            assert!(
                wait_until(LIMIT, || client.bytes() >= more),
                "{} gets nothing\n{}",
                client.file().display(),
                server.log()
            );
        }
    }

    /// All are on the virtual mic.
    pub(crate) fn are_back(&self, daemon: &RunningDaemon) {
        let mut status = daemon.status();
        let back = wait_until(LIMIT, || {
            status = daemon.status();
            status.as_ref().is_ok_and(|it| it.clients == self.count())
        });
        assert!(back, "{} are on the virtual mic: {status:?}", self.count());
    }

    /// None has heard anything yet, nor waited long.
    pub(crate) fn heard_nothing(&self, when: &str) {
        for client in &self.native {
            let cycles = client.tape().cycles_from(0);
            let loud = cycles.iter().filter(|cycle| !cycle.is_zero()).count();
            let waits = cycles
                .windows(2)
                .map(|pair| pair[1].done_ns - pair[0].done_ns);
            let longest = Duration::from_nanos(waits.max().unwrap_or_default());
            let name = client.name();
            println!(
                "{when}: {name} {loud} of {} cycles, longest gap {longest:?}",
                cycles.len()
            );
            assert_eq!(loud, 0, "{when}: {name} heard the room");
            assert!(longest < PATIENCE, "{when}: {name} waited {longest:?}");
        }
        for client in &self.pulse {
            let bytes = fs::read(client.file()).expect("the recording");
            let loud = bytes.iter().filter(|byte| **byte != 0).count();
            let name = client.file().display();
            println!("{when}: {name} {loud} of {} bytes", bytes.len());
            assert_eq!(loud, 0, "{when}: {name} heard the room");
        }
    }

    /// All hear the room now, so that their silence was not deafness.
    pub(crate) fn hear(&self, when: &str) {
        for client in &self.native {
            let heard = client.wait_for_sound(true, 0, LIMIT);
            assert!(heard.is_some(), "{when}: {} is deaf", client.name());
        }
        for client in &self.pulse {
            let sound = || fs::read(client.file()).is_ok_and(|it| it.iter().any(|byte| *byte != 0));
            let name = client.file().display();
            assert!(wait_until(LIMIT, sound), "{when}: {name} is deaf");
        }
    }
}
