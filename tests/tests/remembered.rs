//! What the daemon remembers over its end, on a real server and with a client that listens: even with `start = "live"`, what was
//! muted, crashed or cannot be remembered comes back muted, before the first buffer (P2).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal as Kill;
use truemute::daemon::Remembered;
use truemute::demo::{DemoError, RunningDaemon};
use truemute::protocol::{GateState, Switched};
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::Signal;
use truemute_tests::recorder::{Recorder, RecorderOptions, Recorders, wait_until};
use truemute_tests::servers::installed_parts;
use truemute_tests::stage::{LIMIT, Scene, Stage, on_both};
use truemute_tests::truemute as program;

/// How often a daemon may be starved when it starts, one after the other.
const TRIES: u32 = 5;
const START_LIVE: &str = "start = \"live\"\n";

#[test]
fn a_mute_outlives_the_daemon_and_live_does_not_outlive_a_crash() {
    let scene = |version| Scene {
        version,
        config: START_LIVE.to_owned(),
        signals: vec![Signal::Noise { seed: 12 }],
        dropins: installed_parts(version),
        ..Scene::default()
    };
    on_both(scene, |_, stage| {
        let Stage {
            recorders,
            mut daemon,
            mic,
            server,
        } = stage;
        let file = server.directory().join("state/truemute/gate.json");
        let again = |mut former: RunningDaemon, signal, before: fn(&PathBuf)| {
            former.stop(signal).expect("it ends");
            before(&file);
            program::start(&server, START_LIVE)
        };
        // Nothing is remembered yet.
        muted(&daemon, &recorders, 1);
        let comes_back_live = |mut daemon: RunningDaemon| {
            obeys(&daemon, RunningDaemon::unmute);
            // A busy machine can give the next one no time to open the gate (P2).
            for _ in 0..TRIES {
                daemon = again(daemon, Kill::TERM, |_| ());
                if live(&daemon, &recorders) {
                    return daemon;
                }
            }
            panic!("live is not remembered\n{}", daemon.log());
        };
        daemon = comes_back_live(daemon);
        obeys(&daemon, RunningDaemon::mute);
        written(&file, GateState::Muted);
        daemon = again(daemon, Kill::KILL, |_| ());
        muted(&daemon, &recorders, 0);
        daemon = again(daemon, Kill::TERM, |_| ());
        muted(&daemon, &recorders, 0);
        daemon = comes_back_live(daemon);
        written(&file, GateState::Live);
        daemon = again(daemon, Kill::KILL, |_| ());
        muted(&daemon, &recorders, 1);
        // Damaged, or gone, after an end in order while live.
        for damage in [
            |file: &PathBuf| fs::write(file, b"\x00").expect("it is written"),
            |file: &PathBuf| fs::remove_file(file).expect("it is there"),
        ] {
            obeys(&daemon, RunningDaemon::unmute);
            daemon = again(daemon, Kill::TERM, damage);
            muted(&daemon, &recorders, 1);
        }
        drop((recorders, mic));
    });
}

/// A busy machine may need more than the second that a command waits to be confirmed.
fn obeys(daemon: &RunningDaemon, command: fn(&RunningDaemon) -> Result<Switched, DemoError>) {
    let done = wait_until(LIMIT, || command(daemon).is_ok());
    assert!(done, "{}", daemon.log());
}

/// A mute does not wait for the disk: this does.
fn written(file: &PathBuf, gate: GateState) {
    let there = wait_until(LIMIT, || {
        let bytes = fs::read(file).unwrap_or_default();
        Remembered::parse(&bytes).is_ok_and(|it| it.gate == gate)
    });
    assert!(there, "{:?}", fs::read_to_string(file));
}

/// The daemon is muted, with that many warnings about it, and a client that comes hears nothing.
fn muted(daemon: &RunningDaemon, recorders: &Recorders, warnings: usize) {
    let status = daemon.status().expect("it answers");
    assert_eq!(status.gate, GateState::Muted, "{status:?}");
    // Others concern the machine.
    let said = status.warnings.iter().filter(|it| it.contains("muted"));
    assert_eq!(said.count(), warnings, "{:?}", status.warnings);
    let client = client(recorders);
    assert!(client.wait_for_pulls(50, LIMIT), "{}", daemon.log());
    let cycles = client.tape().cycles_from(0);
    assert!(cycles.iter().all(|cycle| cycle.is_zero()));
}

/// The daemon is live and a client that comes hears sound: says whether it needed no unmute for that.
fn live(daemon: &RunningDaemon, recorders: &Recorders) -> bool {
    let client = client(recorders);
    let mut unaided = true;
    let heard = wait_until(LIMIT, || {
        unaided &= !program::unmute_if_starved(daemon);
        let second = Duration::from_secs(1);
        client.wait_for_sound(true, 0, second).is_some()
    });
    let status = daemon.status();
    assert!(heard, "{status:?}\n{}", daemon.log());
    unaided
}

fn client(recorders: &Recorders) -> Recorder {
    let options = RecorderOptions {
        target: Some(VIRTUAL_MIC.to_owned()),
        ..RecorderOptions::default()
    };
    recorders.add(options).expect("a client")
}
