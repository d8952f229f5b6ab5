//! Muted means released (P8): in `release` mute lets go of the real mic and clients go on; in `hold` it does not. Without
//! clients nothing is captured and nothing of TrueMute runs.

use std::time::{Duration, Instant};

use truemute::protocol::GateState;
use truemute_core::observed::MicState as Mic;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, MicState};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted, each};
use truemute_tests::threads::audio_thread;
use truemute_tests::truemute::wait_for;

#[test]
fn mute_lets_go_of_the_mic_or_holds_it() {
    each(&scenes(), |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let clients = [stage.client(1, Format::F32), stage.client(2, Format::S16)];
        stage.unmute();
        stage.pulls(20, &clients);
        assert_eq!(stage.mic.state(), MicState::Running);
        capturing(&stage, GateState::Live);

        let asked = Instant::now();
        stage.mute();
        match scene.while_muted {
            WhileMuted::Release => {
                let gone = stage.mic.wait_for_state(MicState::Suspended, LIMIT);
                let took = asked.elapsed();
                assert!(gone, "the mic is {:?}", stage.mic.state());
                println!("{:?}: suspended {took:?} after the mute", scene.version);
                let released = |status: &truemute::protocol::Status| {
                    status.gate == GateState::Muted && status.real_mic.state == Mic::Released
                };
                wait_for(&stage.daemon, LIMIT, released).unwrap();
                assert_eq!(readers(&stage, stage.mic.name()), 0);
            }
            WhileMuted::Hold => {
                stage.pulls(100, &clients);
                assert_eq!(stage.mic.state(), MicState::Running);
                capturing(&stage, GateState::Muted);
            }
        }
        // P7: whatever drives the graph now, clients get their buffers.
        stage.pulls(100, &clients);
    });
}

#[test]
fn without_clients_nothing_is_captured_and_nothing_runs() {
    each(&scenes(), |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        asleep(&stage, "before the first client");
        let client = stage.client(1, Format::F32);
        stage.unmute();
        stage.pulls(20, [&client]);
        drop(client);
        asleep(&stage, "live, after the last client");
        // A corked client is none.
        let client = stage.client(1, Format::F32);
        stage.pulls(20, [&client]);
        client.set_active(false);
        asleep(&stage, "live, with a corked client");
        stage.mute();
        asleep(&stage, "muted, with a corked client");
        client.set_active(true);
        stage.pulls(20, [&client]);
        assert!(!is_asleep(&stage));
    });
}

fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for while_muted in WhileMuted::BOTH {
            scenes.push(Scene {
                version,
                while_muted,
                ..Scene::default()
            });
        }
    }
    scenes
}

fn capturing(stage: &Stage, gate: GateState) {
    wait_for(&stage.daemon, LIMIT, |status| {
        status.gate == gate && status.real_mic.state == Mic::Capturing
    })
    .unwrap();
}

/// Links from a node to others.
fn readers(stage: &Stage, name: &str) -> usize {
    let meddler = Meddler::connect(&stage.server);
    let (id, _) = meddler.node(name).expect("the node");
    let links = meddler.links();
    links.iter().filter(|link| link.output_node == id).count()
}

/// Within the time limit the mic is let go of and suspended, our nodes stand still, and so does the daemon.
fn asleep(stage: &Stage, when: &str) {
    let suspended = stage.mic.wait_for_state(MicState::Suspended, LIMIT);
    assert!(suspended, "{when} the mic is {:?}", stage.mic.state());
    wait_for(&stage.daemon, LIMIT, |status| {
        status.real_mic.state == Mic::Released
    })
    .unwrap_or_else(|status| panic!("{when}: {status}"));
    let meddler = Meddler::connect(&stage.server);
    let still = meddler.look_until(LIMIT, |meddler| {
        let nodes = meddler.nodes();
        let mut ours = nodes
            .values()
            .filter(|node| [VIRTUAL_MIC, "truemute.capture"].contains(&node.name.as_str()));
        ours.all(|node| node.state != "running")
    });
    assert!(still, "{when}: {:?}", meddler.nodes());
    drop(meddler);
    let quiet = wait_until(LIMIT, || is_asleep(stage));
    assert!(quiet, "{when} the audio thread wakes");
}

/// Whether the daemon's audio thread slept for half a second, in which it would run about 94 cycles.
fn is_asleep(stage: &Stage) -> bool {
    let before = audio_thread(&stage.daemon).waits;
    std::thread::sleep(Duration::from_millis(500));
    audio_thread(&stage.daemon).waits == before
}
