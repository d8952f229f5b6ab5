//! Another real mic with other channels: the virtual mic takes them over while nobody listens, and goes on to count.

use truemute_pipewire::rehearsal::{Format, MicOptions, SimulatedMic};
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each};
use truemute_tests::truemute as program;

#[test]
fn pulls_from_a_mic_with_other_channels_are_counted() {
    let versions = [Version::Installed, Version::Debian13];
    let cells = versions.map(|version| ["auto", "profiler"].map(|counting| (version, counting)));
    each(&cells.concat(), |(version, counting)| {
        check(*version, counting)
    });
}

fn check(version: Version, counting: &str) {
    let scene = Scene {
        version,
        config: format!("counting = \"{counting}\"\n"),
        ..Scene::default()
    };
    let Some(stage) = Stage::set(&scene) else {
        return;
    };
    let stereo = MicOptions {
        name: "stereo-mic".to_owned(),
        channels: 2,
        priority: 2500,
        ..MicOptions::default()
    };
    let _stereo = SimulatedMic::start(&stage.server, stereo)
        .unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    program::wait_for(&stage.daemon, LIMIT, |status| {
        status.virtual_mic.channels == 2
    })
    .unwrap_or_else(|status| panic!("the channels stay: {status}\n{}", stage.logs()));

    let client = stage.client(2, Format::F32);
    stage.pulls(10, [&client]);
    stage.unmute();
    stage.pulls(200, [&client]);
    // The profiler of 0.3.65 tells once a second.
    let mut last = None;
    let counted = wait_until(LIMIT, || {
        last = stage.daemon.stats().ok();
        let clients = last.iter().flat_map(|stats| &stats.clients);
        clients.map(|client| client.live.pulls).sum::<u64>() >= 100
    });
    assert!(counted, "{last:?}\n{}", stage.logs());
}
