//! Somebody destroys a node of the virtual mic: the daemon notices and makes it anew.

use truemute_pipewire::rehearsal::Format;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each};

#[test]
fn removed_nodes_are_made_anew() {
    let nodes = ["truemute.capture", "truemute.mic"];
    let cells =
        [Version::Installed, Version::Debian13].map(|version| nodes.map(|it| (version, it)));
    each(&cells.concat(), |(version, node)| check(*version, node));
}

fn check(version: Version, node: &str) {
    let scene = Scene {
        version,
        ..Scene::default()
    };
    let Some(stage) = Stage::set(&scene) else {
        return;
    };
    let before = id(&stage, node).expect("the node is there");
    pw_cli(&stage, &["destroy", &before]);
    let anew = wait_until(LIMIT, || id(&stage, node).is_some());
    assert!(anew, "{node} is not there\n{}", stage.logs());

    let client = stage.client(scene.channels, Format::F32);
    stage.pulls(10, [&client]);
    let from = client.tape().logged();
    stage.unmute();
    assert!(client.wait_for_sound(true, from, LIMIT).is_some());
}

/// The id of a node.
fn id(stage: &Stage, name: &str) -> Option<String> {
    let listed = pw_cli(stage, &["ls", "Node"]);
    let name = format!("node.name = \"{name}\"");
    let mut id = None;
    for line in listed.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("id ") {
            id = rest.split(',').next();
        } else if line == name {
            return id.map(str::to_owned);
        }
    }
    None
}

fn pw_cli(stage: &Stage, arguments: &[&str]) -> String {
    let mut command = stage.server.command("pw-cli");
    let output = command.args(arguments).output().expect("pw-cli can be run");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
