//! The session manager was told to prefer the real mic: as the default, in its history of defaults, or for single apps. Who
//! asked for the virtual mic gets silence all the same.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::PrivateServer;
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Stage, on_both};
use truemute_tests::truemute as program;

use crate::clients::{Clients, Wants, installed};

/// The real mic is the default that the user chose; the clients name the virtual mic.
#[test]
fn whoever_names_the_virtual_mic_does_not_get_another_default() {
    on_both(installed, |version, stage| {
        let when = format!("{version:?}, real mic chosen");
        choose_default(&stage.server, stage.mic.name());
        let wants = [Wants::VirtualMic];
        let clients = Clients::native(&stage.recorders, &wants).and_pulse(&stage.server, &wants);
        come_and_go(stage, clients, &when);
    });
}

/// The virtual mic is the default that the user chose, the real mic the one before.
#[test]
fn an_earlier_default_does_not_come_back() {
    on_both(installed, |version, stage| {
        let when = format!("{version:?}, real mic chosen before");
        choose_default(&stage.server, stage.mic.name());
        choose_default(&stage.server, VIRTUAL_MIC);
        let wants = [Wants::Default, Wants::VirtualMic];
        let clients = Clients::native(&stage.recorders, &wants).and_pulse(&stage.server, &wants);
        come_and_go(stage, clients, &when);
    });
}

/// The real mic is the default that the user chose; the client asks for the default, and a person moved it to the virtual mic,
/// now or when it last ran.
#[test]
fn whoever_was_moved_to_the_virtual_mic_stays_there() {
    on_both(installed, |version, stage| {
        let when = format!("{version:?}, moved");
        choose_default(&stage.server, stage.mic.name());
        // What it hears before it is moved is none of our business: it goes.
        let nobody = Clients::native(&stage.recorders, &[]);
        let first = nobody.and_pulse(&stage.server, &[Wants::Default]);
        move_to_virtual_mic(&stage);
        first.are_back(&stage.daemon);
        drop(first);
        // The session manager writes down what was moved where after a second.
        assert!(wait_until(LIMIT, || is_stored(&stage.server)), "{when}");

        let Stage {
            recorders,
            mut daemon,
            mic,
            server,
        } = stage;
        daemon.stop(Signal::KILL).expect("the daemon ends");
        let nobody = Clients::native(&recorders, &[]);
        let second = nobody.and_pulse(&server, &[Wants::Default]);
        second.go_on(&server);
        let daemon = program::start(&server, "");
        second.are_back(&daemon);
        let stage = Stage {
            recorders,
            daemon,
            mic,
            server,
        };
        come_and_go(stage, second, &when);
    });
}

/// What WirePlumber 0.4 writes of a stream that comes before the virtual mic can be linked to: it is to follow the default.
#[test]
fn whoever_names_the_virtual_mic_does_not_follow_another_default() {
    let Some(stage) = Stage::set(&installed(Version::Installed)) else {
        return;
    };
    choose_default(&stage.server, stage.mic.name());
    let clients = Clients::native(&stage.recorders, &[Wants::VirtualMic]);
    clients.are_back(&stage.daemon);
    let meddler = Meddler::connect(&stage.server);
    let (node, _) = meddler.node("native-VirtualMic").expect("the client");
    let metadata = |arguments: &[&str]| {
        let mut command = stage.server.command("pw-metadata");
        let output = command.arg("--").arg(node.to_string()).args(arguments);
        let output = output.output().expect("pw-metadata runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for _ in 0..3 {
        metadata(&["target.node", "-1", "Spa:Id"]);
        let taken_back = wait_until(LIMIT, || !metadata(&[]).contains("target.node"));
        assert!(taken_back, "{}", metadata(&[]));
    }
    clients.are_back(&stage.daemon);
}

/// Moves the only PulseAudio client, as often as a person would: WirePlumber 0.4 forgets a move that comes while it still links
/// the stream for the first time.
fn move_to_virtual_mic(stage: &Stage) {
    let moved = wait_until(LIMIT, || {
        let list = pactl(&stage.server, &["list", "short", "source-outputs"]);
        let Some(number) = list.split_whitespace().next() else {
            return false;
        };
        let wanted = ["move-source-output", number, VIRTUAL_MIC];
        pactl(&stage.server, &wanted);
        wait_until(Duration::from_secs(2), || {
            stage.daemon.status().is_ok_and(|it| it.clients == 1)
        })
    });
    assert!(moved, "there is no client to move");
}

/// Whether the session manager's state has it, in whatever file.
fn is_stored(server: &PrivateServer) -> bool {
    let state = server.directory().join("state/wireplumber");
    ["restore-stream", "stream-properties"].iter().any(|file| {
        let text = fs::read_to_string(state.join(file)).unwrap_or_default();
        let mut targets = text.lines().filter(|line| line.contains("target"));
        targets.any(|line| line.contains(VIRTUAL_MIC))
    })
}

fn come_and_go(stage: Stage, clients: Clients, when: &str) {
    let Stage {
        recorders,
        mut daemon,
        mic,
        server,
    } = stage;
    clients.are_back(&daemon);
    clients.go_on(&server);
    for _ in 0..2 {
        daemon.stop(Signal::KILL).expect("the daemon ends");
        clients.go_on(&server);
        daemon = program::start(&server, "");
        clients.are_back(&daemon);
        clients.go_on(&server);
    }
    clients.heard_nothing(when);
    daemon.unmute().expect("it unmutes");
    clients.hear(when);
    drop((clients, recorders, mic));
}

fn choose_default(server: &PrivateServer, source: &str) {
    pactl(server, &["set-default-source", source]);
    let mut now = String::new();
    let done = wait_until(LIMIT, || {
        now = pactl(server, &["get-default-source"]);
        now.trim() == source
    });
    assert!(done, "the default is {now}, not {source}");
}

fn pactl(server: &PrivateServer, arguments: &[&str]) -> String {
    let output = server.command("pactl").args(arguments).output();
    let output = output.expect("pactl runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
