//! The daemon is not there yet, ends in any way, and comes back.

use std::time::Duration;

use rustix::process::Signal as Kill;
use truemute::demo::RunningDaemon;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::{Stage, each, on_both};
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

/// Clients that come before any daemon, and while it starts.
#[test]
fn clients_that_come_first_get_silence() {
    on_both(installed, |version, stage| {
        let Stage {
            recorders,
            mut daemon,
            mic,
            server,
        } = stage;
        daemon.stop(Kill::KILL).expect("the daemon ends");
        let mut clients = vec![Clients::native(&recorders, &BOTH).and_pulse(&server, &BOTH[..1])];
        clients[0].go_on(&server);
        let launched = RunningDaemon::launch(program::executable(), &server, "");
        let daemon = launched.expect("the daemon starts");
        let mut count = clients[0].count();
        let all_back = || daemon.status().map_or(0, |status| status.clients);
        while all_back() < count {
            let more = Clients::native(&recorders, &BOTH);
            count += more.count();
            clients.push(more);
            assert!(clients.len() < 40, "{} of {count} are on it", all_back());
            let enough = || all_back() >= count;
            wait_until(Duration::from_millis(50 * clients.len() as u64), enough);
        }
        for some in &clients {
            some.go_on(&server);
            some.heard_nothing(&format!("{version:?}"));
        }
        daemon.unmute().expect("it unmutes");
        for some in &clients {
            some.hear(&format!("{version:?}"));
        }
        drop((clients, recorders, mic));
    });
}
