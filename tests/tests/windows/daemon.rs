//! The real daemon, as a process of its own, on the driver's real device: commands, counts, and what the engine gets when the daemon is
//! killed and comes back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use truemute::api::Client;
use truemute::backend::AgentFactory;
use truemute::daemon::service;
use truemute::protocol::{Answer, By, Call, GateState, StatsParams, Status, Switched};
use truemute::store;
use truemute_agent::simulated::{Mic, Simulated, VIRTUAL_MIC, now_ns};
use truemute_core::observed::{CountedBy, MicState};
use truemute_tests::part::{Part, folder, wait_for};
use truemute_tests::plugin::{Read, Runs, check_ramp};
use truemute_tests::windows::{Driver, Elsewhere, MadeUp, Replayed, offer, pieces};
use truemute_windows::NAMES;
use truemute_windows::link::Link;
use truemute_windows::sessions::Session;

const SOCKET: &str = "driver.sock";

/// The daemon as `truemute daemon` runs it, but on a simulated system, on which one app records from TrueMute.
#[test]
#[ignore = "a part that other tests start"]
fn daemon() {
    let Some(folder) = folder() else { return };
    let options = service::Options {
        config: Some(folder.join("config.toml")),
        socket: folder.join("run/api.sock"),
        memory: folder.join("gate.json"),
    };
    let sessions = MadeUp::default();
    sessions.set(Some(vec![Session {
        id: "meeting".into(),
        pid: Some(70_001),
        name: "Meeting".into(),
        endpoint: VIRTUAL_MIC.into(),
        active: true,
    }]));
    let events = Replayed::default();
    events.begin();
    let link = Link {
        device: Arc::new(Elsewhere(folder.join(SOCKET))),
        sessions: Arc::new(sessions),
        events: Arc::new(events.clone()),
    };
    std::thread::spawn(move || {
        loop {
            events.say([offer(70_001)], 0);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let system = Arc::new(Simulated::like(
        NAMES,
        vec![Mic::new("mic"), Mic::virtual_mic()],
    ));
    let history = folder.join("history.sqlite");
    service::run(
        &options,
        |settings| {
            let factory = AgentFactory::new("wasapi", settings, system, link, None);
            Box::new(factory)
        },
        |_| {
            let options = store::Options { retention_days: 1 };
            let recorder = store::Recorder::start(&history, options);
            Ok(Arc::new(recorder.map_err(service::ServiceError::System)?))
        },
    )
    .unwrap();
}

struct Stage {
    folder: tempfile::TempDir,
    daemon: Option<Part>,
}

impl Stage {
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

fn stage(config: &str) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    let mut stage = Stage {
        folder,
        daemon: None,
    };
    stage.start_daemon();
    stage
}

fn socket(folder: &Path) -> std::path::PathBuf {
    folder.join(SOCKET)
}

#[test]
fn the_daemon_switches_and_counts_and_its_death_is_silence() {
    let mut stage = stage("hold_device = true\n");
    let status = stage.status("no driver", |status| !status.warnings.is_empty());
    assert!(!status.connected, "{status:?}");
    assert!(
        status.warnings[0].contains("truemute driver install"),
        "{status:?}"
    );
    let driver = Driver::new();
    driver.serve(&socket(stage.folder.path()));
    let engine = driver.engine();
    let status = stage.status("the driver", |status| status.connected);
    assert_eq!(
        (status.backend.as_str(), status.gate),
        ("wasapi", GateState::Muted)
    );
    // The microphone is held for ourselves, which is said, and so is that its indicator stays on (promise P8).
    let status = stage.status("the held mic", |status| status.clients == 1);
    assert!(
        status
            .warnings
            .iter()
            .any(|warning| warning.contains("hold_device")),
        "{status:?}"
    );

    let opened_ns = now_ns();
    let unmuted = stage.switch(Call::Unmute);
    assert_eq!(unmuted.gate, GateState::Live);
    wait_for("sound", || engine.hears_since(opened_ns).then_some(()));
    let status = stage.status("the capture", |status| {
        status.real_mic.state == MicState::Capturing
    });
    // One app: the engine that pulls for it is not another one.
    assert_eq!((status.real_mic.name.as_str(), status.clients), ("mic", 1));
    assert_eq!(
        (status.virtual_mic.rate, status.virtual_mic.quantum),
        (48_000, 480)
    );
    let muted = stage.switch(Call::Mute);
    let muted_ns = now_ns();
    stage.status("released", |status| {
        status.real_mic.state == MicState::Released
    });
    let first = pieces(&engine.so_far());
    assert!(check_ramp(&first, opened_ns, Runs::One) > 0);
    let after = |read: &&Read| read.at_ns > muted_ns || Some(read.position) >= muted.position;
    assert!(first.iter().filter(after).all(Read::is_zero));

    let Some(Answer::Stats(stats)) = stage.call(Call::Clients) else {
        panic!("the daemon answers");
    };
    let of: Vec<_> = stats
        .clients
        .iter()
        // On a busy machine the engine comes too late for a packet, which is counted, and told.
        .map(|client| {
            let exact = client.exact || client.lost > 0;
            (client.who.app.as_str(), client.counted_by, exact)
        })
        .collect();
    assert!(
        of.contains(&("Windows audio engine", CountedBy::Driver, true)),
        "{of:?}"
    );
    assert!(
        of.contains(&("Meeting", CountedBy::Session, false))
            || of.contains(&("Meeting", CountedBy::Events, false)),
        "{of:?}"
    );
    let Some(Answer::Stats(stats)) = stage.call(Call::Stats(StatsParams::default())) else {
        panic!("the daemon answers");
    };
    let offered = |app: &str| {
        let mut clients = stats.clients.iter();
        let client = clients.find(|client| client.who.app == app).unwrap();
        client.offers.map(|offers| offers.count)
    };
    assert!(offered("Meeting") > Some(0), "{stats:?}");
    assert_eq!(offered("Windows audio engine"), None);

    let again_ns = now_ns();
    stage.switch(Call::Unmute);
    wait_for("sound again", || engine.hears_since(again_ns).then_some(()));
    stage.daemon = None;
    wait_for("the handle's end", || {
        (driver.snapshot().attached == 0).then_some(())
    });
    let dead_ns = now_ns();
    std::thread::sleep(Duration::from_millis(100));
    assert!(!engine.hears_since(dead_ns));
    assert_eq!(driver.snapshot().feeders_lost, 1);

    stage.start_daemon();
    let status = stage.status("the next daemon", |status| status.connected);
    assert_eq!(
        status.gate,
        GateState::Muted,
        "who crashed while live comes back muted"
    );
    let third_ns = now_ns();
    stage.switch(Call::Unmute);
    wait_for("sound by the next one", || {
        engine.hears_since(third_ns).then_some(())
    });

    // Another user comes to the console, and this one comes back.
    driver.switch_users(true);
    let status = stage.status("the loss", |status| !status.connected);
    assert_eq!(status.gate, GateState::Muted);
    assert!(status.warnings[0].contains("console"), "{status:?}");
    driver.switch_users(false);
    let status = stage.status("the driver again", |status| status.connected);
    assert_eq!(
        (status.gate, status.reason.as_str()),
        (GateState::Muted, "lease"),
        "who was away unmutes by a command only"
    );
    let fourth_ns = now_ns();
    assert_eq!(stage.switch(Call::Unmute).gate, GateState::Live);
    wait_for("sound for the user who is back", || {
        engine.hears_since(fourth_ns).then_some(())
    });
    let later: Vec<_> = pieces(&engine.stop())
        .into_iter()
        .filter(|read| read.at_ns > fourth_ns)
        .collect();
    check_ramp(&later, fourth_ns, Runs::One);
}
