//! The recorders against the simulated mic itself, without TrueMute between: what they say must be right before
//! anything is held against it.

use std::collections::HashSet;
use std::time::Duration;

use truemute_pipewire::rehearsal::{
    App, Clock, Format, MicOptions, MicState, PrivateServer, ServerOptions, Signal, SimulatedMic,
    Wanted, ramp_phase, ramp_value,
};
use truemute_tests::evidence::Reading;
use truemute_tests::recorder::{
    Connections, Recorder, RecorderOptions, Recorders, State, wait_until,
};
use truemute_tests::servers::Version;

const LIMIT: Duration = Duration::from_secs(20);
/// Frames that a program has to get in a row, of the 50,000 and more that it records: several cycles.
const UNBROKEN: u32 = 8192;

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
            // As much as comes within the limit.
            kept_bytes: 20 * 48_000 * 2 * 4,
            ..RecorderOptions::default()
        })
        .unwrap();
    let enough = wait_until(LIMIT, || {
        let more = recorder.tape().pulls() + 50;
        recorder.wait_for_pulls(more, LIMIT) && exact_cycles(&recorder, bits, channels) >= 30
    });
    assert!(enough, "{:?}\n{}", recorder.state(), server.log());
}

/// How many cycles so far are the ramp to the last bit, from where it has to be. Where a loaded machine had an xrun nothing is
/// asked for: the mic can have missed that cycle, or one of its channels.
fn exact_cycles(recorder: &Recorder, bits: u32, channels: u32) -> usize {
    let reading = Reading::of(recorder);
    let samples = recorder.samples();
    let mut exact = 0;
    let sure = reading.cycles.iter().zip(&reading.sure);
    let mut start = 0;
    for (cycle, sure) in sure {
        let end = start + (cycle.frames * channels) as usize;
        let block = &samples[start..end];
        start = end;
        if *sure && !cycle.is_zero() {
            assert_eq!(u64::from(cycle.frames), cycle.duration);
            // A null sink that drives gives in each cycle what it took in the one before.
            let played = cycle.position - cycle.duration;
            assert!(is_ramp(block, bits, channels, played), "{cycle:?}");
            exact += 1;
        }
    }
    exact
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
            let (mut stretch, mut longest) = (0, 0);
            let mut expected = None;
            for (number, frame) in sound.samples.chunks_exact(2).enumerate() {
                let phases = [0, 1].map(|channel| ramp_phase(15, channel, frame[channel as usize]));
                let ramp_or_zero =
                    |channel: usize| phases[channel].is_some() || frame[channel] == 0.0;
                // A cycle that was missed in an xrun is zeros, perhaps of one channel only.
                assert!(
                    ramp_or_zero(0) && ramp_or_zero(1),
                    "{app:?}: frame {number} is {frame:?}"
                );
                stretch = match phases[0] {
                    Some(_) if phases[0] != phases[1] => 0,
                    Some(_) if phases[0] == expected => stretch + 1,
                    Some(_) => 1,
                    None => 0,
                };
                longest = longest.max(stretch);
                expected = phases[0].map(|phase| (phase + 1) % 32767);
            }
            // Each xrun of a loaded machine is a break.
            assert!(longest >= UNBROKEN, "{app:?}: at most {longest} in a row");
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
