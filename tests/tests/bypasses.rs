//! Who gets the real mic's sound past the gate is reported, by whatever way; who does not is not.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use truemute::protocol::{Bypass, BypassPath, Stats, Status};
use truemute_core::observed::{Api, ClientState, Countermeasure, Identity, Purpose};
use truemute_pipewire::rehearsal::{Format, MicOptions, Program, SimulatedMic, find_program};
use truemute_tests::effects::Effects;
use truemute_tests::meddler::Meddler;
use truemute_tests::recorder::{RecorderOptions, wait_until};
use truemute_tests::servers::Version;
use truemute_tests::stage::{LIMIT, Scene, Stage, each};
use truemute_tests::truemute::{wait_for, written};

const VERSIONS: [Version; 2] = [Version::Installed, Version::Debian13];

/// What a program writes, line by line.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// What the daemon says to the desktop, as one sees it who listens on the session's bus. No desktop answers here.
#[test]
fn the_desktop_is_told_once_of_each_app() {
    if find_program("busctl").is_none() {
        println!("SKIPPED: there is no busctl");
        return;
    }
    let stage = stage(Version::Installed, "").unwrap();
    let mut monitor = stage.server.command("busctl");
    monitor
        .args(["--user", "--json=short", "monitor"])
        .args(["--match", "member='Notify'"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut monitor = Program::start(monitor).unwrap();
    let begins = lines(monitor.child().stderr.take().unwrap());
    let said = lines(monitor.child().stdout.take().unwrap());
    let begins = begins.recv_timeout(LIMIT).unwrap();
    assert!(begins.starts_with("Monitoring"), "{begins}");

    let spy = stage.record(stage.mic.name(), 1, Format::F32);
    let seen = there(&stage, |it| it.who.stream == spy.name());
    let notice = said.recv_timeout(LIMIT).unwrap();
    let notice: serde_json::Value = serde_json::from_str(&notice).unwrap();
    assert_eq!(
        (&notice["destination"], &notice["member"]),
        (&"org.freedesktop.Notifications".into(), &"Notify".into()),
        "{notice}"
    );
    assert_eq!(notice["payload"]["type"], "susssasa{sv}i", "{notice}");
    let body = notice["payload"]["data"][4].as_str().unwrap();
    assert!(
        body.contains(&seen.who.app) && body.contains(stage.mic.name()),
        "{body}"
    );
    // The same app again says nothing; another one does.
    let again = stage.record(stage.mic.name(), 1, Format::F32);
    there(&stage, |it| it.who.stream == again.name());
    let mut other = stage.server.command("pw-record");
    other.args(["--target", stage.mic.name()]);
    other.args(["/dev/null"]).stderr(Stdio::null());
    let _other = Program::start(other).unwrap();
    let notice = said.recv_timeout(LIMIT).unwrap();
    assert!(notice.contains("pw-record"), "{notice}");
}

#[test]
fn a_client_that_records_from_the_real_mic_is_reported_with_what_it_got() {
    each(&VERSIONS, |version| {
        let Some(mut stage) = stage(*version, "") else {
            return;
        };
        let through_the_gate = stage.client(1, Format::F32);
        stage.unmute();
        stage.pulls(20, [&through_the_gate]);
        assert!(status(&stage).bypasses.is_empty());

        let spy = stage.record(stage.mic.name(), 1, Format::F32);
        stage.pulls(100, [&spy]);
        let seen = there(&stage, |it| {
            it.state == ClientState::Running && it.frames > 0
        });
        assert_eq!(seen.who.stream, spy.name());
        assert_eq!(seen.who.pid, Some(std::process::id()));
        if *version == Version::Installed {
            // The daemon on another release's server has other files, and says of ours that it does not know them.
            assert_eq!(seen.who.executable, std::env::current_exe().ok());
        }
        assert_eq!(
            (seen.who.identity, seen.who.api),
            (Identity::Verified, Api::Pipewire)
        );
        assert_eq!(
            (seen.real_mic.as_str(), seen.path),
            (stage.mic.name(), BypassPath::Direct)
        );
        assert_eq!((seen.done, seen.cuts), (Countermeasure::Reported, 0));
        assert_eq!((&seen.until, seen.frames_exact), (&None, false));
        // Muted or not.
        stage.mute();
        there(&stage, |it| {
            it.who.stream == spy.name() && it.frames > seen.frames
        });
        // Corked it is there and gets nothing.
        spy.set_active(false);
        let corked = there(&stage, |it| it.state == ClientState::Corked);
        let received = spy.tape().frames();
        // Estimated: by the time between what the registry told, which is late on a busy machine.
        let (least, most) = (received / 2, received * 2 + 48_000);
        assert!(
            (least..most).contains(&corked.frames),
            "{corked:?}, received {received}"
        );
        drop(spy);
        gone(&stage);
        let mut past = None;
        let kept = wait_until(LIMIT, || {
            past = stats(&stage).bypasses.pop();
            past.as_ref()
                .is_some_and(|it| it.state == ClientState::Gone)
        });
        let past = past.unwrap_or_else(|| panic!("not kept\n{}", stage.logs()));
        assert!(
            kept && past.until.is_some() && past.frames >= corked.frames,
            "{past:?}"
        );
        assert_eq!(
            (past.id, &past.who.app, &past.since),
            (seen.id, &seen.who.app, &seen.since)
        );
        let log = stage.daemon.log();
        assert_eq!(
            log.matches("past TrueMute").count(),
            1,
            "warned once:\n{log}"
        );
        drop(through_the_gate);
        // The history has it when the daemon has gone.
        stage.daemon.stop(Signal::TERM).unwrap();
        let history = written(&stage.server).bypasses;
        let [written] = &history[..] else {
            panic!("not one: {history:?}\n{}", stage.logs());
        };
        assert_eq!(
            (written.id, written.frames, &written.who),
            (past.id, past.frames, &past.who)
        );
        assert_eq!(
            (written.state, &written.since, &written.until),
            (past.state, &past.since, &past.until)
        );
    });
}

#[test]
fn every_way_round_is_reported() {
    each(&VERSIONS, |version| {
        let Some(stage) = stage(*version, "") else {
            return;
        };
        let mic = stage.mic.name().to_owned();

        // Through pipewire-pulse.
        let parec = run(&stage, "parec", &["--latency-msec=50", "-d", &mic]);
        let pulse = there(&stage, |it| {
            it.who.api == Api::Pulse && it.who.identity == Identity::Corroborated
        });
        assert_eq!(
            (pulse.who.pid, pulse.path),
            (Some(parec.id()), BypassPath::Direct)
        );
        assert!(
            pulse
                .who
                .puller
                .is_some_and(|it| it.name == "pipewire-pulse")
        );
        drop(parec);
        gone(&stage);

        // A loopback, and who records from it.
        let program = find_program("pw-loopback").expect("pw-loopback is installed");
        let mut loopback = stage.server.native_command(&program).unwrap();
        loopback
            .arg(format!(
                "--capture-props=target.object={mic} node.target={mic} node.name=loop-in"
            ))
            .arg("--playback-props=media.class=Audio/Source node.name=loop-out");
        let loopback = Program::start(loopback).unwrap();
        assert!(stage.server.wait_for_source("loop-out", LIMIT).unwrap());
        let behind = stage.record("loop-out", 1, Format::F32);
        let itself = there(&stage, |it| it.who.stream == "loop-in");
        assert_eq!(
            (itself.who.pid, itself.path),
            (Some(loopback.id()), BypassPath::Direct)
        );
        let indirect = there(&stage, |it| it.who.stream == behind.name());
        assert_eq!(
            (indirect.path, indirect.real_mic.as_str()),
            (BypassPath::Indirect, &*mic)
        );
        assert_eq!(indirect.through, ["loop-in", "loop-out"]);
        drop((behind, loopback));
        gone(&stage);

        // A sink that the mic is linked to, and who records its monitor.
        pactl(
            &stage,
            &["load-module", "module-null-sink", "sink_name=cellar"],
        );
        let meddler = Meddler::connect(&stage.server);
        let port = |node: &str, output: bool| {
            let mut found = None;
            let came = meddler.look_until(LIMIT, |meddler| {
                let Some((id, _)) = meddler.node(node) else {
                    return false;
                };
                let ports = meddler.ports();
                found = ports
                    .iter()
                    .find(|(_, it)| it.node == id && it.output == output)
                    .map(|it| *it.0);
                found.is_some()
            });
            assert!(came, "{node} has no such port");
            found.expect("came")
        };
        meddler.link(port(&mic, true), port("cellar", false));
        meddler.look();
        let parec = run(
            &stage,
            "parec",
            &["--latency-msec=50", "-d", "cellar.monitor"],
        );
        let monitor = there(&stage, |it| it.who.pid == Some(parec.id()));
        assert_eq!(
            (monitor.path, monitor.real_mic.as_str()),
            (BypassPath::Indirect, &*mic)
        );
        assert_eq!(monitor.through, ["cellar"]);
        drop((parec, meddler));
        gone(&stage);

        // A node that outlives its maker and belongs to nobody.
        let node = format!(
            "{{ factory.name=support.null-audio-sink node.name=lingerer media.class=Stream/Input/Audio object.linger=true \
             node.autoconnect=true target.object={mic} node.target={mic} audio.position=[MONO] }}"
        );
        let made = stage
            .server
            .command("pw-cli")
            .args(["create-node", "adapter", &node])
            .output();
        assert!(
            made.as_ref().is_ok_and(|it| it.status.success()),
            "{made:?}"
        );
        let nobodys = there(&stage, |it| it.who.stream == "lingerer");
        assert_eq!(
            (nobodys.who.identity, nobodys.path),
            (Identity::Claimed, BypassPath::Direct)
        );
        let (id, _) = Meddler::connect(&stage.server)
            .node("lingerer")
            .expect("there");
        let destroyed = stage
            .server
            .command("pw-cli")
            .args(["destroy", &id.to_string()])
            .output();
        assert!(destroyed.is_ok_and(|it| it.status.success()));
        gone(&stage);

        // A mic that was plugged in later, and is not the one that is followed.
        let second = SimulatedMic::start(
            &stage.server,
            MicOptions {
                name: "second-mic".to_owned(),
                priority: 1000,
                ..MicOptions::default()
            },
        )
        .unwrap();
        let spy = stage.record("second-mic", 1, Format::F32);
        let other = there(&stage, |it| it.who.stream == spy.name());
        assert_eq!(
            (other.real_mic.as_str(), other.path),
            ("second-mic", BypassPath::Direct)
        );
        drop((spy, second));
        gone(&stage);

        // A level meter is one too, and called what it says it is.
        let meter = stage.add(RecorderOptions {
            name: "meter".to_owned(),
            target: Some(mic.clone()),
            properties: vec![
                ("resample.peaks".to_owned(), "true".to_owned()),
                ("node.rate".to_owned(), "1/25".to_owned()),
            ],
            ..RecorderOptions::default()
        });
        assert_eq!(
            there(&stage, |it| it.who.stream == "meter").who.purpose,
            Purpose::Meter
        );
        drop(meter);
    });
}

#[test]
fn effects_on_the_mic_are_reported_unless_trusted_and_who_reads_them_always() {
    let cells = VERSIONS.map(|version| [false, true].map(|trusted| (version, trusted)));
    each(&cells.concat(), |(version, trusted)| {
        let config = if *trusted {
            "trusted_processors = [\"echo-cancelled.capture\", \"filtered.*\"]\n"
        } else {
            ""
        };
        let Some(stage) = stage(*version, config) else {
            return;
        };
        let effects = Effects::start_on(&stage.server, stage.mic.name());
        for source in Effects::SOURCES {
            let captures = format!("{source}.capture");
            let behind = stage.record(source, 1, Format::F32);
            assert!(behind.wait_for_pulls(10, LIMIT), "{}", effects.log());
            let indirect = there(&stage, |it| it.who.stream == behind.name());
            assert_eq!(indirect.through, [&*captures, source]);
            let itself = |status: &Status| {
                let mut bypasses = status.bypasses.iter();
                bypasses.any(|it| it.who.stream == captures)
            };
            if *trusted {
                assert!(!itself(&status(&stage)));
            } else {
                wait_for(&stage.daemon, LIMIT, itself).unwrap();
            }
        }
        drop(effects);
    });
}

#[test]
fn nobody_is_reported_who_gets_what_the_gate_lets_through_nor_with_the_guard_off() {
    each(&VERSIONS, |version| {
        let Some(stage) = stage(*version, "") else {
            return;
        };
        let client = stage.client(1, Format::F32);
        stage.unmute();
        let effects = Effects::start(&stage.server);
        let behind = stage.record("filtered", 1, Format::F32);
        stage.pulls(50, [&client, &behind]);
        assert_eq!(status(&stage).bypasses, []);
        assert_eq!(stats(&stage).bypasses, []);
        drop((behind, effects));
    });
    let Some(stage) = stage(Version::Installed, "guard = \"off\"\n") else {
        return;
    };
    let spy = stage.record(stage.mic.name(), 1, Format::F32);
    stage.pulls(50, [&spy]);
    assert_eq!(status(&stage).bypasses, []);
}

fn stage(version: Version, config: &str) -> Option<Stage> {
    Stage::set(&Scene {
        version,
        config: config.to_owned(),
        ..Scene::default()
    })
}

fn status(stage: &Stage) -> Status {
    stage
        .daemon
        .status()
        .unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()))
}

fn stats(stage: &Stage) -> Stats {
    stage
        .daemon
        .stats()
        .unwrap_or_else(|error| panic!("{error}\n{}", stage.logs()))
}

/// The first bypass of this kind, once it is in the status.
fn there(stage: &Stage, kind: impl Fn(&Bypass) -> bool) -> Bypass {
    let found = wait_for(&stage.daemon, LIMIT, |status| {
        status.bypasses.iter().any(&kind)
    });
    let status = found.unwrap_or_else(|status| panic!("not reported: {status}\n{}", stage.logs()));
    status.bypasses.into_iter().find(kind).expect("just seen")
}

/// Waits until no bypass is in the status any more.
fn gone(stage: &Stage) {
    wait_for(&stage.daemon, LIMIT, |status| status.bypasses.is_empty())
        .unwrap_or_else(|status| panic!("still there: {status}\n{}", stage.logs()));
}

fn run(stage: &Stage, program: &str, arguments: &[&str]) -> Program {
    let mut command: Command = stage.server.command(program);
    command.args(arguments).stdout(Stdio::null());
    Program::start(command).expect("it can be started")
}

fn pactl(stage: &Stage, arguments: &[&str]) {
    let output = stage.server.command("pactl").args(arguments).output();
    assert!(
        output.as_ref().is_ok_and(|it| it.status.success()),
        "{arguments:?}: {output:?}"
    );
}
