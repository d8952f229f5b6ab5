//! The daemon is not there yet, ends in any way, and comes back.

use rustix::process::Signal as Kill;
use truemute_tests::servers::Version;
use truemute_tests::stage::{Stage, each};
use truemute_tests::truemute as program;

use crate::clients::{Clients, Wants, installed};

const BOTH: [Wants; 2] = [Wants::Default, Wants::VirtualMic];

#[test]
fn a_daemon_that_ends_leaves_silence() {
    let mut cells = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for signal in [Kill::KILL, Kill::ABORT, Kill::TERM] {
            cells.push((version, signal));
        }
    }
    each(&cells, |(version, signal)| {
        let Some(stage) = Stage::set(&installed(*version)) else {
            return;
        };
        let when = format!("{version:?}, {signal:?}");
        let Stage {
            recorders,
            mut daemon,
            mic,
            server,
        } = stage;
        let clients = Clients::native(&recorders, &BOTH).and_pulse(&server, &BOTH);
        clients.are_back(&daemon);
        clients.go_on(&server);
        // Twice: what the session manager learnt from the first time must not spoil the second.
        for _ in 0..2 {
            daemon.stop(*signal).expect("the daemon ends");
            clients.go_on(&server);
            daemon = program::start(&server, "");
            clients.are_back(&daemon);
            clients.go_on(&server);
        }
        clients.heard_nothing(&when);
        daemon.unmute().expect("it unmutes");
        clients.hear(&when);
        drop((clients, recorders, mic));
    });
}
