//! History, figures and trace through a daemon with a scripted backend and the real program.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use support::{Scripted, observed, stderr, wait_for};
use truemute::api::{OwnSocket, Server};
use truemute::config::Settings;
use truemute::daemon::{Daemon, History, Memory};
use truemute::protocol::{Behaviour, GateState, Stats, TraceLine};
use truemute::store::{Options, Recorder};
use truemute_core::observed::{ClientState, Event, Pull, Tally};

/// A daemon that keeps a history below its own state directory.
struct Recording {
    backend: Scripted,
    recorder: Arc<Recorder>,
    dir: tempfile::TempDir,
    running: Option<(Daemon, Server)>,
}

impl Recording {
    fn start() -> Recording {
        let dir = tempfile::tempdir().unwrap();
        let backend = Scripted::default();
        let options = Options { retention_days: 30 };
        let history = dir.path().join("truemute/history.sqlite");
        let recorder = Arc::new(Recorder::start(&history, options).unwrap());
        let socket = OwnSocket::bind(&dir.path().join("run/api.sock")).unwrap();
        let kept: Arc<dyn History> = recorder.clone();
        let settings = Settings::default();
        let memory = Memory::at(dir.path().join("truemute/gate.json"));
        let backends = Box::new(backend.clone());
        let daemon = Daemon::start(settings, backends, kept, memory, None).unwrap();
        let server = Server::start(socket, daemon.handle()).unwrap();
        let handle = daemon.handle();
        wait_for("connected", || {
            handle.status().unwrap().connected.then_some(())
        });
        Recording {
            backend,
            recorder,
            dir,
            running: Some((daemon, server)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_truemute"));
        command
            .args(arguments)
            .env("TRUEMUTE_SOCKET", self.path("run/api.sock"))
            .env("XDG_STATE_HOME", self.dir.path())
            .stdin(Stdio::null());
        command
    }

    fn truemute(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn stats(&self, arguments: &[&str]) -> Stats {
        let output = self.truemute(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// So many pulls of 10 ms each by client 1 while muted.
    fn pull_muted(&self, pulls: u64, state: ClientState) {
        let mut client = observed(1, state);
        client.counts.muted = Tally {
            pulls,
            frames: pulls * 480,
            nanoseconds: pulls * 10_000_000,
        };
        self.backend.script().clients = vec![client];
    }

    fn stop(&mut self) {
        if let Some((daemon, server)) = self.running.take() {
            daemon.stop();
            server.stop();
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn figures_live_from_the_history_and_without_a_daemon_are_the_same() {
    let mut daemon = Recording::start();
    daemon.pull_muted(250, ClientState::Running);
    let live = daemon.stats(&["clients", "--json"]);
    assert_eq!((live.clients.len(), live.clients[0].muted.pulls), (1, 250));
    assert!(live.clients[0].exact);
    daemon.pull_muted(300, ClientState::Gone);
    for arguments in [
        &["stats", "--json"][..],
        &["stats", "--json", "--since", "1h"],
    ] {
        let stats = daemon.stats(arguments);
        assert_eq!(stats.clients[0].muted.pulls, 300, "{arguments:?}");
        assert_eq!(stats.clients[0].state, ClientState::Gone);
        assert_ne!(stats.clients[0].behaviour_while_muted, Behaviour::None);
    }
    assert_eq!(daemon.stats(&["clients", "--json"]).clients, []);
    // The backend was told to forget it only after it was recorded, and nothing is counted twice.
    wait_for("forgotten", || {
        (!daemon.backend.script().forgotten.is_empty()).then_some(())
    });
    assert_eq!(
        daemon.stats(&["stats", "--json"]).clients[0].muted.pulls,
        300
    );

    daemon.stop();
    let offline = daemon.truemute(&["stats", "--since", "1h", "--json"]);
    assert!(offline.status.success(), "{}", stderr(&offline));
    assert!(
        stderr(&offline).contains("history alone"),
        "{}",
        stderr(&offline)
    );
    let offline: Stats = serde_json::from_slice(&offline.stdout).unwrap();
    assert_eq!(offline.clients[0].muted.pulls, 300);
    assert_eq!(daemon.truemute(&["stats"]).status.code(), Some(3));
    let without_runtime_directory = daemon
        .command(&["stats", "--since", "1h", "--json"])
        .env_remove("TRUEMUTE_SOCKET")
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let text = stderr(&without_runtime_directory);
    assert!(text.contains("history alone"), "{text}");

    let table = daemon.truemute(&["stats", "--since", "1h", "--csv"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("since,until,instance,id,app,"), "{table}");
    assert!(
        table
            .lines()
            .nth(1)
            .unwrap()
            .contains(",recorder,recorder stream,"),
        "{table}"
    );
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    let daemon = Recording::start();
    for arguments in [
        &["stats", "--since", "yesterday"][..],
        &["stats", "--since", "2999-01-01T00:00:00Z"],
        &["stats", "--csv", "--json"],
        &["trace"],
    ] {
        assert_eq!(
            daemon.truemute(arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_store_that_cannot_be_used_is_a_warning_in_the_status() {
    let daemon = Recording::start();
    assert_eq!(daemon.recorder.warnings(), Vec::<String>::new());
    let dir = tempfile::tempdir().unwrap();
    // A file where the directory should be: nobody can make a history there, root neither.
    fs::write(dir.path().join("truemute"), "").unwrap();
    let path = dir.path().join("truemute/history.sqlite");
    let recorder = Recorder::start(&path, Options { retention_days: 1 }).unwrap();
    let warning = recorder.warnings().join("\n");
    assert!(warning.contains("Counting goes on in memory."), "{warning}");
}

fn start_trace(daemon: &Recording, out: &Path) -> Child {
    let arguments = ["trace", "--out", out.to_str().unwrap()];
    let child = daemon
        .command(&arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("single pulls are recorded", || {
        daemon.backend.script().tracing.then_some(())
    });
    child
}

fn tell_pulls(daemon: &Recording, positions: std::ops::Range<u64>, lost: u64) {
    let pull = |number: u64| Pull {
        client: 1,
        monotonic_ns: 1_000_000 * number,
        position: number * 480,
        frames: 480,
        live: false,
        flagged: false,
    };
    let pulls = positions.map(pull).collect();
    daemon.backend.tell(Event::Pulls { pulls, lost });
}

fn lines_of(path: &Path) -> Vec<TraceLine> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn pulls_in(lines: &[TraceLine]) -> usize {
    lines
        .iter()
        .filter(|line| matches!(line, TraceLine::Pull { .. }))
        .count()
}

#[test]
fn a_trace_holds_every_pull_and_ends_in_order_on_ctrl_c() {
    let daemon = Recording::start();
    let out = daemon.path("trace.jsonl");
    daemon.pull_muted(1, ClientState::Running);
    daemon.backend.tell(Event::Changed);
    let child = start_trace(&daemon, &out);
    tell_pulls(&daemon, 0..5000, 0);
    tell_pulls(&daemon, 5007..6007, 7);
    wait_for("the pulls are in the file", || {
        (pulls_in(&lines_of(&out)) == 6000).then_some(())
    });
    wait_for("the client is in the file", || {
        lines_of(&out)
            .iter()
            .any(|line| matches!(line, TraceLine::Client { .. }))
            .then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("6000 pulls"),
        "{}",
        stderr(&output)
    );

    let lines = lines_of(&out);
    assert_eq!(
        lines.len(),
        fs::read_to_string(&out).unwrap().lines().count()
    );
    assert!(matches!(lines[0], TraceLine::Start { schema: 1, .. }));
    assert!(matches!(
        lines[1],
        TraceLine::Gate {
            gate: GateState::Muted,
            ..
        }
    ));
    let lost = lines
        .iter()
        .position(|line| matches!(line, TraceLine::Lost { lines: 7 }))
        .unwrap();
    assert_eq!(pulls_in(&lines[..lost]), 5000);
    assert!(matches!(
        lines.last(),
        Some(TraceLine::End {
            pulls: 6000,
            lost: 7,
            ..
        })
    ));
    // Nobody reads any more: the backend is told at its next change.
    daemon.backend.tell(Event::Changed);
    wait_for("tracing is off", || {
        daemon.backend.tell(Event::Changed);
        (!daemon.backend.script().tracing).then_some(())
    });
}

#[test]
fn a_daemon_that_stops_ends_the_trace_in_order() {
    let mut daemon = Recording::start();
    let out = daemon.path("trace.jsonl");
    let child = start_trace(&daemon, &out);
    tell_pulls(&daemon, 0..10, 0);
    daemon.stop();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(matches!(
        lines_of(&out).last(),
        Some(TraceLine::End {
            pulls: 10,
            lost: 0,
            ..
        })
    ));
}

#[test]
fn a_trace_replaces_no_file_unasked_and_makes_none_without_a_daemon() {
    let mut daemon = Recording::start();
    let out = daemon.path("precious");
    fs::write(&out, "precious").unwrap();
    let refused = daemon.truemute(&["trace", "--out", out.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("--force"), "{}", stderr(&refused));
    assert_eq!(fs::read_to_string(&out).unwrap(), "precious");
    daemon.stop();
    let none = daemon.path("none");
    let refused = daemon.truemute(&["trace", "--out", none.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(!none.exists());
}
