//! The real program on a real audio server with a simulated mic and a real client: what the CLI says is what happened.
//! Whether each sample is right is tested in the workspace's tests/.

mod support;

use std::process::{Child, Command, Output, Stdio};

use serde::de::DeserializeOwned;
use support::{SOON, stderr, wait_for};
use tempfile::TempDir;
use truemute::protocol::{GateState, Stats, Status, Switched};
use truemute_core::observed::MicState;
use truemute_pipewire::rehearsal::{
    App, Format, MicOptions, PrivateServer, ServerOptions, SimulatedMic, Wanted,
};

struct Stage {
    daemon: Child,
    home: TempDir,
    server: PrivateServer,
}

impl Stage {
    fn start(server: PrivateServer) -> Stage {
        let home = tempfile::tempdir().unwrap();
        let daemon = command(&server, &home)
            .arg("daemon")
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Stage {
            daemon,
            home,
            server,
        }
    }

    fn truemute(&self, arguments: &[&str]) -> Output {
        command(&self.server, &self.home)
            .args(arguments)
            .output()
            .unwrap()
    }

    fn json<T: DeserializeOwned>(&self, command: &str) -> T {
        let output = self.truemute(&[command, "--json"]);
        assert!(output.status.success(), "{command}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits for a status as wanted.
    fn status(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        wait_for(what, || {
            let output = self.truemute(&["status", "--json"]);
            let status: Status = serde_json::from_slice(&output.stdout).ok()?;
            wanted(&status).then_some(status)
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
    }
}

fn command(server: &PrivateServer, home: &TempDir) -> Command {
    let mut command = server.command(env!("CARGO_BIN_EXE_truemute"));
    command
        .env("HOME", home.path())
        .env("XDG_CONFIG_HOME", home.path().join("config"))
        .env("XDG_STATE_HOME", home.path().join("state"))
        .env_remove("TRUEMUTE_SOCKET")
        .stdin(Stdio::null());
    command
}

#[test]
fn a_client_is_seen_muted_and_counted() {
    let server = PrivateServer::start(ServerOptions::default()).unwrap();
    let _mic = SimulatedMic::start(&server, MicOptions::default()).unwrap();
    let stage = Stage::start(server);
    let status = stage.status("connected", |s| s.connected && !s.real_mic.name.is_empty());
    assert_eq!(status.gate, GateState::Muted);
    assert_eq!(status.real_mic.name, "simulated-mic");
    assert_eq!(status.real_mic.state, MicState::Released);
    assert!(status.backend.starts_with("pipewire "), "{status:?}");
    assert_eq!(status.virtual_mic.name, "truemute.mic");

    assert!(stage.server.wait_for_source("truemute.mic", SOON).unwrap());
    let doctor = stage.truemute(&["doctor"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    // All is well but that nothing is installed on this server.
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("WRONG").count(), 1, "{said}");
    for part in [
        "follows the real mic simulated-mic",
        "Apps can select",
        "The silent twin is not in",
    ] {
        assert!(said.contains(part), "{said}");
    }

    let unmuted: Switched = stage.json("unmute");
    assert_eq!(unmuted.gate, GateState::Live);
    let wanted = Wanted {
        name: "client".into(),
        device: Some("truemute.mic".into()),
        channels: 1,
        rate: 48_000,
        format: Format::F32,
    };
    let recording = App::PwRecord
        .record(&stage.server, &wanted, stage.home.path())
        .unwrap();
    stage.status("capturing for one client", |s| {
        s.clients == 1 && s.real_mic.state == MicState::Capturing
    });
    wait_for("pulls while live", || {
        let stats: Stats = stage.json("clients");
        (stats.clients.first()?.live.pulls > 10).then_some(())
    });

    let muted: Switched = stage.json("mute");
    assert_eq!(muted.gate, GateState::Muted);
    assert!(muted.position.is_some(), "{muted:?}");
    stage.status("released", |s| s.real_mic.state == MicState::Released);
    let before: Stats = stage.json("clients");
    wait_for("pulls while muted", || {
        let stats: Stats = stage.json("clients");
        let client = stats.clients.first()?;
        assert_eq!(client.live.pulls, before.clients[0].live.pulls);
        (client.muted.pulls > before.clients[0].muted.pulls + 10).then_some(())
    });

    let recorder = recording.id();
    drop(recording);
    stage.status("the client has gone", |s| s.clients == 0);
    let stats: Stats = stage.json("stats");
    assert_eq!(stats.clients.len(), 1);
    let client = &stats.clients[0];
    assert_eq!(client.who.pid, Some(recorder));
    assert!(client.live.pulls > 10 && client.muted.pulls > 10);
}
