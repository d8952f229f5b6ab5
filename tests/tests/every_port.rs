//! While muted, a client that is linked to every port there is records not one bit that came through TrueMute (P1). The
//! real mic itself can be recorded from directly; that is the bypass guard's business.

use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, Signal};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, RecorderOptions, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted, each};

#[test]
fn no_port_carries_sound_while_muted() {
    let mut scenes = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for while_muted in WhileMuted::BOTH {
            scenes.push(Scene {
                version,
                while_muted,
                channels: 2,
                signals: vec![Signal::Noise { seed: 3 }],
                ..Scene::default()
            });
        }
    }
    each(&scenes, check);
}

fn check(scene: &Scene) {
    let Some(stage) = Stage::set(scene) else {
        return;
    };
    let client = stage.client(2, Format::F32);
    stage.unmute();
    stage.pulls(10, [&client]);
    let meddler = Meddler::connect(&stage.server);
    let taps = tap_everything(&stage, &meddler);

    // Live, each tap hears the room where there is a way to it: the taps work.
    let heard = |tap: &&Tap| tap.recorder.wait_for_sound(true, 0, LIMIT).is_some();
    let ours = taps.iter().filter(|tap| tap.node == VIRTUAL_MIC);
    assert_eq!(ours.filter(heard).count(), 2, "{}", stage.logs());
    let repeated = taps.iter().filter(|tap| tap.node == client.name());
    assert!(repeated.clone().count() > 0, "a client has monitor ports");
    assert!(repeated.clone().all(|tap| heard(&tap)), "{}", stage.logs());

    let mute = stage.mute();
    // The desktop's mute flag silences too, and would hide what the gate lets through.
    meddler.see_through_mute_flag(2);
    stage.pulls(100, [&client]);
    for tap in &taps {
        let name = format!("{}:{}", tap.node, tap.port);
        let cycles = tap.recorder.tape().cycles_from(0);
        // What began before the acknowledgement may still be on its way through other nodes.
        let after: Vec<_> = cycles
            .iter()
            .filter(|cycle| cycle.nsec > mute.replied_ns + SETTLED_NS)
            .collect();
        println!(
            "{name}: {} cycles, {} while muted",
            cycles.len(),
            after.len()
        );
        let loud = after.iter().find(|cycle| !cycle.is_zero());
        assert!(loud.is_none(), "{name} carries sound while muted: {loud:?}");
        assert!(tap.node != VIRTUAL_MIC || after.len() > 20, "{name}");
    }
}

/// Two cycles: a node behind another driver can be one late.
const SETTLED_NS: u64 = 12_000_000;

/// A client that is linked to one port.
struct Tap {
    node: String,
    port: String,
    recorder: Recorder,
}

/// Links a client of its own to each output port of each node but the real mic and what it hears.
fn tap_everything(stage: &Stage, meddler: &Meddler) -> Vec<Tap> {
    meddler.look();
    let nodes = meddler.nodes();
    let capture = nodes
        .iter()
        .find(|(_, node)| node.name == "truemute.capture");
    let (capture, _) = capture.expect("the capture side is there");
    let outputs: Vec<_> = meddler
        .ports()
        .into_iter()
        .filter(|(_, port)| port.output)
        .collect();
    assert!(
        outputs.iter().all(|(_, port)| port.node != *capture),
        "the capture side has an output port: {outputs:?}"
    );
    let mut taps = Vec::new();
    for (output, port) in outputs {
        let node = nodes.get(&port.node).map_or("", |node| &node.name);
        if node.starts_with(stage.mic.name()) {
            continue;
        }
        let recorder = stage.add(RecorderOptions {
            name: format!("tap-{output}"),
            autoconnect: false,
            ..RecorderOptions::default()
        });
        let input = || {
            meddler.look();
            let id = recorder.node_id()?;
            let ports = meddler.ports();
            let of_it = |(_, port): &(&u32, &truemute_tests::meddler::Port)| {
                port.node == id && !port.output
            };
            ports.iter().find(of_it).map(|(input, _)| *input)
        };
        let mut found = None;
        assert!(
            wait_until(LIMIT, || {
                found = input();
                found.is_some()
            }),
            "a tap has no input port\n{}",
            stage.logs()
        );
        meddler.link(output, found.expect("waited for"));
        meddler.look();
        taps.push(Tap {
            node: node.to_owned(),
            port: port.name,
            recorder,
        });
    }
    assert_eq!(meddler.refusals(), [""; 0]);
    taps
}
