//! The desktop's mute flag of the virtual mic and the gate mirror each other: setting it mutes; clearing it unmutes only if
//! that is configured, and is taken back otherwise.

use std::process::Command;
use std::time::Instant;

use truemute::protocol::GateState;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, Signal};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, WhileMuted, each};
use truemute_tests::tape::monotonic_ns;
use truemute_tests::truemute::wait_for;

/// The desktop's tools.
#[derive(Clone, Copy, Debug)]
enum Tool {
    Pactl,
    Wpctl,
}

fn cells(config: &str) -> Vec<(Scene, Tool)> {
    let mut cells = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for tool in [Tool::Pactl, Tool::Wpctl] {
            let scene = Scene {
                version,
                config: config.to_owned(),
                // A mic that is let go of would hide what the gate lets through.
                while_muted: WhileMuted::Hold,
                signals: vec![Signal::Noise { seed: 2 }],
                ..Scene::default()
            };
            cells.push((scene, tool));
        }
    }
    cells
}

#[test]
fn setting_it_mutes_and_clearing_it_is_taken_back() {
    each(&cells(""), |(scene, tool)| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let client = stage.client(1, Format::F32);
        stage.unmute();
        stage.pulls(10, [&client]);
        shows(&stage, false, "after unmute");

        set(&stage, *tool, true);
        let muted = wait_for(&stage.daemon, LIMIT, |it| it.gate == GateState::Muted).unwrap();
        assert_eq!(muted.reason, "desktop");
        shows(&stage, true, "after the desktop muted");
        // The flag itself silences too, and would hide what the gate lets through.
        let meddler = Meddler::connect(&stage.server);
        meddler.see_through_mute_flag(1);
        let since = monotonic_ns();
        stage.pulls(10, [&client]);

        let cleared = Instant::now();
        set(&stage, *tool, false);
        shows(&stage, true, "after the desktop unmuted");
        println!(
            "{tool:?}: set again {:?} after it was cleared",
            cleared.elapsed()
        );
        meddler.see_through_mute_flag(1);
        stage.pulls(20, [&client]);
        assert_eq!(stage.daemon.status().unwrap().gate, GateState::Muted);
        let cycles = client.tape().cycles_from(0);
        let loud = cycles
            .iter()
            .filter(|cycle| cycle.nsec > since)
            .find(|cycle| !cycle.is_zero());
        assert!(loud.is_none(), "{loud:?}");

        stage.unmute();
        shows(&stage, false, "after the second unmute");
        stage.mute();
        shows(&stage, true, "after mute");
    });
}

#[test]
fn it_is_right_while_nothing_runs() {
    each(&cells(""), |(scene, tool)| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        is_right(&stage, *tool);
        // A converter that has run is another case.
        let client = stage.client(1, Format::F32);
        stage.pulls(10, [&client]);
        drop(client);
        let meddler = Meddler::connect(&stage.server);
        let suspended = meddler.look_until(LIMIT, |meddler| {
            let mut nodes = meddler.nodes().into_values();
            nodes.any(|node| node.name == VIRTUAL_MIC && node.state == "suspended")
        });
        assert!(suspended, "{:?}", meddler.node(VIRTUAL_MIC));
        is_right(&stage, *tool);
    });
}

fn is_right(stage: &Stage, tool: Tool) {
    shows(stage, true, "at first");
    stage.unmute();
    shows(stage, false, "after unmute");
    stage.mute();
    shows(stage, true, "after mute");
    stage.unmute();
    shows(stage, false, "after the second unmute");
    set(stage, tool, true);
    wait_for(&stage.daemon, LIMIT, |it| it.gate == GateState::Muted).unwrap();
    shows(stage, true, "after the desktop muted");
    set(stage, tool, false);
    shows(stage, true, "after the desktop unmuted");
    assert_eq!(stage.daemon.status().unwrap().gate, GateState::Muted);
}

#[test]
fn clearing_it_unmutes_where_that_is_configured() {
    let config = "unmute_origins = [\"cli\", \"desktop\"]\n";
    each(&cells(config), |(scene, tool)| {
        let Some(stage) = Stage::set(scene) else {
            return;
        };
        let client = stage.client(1, Format::F32);
        stage.unmute();
        stage.pulls(10, [&client]);
        set(&stage, *tool, true);
        wait_for(&stage.daemon, LIMIT, |it| it.gate == GateState::Muted).unwrap();
        shows(&stage, true, "after the desktop muted");
        stage.pulls(10, [&client]);
        let from = client.tape().logged();
        set(&stage, *tool, false);
        let live = wait_for(&stage.daemon, LIMIT, |it| it.gate == GateState::Live).unwrap();
        assert_eq!(live.reason, "desktop");
        assert!(client.wait_for_sound(true, from, LIMIT).is_some());
        shows(&stage, false, "after the desktop unmuted");
    });
}

fn set(stage: &Stage, tool: Tool, muted: bool) {
    let flag = if muted { "1" } else { "0" };
    let command = match tool {
        Tool::Pactl => {
            let mut command = stage.server.command("pactl");
            command.args(["set-source-mute", VIRTUAL_MIC, flag]);
            command
        }
        Tool::Wpctl => {
            let meddler = Meddler::connect(&stage.server);
            let (id, _) = meddler.node(VIRTUAL_MIC).expect("the virtual mic");
            let mut command = stage.server.command("wpctl");
            command.args(["set-mute", &id.to_string(), flag]);
            command
        }
    };
    run(command);
}

/// Waits until the flag is as wanted.
fn shows(stage: &Stage, muted: bool, when: &str) {
    let wanted = if muted { "Mute: yes" } else { "Mute: no" };
    let mut text = String::new();
    let right = wait_until(LIMIT, || {
        let mut command = stage.server.command("pactl");
        command
            .args(["get-source-mute", VIRTUAL_MIC])
            .env("LC_ALL", "C");
        text = run(command);
        text.trim() == wanted
    });
    assert!(right, "{when} the desktop shows {text:?}\n{}", stage.logs());
}

fn run(mut command: Command) -> String {
    let output = command.output().expect("the desktop's tools are installed");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
