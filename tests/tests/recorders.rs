//! The recorders against the simulated mic itself, without TrueMute between: what they say must be right before
//! anything is held against it.

use std::collections::HashSet;
use std::time::Duration;

use truemute_pipewire::rehearsal::{
    App, Clock, Format, MicOptions, MicState, PrivateServer, ServerOptions, Signal, SimulatedMic,
    Wanted, ramp_phase, ramp_value,
};
use truemute_tests::recorder::{
    Connections, Recorder, RecorderOptions, Recorders, State, wait_until,
};
use truemute_tests::servers::Version;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn float_and_s16_clients_get_the_ramp_in_mono_and_stereo() {
    for version in [Version::Installed, Version::Debian13] {
        for (format, bits) in [(Format::F32, 23), (Format::S16, 15)] {
            for channels in [1, 2] {
                for quantum in [64, 256, 1024] {
                    check_ramp(version, format, bits, channels, quantum);
                }
            }
        }
    }
}

fn check_ramp(version: Version, format: Format, bits: u32, channels: u32, quantum: u32) {
    let Some(server) = server(version, quantum) else {
        return;
    };
    let mic = mic(&server, channels, Signal::Ramp { bits });
    let recorders = Recorders::start(&server, Connections::Own).unwrap();
    let recorder = recorders
        .add(RecorderOptions {
            target: Some(mic.name().to_owned()),
            channels,
            format,
            kept_bytes: 4_000_000,
            ..RecorderOptions::default()
        })
        .unwrap();
    assert!(recorder.wait_for_pulls(50, LIMIT), "{}", server.log());
    drop(recorders);
    let cycles = recorder.tape().cycles_from(0);
    let samples = recorder.samples();
    let sample_bytes = if format == Format::F32 { 4 } else { 2 };
    let (mut exact, mut torn) = (0, 0);
    for cycle in cycles.iter().filter(|cycle| !cycle.is_zero()) {
        assert_eq!(cycle.duration, u64::from(quantum));
        let start = cycle.kept_at as usize / sample_bytes;
        let block = &samples[start..start + (cycle.frames * channels) as usize];
        // A null sink that drives gives in each cycle what it took in the one before.
        let played = cycle.position - u64::from(quantum);
        if is_ramp(block, bits, channels, played) {
            exact += 1;
        } else {
            torn += 1;
        }
    }
    // An xrun of a loaded machine tears a cycle.
    assert!(exact >= 30 && torn <= 5, "{exact} exact, {torn} torn");
}

/// Whether a block is the ramp from `position` on, bit for bit.
fn is_ramp(block: &[f32], bits: u32, channels: u32, position: u64) -> bool {
    block
        .chunks_exact(channels as usize)
        .zip(position..)
        .all(|(frame, position)| {
            (0..)
                .zip(frame)
                .all(|(channel, sample)| *sample == ramp_value(bits, channel, position))
        })
}

#[test]
fn many_clients_see_each_cycle_once_and_the_same_bytes() {
    for version in [Version::Installed, Version::Debian13] {
        let Some(server) = server(version, 1024) else {
            continue;
        };
        let mic = mic(&server, 1, Signal::Noise { seed: 7 });
        let recorders = Recorders::start(&server, Connections::Own).unwrap();
        let clients = recorders
            .add_many(
                16,
                &RecorderOptions {
                    target: Some(mic.name().to_owned()),
                    ..RecorderOptions::default()
                },
            )
            .unwrap();
        for client in &clients {
            assert!(client.wait_for_pulls(20, LIMIT), "{}", server.log());
        }
        let hashes = |client: &Recorder| -> HashSet<_> {
            let cycles = client.tape().cycles_from(0);
            cycles
                .iter()
                .map(|cycle| (cycle.clock, cycle.position, cycle.hash))
                .collect()
        };
        let all = hashes(&clients[0]);
        for client in &clients[1..] {
            assert!(hashes(client).intersection(&all).count() >= 10);
        }
    }
}

#[test]
fn corked_clients_stand_still_and_the_mic_is_let_go() {
    for version in [Version::Installed, Version::Debian13] {
        let Some(server) = server(version, 256) else {
            continue;
        };
        let mic = mic(&server, 1, Signal::Tone { hertz: 440.0 });
        let recorders = Recorders::start(&server, Connections::Shared).unwrap();
        let client = recorders.add(RecorderOptions::default()).unwrap();
        assert!(client.wait_for_pulls(10, LIMIT), "{}", server.log());
        assert!(client.wait_for_sound(true, 0, LIMIT).is_some());
        assert_eq!(mic.state(), MicState::Running);
        client.set_active(false);
        assert!(wait_until(LIMIT, || client.state() == State::Paused));
        assert!(mic.wait_for_state(MicState::Suspended, LIMIT));
        let still = client.tape().pulls();
        client.set_active(true);
        assert!(client.wait_for_pulls(still + 10, LIMIT), "{}", server.log());
    }
}

#[test]
fn real_programs_get_the_ramp() {
    for version in [Version::Installed, Version::Debian13] {
        let Some(server) = server(version, 1024) else {
            continue;
        };
        let mic = mic(&server, 2, Signal::Ramp { bits: 15 });
        let mut running = Vec::new();
        for app in App::ALL {
            if !app.is_installed() {
                println!("SKIPPED: {app:?} is not installed: {}", app.packages());
                continue;
            }
            for (name, format) in [("float", Format::F32), ("short", Format::S16)] {
                let wanted = Wanted {
                    name: name.to_owned(),
                    device: Some(mic.name().to_owned()),
                    channels: 2,
                    rate: 48_000,
                    format,
                };
                running.push(app.record(&server, &wanted, server.directory()).unwrap());
            }
        }
        for recording in running {
            let app = recording.app();
            let enough = wait_until(LIMIT, || recording.bytes() > 400_000);
            assert!(enough, "{app:?} {:?}: {}", version, server.log());
            let sound = recording.finish().unwrap();
            let (mut live, mut breaks) = (0, 0);
            let (mut expected, mut broken) = (None, false);
            for (number, frame) in sound.samples.chunks_exact(2).enumerate() {
                let phases = [0, 1].map(|channel| ramp_phase(15, channel, frame[channel as usize]));
                let ramp_or_zero =
                    |channel: usize| phases[channel].is_some() || frame[channel] == 0.0;
                // A cycle that was missed in an xrun is zeros, perhaps of one channel only.
                assert!(
                    ramp_or_zero(0) && ramp_or_zero(1),
                    "{app:?}: frame {number} is {frame:?}"
                );
                if phases[0].is_some() {
                    live += 1;
                    // A cycle that one channel missed is one break, not one a frame.
                    let breaks_here = phases[0] != phases[1] || expected != phases[0];
                    breaks += u32::from(breaks_here && !broken);
                    broken = breaks_here;
                }
                expected = phases[0].map(|phase| (phase + 1) % 32767);
            }
            assert!(live > 20_000, "{app:?}: {live} live frames");
            // The first frame is one; each xrun of a loaded machine is another.
            assert!(breaks < 20, "{app:?}: {breaks} breaks in {live} frames");
        }
    }
}

#[test]
fn the_mic_switches_between_its_signals() {
    let server = server(Version::Installed, 256).unwrap();
    let options = MicOptions {
        signal: Signal::Silence,
        alternatives: vec![Signal::Noise { seed: 1 }],
        ..MicOptions::default()
    };
    let mic = SimulatedMic::start(&server, options).unwrap();
    let recorders = Recorders::start(&server, Connections::Shared).unwrap();
    let client = recorders.add(RecorderOptions::default()).unwrap();
    assert!(client.wait_for_pulls(10, LIMIT), "{}", server.log());
    assert!(client.tape().cycles_from(0).iter().all(|c| c.is_zero()));
    mic.play(1);
    assert!(client.wait_for_sound(true, 0, LIMIT).is_some());
    mic.play(0);
    let now = client.tape().logged();
    assert!(client.wait_for_sound(false, now, LIMIT).is_some());
}

#[test]
fn a_second_mic_can_be_plugged_in_and_pulled_out() {
    for version in [Version::Installed, Version::Debian13] {
        let Some(server) = server(version, 256) else {
            continue;
        };
        let plug = |name: &str, priority, signal| {
            let options = MicOptions {
                name: name.to_owned(),
                signal,
                priority,
                ..MicOptions::default()
            };
            SimulatedMic::start(&server, options).unwrap()
        };
        let _quiet = plug("quiet", 2000, Signal::Silence);
        let recorders = Recorders::start(&server, Connections::Shared).unwrap();
        let client = recorders.add(RecorderOptions::default()).unwrap();
        assert!(client.wait_for_pulls(10, LIMIT), "{}", server.log());
        let loud = plug("loud", 2100, Signal::Noise { seed: 1 });
        let heard = client.wait_for_sound(true, 0, LIMIT);
        assert!(heard.is_some(), "{version:?}: {}", server.log());
        drop(loud);
        let now = client.tape().logged();
        let silent = client.wait_for_sound(false, now, LIMIT);
        assert!(silent.is_some(), "{version:?}: {}", server.log());
    }
}

fn server(version: Version, quantum: u32) -> Option<PrivateServer> {
    let options = version.options(ServerOptions {
        clock: Some(Clock::fixed(quantum)),
        ..ServerOptions::default()
    })?;
    Some(PrivateServer::start(options).unwrap())
}

fn mic(server: &PrivateServer, channels: u32, signal: Signal) -> SimulatedMic {
    let options = MicOptions {
        channels,
        signal,
        ..MicOptions::default()
    };
    SimulatedMic::start(server, options).unwrap()
}
