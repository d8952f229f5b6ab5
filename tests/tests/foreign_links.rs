//! What another app links into the capture side is not heard as the mic: the link is removed, and silence stands for it.

use truemute_pipewire::rehearsal::{Format, MicOptions, Signal, SimulatedMic};
use truemute_tests::evidence::ramp_delay;
use truemute_tests::meddler::Meddler;
use truemute_tests::stage::{LIMIT, Scene, on_both};
use truemute_tests::truemute::unmute_if_starved;

const BITS: u32 = 15;
/// The window of each link is a matter of luck.
const ATTEMPTS: usize = 5;

#[test]
fn nobody_else_speaks_through_the_mic() {
    let scene = |version| Scene {
        version,
        signals: vec![Signal::Ramp { bits: BITS }],
        ..Scene::default()
    };
    on_both(scene, |_, stage| {
        let stranger = SimulatedMic::start(
            &stage.server,
            MicOptions {
                name: "stranger".to_owned(),
                signal: Signal::Noise { seed: 4 },
                priority: 100,
                ..MicOptions::default()
            },
        )
        .unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
        let client = stage.client(1, Format::F32);
        stage.unmute();
        stage.pulls(10, [&client]);

        let meddler = Meddler::connect(&stage.server);
        let (capture, _) = meddler.node("truemute.capture").expect("the capture side");
        let (source, _) = meddler.node(stranger.name()).expect("the other source");
        let port = |node, output| {
            let ports = meddler.ports();
            let mut of_it = ports
                .iter()
                .filter(|(_, port)| port.node == node && port.output == output);
            *of_it.next().expect("a port").0
        };
        for _ in 0..ATTEMPTS {
            meddler.link(port(source, true), port(capture, false));
            let came = |meddler: &Meddler| {
                let links = meddler.links();
                links
                    .iter()
                    .any(|link| (link.output_node, link.input_node) == (source, capture))
            };
            let cut = meddler.look_until(LIMIT, |meddler| !came(meddler));
            assert!(cut, "the link stays\n{}", stage.logs());
            // What is under way when the link goes may still be mixed.
            stage.pulls(3, [&client]);
            let from = client.tape().logged();
            let heard = client.wait_for_sound(true, from, LIMIT).is_some()
                || unmute_if_starved(&stage.daemon);
            assert!(
                heard,
                "the mic itself is not heard any more\n{}",
                stage.logs()
            );
            stage.pulls(10, [&client]);
            for cycle in client.tape().cycles_from(from) {
                let ramp = ramp_delay(&cycle, BITS, Format::F32, 1).is_some();
                assert!(ramp || cycle.is_zero(), "{cycle:?}\n{}", stage.logs());
            }
        }
        let warnings = stage
            .daemon
            .log()
            .matches("somebody linked a source")
            .count();
        assert_eq!(warnings, ATTEMPTS, "{}", stage.logs());
    });
}
