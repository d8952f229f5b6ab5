//! The private server and the simulated mic by themselves: up, recorded from by a real client, idle, suspended, gone.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as Posix, test_kill_process};
use truemute_pipewire::rehearsal::{
    Clock, MicOptions, MicState, PrivateServer, Program, ServerOptions, Service, Signal,
    SimulatedMic, User, debian13_root, ramp_phase,
};

#[test]
fn a_recording_of_the_mic_is_the_ramp_bit_for_bit() {
    records_the_ramp(ServerOptions::default());
}

#[test]
fn so_it_is_on_the_server_of_debian_13() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    match debian13_root(target) {
        Ok(root) => records_the_ramp(ServerOptions {
            root: Some(root),
            ..ServerOptions::default()
        }),
        Err(error) if std::env::var_os("TRUEMUTE_REQUIRE_DEBIAN13").is_none() => {
            println!("SKIPPED: {error}");
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn so_it_is_as_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can run a server as another user");
        return;
    }
    let nobody = User {
        uid: 65534,
        gid: 65534,
    };
    records_the_ramp(ServerOptions {
        user: Some(nobody),
        ..ServerOptions::default()
    });
}

fn records_the_ramp(options: ServerOptions) {
    for channels in [1, 2] {
        let server = PrivateServer::start(ServerOptions {
            clock: Some(Clock::fixed(256)),
            ..options.clone()
        })
        .unwrap();
        let mic = SimulatedMic::start(
            &server,
            MicOptions {
                channels,
                ..MicOptions::default()
            },
        )
        .unwrap();
        let samples = record(&server, &mic, channels);
        let channels = channels as usize;
        let start = samples.iter().position(|sample| *sample != 0.0).unwrap();
        let live = &samples[start - start % channels..];
        let mut jumps = 0;
        let mut silent = 0;
        let mut expected = ramp_phase(23, 0, live[0]).unwrap();
        for frame in live.chunks_exact(channels) {
            // A busy machine may skip whole cycles (an ordinary user has no real-time thread) or leave them silent.
            if frame.iter().all(|sample| *sample == 0.0) {
                silent += 1;
                expected = (expected + 1) % ((1 << 23) - 1);
                continue;
            }
            let phases: Vec<_> = (0..)
                .zip(frame)
                .map(|(channel, sample)| ramp_phase(23, channel, *sample))
                .collect();
            let position = phases[0].expect("every sample is one of the ramp's");
            assert!(
                phases.iter().all(|phase| *phase == phases[0]),
                "channels come together: {phases:?}"
            );
            if position != expected {
                assert_eq!(
                    position.abs_diff(expected) % 256,
                    0,
                    "{position} instead of {expected}"
                );
                jumps += 1;
            }
            expected = (position + 1) % ((1 << 23) - 1);
        }
        jumps += silent / 256;
        let cycles = live.len() / channels / 256;
        assert!(jumps * 4 < cycles, "{jumps} jumps in {cycles} cycles");
        assert!(mic.wait_for_state(MicState::Suspended, Duration::from_secs(20)));
    }
}

#[test]
fn two_servers_side_by_side_end_without_a_trace() {
    let servers = [(); 2].map(|()| PrivateServer::start(ServerOptions::default()).unwrap());
    let places = servers
        .each_ref()
        .map(|server| server.directory().to_owned());
    let pids = servers.each_ref().map(PrivateServer::process_ids).concat();
    let mic = SimulatedMic::start(
        &servers[0],
        MicOptions {
            signal: Signal::Silence,
            ..MicOptions::default()
        },
    )
    .unwrap();
    assert_ne!(places[0], places[1]);
    assert_eq!(pids.len(), 8);
    drop(mic);
    drop(servers);
    for pid in pids {
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        assert!(test_kill_process(pid).is_err());
    }
    assert!(places.iter().all(|place| !place.exists()));
}

/// Half a second of `parec`.
fn record(server: &PrivateServer, mic: &SimulatedMic, channels: u32) -> Vec<f32> {
    const ENOUGH: u64 = 4 * 24_000;
    let file = server.directory().join("recording.raw");
    let mut command = server.command("parec");
    command
        .args([
            "--raw",
            "--format=float32le",
            "--rate=48000",
            "--latency-msec=20",
        ])
        .args(["--device", mic.name(), "--channels", &channels.to_string()])
        .stdout(fs::File::create(&file).unwrap());
    let mut recorder = Program::start(command).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::metadata(&file).map_or(0, |meta| meta.len()) < ENOUGH {
        assert!(Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(mic.state(), MicState::Running);
    recorder.stop(Posix::INT).unwrap();
    fs::read(file)
        .unwrap()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
fn programs_of_the_server_end_stop_and_start_again() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let roots = [None, debian13_root(target).ok().filter(|_| is_root)];
    for root in roots {
        let mut server = PrivateServer::start(ServerOptions {
            root,
            ..ServerOptions::default()
        })
        .unwrap();
        let ids = |server: &PrivateServer| server.process_ids();
        let at_start = ids(&server);
        for service in Service::ALL {
            server.signal(service, Posix::STOP).unwrap();
            server.signal(service, Posix::CONT).unwrap();
            server.end(service, Posix::KILL).unwrap();
            assert!(server.signal(service, Posix::CONT).is_err());
            server.revive().unwrap();
            assert!(server.ended(service).is_none());
        }
        let now = ids(&server);
        assert_eq!(now[0], at_start[0], "the bus stays");
        assert!(now[1..].iter().all(|id| !at_start.contains(id)));
        let _mic = SimulatedMic::start(&server, MicOptions::default()).unwrap();
    }
}
