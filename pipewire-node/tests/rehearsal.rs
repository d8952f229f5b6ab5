//! The private server and the simulated mic by themselves: up, recorded from by a real client, idle, suspended, gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as Posix, test_kill_process};
use truemute_pipewire::rehearsal::{
    Clock, MicOptions, MicState, PrivateServer, Program, ServerOptions, Service, Signal,
    SimulatedMic, User, debian13_root, ramp_phase,
};

/// Frames a cycle.
const QUANTUM: u64 = 256;
/// Frames of the ramp in a row: half a second.
const ENOUGH: u64 = 24_000;
/// How long that may take to come on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

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
            clock: Some(Clock::fixed(QUANTUM as u32)),
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
        let recorder = record(&server, &mic, channels);
        let deadline = Instant::now() + LIMIT;
        while unbroken(&recorder.heard(), channels) < ENOUGH {
            assert!(Instant::now() < deadline, "{}", server.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(mic.state(), MicState::Running);
        recorder.end();
        assert!(mic.wait_for_state(MicState::Suspended, LIMIT));
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

/// The longest stretch of the ramp without a break, in frames. A busy machine may skip whole cycles (an ordinary user has no
/// real-time thread), hear one twice or leave them silent, and nothing else.
fn unbroken(samples: &[f32], channels: u32) -> u64 {
    const PERIOD: u64 = (1 << 23) - 1;
    let (mut longest, mut stretch) = (0, 0);
    let mut expected = None;
    for frame in samples.chunks_exact(channels as usize) {
        expected = expected.map(|position| (position + 1) % PERIOD);
        if frame.iter().all(|sample| *sample == 0.0) {
            stretch = 0;
            continue;
        }
        let positions = (0..)
            .zip(frame)
            .map(|(channel, sample)| ramp_phase(23, channel, *sample));
        let positions: Vec<_> = positions.collect();
        let position = positions[0].expect("every sample is one of the ramp's");
        assert!(
            positions.iter().all(|it| *it == positions[0]),
            "channels come together: {positions:?}"
        );
        let jump = expected.map_or(0, |expected| (position + PERIOD - expected) % PERIOD);
        let far = jump.min(PERIOD - jump);
        assert_eq!(far % QUANTUM, 0, "{position} instead of {expected:?}");
        stretch = if jump == 0 { stretch + 1 } else { 1 };
        longest = longest.max(stretch);
        expected = Some(position);
    }
    longest
}

/// A `parec` that runs.
struct Parec {
    program: Program,
    file: PathBuf,
}

fn record(server: &PrivateServer, mic: &SimulatedMic, channels: u32) -> Parec {
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
    let program = Program::start(command).unwrap();
    Parec { program, file }
}

impl Parec {
    /// What it has written so far.
    fn heard(&self) -> Vec<f32> {
        let bytes = fs::read(&self.file).unwrap();
        let (samples, _) = bytes.as_chunks();
        samples.iter().map(|it| f32::from_le_bytes(*it)).collect()
    }

    fn end(mut self) {
        self.program.stop(Posix::INT).unwrap();
    }
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
