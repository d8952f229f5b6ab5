//! Real mics come, go and change while clients record: they get zeros meanwhile and stay connected (P7), the daemon follows,
//! and never captures what comes from itself.

use std::process::Command;
use std::time::Duration;

use truemute::demo::RunningDaemon;
use truemute::protocol::Status;
use truemute_core::observed::MicState as Mic;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{
    Format, MicOptions, MicState, Program, Signal, SimulatedMic, find_program,
};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, RecorderOptions, State, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted, each};
use truemute_tests::truemute::{executable, unmute_if_starved, wait_for};

#[test]
fn a_mic_that_vanishes_is_silence_until_it_is_back() {
    each(&scenes(), |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let clients = [stage.client(1, Format::F32), stage.client(2, Format::S16)];
        stage.unmute();
        stage.pulls(10, &clients);
        let Stage {
            recorders,
            daemon,
            mic,
            server,
        } = stage;
        let name = mic.name().to_owned();
        for _ in 0..2 {
            heard(&daemon, &clients);
        }
        drop(mic);
        wait_for(&daemon, LIMIT, |it| it.real_mic.state == Mic::Missing).unwrap();
        for client in &clients {
            let from = client.tape().logged();
            let more = client.tape().pulls() + 50;
            assert!(client.wait_for_pulls(more, LIMIT), "{}", server.log());
            // The first may have begun before the mic went.
            let cycles = client.tape().cycles_from(from + 2);
            assert!(cycles.iter().all(|cycle| cycle.is_zero()), "no mic");
            assert_eq!(client.state(), State::Streaming);
        }
        // Back, and nobody did anything: the gate is live still.
        let options = MicOptions {
            name: name.clone(),
            signal: Signal::Noise { seed: 8 },
            ..MicOptions::default()
        };
        let mic = SimulatedMic::start(&server, options).unwrap();
        heard(&daemon, &clients);
        wait_for(&daemon, LIMIT, |it| {
            (it.real_mic.state, &it.real_mic.name) == (Mic::Capturing, &name)
        })
        .unwrap();
        drop((recorders, mic));
    });
}

#[test]
fn without_any_mic_the_program_says_so_and_clients_get_silence() {
    each(&[Version::Installed, Version::Debian13], |version| {
        let Some(stage) = Stage::set(&Scene {
            version: *version,
            ..Scene::default()
        }) else {
            return;
        };
        let Stage {
            recorders,
            daemon,
            mic,
            server,
        } = stage;
        drop(mic);
        wait_for(&daemon, LIMIT, |it| it.real_mic.state == Mic::Missing).unwrap();
        let client = recorders
            .add(RecorderOptions {
                target: Some(VIRTUAL_MIC.to_owned()),
                ..RecorderOptions::default()
            })
            .unwrap();
        let run = |arguments: &[&str]| {
            let mut command = server.command(executable());
            let output = command.args(arguments).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            (output.status.code(), text)
        };
        let (code, unmuted) = run(&["unmute"]);
        assert_eq!(code, Some(0), "{unmuted}\n{}", daemon.log());
        assert!(unmuted.contains("no real microphone"), "{unmuted}");
        let more = client.tape().pulls() + 50;
        assert!(client.wait_for_pulls(more, LIMIT), "{}", server.log());
        let (code, status) = run(&["status", "--json"]);
        let status: Status = serde_json::from_str(&status).unwrap();
        assert_eq!((code, status.real_mic.state), (Some(0), Mic::Missing));
        let (code, text) = run(&["status"]);
        assert!(code == Some(0) && text.contains("no real"), "{text}");
        let (code, text) = run(&["doctor"]);
        assert!(code == Some(1) && text.contains("no real"), "{text}");
        let cycles = client.tape().cycles_from(0);
        assert!(cycles.iter().all(|cycle| cycle.is_zero()));
        let (code, text) = run(&["mute"]);
        assert_eq!(code, Some(0), "{text}\n{}", daemon.log());
    });
}

#[test]
fn the_better_mic_is_followed_and_the_other_when_it_goes() {
    each(&scenes(), |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let clients = [settled_client(&stage)];
        stage.unmute();
        heard(&stage.daemon, &clients);
        captures(&stage, stage.mic.name());
        let better = SimulatedMic::start(
            &stage.server,
            MicOptions {
                name: "better-mic".to_owned(),
                priority: 2500,
                ..MicOptions::default()
            },
        )
        .unwrap();
        captures(&stage, better.name());
        heard(&stage.daemon, &clients);
        // The user prefers the other.
        pactl(&stage, &["set-default-source", stage.mic.name()]);
        captures(&stage, stage.mic.name());
        heard(&stage.daemon, &clients);
        pactl(&stage, &["set-default-source", better.name()]);
        captures(&stage, better.name());
        drop(better);
        captures(&stage, stage.mic.name());
        heard(&stage.daemon, &clients);
        assert_eq!(clients[0].state(), State::Streaming);
    });
}

#[test]
fn the_latency_of_the_mic_is_told_and_waited_for() {
    each(&scenes(), |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let client = stage.client(1, Format::F32);
        stage.unmute();
        for (name, priority, latency_ns) in
            [("near-mic", 2500, 7_000_000), ("far-mic", 2600, 90_000_000)]
        {
            let mic = SimulatedMic::start(
                &stage.server,
                MicOptions {
                    name: name.to_owned(),
                    priority,
                    latency_ns,
                    ..MicOptions::default()
                },
            )
            .unwrap();
            captures(&stage, mic.name());
            let direct = stage.record(mic.name(), 1, Format::F32);
            for (what, client) in [("the mic", &direct), ("the virtual mic", &client)] {
                let told = || client.tape().source_latency_ns();
                let right = wait_until(LIMIT, || told() == Some(latency_ns.into()));
                assert!(right, "{name}: {what} says {:?}\n{}", told(), stage.logs());
            }
            // What it heard before the unmute arrives that much later, and is silence.
            stage.mute();
            let took_us = stage.unmute().reply.took_us;
            let latency_us = u64::from(latency_ns / 1000);
            assert!(took_us >= latency_us, "{name}: live after {took_us} us");
        }
    });
}

#[test]
fn the_list_of_mics_is_followed_in_its_order() {
    let wanted = Scene {
        config: "real_mic = [\"first-*\", \"second\"]\n".to_owned(),
        ..Scene::default()
    };
    let scenes = [Version::Installed, Version::Debian13].map(|version| Scene {
        version,
        ..wanted.clone()
    });
    each(&scenes, |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let clients = [settled_client(&stage)];
        let plug_in = |name: &str| {
            let options = MicOptions {
                name: name.to_owned(),
                // Whatever the session manager prefers.
                priority: 1500,
                ..MicOptions::default()
            };
            SimulatedMic::start(&stage.server, options).unwrap()
        };
        stage.unmute();
        heard(&stage.daemon, &clients);
        captures(&stage, stage.mic.name());
        let second = plug_in("second");
        captures(&stage, "second");
        let first = plug_in("first-1");
        captures(&stage, "first-1");
        heard(&stage.daemon, &clients);
        drop(first);
        captures(&stage, "second");
        // The same device, which has got another name.
        let renamed = plug_in("first-2");
        captures(&stage, "first-2");
        drop((renamed, second));
        captures(&stage, stage.mic.name());
        heard(&stage.daemon, &clients);
        assert_eq!(clients[0].state(), State::Streaming);
    });
}

/// A headset's microphone keeps the headset in the profile for calls as long as somebody is linked to it.
#[test]
fn a_muted_headset_is_not_kept_in_its_profile_for_calls() {
    let headset = "bluez_input.00_11_22_33_44_55.0";
    let scenes = [Version::Installed, Version::Debian13].map(|version| Scene {
        version,
        config: "real_mic = \"bluez_input.*\"\n".to_owned(),
        ..Scene::default()
    });
    each(&scenes, |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let properties = [
            ("device.api", "bluez5"),
            ("api.bluez5.profile", "headset-head-unit"),
            ("api.bluez5.address", "00:11:22:33:44:55"),
        ];
        let options = MicOptions {
            name: headset.to_owned(),
            priority: 2010,
            properties: properties
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..MicOptions::default()
        };
        let mic = SimulatedMic::start(&stage.server, options).unwrap();
        let client = settled_client(&stage);
        stage.pulls(50, [&client]);
        for _ in 0..2 {
            wait_for(&stage.daemon, LIMIT, |it| {
                (it.real_mic.state, it.real_mic.name.as_str()) == (Mic::Released, headset)
            })
            .unwrap();
            assert!(mic.wait_for_state(MicState::Suspended, LIMIT));
            stage.unmute();
            captures(&stage, headset);
            stage.mute();
        }
    });
}

#[test]
fn it_never_captures_itself() {
    each(&scenes(), |scene| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let clients = [settled_client(&stage)];
        stage.unmute();
        heard(&stage.daemon, &clients);
        make_default(&stage, VIRTUAL_MIC);
        captures(&stage, stage.mic.name());

        // Sources that are made of the virtual mic, in three ways.
        // It triggers its own streams, as the daemon does, so it needs the libraries of the server.
        let program = find_program("pw-loopback").expect("pw-loopback is installed");
        let mut loopback = stage.server.native_command(&program).unwrap();
        loopback
            .arg(format!("--capture-props=target.object={VIRTUAL_MIC} node.target={VIRTUAL_MIC}"))
            .arg("--playback-props=media.class=Audio/Source node.name=derived-loopback priority.session=9000");
        let loopback = Program::start(loopback).unwrap();
        let mut derived = vec!["derived-loopback"];
        for (module, source, master) in [
            ("module-remap-source", "derived-remap", "master"),
            ("module-echo-cancel", "derived-echo-cancel", "source_master"),
        ] {
            let master = format!("{master}={VIRTUAL_MIC}");
            let name = format!("source_name={source}");
            let mut load = stage.server.command("pactl");
            let output = load.args(["load-module", module, &master, &name]).output();
            if output.is_ok_and(|output| output.status.success()) {
                derived.push(source);
            } else {
                println!("SKIPPED in part: {module} cannot be loaded");
            }
        }
        assert!(derived.len() >= 2, "{derived:?}");
        for source in derived {
            make_default(&stage, source);
            // Whoever listens to it must not close a circle.
            let listener = stage.record(source, 1, Format::F32);
            assert!(listener.wait_for_pulls(10, LIMIT), "{source}");
            stage.pulls(50, &clients);
            captures(&stage, stage.mic.name());
            heard(&stage.daemon, &clients);
        }
        drop(loopback);
    });
}

fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for while_muted in WhileMuted::BOTH {
            scenes.push(Scene {
                version,
                while_muted,
                signals: vec![Signal::Noise { seed: 6 }],
                ..Scene::default()
            });
        }
    }
    scenes
}

/// A client that stays with the virtual mic when the default changes. WirePlumber moves others, even those that asked for it
/// by name, once it was the default.
fn settled_client(stage: &Stage) -> Recorder {
    stage.add(RecorderOptions {
        name: "settled".to_owned(),
        target: Some(VIRTUAL_MIC.to_owned()),
        properties: vec![("node.dont-reconnect".to_owned(), "true".to_owned())],
        ..RecorderOptions::default()
    })
}

/// Sound comes, from now on.
fn heard(daemon: &RunningDaemon, clients: &[Recorder]) {
    for client in clients {
        let from = client.tape().logged();
        let sound = wait_until(LIMIT, || {
            unmute_if_starved(daemon);
            let came = client.wait_for_sound(true, from, Duration::from_secs(1));
            came.is_some()
        });
        let name = client.name();
        assert!(
            sound,
            "{name} hears nothing and is {:?}: {:?}\n{}",
            client.state(),
            daemon.status(),
            daemon.log()
        );
    }
}

/// The daemon says that it captures this mic, and nothing else is linked to it.
fn captures(stage: &Stage, mic: &str) {
    wait_for(&stage.daemon, LIMIT, |status| {
        unmute_if_starved(&stage.daemon);
        (status.real_mic.state, status.real_mic.name.as_str()) == (Mic::Capturing, mic)
    })
    .unwrap_or_else(|status| panic!("{mic} is not captured: {status}"));
    let meddler = Meddler::connect(&stage.server);
    let mut sources = Vec::new();
    let only = meddler.look_until(LIMIT, |meddler| {
        let nodes = meddler.nodes();
        let name = |id: &u32| {
            nodes
                .get(id)
                .map_or(String::new(), |node| node.name.clone())
        };
        let links = meddler.links();
        let into = links
            .iter()
            .filter(|link| name(&link.input_node) == "truemute.capture");
        sources = into.map(|link| name(&link.output_node)).collect();
        // The links to a mic that was left go a moment after the new ones came.
        !sources.is_empty() && sources.iter().all(|source| source == mic)
    });
    assert!(only, "captured: {sources:?}, not only {mic}");
}

fn make_default(stage: &Stage, source: &str) {
    let there = stage.server.wait_for_source(source, LIMIT).unwrap();
    assert!(there, "{source} does not come\n{}", stage.logs());
    let mut now = String::new();
    let done = wait_until(LIMIT, || {
        pactl(stage, &["set-default-source", source]);
        now = pactl(stage, &["get-default-source"]);
        now.trim() == source
    });
    assert!(done, "the default is {now}, not {source}");
}

fn pactl(stage: &Stage, arguments: &[&str]) -> String {
    let mut command: Command = stage.server.command("pactl");
    let output = command.args(arguments).output().expect("pactl runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
