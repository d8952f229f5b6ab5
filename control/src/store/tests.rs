//! Tests of the store as a whole: sums over restarts, crashes, full disks, damaged files, old and new formats.

mod disk;
mod formats;
mod strangers;
mod sums;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use truemute_core::observed::{Client, MicState, RealMic, Snapshot, Tally, VirtualMic};

use super::recorder::{Options, Pace, Recorder};
use super::{GateRecord, Reader, Window};
use crate::clock::Stamp;
use crate::protocol::GateState;
use crate::stats::tests::{client, tally};

pub(super) const OPTIONS: Options = Options { retention_days: 30 };

/// Quick enough for tests to wait for.
pub(super) const FAST: Pace = Pace {
    commit: Duration::from_millis(1),
    retry: Duration::from_millis(20),
    prune: Duration::from_secs(3600),
    answer: Duration::from_secs(20),
};

pub(crate) fn snapshot(instance: u64, at_ns: u64, clients: &[Client]) -> Snapshot {
    Snapshot {
        instance,
        at_ns,
        real_mic: RealMic {
            name: String::new(),
            description: String::new(),
            state: MicState::Released,
        },
        virtual_mic: VirtualMic {
            name: "truemute.mic".into(),
            rate: 48000,
            channels: 1,
            quantum: 480,
        },
        clients: clients.to_vec(),
        bypasses: Vec::new(),
        muted_apps: Vec::new(),
        unattributed: Tally::default(),
        warnings: Vec::new(),
        running: true,
    }
}

pub(super) fn change(gate: GateState, at_ns: u64) -> GateRecord {
    GateRecord {
        at_ns,
        gate,
        reason: "cli".into(),
        clock: None,
        position: None,
    }
}

pub(super) fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/truemute/history.sqlite");
    (directory, path)
}

pub(super) fn start(path: &Path) -> Recorder {
    Recorder::start_at_pace(path, OPTIONS, FAST).unwrap()
}

/// Pulls in the whole file, live and muted, read by a second connection.
pub(super) fn stored_pulls(path: &Path) -> (u64, u64) {
    let (records, _) = Reader::open(path)
        .unwrap()
        .sums(&Window::default())
        .unwrap();
    let sum = |of: fn(&Client) -> u64| records.iter().map(|record| of(&record.client)).sum();
    (
        sum(|client| client.counts.live.pulls),
        sum(|client| client.counts.muted.pulls),
    )
}

/// Waits for a state, with a deadline that only a broken program misses.
pub(super) fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !reached() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One client that has pulled so often while muted.
pub(super) fn pulled(instance: u64, pulls: u64) -> Snapshot {
    let mut app = client(1, "app");
    app.counts.muted = tally(pulls);
    snapshot(instance, Stamp::now().wall_ns, &[app])
}

pub(super) fn record(recorder: &Recorder, instance: u64, pulls: u64) {
    recorder.snapshot_at(&pulled(instance, pulls), Stamp::now().monotonic_ns);
}

pub(super) fn counted(recorder: &Recorder) -> u64 {
    recorder
        .sums(Some(0))
        .unwrap()
        .clients
        .iter()
        .map(|client| client.muted.pulls)
        .sum()
}

/// A history with 100 pulls in it, of instance 1.
pub(super) fn history_of_100(path: &Path) {
    let recorder = start(path);
    record(&recorder, 1, 100);
    recorder.end().unwrap();
    assert_eq!(stored_pulls(path), (0, 100));
}
