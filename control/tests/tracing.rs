//! `truemute trace` from a daemon with a scripted backend: every pull that the backend told is in the file, and the backend records
//! single pulls only while somebody traces.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::{Rig, observed, wait_for};
use truemute::daemon::Want;
use truemute::protocol::{GateState, Origin, TraceLine};
use truemute_core::observed::{ClientState, Event, Pull};

fn trace(rig: &Rig, out: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_truemute"))
        .args(["trace", "--out"])
        .arg(out)
        .env("TRUEMUTE_SOCKET", &rig.socket)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn pull(position: u64) -> Pull {
    Pull {
        client: 1,
        monotonic_ns: position,
        position,
        frames: 1024,
        live: false,
        flagged: false,
    }
}

fn lines(file: &Path) -> Vec<TraceLine> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_pull_and_change_is_in_the_file() {
    let mut rig = Rig::start();
    rig.server.script().clients = vec![observed(1, ClientState::Running)];
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("trace.jsonl");
    assert!(!rig.server.script().tracing);
    let mut child = trace(&rig, &file);
    wait_for("tracing", || rig.server.script().tracing.then_some(()));
    for batch in 0..100 {
        let pulls = (0..50).map(|at| pull((batch * 50 + at) * 1024)).collect();
        let lost = u64::from(batch == 7) * 3;
        rig.server.tell(Event::Pulls { pulls, lost });
    }
    let handle = rig.daemon().handle();
    handle.switch(Want::Unmute, Origin::Cli).unwrap();
    // The daemon's end is the trace's end, with everything before it.
    rig.stop();
    assert!(child.wait().unwrap().success());

    let lines = lines(&file);
    assert!(matches!(lines.first(), Some(TraceLine::Start { .. })));
    assert!(matches!(
        lines.last(),
        Some(TraceLine::End {
            pulls: 5000,
            lost: 3,
            ..
        })
    ));
    let positions: Vec<u64> = lines
        .iter()
        .filter_map(|line| match line {
            TraceLine::Pull { position, .. } => Some(*position),
            _ => None,
        })
        .collect();
    assert!(positions.iter().copied().eq((0..5000).map(|at| at * 1024)));
    let gates: Vec<GateState> = lines
        .iter()
        .filter_map(|line| match line {
            TraceLine::Gate { gate, .. } => Some(*gate),
            _ => None,
        })
        .collect();
    assert_eq!(gates, [GateState::Muted, GateState::Live, GateState::Muted]);
}

#[test]
fn an_interrupted_trace_ends_in_order_and_so_does_the_recording_of_pulls() {
    let rig = Rig::start();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("trace.jsonl");
    let mut child = trace(&rig, &file);
    wait_for("tracing", || rig.server.script().tracing.then_some(()));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(matches!(lines(&file).last(), Some(TraceLine::End { .. })));
    wait_for("tracing is off again", || {
        rig.server.tell(Event::Changed);
        (!rig.server.script().tracing).then_some(())
    });
}

#[test]
fn a_trace_does_not_replace_a_file_unasked() {
    let rig = Rig::start();
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("precious");
    std::fs::write(&file, "mine").unwrap();
    let ended = trace(&rig, &file).wait().unwrap();
    assert_eq!(ended.code(), Some(1));
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}
