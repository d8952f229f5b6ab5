//! PipeWire, WirePlumber and pipewire-pulse end and come back, one by one and all at once: the state is kept, and who was muted
//! hears nothing at any moment (P2).

use rustix::process::Signal as Kill;
use truemute::demo::RunningDaemon;
use truemute::protocol::GateState;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{MicOptions, PrivateServer, Service, Signal, SimulatedMic};
use truemute_tests::recorder::{Recorder, RecorderOptions, Recorders};
use truemute_tests::servers::{Version, installed_parts};
use truemute_tests::stage::{LIMIT, Scene, Stage, each};
use truemute_tests::truemute as program;

/// What ends, in this order, before anything comes back, and by what. An orderly end is what `systemctl --user restart` brings.
const TOGETHER: [(&[Service], Kill); 5] = [
    (&[Service::Pipewire], Kill::KILL),
    (
        &[Service::Pulse, Service::Wireplumber, Service::Pipewire],
        Kill::KILL,
    ),
    (&[Service::Pulse], Kill::KILL),
    (&[Service::Wireplumber], Kill::TERM),
    (&[Service::Wireplumber], Kill::KILL),
];

#[test]
fn servers_that_end_and_come_back_change_nothing() {
    let mut cells = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        for live in [false, true] {
            cells.push((version, live));
        }
    }
    each(&cells, |(version, live)| {
        let scene = Scene {
            version: *version,
            signals: vec![Signal::Noise { seed: 9 }],
            dropins: installed_parts(*version),
            ..Scene::default()
        };
        let Some(stage) = Stage::set(&scene) else {
            return;
        };
        if *live {
            stage.unmute();
        }
        let Stage {
            recorders,
            daemon,
            mut mic,
            mut server,
        } = stage;
        for (ends, by) in TOGETHER {
            println!("{version:?}, live {live}: {ends:?} end by {by:?}");
            let mut clients = clients(&recorders);
            go_on(&clients, &server);
            for service in ends {
                server.end(*service, by).expect("it ends");
            }
            let without_server = ends.contains(&Service::Pipewire);
            if without_server {
                program::wait_for(&daemon, LIMIT, |it| !it.connected).unwrap();
            }
            if without_server {
                silent(&clients, *live);
                clients.clear();
            }
            server.revive().unwrap_or_else(|error| panic!("{error}"));
            if without_server {
                drop(mic);
                mic = SimulatedMic::start(
                    &server,
                    MicOptions {
                        signal: Signal::Noise { seed: 9 },
                        ..MicOptions::default()
                    },
                )
                .unwrap_or_else(|error| panic!("{error}"));
                // Whatever the daemon has got to by now.
                clients = self::clients(&recorders);
            }
            if *version == Version::Installed && ends == [Service::Wireplumber] {
                // Started again alone, WirePlumber 0.4.13 links nothing any more, with TrueMute or without it.
                silent(&clients, *live);
                break;
            }
            let status = program::wait_for(&daemon, LIMIT, |it| it.connected).unwrap();
            go_on(&clients, &server);
            let unless_busy = program::is_starved(&status);
            assert_eq!(status.gate == GateState::Live, *live && !unless_busy);
            if *live {
                hear(&daemon, &clients);
            }
            silent(&clients, *live);
        }
        drop((recorders, mic));
    });
}

/// One client of the default source and one of the virtual mic by name.
fn clients(recorders: &Recorders) -> Vec<Recorder> {
    let targets = [None, Some(VIRTUAL_MIC.to_owned())];
    let client = |target: Option<String>| {
        let options = RecorderOptions {
            name: format!("client-of-{target:?}"),
            target,
            ..RecorderOptions::default()
        };
        recorders.add(options).expect("a client")
    };
    targets.map(client).into()
}

fn go_on(clients: &[Recorder], server: &PrivateServer) {
    for client in clients {
        let more = client.tape().pulls() + 50;
        let got = client.wait_for_pulls(more, LIMIT);
        assert!(
            got,
            "{}: {:?}\n{}",
            client.name(),
            client.state(),
            server.log()
        );
    }
}

fn silent(clients: &[Recorder], live: bool) {
    for client in clients.iter().filter(|_| !live) {
        let cycles = client.tape().cycles_from(0);
        let sound = cycles.iter().find(|cycle| !cycle.is_zero());
        assert_eq!(sound, None, "{}", client.name());
    }
}

/// Sound comes, and nobody did anything, but where a busy machine gave the daemon no time.
fn hear(daemon: &RunningDaemon, clients: &[Recorder]) {
    for client in clients {
        let from = client.tape().logged();
        let heard = (0..20).any(|_| {
            program::unmute_if_starved(daemon);
            let second = std::time::Duration::from_secs(1);
            client.wait_for_sound(true, from, second).is_some()
        });
        assert!(
            heard,
            "{} is deaf: {:?}\n{}",
            client.name(),
            daemon.status(),
            daemon.log()
        );
    }
}
