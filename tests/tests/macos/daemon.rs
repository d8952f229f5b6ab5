//! The real daemon, as a process of its own, on the plug-in's real device: commands, counts, and what is heard when either of the
//! two is killed and comes back.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use truemute::api::Client;
use truemute::backend::AgentFactory;
use truemute::daemon::service;
use truemute::protocol::{Answer, By, Call, GateState, StatsParams, Status, Switched};
use truemute::store::{self, Reader, Window};
use truemute_agent::simulated::{Mic, Simulated, now_ns};
use truemute_core::observed::{ClientState, MicState};
use truemute_macos::PlugIn;
use truemute_tests::part::{LIMIT, Part, folder, wait_for};
use truemute_tests::plugin::{Plugin, Read, Runs, check_ramp};

/// The daemon as `truemute daemon` runs it, but on a simulated system.
#[test]
#[ignore = "a part that other tests start"]
fn daemon() {
    let Some(folder) = folder() else { return };
    let options = service::Options {
        config: Some(folder.join("config.toml")),
        socket: folder.join("run/api.sock"),
        memory: folder.join("gate.json"),
    };
    let driver = PlugIn {
        folder: folder.clone(),
        users: vec![rustix::process::getuid().as_raw()],
        published: || None,
    };
    let last_default = folder.join("last-default");
    let history = folder.join("history.sqlite");
    let system = Simulated::new(vec![Mic::new("mic"), Mic::virtual_mic()]);
    service::run(
        &options,
        |settings| {
            let system = Arc::new(system);
            Box::new(AgentFactory::new(
                "coreaudio",
                settings,
                system,
                driver,
                Some(&last_default),
            ))
        },
        |_| {
            let options = store::Options { retention_days: 1 };
            let recorder = store::Recorder::start(&history, options);
            Ok(Arc::new(recorder.map_err(service::ServiceError::System)?))
        },
    )
    .unwrap();
}

/// A plug-in with a client that reads, and prints what it gets.
#[test]
#[ignore = "a part that other tests start"]
fn plugin() {
    let Some(folder) = folder() else { return };
    let plugin = Plugin::start(&folder);
    let started_ns = now_ns();
    let last = Mutex::new(Vec::<Read>::new());
    let _reader = plugin.read_and(480, move |read| {
        // With the one before it, so that frames between two reads are checked too.
        let mut last = last.lock().unwrap();
        last.push(read.clone());
        check_ramp(&last, started_ns, Runs::Many);
        *last = vec![read.clone()];
        println!("\nread {}", if read.is_zero() { "zeros" } else { "sound" });
    });
    std::thread::sleep(LIMIT * 4);
}

struct Stage {
    folder: tempfile::TempDir,
    daemon: Option<Part>,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), "guard = \"enforce\"\n").unwrap();
        let mut stage = Stage {
            folder,
            daemon: None,
        };
        stage.start_daemon();
        stage
    }

    fn start_daemon(&mut self) {
        self.daemon = Some(Part::start("daemon::daemon", self.folder.path()));
    }

    fn call(&self, call: Call) -> Option<Answer> {
        let socket = self.folder.path().join("run/api.sock");
        Client::connect(&socket).ok()?.call(call).ok()
    }

    fn status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        wait_for(what, || match self.call(Call::Status) {
            Some(Answer::Status(status)) if wanted(&status) => Some(status),
            _ => None,
        })
    }

    fn switch(&self, call: impl Fn(By) -> Call) -> Switched {
        match self.call(call(By::default())) {
            Some(Answer::Switched(switched)) => switched,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_daemon_switches_and_counts_and_its_death_is_silence() {
    let mut stage = Stage::new();
    let status = stage.status("no driver", |status| !status.warnings.is_empty());
    assert!(!status.connected, "{status:?}");
    let plugin = Plugin::start(stage.folder.path());
    let status = stage.status("the driver", |status| status.connected);
    assert_eq!(
        (status.backend.as_str(), status.gate),
        ("coreaudio", GateState::Muted)
    );
    let reader = plugin.read(512);

    let opened_ns = now_ns();
    let unmuted = stage.switch(Call::Unmute);
    assert_eq!(unmuted.gate, GateState::Live);
    wait_for("sound", || reader.hears_since(opened_ns).then_some(()));
    let status = stage.status("the capture", |status| {
        // A look from before the first read has no quantum.
        status.real_mic.state == MicState::Capturing && status.virtual_mic.quantum > 0
    });
    assert_eq!((status.real_mic.name.as_str(), status.clients), ("mic", 1));
    assert_eq!(
        (status.virtual_mic.rate, status.virtual_mic.quantum),
        (48_000, 512)
    );
    assert!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("enforce")),
        "{status:?}"
    );
    let muted = stage.switch(Call::Mute);
    let muted_ns = now_ns();
    stage.status("released", |status| {
        status.real_mic.state == MicState::Released
    });
    let first = reader.so_far();
    assert!(check_ramp(&first, opened_ns, Runs::One) > 0);
    let after = |read: &&Read| read.at_ns > muted_ns || Some(read.position) >= muted.position;
    assert!(first.iter().filter(after).all(Read::is_zero));

    let again_ns = now_ns();
    stage.switch(Call::Unmute);
    wait_for("sound again", || reader.hears_since(again_ns).then_some(()));
    stage.daemon = None;
    let killed_ns = now_ns();
    std::thread::sleep(Duration::from_millis(300));
    // What was in the middle of a read when the socket broke may still be heard.
    let soon_ns = killed_ns + 100_000_000;
    let dead = reader.so_far();
    check_ramp(&dead[first.len()..], again_ns, Runs::One);
    assert!(
        dead.iter()
            .filter(|read| read.at_ns > soon_ns)
            .all(Read::is_zero)
    );

    stage.start_daemon();
    let status = stage.status("the next daemon", |status| status.connected);
    assert_eq!(
        status.gate,
        GateState::Muted,
        "who crashed while live comes back muted"
    );
    assert!(!reader.hears_since(soon_ns));
    let third_ns = now_ns();
    stage.switch(Call::Unmute);
    wait_for("sound by the next one", || {
        reader.hears_since(third_ns).then_some(())
    });
    let reads = reader.stop();
    check_ramp(&reads[dead.len()..], third_ns, Runs::One);

    // One client, counted by the plug-in over the death of the daemon, exactly as it read.
    let stats = wait_for("final counts", || {
        let since = StatsParams {
            since: Some("1970-01-01T00:00:00Z".into()),
        };
        let Some(Answer::Stats(stats)) = stage.call(Call::Stats(since)) else {
            return None;
        };
        let gone = stats
            .clients
            .iter()
            .all(|client| client.state == ClientState::Gone);
        (gone && !stats.clients.is_empty()).then_some(stats)
    });
    let sum = |of: fn(&truemute::protocol::ClientStats) -> u64| -> u64 {
        stats.clients.iter().map(of).sum()
    };
    let sounding = reads.iter().filter(|read| !read.is_zero()).count() as u64;
    assert_eq!(sum(|client| client.live.pulls), sounding);
    assert_eq!(
        sum(|client| client.live.pulls + client.muted.pulls),
        reads.len() as u64
    );
    assert!(stats.clients.iter().all(|client| client.exact), "{stats:?}");
}

/// What the history says of all time: pulls, and whether every client has left. From the file, so that the daemon does not hear of
/// the question.
fn on_the_disk(stage: &Stage) -> Option<(u64, bool)> {
    let history = Reader::open(&stage.folder.path().join("history.sqlite")).ok()?;
    let (records, _) = history.sums(&Window::default()).ok()?;
    let pulls =
        |it: &store::ClientRecord| it.client.counts.live.pulls + it.client.counts.muted.pulls;
    let gone = records
        .iter()
        .all(|it| it.client.state == ClientState::Gone);
    Some((records.iter().map(pulls).sum(), gone && !records.is_empty()))
}

#[test]
fn a_daemon_that_is_killed_before_the_driver_hears_what_is_on_record_counts_nothing_twice() {
    let mut stage = Stage::new();
    let plugin = Plugin::start(stage.folder.path());
    stage.status("the driver", |status| status.connected);
    let reader = plugin.read(480);
    stage.status("the client", |status| status.clients == 1);
    let reads = reader.stop().len() as u64;
    wait_for("the final counts on the disk", || {
        on_the_disk(&stage).filter(|(_, gone)| *gone)
    });
    stage.daemon = None;
    assert_eq!(on_the_disk(&stage), Some((reads, true)));
    assert_eq!(plugin.tells_of(), 1, "the driver was not told so");
    stage.start_daemon();
    stage.status("the next daemon", |status| status.connected);
    // It has the client on record, and then says so: with the look after that.
    wait_for("the driver to hear of it", || {
        stage.call(Call::Stats(StatsParams { since: None }));
        (plugin.tells_of() == 0).then_some(())
    });
    // Asked, for that has what is not on the disk yet.
    let since = StatsParams {
        since: Some("1970-01-01T00:00:00Z".into()),
    };
    let Some(Answer::Stats(stats)) = stage.call(Call::Stats(since)) else {
        panic!("no answer");
    };
    let pulls = |it: &truemute::protocol::ClientStats| it.live.pulls + it.muted.pulls;
    assert_eq!(stats.clients.iter().map(pulls).sum::<u64>(), reads);
}

#[test]
fn a_plugin_that_is_killed_comes_back_with_sound_and_nothing_stale() {
    let stage = Stage::new();
    let mut first = Part::start("daemon::plugin", stage.folder.path());
    let hear = |lines: &Receiver<String>| {
        while lines
            .recv_timeout(LIMIT)
            .expect("the plug-in's client reads on")
            != "read sound"
        {}
    };
    stage.status("the driver", |status| {
        status.connected && status.clients == 1
    });
    stage.switch(Call::Unmute);
    hear(&first.lines());
    drop(first);
    let status = stage.status("the loss", |status| !status.connected);
    assert_eq!(status.reason, "server_lost");
    // The next one is another instance, and was told nothing yet.
    let mut second = Part::start("daemon::plugin", stage.folder.path());
    let lines = second.lines();
    hear(&lines);
    let status = stage.status("the driver again", |status| status.connected);
    assert_eq!(status.gate, GateState::Live);
    stage.switch(Call::Mute);
    let zeros = || {
        let rest = lines
            .try_iter()
            .filter(|line| line.starts_with("read "))
            .last();
        rest.is_some_and(|last| last == "read zeros").then_some(())
    };
    wait_for("zeros", zeros);
    assert!(second.is_running(), "all that it read was in order");
}
