//! One app is muted on its own: it gets exact zeros and goes on getting buffers, is counted, and stays silent when it comes
//! back, also from another daemon and from none; the others hear the room all the while (P1, P2, P5, P7).

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal as Kill;
use truemute::demo::RunningDaemon;
use truemute::protocol::{ClientStats, GateState};
use truemute_core::observed::{Api, ClientState};
use truemute_pipewire::rehearsal::{PrivateServer, Signal};
use truemute_pipewire::{SILENT_SOURCE, VIRTUAL_MIC};
use truemute_tests::listening::{Kind, Listener};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Recorder, RecorderOptions, Recorders, wait_until};
use truemute_tests::servers::{Version, installed_parts};
use truemute_tests::stage::{LIMIT, Scene, Stage, each, on_both};
use truemute_tests::tape::monotonic_ns;
use truemute_tests::truemute as program;

/// How long something is looked at that must not happen.
const A_WHILE: Duration = Duration::from_millis(300);

fn scene(version: Version) -> Scene {
    Scene {
        version,
        signals: vec![Signal::Noise { seed: 11 }],
        dropins: installed_parts(version),
        ..Scene::default()
    }
}

#[test]
fn a_native_app_is_silent_and_the_others_are_not() {
    on_both(scene, |version, stage| {
        let Stage {
            recorders,
            mut daemon,
            mic,
            server,
        } = stage;
        let recorders = Arc::new(recorders);
        let other = Listener::start(Kind::Pulse, &server, &recorders);
        let mut streams = vec![
            stream(&recorders, Some(VIRTUAL_MIC)),
            stream(&recorders, None),
        ];
        daemon.unmute().expect("it unmutes");
        streams
            .iter()
            .for_each(|stream| stream_hears(stream, &daemon));
        hears(&other, &daemon, "before");
        let before = figures(&daemon, &streams);

        let reply = daemon.mute_client(&before[0].who.app.to_uppercase());
        let muted_ns = monotonic_ns();
        let reply = reply.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
        assert!(reply.changed && reply.app_muted, "{reply:?}");
        assert_eq!(reply.clients.len(), 2, "{reply:?}");
        hears(&other, &daemon, "after the mute");
        go_on(&streams);
        for stream in &streams {
            let cycles = stream.tape().cycles_from(0);
            let after: Vec<_> = cycles.iter().filter(|it| it.nsec >= muted_ns).collect();
            let loud = after.iter().filter(|cycle| !cycle.is_zero()).count();
            assert_eq!(loud, 0, "of {} cycles after {reply:?}", after.len());
        }
        let status = daemon.status().expect("a status");
        assert_eq!(
            (status.gate, &status.muted_apps),
            (GateState::Live, &reply.apps)
        );
        let after = figures(&daemon, &streams);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((before.id, before.instance), (after.id, after.instance));
            assert!(after.app_muted && after.state == ClientState::Running);
            assert!(after.muted.pulls >= before.muted.pulls + 50, "{after:?}");
            assert!(after.live.pulls >= before.live.pulls, "{after:?}");
        }
        println!("{version:?}: moved in {} us", reply.took_us);

        // It comes back, and gets nothing from the first buffer on.
        let mut waited = Vec::new();
        for target in [Some(VIRTUAL_MIC), None, Some(VIRTUAL_MIC), None] {
            drop(streams.remove(0));
            let from_ns = monotonic_ns();
            streams.push(stream(&recorders, target));
            go_on(&streams);
            silent_so_far(&streams[1..], "come back");
            waited.push(longest_silence(&other, from_ns));
        }
        println!("{version:?}: the other waited for sound for {waited:?} at most");

        // Killed, nobody serves it; then another daemon remembers.
        daemon.stop(Kill::KILL).expect("it ends");
        go_on(&streams);
        daemon = program::start(&server, "");
        daemon.unmute().expect("it unmutes");
        hears(&other, &daemon, "after the restart");
        go_on(&streams);
        silent_so_far(&streams, "with another daemon");
        let nobody = daemon
            .mute_client("4711")
            .map_err(|error| error.to_string());
        assert!(nobody.is_err_and(|text| text.contains("`truemute clients`")));

        daemon
            .unmute_client(&before[0].who.app)
            .expect("it is unmuted");
        streams
            .iter()
            .for_each(|stream| stream_hears(stream, &daemon));
        let gone = wait_until(LIMIT, || !server_has(&server, SILENT_SOURCE));
        assert!(gone, "the silent source stays although nobody needs it");
        drop((other, streams, recorders, mic));
    });
}

/// The real mic is the default that the user chose: nothing else keeps the app off it while there is no daemon.
#[test]
fn a_muted_app_gets_no_real_mic_when_the_daemon_is_killed() {
    on_both(scene, |version, stage| {
        let Stage {
            recorders,
            mut daemon,
            mic,
            server,
        } = stage;
        run(&server, "pactl", &["set-default-source", mic.name()]);
        let streams = [
            stream(&recorders, Some(VIRTUAL_MIC)),
            stream(&recorders, None),
        ];
        // The second is moved as a volume control does it.
        go_on(&streams);
        let node = streams[1].node_id().expect("a node").to_string();
        run(
            &server,
            "pw-metadata",
            &[&node, "target.object", VIRTUAL_MIC],
        );
        daemon.unmute().expect("it unmutes");
        let all_counted = || {
            let stats = daemon.clients().expect("the daemon answers");
            streams.iter().all(|it| {
                stats
                    .clients
                    .iter()
                    .any(|client| client.who.stream == it.name())
            })
        };
        assert!(wait_until(LIMIT, all_counted), "{}", daemon.log());
        let app = figures(&daemon, &streams).remove(0).who.app;
        daemon.mute_client(&app).expect("it is muted");
        let muted_ns = monotonic_ns();
        for round in 0..3 {
            go_on(&streams);
            daemon.stop(Kill::KILL).expect("it ends");
            go_on(&streams);
            daemon = program::start(&server, "");
            daemon.unmute().expect("it unmutes");
            go_on(&streams);
            silent_since(&streams, muted_ns, &format!("{version:?}, round {round}"));
        }
        daemon.unmute_client(&app).expect("it is unmuted");
        // From the virtual mic, not from the default.
        streams
            .iter()
            .for_each(|stream| stream_hears(stream, &daemon));
        daemon.mute().expect("it mutes");
        let muted_ns = monotonic_ns();
        go_on(&streams);
        silent_since(&streams, muted_ns, &format!("{version:?}, back"));
        drop((streams, recorders, mic));
    });
}

fn run(server: &PrivateServer, program: &str, arguments: &[&str]) {
    let output = server.command(program).args(arguments).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
fn an_app_that_links_itself_gets_nothing_and_is_cut_off() {
    on_both(scene, |_, stage| {
        let Stage {
            recorders,
            daemon,
            mic,
            server,
        } = stage;
        let recorders = Arc::new(recorders);
        let other = Listener::start(Kind::Pulse, &server, &recorders);
        let kept = stream(&recorders, None);
        daemon.unmute().expect("it unmutes");
        stream_hears(&kept, &daemon);
        let app = figures(&daemon, std::slice::from_ref(&kept))
            .remove(0)
            .who
            .app;
        daemon.mute_client(&app).expect("it is muted");
        let wild = recorders
            .add(RecorderOptions {
                autoconnect: false,
                ..options()
            })
            .expect("a native client");
        let meddler = Meddler::connect(&server);
        for _ in 0..3 {
            let (source, _) = meddler.node(VIRTUAL_MIC).expect("the virtual mic");
            let find = |meddler: &Meddler, node, output| {
                let ports = meddler.ports();
                let mut ports = ports.iter();
                let port = ports.find(|(_, port)| port.node == node && port.output == output);
                port.map(|(id, _)| *id)
            };
            let mut target = None;
            let there = meddler.look_until(LIMIT, |meddler| {
                target = wild.node_id().and_then(|node| find(meddler, node, false));
                target.is_some()
            });
            assert!(there, "the stream has no port");
            let before = wild.tape().pulls();
            meddler.link(
                find(&meddler, source, true).expect("a port"),
                target.expect("as above"),
            );
            meddler.look();
            assert!(
                wild.wait_for_pulls(before + 5, LIMIT),
                "{:?}\n{}",
                wild.state(),
                daemon.log()
            );
            // PipeWire 1.6 lets a node go on without a link: its pulls do not tell.
            let node = wild.node_id().expect("it has been linked");
            let cut = wait_until(LIMIT, || {
                meddler.look();
                meddler.links().iter().all(|it| it.input_node != node)
            });
            assert!(cut, "it goes on\n{}", daemon.log());
            hears(&other, &daemon, "after the cut");
        }
        silent_so_far(&[wild], "linked by hand");
        drop((other, kept, recorders, mic));
    });
}

#[test]
fn apps_of_other_kinds_are_silent_too() {
    let mut cells = Vec::new();
    for version in [Version::Installed, Version::Debian13] {
        cells.push((version, Kind::Pulse, Api::Pulse));
        cells.push((version, Kind::Alsa, Api::Alsa));
    }
    each(&cells, |&(version, kind, api)| {
        let Some(stage) = Stage::set(&scene(version)) else {
            return;
        };
        let Stage {
            recorders,
            daemon,
            mic,
            server,
        } = stage;
        let recorders = Arc::new(recorders);
        let other = stream(&recorders, None);
        let start = || Listener::start(kind, &server, &recorders);
        let mut apps = vec![start(), start()];
        daemon.unmute().expect("it unmutes");
        apps.iter().for_each(|app| hears(app, &daemon, "before"));
        let stats = daemon.clients().expect("the daemon answers");
        let mut clients = stats.clients.iter();
        let app = clients.find(|it| it.who.api == api);
        let app = app.unwrap_or_else(|| panic!("{:?}", stats.clients));
        let reply = daemon.mute_client(&app.id.to_string());
        let reply = reply.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
        assert_eq!(reply.clients.len(), 2, "{reply:?} of {:?}", stats.clients);
        let silent_ns = monotonic_ns() + nanoseconds(kind.buffered());
        for app in &apps {
            gets_more(app);
            assert_eq!(app.log().nonzero(silent_ns, u64::MAX), 0, "{reply:?}");
        }
        apps.remove(0);
        apps.push(start());
        gets_more(&apps[1]);
        assert_eq!(apps[1].log().nonzero(0, u64::MAX), 0, "come back");
        assert_eq!(apps[0].log().nonzero(silent_ns, u64::MAX), 0, "{reply:?}");
        stream_hears(&other, &daemon);
        daemon.unmute_client(&app.who.app).expect("unmuted");
        apps.iter().for_each(|app| hears(app, &daemon, "after all"));
        drop((other, apps, recorders, mic));
    });
}

/// A stream of this test's own process: all are one app.
fn stream(recorders: &Recorders, target: Option<&str>) -> Recorder {
    let options = RecorderOptions {
        target: target.map(str::to_owned),
        ..options()
    };
    recorders.add(options).expect("a native client")
}

fn options() -> RecorderOptions {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    RecorderOptions {
        name: format!("stream-{number}"),
        // Its only name where the server cannot vouch for the process.
        properties: vec![("application.name".to_owned(), "one-app".to_owned())],
        ..RecorderOptions::default()
    }
}

/// What the daemon counted for each stream.
fn figures(daemon: &RunningDaemon, streams: &[Recorder]) -> Vec<ClientStats> {
    let stats = daemon.clients().expect("the daemon answers");
    let of = |stream: &Recorder| {
        let mut clients = stats.clients.iter();
        let found = clients.find(|client| client.who.stream == stream.name());
        found.expect("each is counted").clone()
    };
    streams.iter().map(of).collect()
}

fn go_on(streams: &[Recorder]) {
    for stream in streams {
        let more = stream.tape().pulls() + 60;
        let state = || stream.state();
        assert!(stream.wait_for_pulls(more, LIMIT), "{:?}", state());
    }
}

fn silent_so_far(streams: &[Recorder], when: &str) {
    silent_since(streams, 0, when);
}

fn silent_since(streams: &[Recorder], from_ns: u64, when: &str) {
    for stream in streams {
        let mut cycles = stream.tape().cycles_from(0);
        cycles.retain(|cycle| cycle.nsec >= from_ns);
        let loud = cycles.iter().filter(|cycle| !cycle.is_zero()).count();
        let name = stream.name();
        assert_eq!(loud, 0, "{when}: {name}, of {} cycles", cycles.len());
    }
}

/// It gets sound that came after now.
fn hears(listener: &Listener, daemon: &RunningDaemon, when: &str) {
    let from_ns = monotonic_ns();
    let heard = wait_until(LIMIT, || {
        program::unmute_if_starved(daemon);
        listener.log().nonzero(from_ns, u64::MAX) > 0
    });
    assert!(
        heard,
        "{:?} is deaf {when}\n{}",
        listener.kind(),
        daemon.log()
    );
}

/// It gets sound in a cycle that is not on its tape yet.
fn stream_hears(stream: &Recorder, daemon: &RunningDaemon) {
    let mut seen = stream.tape().logged();
    let heard = wait_until(LIMIT, || {
        program::unmute_if_starved(daemon);
        let new = stream.tape().cycles_from(seen);
        seen += new.len();
        new.iter().any(|cycle| !cycle.is_zero())
    });
    assert!(heard, "{} is deaf\n{}", stream.name(), daemon.log());
}

/// It gets buffers for a while.
fn gets_more(listener: &Listener) {
    let from_ns = monotonic_ns();
    let until_ns = from_ns + nanoseconds(listener.kind().buffered() + A_WHILE);
    let came = wait_until(LIMIT, || {
        let pieces = listener.log().pieces_from(0);
        pieces.last().is_some_and(|piece| piece.at_ns >= until_ns)
    });
    assert!(came, "{:?} gets nothing", listener.kind());
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The longest time without sound since `from_ns`.
fn longest_silence(listener: &Listener, from_ns: u64) -> Duration {
    let mut last = from_ns;
    let mut longest = 0;
    for piece in listener.log().pieces_from(0) {
        if piece.at_ns >= from_ns && piece.nonzero > 0 {
            longest = longest.max(piece.at_ns - last);
            last = piece.at_ns;
        }
    }
    Duration::from_nanos(longest)
}

/// Whether the server has a node of this name.
fn server_has(server: &PrivateServer, node: &str) -> bool {
    Meddler::connect(server).node(node).is_some()
}
