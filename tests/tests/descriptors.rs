//! The daemon has no file descriptors left while clients come: it loses the server, which passes it some for each client. Once
//! there are descriptors again, it is back by itself, as it was, and counts.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use truemute::protocol::GateState;
use truemute_pipewire::rehearsal::{Format, Signal};
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::{Version, installed_parts};
use truemute_tests::stage::{LIMIT, Scene, Stage, each};
use truemute_tests::truemute as program;

/// Clients that come meanwhile.
const CROWD: usize = 4;

#[test]
fn a_daemon_that_had_no_descriptors_left_comes_back_by_itself() {
    comes_back(GateState::Muted);
}

#[test]
fn a_live_one_comes_back_live() {
    comes_back(GateState::Live);
}

fn comes_back(gate: GateState) {
    each(&[Version::Installed, Version::Debian13], |version| {
        let scene = Scene {
            version: *version,
            signals: vec![Signal::Noise { seed: 4 }],
            dropins: installed_parts(*version),
            ..Scene::default()
        };
        let Some(stage) = Stage::set(&scene) else {
            return;
        };
        let mut clients = vec![stage.client(1, Format::F32)];
        stage.pulls(10, &clients);
        program::wait_for(&stage.daemon, LIMIT, |it| it.clients == 1).unwrap();

        if gate == GateState::Live {
            stage.unmute();
            let heard = clients[0].wait_for_sound(true, 0, LIMIT);
            assert!(heard.is_some(), "{}", stage.logs());
        }

        // No status is asked for meanwhile: the connection for it would need a descriptor, too.
        let usual = limit(stage.daemon.id(), Some(used(stage.daemon.id())));
        clients.extend((0..CROWD).map(|_| stage.client(1, Format::F32)));
        let lost = wait_until(LIMIT, || {
            stage.daemon.log().contains("the audio server is gone")
        });
        assert!(lost, "{}", stage.logs());
        limit(stage.daemon.id(), usual);

        let all = u32::try_from(clients.len()).expect("a few");
        let back = program::wait_for(&stage.daemon, LIMIT, |it| it.clients == all).unwrap();
        let kept = back.gate == gate || program::is_starved(&back);
        assert!(kept, "{back:?}\n{}", stage.logs());
        stage.pulls(10, &clients);
        for client in clients.iter().filter(|_| gate == GateState::Muted) {
            let cycles = client.tape().cycles_from(0);
            assert_eq!(cycles.iter().find(|it| !it.is_zero()), None);
        }
        let from: Vec<_> = clients.iter().map(|it| it.tape().logged()).collect();
        if gate == GateState::Muted {
            stage.unmute();
        }
        for (client, from) in clients.iter().zip(from) {
            let heard = (0..20).any(|_| {
                program::unmute_if_starved(&stage.daemon);
                let second = Duration::from_secs(1);
                client.wait_for_sound(true, from, second).is_some()
            });
            assert!(heard, "{}", stage.logs());
        }
    });
}

/// The lowest number that no descriptor of the process has: with it as the limit there can be no more.
fn used(process: u32) -> u64 {
    (0..)
        .find(|number| fs::symlink_metadata(format!("/proc/{process}/fd/{number}")).is_err())
        .expect("not all numbers are used")
}

/// Sets the soft limit of a process's descriptors, and gives the former one.
fn limit(process: u32, current: Option<u64>) -> Option<u64> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit { current, maximum };
    let pid = Pid::from_raw(process.cast_signed());
    let former = prlimit(pid, Resource::Nofile, wanted).expect("its limit can be changed");
    former.current
}
