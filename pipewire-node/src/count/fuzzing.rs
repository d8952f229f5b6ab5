//! Doors to this module's parsers for the programs in fuzz/. Only in builds for fuzzing.

use std::os::fd::AsFd as _;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::write;

use super::activation::{ActivationRecord, Reading};
use super::layout::{LayoutCheck, Verdict};
use super::profile_pod;

/// A message of the server's profiler.
pub fn profile(message: &[u8]) {
    let profile = profile_pod::parse(message);
    let followers: usize = profile
        .cycles
        .iter()
        .map(|cycle| cycle.followers.len())
        .sum();
    assert!(
        profile.cycles.len() + followers <= message.len() / 8,
        "more is told than the bytes can hold"
    );
}

/// A shared memory with an activation record, as another process offers it: where it says that the record is, how long it
/// says that it is, and what is there.
pub fn activation_record(bytes: &[u8]) {
    let Some((place, content)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let [offset, size] =
        [[place[0], place[1]], [place[2], place[3]]].map(|it| u32::from(u16::from_le_bytes(it)));
    let Ok(memory) = memfd_create("truemute-fuzz", MemfdFlags::CLOEXEC) else {
        return;
    };
    if write(&memory, content).is_ok()
        && let Ok(record) = ActivationRecord::map(memory.as_fd(), offset, size)
    {
        assert!(offset as usize + size as usize <= content.len());
        let _ = record.read();
    }
}

/// Our own record over some cycles, in which nothing may be true: the verdict changes at most once.
pub fn layout_check(bytes: &[u8]) {
    let mut check = LayoutCheck::new();
    let mut former = Verdict::Open;
    for cycle in bytes.chunks_exact(36) {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&cycle[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let own = Reading {
            status: u32::from(cycle[32]),
            signal_ns: number(0),
            awake_ns: number(8),
            finish_ns: number(16),
            xruns: u32::from(cycle[33]),
        };
        let verdict = check.cycle(own, number(24));
        assert!(former == Verdict::Open || verdict == former);
        former = verdict;
    }
}
