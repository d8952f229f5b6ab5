//! The twin itself: exact zeros in every cycle, nothing that sound could get in by, and no work while nobody listens.

use truemute::install::parts::SILENT_TWIN;
use truemute_pipewire::rehearsal::Format;
use truemute_tests::meddler::Meddler;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each, on_both};

use crate::clients::installed;

#[test]
fn the_twin_is_zeros_on_time() {
    let mut scenes = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for quantum in [64, 1024] {
            scenes.push(Scene {
                quantum,
                ..installed(version)
            });
        }
    }
    each(&scenes, |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let clients = [(1, Format::F32), (2, Format::F32), (2, Format::S16)]
            .map(|(channels, format)| stage.record(SILENT_TWIN, channels, format));
        stage.pulls(150, &clients);
        for client in &clients {
            let cycles = client.tape().cycles_from(0);
            let loud = cycles.iter().filter(|cycle| !cycle.is_zero()).count();
            assert_eq!(loud, 0, "{}", client.name());
            assert_eq!(client.tape().empty(), 0, "{}", client.name());
            let wrong = cycles
                .iter()
                .filter(|it| u64::from(it.frames) != it.duration);
            assert!(wrong.count() <= 1, "{}", client.name());
        }
        let meddler = Meddler::connect(&stage.server);
        let (twin, node) = meddler.node(SILENT_TWIN).expect("the twin");
        assert_eq!(node.state, "running");
        let ports = meddler.ports();
        let ports: Vec<_> = ports.values().filter(|port| port.node == twin).collect();
        assert_eq!(ports.len(), 2);
        assert!(ports.iter().all(|port| port.output), "{ports:?}");
        drop(clients);
        // The session manager suspends what nobody uses after some seconds.
        let asleep = meddler.look_until(LIMIT, |meddler| {
            let nodes = meddler.nodes();
            nodes[&twin].state == "suspended"
        });
        assert!(asleep, "{:?}", meddler.nodes()[&twin]);
    });
}

#[test]
fn no_link_brings_sound_into_the_twin() {
    on_both(installed, |_, stage| {
        let listener = stage.record(SILENT_TWIN, 1, Format::F32);
        let real = stage.record(stage.mic.name(), 1, Format::F32);
        stage.pulls(10, [&listener, &real]);
        let meddler = Meddler::connect(&stage.server);
        let (twin, _) = meddler.node(SILENT_TWIN).expect("the twin");
        let (mic, _) = meddler.node(stage.mic.name()).expect("the mic");
        let ports = meddler.ports();
        let of = |node| ports.iter().filter(move |(_, port)| port.node == node);
        let sound = of(mic).find(|(_, port)| port.output).expect("a port").0;
        for (port, _) in of(twin) {
            meddler.link(*sound, *port);
        }
        meddler.look();
        assert_eq!(meddler.refusals().len(), 2, "{:?}", meddler.refusals());
        // Whatever its volume is set to, the room is not in it.
        meddler.overrule_mute_flag(twin, 2);
        meddler.look();
        stage.pulls(50, [&listener]);
        let cycles = listener.tape().cycles_from(0);
        assert!(cycles.iter().all(|cycle| cycle.is_zero()));
        assert!(real.wait_for_sound(true, 0, LIMIT).is_some());
    });
}
