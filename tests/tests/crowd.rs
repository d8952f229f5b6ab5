//! 256 clients at once: whether server, mic and recorders can carry what the counting tests need.

use std::time::Duration;

use truemute_pipewire::rehearsal::{Clock, MicOptions, PrivateServer, ServerOptions, SimulatedMic};
use truemute_tests::recorder::{Connections, RecorderOptions, Recorders};
use truemute_tests::servers::Version;

#[test]
fn the_server_carries_256_clients() {
    for version in [Version::Installed, Version::Debian13] {
        let options = ServerOptions {
            clock: Some(Clock::fixed(1024)),
            open_files: Some(20_000),
            ..ServerOptions::default()
        };
        let Some(options) = version.options(options) else {
            continue;
        };
        let server = PrivateServer::start(options).unwrap();
        let mic = SimulatedMic::start(&server, MicOptions::default()).unwrap();
        let recorders = Recorders::start(&server, Connections::Own).unwrap();
        let wanted = RecorderOptions {
            target: Some(mic.name().to_owned()),
            cycles: 4_000,
            ..RecorderOptions::default()
        };
        let clients = recorders.add_many(256, &wanted).unwrap();
        for client in &clients {
            let pulls = client.wait_for_pulls(20, Duration::from_secs(60));
            assert!(pulls, "{version:?} {:?}: {}", client.state(), server.log());
        }
    }
}
