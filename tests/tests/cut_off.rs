//! With `guard = "enforce"` on a server that lets everybody link to everything: who records from the real mic is cut off and
//! sent to the virtual mic, who fights for it loses the stream, and while muted the real mic itself is mute.

use rustix::process::Signal as Kill;
use truemute::protocol::Bypass;
use truemute_core::observed::{ClientState, Countermeasure};
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, MicOptions, PrivateServer, Signal, SimulatedMic};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, RecorderOptions, State, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each};
use truemute_tests::truemute as program;

const VERSIONS: [Version; 2] = [Version::Installed, Version::Debian13];

#[test]
fn who_records_from_the_mic_is_cut_off_and_sent_to_the_virtual_mic() {
    each(&VERSIONS, |version| {
        let Some(stage) = enforced(*version) else {
            return;
        };
        // Live, so that the mic itself is not mute.
        let client = stage.client(1, Format::F32);
        stage.unmute();
        stage.pulls(20, [&client]);
        let spy = reader(&stage, "spy", stage.mic.name(), &[]);
        let bypass = cut(&stage, |it| it.who.stream == spy.name());
        assert_eq!(bypass.state, ClientState::Gone, "{bypass:?}");
        reads_only(&stage, spy.name(), VIRTUAL_MIC);
        stage.pulls(20, [&spy]);
        // What it gets now comes through the gate.
        stage.mute();
        let from = spy.tape().logged() + 2;
        stage.pulls(20, [&spy]);
        let cycles = spy.tape().cycles_from(from);
        assert!(!cycles.is_empty() && cycles.iter().all(|cycle| cycle.is_zero()));
        // Our own way to the mic is left alone.
        stage.unmute();
        assert!(
            client
                .wait_for_sound(true, client.tape().logged(), LIMIT)
                .is_some(),
            "{}",
            stage.logs()
        );
    });
}

/// What a client can catch before its link is cut: figures for docs/known-issues.md.
#[test]
fn what_slips_through_is_less_than_a_second_and_a_trusted_program_stays() {
    for version in VERSIONS {
        // The mic that is followed is silent, so that all sound is the other mic's.
        let Some(stage) = Stage::set(&Scene {
            version,
            config: "guard = \"enforce\"\ntrusted_processors = [\"trusted\"]\n".to_owned(),
            signals: vec![Signal::Silence],
            ..Scene::default()
        }) else {
            continue;
        };
        let options = MicOptions {
            name: "other-mic".to_owned(),
            priority: 1000,
            ..MicOptions::default()
        };
        let mic = SimulatedMic::start(&stage.server, options).unwrap();
        stage.unmute();
        // It also keeps the mic running: nothing has to start before sound flows.
        let trusted = reader(&stage, "trusted", mic.name(), &[]);
        assert!(
            trusted.wait_for_sound(true, 0, LIMIT).is_some(),
            "{}",
            stage.logs()
        );
        for properties in [&[][..], &[("node.dont-reconnect", "true")]] {
            for _ in 0..3 {
                let spy = reader(&stage, "spy", mic.name(), properties);
                cut(&stage, |it| {
                    it.who.stream == "spy" && it.state == ClientState::Gone
                });
                stage.pulls(30, [&trusted]);
                let slipped = spy.samples().iter().filter(|it| **it != 0.0).count();
                println!("{version:?} {properties:?}: {slipped} frames slipped through");
                assert!(slipped < 48_000, "{}", stage.logs());
            }
        }
        let from = trusted.tape().logged();
        assert!(
            trusted.wait_for_sound(true, from, LIMIT).is_some(),
            "{}",
            stage.logs()
        );
        reads_only(&stage, "trusted", mic.name());
        drop(trusted);
    }
}

/// A session manager that does not give in.
#[test]
fn a_stream_that_is_linked_again_and_again_is_removed() {
    each(&VERSIONS, |version| {
        let Some(stage) = enforced(*version) else {
            return;
        };
        stage.unmute();
        let spy = stage.add(RecorderOptions {
            name: "fighter".to_owned(),
            autoconnect: false,
            ..RecorderOptions::default()
        });
        let meddler = Meddler::connect(&stage.server);
        let mic = meddler.node(stage.mic.name()).expect("the mic").0;
        let ended = wait_until(LIMIT, || {
            meddler.look();
            let ports = meddler.ports();
            let port = |node, output| {
                let mut ports = ports.iter();
                ports
                    .find(|(_, it)| it.node == node && it.output == output)
                    .map(|it| *it.0)
            };
            if let (Some(node), Some(output)) = (spy.node_id(), port(mic, true))
                && let Some(input) = port(node, false)
            {
                meddler.link(output, input);
            }
            matches!(spy.state(), State::Failed(_))
        });
        assert!(ended, "it is {:?}\n{}", spy.state(), stage.logs());
        assert!(
            stage.daemon.log().contains("again and again"),
            "{}",
            stage.logs()
        );
        let bypass = cut(&stage, |it| it.who.stream == "fighter");
        assert!(bypass.cuts > 1, "{bypass:?}");
    });
}

#[test]
fn while_muted_the_mic_itself_is_mute_and_nobody_is_left_with_a_muted_mic() {
    each(&VERSIONS, |version| {
        let config = "guard = \"enforce\"\ntrusted_processors = [\"trusted\"]\n";
        let Some(stage) = Stage::set(&Scene {
            version: *version,
            config: config.to_owned(),
            ..Scene::default()
        }) else {
            return;
        };
        let name = stage.mic.name().to_owned();
        let trusted = reader(&stage, "trusted", &name, &[]);
        is_muted(&stage.server, &name, true);
        // Whoever sets it back does not get through.
        for _ in 0..3 {
            pactl_on(&stage.server, &["set-source-mute", &name, "0"]);
            is_muted(&stage.server, &name, true);
        }
        let silent = wait_until(LIMIT, || {
            let from = trusted.tape().logged();
            stage.pulls(20, [&trusted]);
            let cycles = trusted.tape().cycles_from(from);
            cycles.iter().all(|cycle| cycle.is_zero())
        });
        assert!(silent, "{}", stage.logs());

        stage.unmute();
        is_muted(&stage.server, &name, false);
        let from = trusted.tape().logged();
        assert!(
            trusted.wait_for_sound(true, from, LIMIT).is_some(),
            "{}",
            stage.logs()
        );
        stage.mute();
        is_muted(&stage.server, &name, true);

        let Stage {
            recorders,
            mut daemon,
            mic,
            server,
        } = stage;
        daemon.stop(Kill::TERM).unwrap();
        is_muted(&server, &name, false);
        let mut daemon = program::start(&server, config);
        is_muted(&server, &name, true);
        daemon.stop(Kill::KILL).unwrap();
        is_muted(&server, &name, true);
        let daemon = program::start(&server, "guard = \"report\"\n");
        is_muted(&server, &name, false);
        // What its user has muted is not ours to unmute.
        pactl_on(&server, &["set-source-mute", &name, "1"]);
        drop(daemon);
        let mut daemon = program::start(&server, config);
        daemon.unmute().unwrap();
        daemon.mute().unwrap();
        daemon.stop(Kill::TERM).unwrap();
        is_muted(&server, &name, true);
        drop((recorders, mic));
    });
}

/// Waits until the mic's mute flag is this.
fn is_muted(server: &PrivateServer, mic: &str, muted: bool) {
    let mut now = String::new();
    let wanted = if muted { "yes" } else { "no" };
    let so = wait_until(LIMIT, || {
        now = pactl_on(server, &["get-source-mute", mic]);
        now.contains(wanted)
    });
    assert!(so, "{mic}: {now}, not {wanted}\n{}", server.log());
}

fn pactl_on(server: &PrivateServer, arguments: &[&str]) -> String {
    let output = server.command("pactl").args(arguments).output();
    let output = output.expect("pactl runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn enforced(version: Version) -> Option<Stage> {
    Stage::set(&Scene {
        version,
        config: "guard = \"enforce\"\n".to_owned(),
        ..Scene::default()
    })
}

/// A client that asks for `source` and keeps what it gets.
fn reader(stage: &Stage, name: &str, source: &str, properties: &[(&str, &str)]) -> Recorder {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    stage.add(RecorderOptions {
        name: name.to_owned(),
        target: Some(source.to_owned()),
        kept_bytes: 1 << 20,
        properties: properties.iter().map(own).collect(),
        ..RecorderOptions::default()
    })
}

/// Waits until a bypass of this kind has been cut and is over.
fn cut(stage: &Stage, kind: impl Fn(&Bypass) -> bool) -> Bypass {
    let mut found = None;
    let over = wait_until(LIMIT, || {
        let stats = stage
            .daemon
            .stats()
            .unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
        found = stats.bypasses.into_iter().find(&kind);
        found
            .as_ref()
            .is_some_and(|it| it.done == Countermeasure::Cut && it.state == ClientState::Gone)
    });
    assert!(over, "not cut: {found:?}\n{}", stage.logs());
    found.expect("just seen")
}

/// Waits until the node of this name gets sound from `source` and from nothing else.
fn reads_only(stage: &Stage, node: &str, source: &str) {
    let meddler = Meddler::connect(&stage.server);
    let mut sources = Vec::new();
    let only = meddler.look_until(LIMIT, |meddler| {
        let nodes = meddler.nodes();
        let name = |id: &u32| nodes.get(id).map_or("", |node| &node.name).to_owned();
        let links = meddler.links();
        let into = links.iter().filter(|link| name(&link.input_node) == node);
        sources = into.map(|link| name(&link.output_node)).collect();
        !sources.is_empty() && sources.iter().all(|it| it == source)
    });
    assert!(
        only,
        "{node} reads {sources:?}, not {source}\n{}",
        stage.logs()
    );
}
