//! With guard = "enforce" on a server that checks links, no ordinary client gets a sample of the real mic, whatever it tries;
//! without it the same attempts do.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use truemute::install::parts::SILENT_TWIN;
use truemute_pipewire::VIRTUAL_MIC;
use truemute_pipewire::rehearsal::{Format, PrivateServer, Program, Service};

use truemute_tests::attempts::{
    ATTEMPTS, Attempt, Ground, Heard, another_trusted_source, of_a_snap, trusted_source,
};
use truemute_tests::effects::Effects;
use truemute_tests::guarded::{self, Guard, Guarded, PluggedMic, dropins};
use truemute_tests::listening::{Kind, Listener};
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{Connections, Recorder, RecorderOptions, Recorders, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, each};
use truemute_tests::tape::monotonic_ns;
use truemute_tests::truemute as program;

/// Longer than what works takes on an idle machine: half a second.
const PATIENCE: Duration = Duration::from_millis(1500);

fn ground(stage: &Guarded, patience: Duration) -> Ground<'_> {
    Ground {
        server: &stage.server,
        mic: &stage.mic.name,
        mic_node: stage.mic.node_id,
        daemon_pid: stage.daemon.as_ref().map_or(1, |daemon| daemon.id()),
        patience,
        to_the_end: false,
    }
}

/// Makes the attempts that are `wanted` side by side.
fn try_all(
    ground: &Ground<'_>,
    wanted: impl Fn(&Attempt) -> bool,
) -> BTreeMap<&'static str, Result<Heard, String>> {
    let attempts: Vec<_> = ATTEMPTS.iter().filter(|attempt| wanted(attempt)).collect();
    let results = Mutex::new(BTreeMap::new());
    each(&attempts, |attempt| {
        let result = attempt.make(ground);
        results.lock().unwrap().insert(attempt.name, result);
    });
    results.into_inner().unwrap()
}

#[test]
fn no_attempt_gets_a_sample_of_the_mic() {
    let Some(stage) = Guarded::set(Version::Debian13, Guard::Enforced) else {
        return;
    };
    for (name, result) in try_all(&ground(&stage, PATIENCE), |_| true) {
        let heard = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(heard.sound, 0, "{name}\n{}", stage.logs());
    }
}

#[test]
fn without_the_guard_the_attempts_hear_the_mic() {
    let Some(stage) = Guarded::set(Version::Debian13, Guard::Absent) else {
        return;
    };
    for (name, result) in try_all(&ground(&stage, LIMIT), |_| true) {
        let heard = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_ne!(heard.sound, 0, "{name}\n{}", stage.logs());
    }
}

/// A link to a source that is shown would be cut, too, mostly before there is sound: so what is looked for is the source.
#[test]
fn who_claims_to_be_a_snap_app_is_shown_no_source() {
    each(&[Guard::Absent, Guard::Enforced], |guard| {
        let Some(stage) = Guarded::set(Version::Debian13, *guard) else {
            return;
        };
        let (_running, source) = trusted_source(&ground(&stage, PATIENCE)).unwrap();
        let pw_link = trusted_pw_link(&stage.server);
        let there = || pw_link(&["-o"]).1.contains(&*source);
        assert!(wait_until(LIMIT, there), "{}", stage.logs());
        let snap = Meddler::claiming(&stage.server, &of_a_snap());
        // What a client is shown is decided anew with each that comes.
        for _ in 0..3 {
            let another = Meddler::claiming(&stage.server, &of_a_snap());
            snap.look_until(PATIENCE / 3, |it| it.node(&source).is_some());
            let seen = [&snap, &another].map(|it| it.node(&source).is_some());
            assert_eq!(seen, [*guard == Guard::Absent; 2], "{}", stage.logs());
        }
        // Of the class that a sound card's has, and plugged in when the clients are there.
        let (_later, later) = another_trusted_source(&ground(&stage, PATIENCE), "later").unwrap();
        let there = || pw_link(&["-o"]).1.contains(&*later);
        assert!(wait_until(LIMIT, there), "{}", stage.logs());
        snap.look_until(PATIENCE, |it| it.node(&later).is_some());
        let seen = snap.node(&later).is_some();
        assert_eq!(seen, *guard == Guard::Absent, "{}", stage.logs());
    });
}

/// What needs no answer from the server before it can be tried: without WirePlumber nobody gets one.
const WITHOUT_WIREPLUMBER: [&str; 8] = [
    "native, by name",
    "native, the default source",
    "media.category = Manager",
    "through the manager's socket",
    "claims to be the daemon",
    "100 short clients",
    "parec",
    "parec, the default source",
];

#[test]
fn the_guard_holds_when_daemon_and_wireplumber_are_killed() {
    let Some(mut stage) = Guarded::set(Version::Debian13, Guard::Enforced) else {
        return;
    };
    let veterans = Recorders::start(&stage.server, Connections::Own).unwrap();
    let veteran = veterans.add(keeping("veteran", None)).unwrap();
    let before = Meddler::connect(&stage.server);
    assert!(veteran.wait_for_pulls(10, LIMIT), "{}", stage.logs());
    stage.daemon.take();
    let ended = stage.server.end(Service::Wireplumber, Signal::KILL);
    ended.unwrap();
    let wanted = |attempt: &Attempt| WITHOUT_WIREPLUMBER.contains(&attempt.name);
    let results = try_all(&ground(&stage, PATIENCE), wanted);
    assert_eq!(results.len(), WITHOUT_WIREPLUMBER.len());
    for (name, result) in results {
        let heard = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(heard.sound, 0, "{name}\n{}", stage.logs());
    }
    // Who came before the kill is still served, and still not with the mic.
    let node = veteran.node_id().unwrap();
    for port in (0..200).map(Some).chain([None]) {
        before.request_link(stage.mic.node_id, port, node, None);
    }
    before.look();
    assert!(!before.refusals().is_empty());
    assert_eq!(sound(&veteran), 0, "{}", stage.logs());
}

#[test]
fn who_waits_for_wireplumber_to_come_back_gets_nothing() {
    let Some(mut stage) = Guarded::set(Version::Debian13, Guard::Enforced) else {
        return;
    };
    for _ in 0..3 {
        stage
            .server
            .end(Service::Wireplumber, Signal::KILL)
            .unwrap();
        let waiting = Recorders::start(&stage.server, Connections::Own).unwrap();
        let mic = Some(stage.mic.name.clone());
        let waiting: Vec<_> = [mic.clone(), None, mic]
            .into_iter()
            .map(|target| waiting.add(keeping("waiting", target)).unwrap())
            .collect();
        stage.server.revive().unwrap();
        for client in &waiting {
            assert!(client.wait_for_pulls(10, LIMIT), "{}", stage.logs());
            assert_eq!(sound(client), 0, "{}", stage.logs());
        }
    }
    stage.server.end(Service::Pulse, Signal::KILL).unwrap();
    stage.server.revive().unwrap();
    let results = try_all(&ground(&stage, PATIENCE), |attempt| attempt.name == "parec");
    assert_eq!(results["parec"].as_ref().unwrap().sound, 0);
}

/// systemd starts PipeWire and WirePlumber together, and PipeWire's sockets are there before either. Here PipeWire starts when
/// WirePlumber connects: the latest that it can be.
#[test]
fn the_guard_comes_up_when_systemd_has_made_the_sockets() {
    let Some(options) = guarded::options(Version::Debian13, Guard::Enforced) else {
        return;
    };
    let mut server = PrivateServer::start(options).unwrap();
    for service in [Service::Pulse, Service::Wireplumber, Service::Pipewire] {
        server.end(service, Signal::KILL).unwrap();
    }
    let sockets = listened(&server);
    let mut systemd = server.own_command("systemd-socket-activate");
    for socket in &sockets {
        let _ = fs::remove_file(socket);
        systemd.arg("--listen").arg(socket);
    }
    for variable in server.env().keys() {
        systemd.args(["--setenv", variable]);
    }
    systemd.arg("/usr/bin/pipewire");
    let pipewire = Program::start(systemd).unwrap();
    let listening = || sockets.iter().all(|socket| socket.exists());
    assert!(wait_until(LIMIT, listening), "{sockets:?}");
    server.start_program(Service::Wireplumber).unwrap();
    let program = format!("/proc/{}/comm", pipewire.id());
    let started = || fs::read_to_string(&program).is_ok_and(|name| name.trim() == "pipewire");
    assert!(wait_until(LIMIT, started), "{}", server.log());
    let up = server.wait_for_source(SILENT_TWIN, LIMIT);
    assert!(up.is_ok_and(|up| up), "{}", server.log());
    let mic = PluggedMic::plug(&server, "real-mic", 2000);
    let recorders = Recorders::start(&server, Connections::Own).unwrap();
    let client = recorders.add(keeping("client", Some(mic.name))).unwrap();
    assert!(client.wait_for_pulls(10, LIMIT), "{}", server.log());
    assert_eq!(sound(&client), 0, "{}", server.log());
}

/// What systemd listens on for PipeWire: in Debian's unit, and in what is installed beside it.
fn listened(server: &PrivateServer) -> Vec<PathBuf> {
    let units = server
        .own_command("sh")
        .arg("-c")
        .arg("cat /usr/lib/systemd/user/pipewire.socket $XDG_CONFIG_HOME/systemd/user/pipewire.socket.d/*.conf")
        .output()
        .unwrap();
    let units = String::from_utf8(units.stdout).unwrap();
    let sockets = units
        .lines()
        .filter_map(|line| line.strip_prefix("ListenStream=%t/"))
        .map(|name| server.directory().join(name));
    sockets.collect()
}

#[test]
fn a_running_capture_is_cut_when_the_guard_starts() {
    let Some(mut stage) = Guarded::set(Version::Debian13, Guard::Absent) else {
        return;
    };
    let recorders = Recorders::start(&stage.server, Connections::Own).unwrap();
    let mic = Some(stage.mic.name.clone());
    let clients = ["one", "two"].map(|name| recorders.add(keeping(name, mic.clone())).unwrap());
    for client in &clients {
        assert!(wait_until(LIMIT, || sound(client) > 0), "{}", stage.logs());
    }
    // PipeWire itself goes on: only WirePlumber reads the new files.
    let directory = stage.server.directory();
    for (path, text) in dropins() {
        let path = directory.join("config").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(
            path,
            text.replace("@DIRECTORY@", &directory.to_string_lossy()),
        )
        .unwrap();
    }
    stage
        .server
        .end(Service::Wireplumber, Signal::TERM)
        .unwrap();
    stage.server.revive().unwrap();
    for client in &clients {
        // They are on the virtual mic now, whose zeros say that the mic's sound has ended.
        let zeros = || {
            let samples = client.samples();
            let last = samples.len().saturating_sub(4800);
            samples[last..].iter().all(|sample| *sample == 0.0)
        };
        assert!(wait_until(LIMIT, zeros), "{}", stage.logs());
        let so_far = (sound(client), client.tape().pulls());
        assert!(
            client.wait_for_pulls(so_far.1 + 100, LIMIT),
            "{}",
            stage.logs()
        );
        assert_eq!(sound(client), so_far.0, "{}", stage.logs());
    }
}

#[test]
fn a_mic_that_is_plugged_in_later_is_hidden_too() {
    let Some(stage) = Guarded::set(Version::Debian13, Guard::Enforced) else {
        return;
    };
    let recorders = Recorders::start(&stage.server, Connections::Own).unwrap();
    let waiting = recorders.add(keeping("waiting", Some("better-mic".to_owned())));
    let waiting = waiting.unwrap();
    let greedy = recorders.add(RecorderOptions {
        autoconnect: false,
        ..keeping("greedy", None)
    });
    let greedy = greedy.unwrap();
    assert!(wait_until(LIMIT, || greedy.node_id().is_some()));
    let meddler = Meddler::connect(&stage.server);
    let better = PluggedMic::plug(&stage.server, "better-mic", 2500);
    let listener = greedy.node_id().unwrap();
    for port in (0..200).map(Some).chain([None]) {
        meddler.request_link(better.node_id, port, listener, None);
    }
    meddler.look();
    assert!(meddler.node("better-mic").is_none(), "{}", stage.logs());
    assert!(waiting.wait_for_pulls(100, LIMIT), "{}", stage.logs());
    assert_eq!(sound(&waiting) + sound(&greedy), 0, "{}", stage.logs());
}

#[test]
fn everybody_hears_the_virtual_mic_when_it_is_live() {
    let Some(stage) = Guarded::set(Version::Debian13, Guard::Enforced) else {
        return;
    };
    let daemon = stage.daemon.as_ref().unwrap();
    daemon
        .unmute()
        .unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    let wanted = [
        "native, by name",
        "native, the default source",
        "parec",
        "arecord -D pipewire",
    ];
    let results = try_all(&ground(&stage, LIMIT), |attempt| {
        wanted.contains(&attempt.name)
    });
    for (name, result) in results {
        assert_ne!(result.unwrap().sound, 0, "{name}\n{}", stage.logs());
    }
}

/// The server's own configuration makes it, as a user's may; it belongs to nobody, so the server lets everything be linked to it.
const UNOWNED: &str = "context.objects = [ { factory = adapter args = {
    factory.name = support.null-audio-sink node.name = unowned media.class = Stream/Input/Audio
    node.autoconnect = true target.object = real-mic
} } ]
";

#[test]
fn what_belongs_to_nobody_is_kept_off_the_mic_and_cut_off_it() {
    let Some(mut options) = guarded::options(Version::Debian13, Guard::Enforced) else {
        return;
    };
    let file = "pipewire/pipewire.conf.d/70-unowned.conf";
    options.dropins.push((file.to_owned(), UNOWNED.to_owned()));
    let server = PrivateServer::start(options).unwrap();
    let _mic = PluggedMic::plug(&server, "real-mic", 2000);
    let pw_link = trusted_pw_link(&server);
    let run = |arguments: &[&str]| pw_link(arguments).1;
    let port = |list: &str, node: &str| {
        let ports = run(&[list]);
        let port = ports.lines().find(|port| port.starts_with(node));
        port.map(str::to_owned)
    };
    let mut pair = None;
    wait_until(LIMIT, || {
        pair = port("-o", "real-mic:").zip(port("-i", "unowned:"));
        pair.is_some()
    });
    let (output, input) = pair.unwrap_or_else(|| panic!("no ports\n{}", server.log()));
    // Below each port, indented, stand those that it is linked to.
    let from_mic = || {
        let links = run(&["-l"]);
        let mut below = links.lines().skip_while(|line| *line != output).skip(1);
        let arrow = format!("|-> {input}");
        below
            .by_ref()
            .take_while(|line| line.starts_with(' '))
            .any(|line| line.ends_with(&arrow))
    };
    // WirePlumber was asked to link it, by its target, and did not.
    assert!(!from_mic(), "{}", server.log());
    for _ in 0..3 {
        let (made, _) = pw_link(&["-L", &output, &input]);
        assert!(made, "{}", server.log());
        assert!(wait_until(LIMIT, || !from_mic()), "{}", server.log());
    }
}

/// Where the echo canceller plays to.
const SPEAKERS: &str = "context.objects = [ { factory = adapter args = {
    factory.name = support.null-audio-sink node.name = speakers media.class = Audio/Sink object.linger = true
} } ]
";

/// PipeWire's own echo canceller and filter, in a process that the configuration trusts, hear the mic; what they make of it is
/// hidden as the mic is, and TrueMute gates it.
#[test]
fn a_trusted_echo_canceller_hears_the_mic_and_only_the_gate_hears_it() {
    let cells = Effects::SOURCES
        .map(|source| [Guard::Absent, Guard::Enforced].map(|guard| (source, guard)));
    each(&cells.concat(), |(source, guard)| {
        let Some(mut options) = guarded::options(Version::Debian13, *guard) else {
            return;
        };
        let file = "pipewire/pipewire.conf.d/70-speakers.conf";
        let text = SPEAKERS.to_owned();
        options.dropins.push((file.to_owned(), text));
        let server = PrivateServer::start(options).unwrap();
        let mic = PluggedMic::plug(&server, "real-mic", 2000);
        let daemon = program::start(&server, &format!("real_mic = \"{source}\"\n"));
        let pw_link = trusted_pw_link(&server);
        let pipewire = trusted_copy(&server, "pipewire");
        let effects = Effects::begin(&server, &pipewire, &mic.name);
        let logs = || format!("{}\n{}\n{}", effects.log(), daemon.log(), server.log());
        let into = format!("{source}.capture");
        let linked = || {
            let links = pw_link(&["-l"]).1;
            links.contains("|-> ") && links.contains(&into)
        };
        assert!(
            wait_until(LIMIT, linked),
            "{}\n{}",
            pw_link(&["-l"]).1,
            logs()
        );

        // The canceller does nothing until somebody plays through it.
        let mut plays = server.command("sh");
        plays.args(["-c", "exec pacat --device=echo-cancelled.sink < /dev/zero"]);
        let _plays = Program::start(plays).unwrap();
        let recorders = Recorders::start(&server, Connections::Own).unwrap();
        let spy = recorders
            .add(keeping("spy", Some((*source).to_owned())))
            .unwrap();
        let client = recorders
            .add(keeping("client", Some(VIRTUAL_MIC.to_owned())))
            .unwrap();
        if *guard == Guard::Absent {
            assert!(wait_until(LIMIT, || sound(&spy) > 0), "{}", logs());
        } else {
            assert!(spy.wait_for_pulls(300, LIMIT), "{}", logs());
            let meddler = Meddler::connect(&server);
            assert!(meddler.node(source).is_none(), "{}", logs());
            assert_eq!(sound(&spy), 0, "{}", logs());
        }
        assert_eq!(sound(&client), 0, "{}", logs());
        let hears = || {
            let _ = daemon.unmute();
            wait_until(LIMIT / 10, || sound(&client) > 0)
        };
        assert!(
            (0..10).any(|_| hears()),
            "{:?}\n{}",
            daemon.status(),
            logs()
        );
    });
}

/// A trusted program plays to an app, and begins to record: from then on it may pass the mic on, and is cut off the app.
#[test]
fn who_plays_to_an_app_is_cut_off_it_when_it_begins_to_record() {
    let Some(mut options) = guarded::options(Version::Debian13, Guard::Enforced) else {
        return;
    };
    let file = "pipewire/pipewire.conf.d/70-unowned.conf";
    options.dropins.push((file.to_owned(), UNOWNED.to_owned()));
    let server = &PrivateServer::start(options).unwrap();
    let mic = PluggedMic::plug(server, "real-mic", 2000);
    let pw_link = trusted_pw_link(server);
    // A program that does what it is told while it runs, in the place of one that is trusted.
    let program = copied(server, "pw-cli", "pw-record");
    let mut command = server.own_command(&program);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut trusted = Program::start(command).unwrap();
    let mut told = trusted.child().stdin.take().unwrap();
    let mut load = |mode: &str, properties: &str| {
        let fifo = server.directory().join(mode);
        let module = format!(
            "load-module libpipewire-module-pipe-tunnel {{ tunnel.mode = {mode} pipe.filename = \"{}\" audio.channels = 1 \
             audio.position = [ MONO ] stream.props = {{ node.name = trusted-{mode} {properties} }} }}",
            fifo.display()
        );
        writeln!(told, "{module}").unwrap();
    };
    load("playback", "node.autoconnect = false");
    let recorders = Recorders::start(server, Connections::Own).unwrap();
    // WirePlumber links them: it may link whatever it sees, also what the server would refuse the app.
    let plays = || meddler_sees(server, "trusted-playback");
    assert!(wait_until(LIMIT, plays), "{}", server.log());
    let target = Some("trusted-playback".to_owned());
    let _app = recorders.add(keeping("app", target)).unwrap();
    let from_it = |listener: &str| {
        let links = pw_link(&["-l"]).1;
        let mut below = links
            .lines()
            .skip_while(|line| !line.starts_with("trusted-playback:"))
            .skip(1);
        let arrow = format!("|-> {listener}:");
        below
            .by_ref()
            .take_while(|line| line.starts_with(' '))
            .any(|line| line.contains(&arrow))
    };
    // The server would leave this one, for its listener belongs to nobody. What pw-link says does not matter: it may wait for ever
    // for a link that is there.
    let linked = || {
        pw_link(&["-L", "trusted-playback", "unowned"]);
        from_it("unowned")
    };
    assert!(wait_until(LIMIT, linked), "{}", server.log());
    let plays_to_both = || from_it("app") && from_it("unowned");
    assert!(
        wait_until(LIMIT, plays_to_both),
        "{}\n{}",
        pw_link(&["-l"]).1,
        server.log()
    );

    load("capture", &format!("target.object = {}", mic.name));
    let hears = || pw_link(&["-l"]).1.contains("trusted-capture");
    assert!(wait_until(LIMIT, hears), "{}", server.log());
    // A list that did not come would have no links either.
    let listed = || {
        let (listed, links) = pw_link(&["-l"]);
        listed && links.contains("trusted-capture")
    };
    let cut = || !from_it("app") && !from_it("unowned") && listed();
    assert!(
        wait_until(LIMIT, cut),
        "{}\n{}",
        pw_link(&["-l"]).1,
        server.log()
    );
    assert!(!plays());
}

/// Whether a client like any other is shown a node of this name.
fn meddler_sees(server: &PrivateServer, name: &str) -> bool {
    Meddler::connect(server).node(name).is_some()
}

/// What `truemute doctor` says that the guard breaks.
#[test]
fn what_doctor_says_does_not_work_with_the_guard_does_not() {
    each(&[Guard::Absent, Guard::Enforced], |guard| {
        let Some(stage) = Guarded::set(Version::Debian13, *guard) else {
            return;
        };
        let broken = doctor(&stage).contains("While that is so, these do not work");
        assert_eq!(broken, *guard == Guard::Enforced);
        let node = "{ factory.name=support.null-audio-sink node.name=made media.class=Audio/Sink object.linger=true }";
        let meddler = Meddler::connect(&stage.server);
        for (name, words) in [
            (
                "loaded",
                &[
                    "pactl",
                    "load-module",
                    "module-null-sink",
                    "sink_name=loaded",
                ][..],
            ),
            ("made", &["pw-cli", "create-node", "adapter", node]),
        ] {
            let mut command = stage.server.own_command("timeout");
            command.arg("10").args(words).output().unwrap();
            let limit = if broken { PATIENCE } else { LIMIT };
            let works = meddler.look_until(limit, |it| it.node(name).is_some());
            assert_eq!(works, !broken, "{words:?}\n{}", stage.logs());
        }
    });
}

/// A copy of the program where the guard trusts it.
fn trusted_copy(server: &PrivateServer, name: &str) -> PathBuf {
    copied(server, name, name)
}

/// A copy of the program as `name`, where the guard trusts some.
fn copied(server: &PrivateServer, program: &str, name: &str) -> PathBuf {
    let copy = server.directory().join("bin").join(name);
    let mut command = server.own_command("cp");
    command.arg(format!("/usr/bin/{program}")).arg(&copy);
    assert!(command.status().unwrap().success());
    copy
}

/// Runs a pw-link that is trusted, so that it sees the mic and may link it; gives whether it succeeded, and what it said.
fn trusted_pw_link(server: &PrivateServer) -> impl Fn(&[&str]) -> (bool, String) {
    let pw_link = trusted_copy(server, "pw-link");
    move |arguments| {
        let mut command = server.own_command(&pw_link);
        command.args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Seen once to wait for ever for the link that it had asked for. It is asked again, then.
        let mut ended = || child.try_wait().unwrap().is_some();
        if !wait_until(Duration::from_secs(5), &mut ended) {
            child.kill().unwrap();
        }
        let output = child.wait_with_output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }
}

#[test]
fn an_app_that_is_muted_on_its_own_silences_nobody_else() {
    let Some(stage) = Guarded::set(Version::Debian13, Guard::Enforced) else {
        return;
    };
    let daemon = stage.daemon.as_ref().unwrap();
    let recorders = Arc::new(Recorders::start(&stage.server, Connections::Own).unwrap());
    let other = Listener::start(Kind::Pulse, &stage.server, &recorders);
    let kept = recorders.add(keeping("kept", None)).unwrap();
    daemon.unmute().unwrap();
    let other_hears = || {
        let from_ns = monotonic_ns();
        wait_until(LIMIT, || {
            program::unmute_if_starved(daemon);
            other.log().nonzero(from_ns, u64::MAX) > 0
        })
    };
    assert!(wait_until(LIMIT, || sound(&kept) > 0), "{}", stage.logs());
    assert!(other_hears(), "{}", stage.logs());
    let clients = daemon.clients().unwrap().clients;
    let app = clients.iter().find(|client| client.who.stream == "kept");
    let muted = daemon.mute_client(&app.unwrap().id.to_string());
    muted.unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()));
    let so_far = sound(&kept);
    for _ in 0..3 {
        let pulls = kept.tape().pulls();
        assert!(kept.wait_for_pulls(pulls + 60, LIMIT), "{}", stage.logs());
        assert!(other_hears(), "all are silent\n{}", stage.logs());
    }
    assert_eq!(sound(&kept), so_far, "{}", stage.logs());
    let said = doctor(&stage);
    assert!(
        said.contains("kept off the real mics: the server"),
        "{said}"
    );
}

/// What `truemute doctor` says, with the guard wanted: it is an ordinary client, unlike here, where its executable is trusted
/// with the daemon's; so it runs from a copy.
fn doctor(stage: &Guarded) -> String {
    let directory = stage.server.directory();
    let config = directory.join("config/truemute");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "guard = \"enforce\"\n").unwrap();
    let copy = directory.join("truemute-copy");
    // By cp: while this process had it open for writing, a child of another thread could inherit that, and it could not be run.
    let copied = Command::new("cp")
        .arg(program::executable())
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success());
    let output = stage.server.own_command(copy).arg("doctor").output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn doctor_finds_out_whether_the_server_refuses_and_whether_the_guard_is_in_force() {
    let cells = [
        (
            Version::Debian13,
            Guard::Enforced,
            "kept off the real mics: the server",
        ),
        (
            Version::Debian13,
            Guard::Absent,
            "to be enforced, and is not in force",
        ),
        (
            Version::Installed,
            Guard::Absent,
            "makes links for everybody",
        ),
    ];
    each(&cells, |(version, guard, expected)| {
        let Some(stage) = Guarded::set(*version, *guard) else {
            return;
        };
        let said = doctor(&stage);
        // On a machine whose own PipeWire is newer, the last one is the second.
        let newer = *version == Version::Installed && said.contains(cells[1].2);
        assert!(newer || said.contains(expected), "{said}\n{}", stage.logs());
    });
}

/// A client that keeps what it hears.
fn keeping(name: &str, target: Option<String>) -> RecorderOptions {
    RecorderOptions {
        name: name.to_owned(),
        target,
        format: Format::F32,
        kept_bytes: 20 * 48_000 * 4,
        ..RecorderOptions::default()
    }
}

fn sound(client: &Recorder) -> usize {
    let samples = client.samples().into_iter();
    samples.filter(|sample| sample.to_bits() != 0).count()
}
