//! Tests of the store as a whole: sums over restarts, crashes, full disks, damaged files, old and new formats.

mod disk;
mod sums;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use truemute_core::observed::{Client, MicState, RealMic, Snapshot, Tally, VirtualMic};

use super::recorder::{Options, Pace, Recorder};
use super::{GateRecord, Reader, Window};
use crate::protocol::GateState;

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
