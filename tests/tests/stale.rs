//! No sound from before a mute or an unmute reaches a client that was corked meanwhile (P3): buffers that are left over
//! when a client stops are not delivered when it goes on.

use std::thread;
use std::time::Duration;

use truemute_pipewire::rehearsal::Format;
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, State, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted, each};

/// How often each client is corked.
const ROUNDS: u64 = 12;

fn check((scene, company): &(Scene, bool)) {
    let Some(stage) = Stage::set(scene) else {
        return;
    };
    let client = stage.client(scene.channels, Format::F32);
    // Somebody else keeps the virtual mic running meanwhile, or nobody does.
    let _other = company.then(|| stage.client(scene.channels, Format::F32));
    stage.pulls(10, [&client]);
    let meddler = Meddler::connect(&stage.server);
    for round in 0..ROUNDS {
        stage.unmute();
        let from = client.tape().logged();
        assert!(
            client.wait_for_sound(true, from, LIMIT).is_some(),
            "no sound\n{}",
            stage.logs()
        );
        // In whatever part of a cycle.
        thread::sleep(Duration::from_micros(997 * round));
        set_active(&client, false);
        let mute = stage.mute();
        // The desktop's mute flag silences too, and would hide what the gate lets through.
        meddler.see_through_mute_flag(scene.channels as usize);
        let from = client.tape().logged();
        set_active(&client, true);
        stage.pulls(6, [&client]);
        for cycle in client.tape().cycles_from(from) {
            assert!(
                cycle.is_zero(),
                "round {round}, {:?}: {cycle:?}",
                mute.place()
            );
        }
    }
}

fn set_active(client: &Recorder, active: bool) {
    let wanted = match active {
        true => State::Streaming,
        false => State::Paused,
    };
    client.set_active(active);
    assert!(wait_until(LIMIT, || client.state() == wanted));
}

fn scenes(version: Version) -> Vec<(Scene, bool)> {
    let mut scenes = Vec::new();
    for quantum in [64, 1024] {
        for while_muted in WhileMuted::BOTH {
            for company in [false, true] {
                scenes.push((
                    Scene {
                        version,
                        quantum,
                        while_muted,
                        ..Scene::default()
                    },
                    company,
                ));
            }
        }
    }
    scenes
}

#[test]
fn nothing_is_left_over_on_debian_12() {
    each(&scenes(Version::Installed), check);
}

#[test]
fn nothing_is_left_over_on_debian_13() {
    each(&scenes(Version::Debian13), check);
}
