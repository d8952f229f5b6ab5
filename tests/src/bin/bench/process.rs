//! What the kernel says of processes: CPU time, memory, real-time threads.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::Result;

/// CPU time that a process has used, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) all: u64,
    /// Of that, by threads with real-time priority.
    pub(crate) realtime: u64,
}

impl Cpu {
    /// From `schedstat` of each thread, for the ticks in `stat` are 10 ms.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let mut cpu = Self::default();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?.path();
            // A thread may end between the two looks.
            let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
            let used: u64 = text.split_whitespace().next().unwrap_or("0").parse()?;
            cpu.all += used;
            cpu.realtime += if is_realtime(&thread) { used } else { 0 };
        }
        Ok(cpu)
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            realtime: self.realtime.saturating_sub(before.realtime),
        }
    }
}

/// SCHED_FIFO or SCHED_RR (sched(7)), by field 41 of `stat` (proc(5)).
fn is_realtime(thread: &Path) -> bool {
    let text = fs::read_to_string(thread.join("stat")).unwrap_or_default();
    // The name, field 2, is in parentheses and may have spaces.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let policy = after_name.split_whitespace().nth(41 - 3);
    matches!(policy, Some("1" | "2"))
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) now: u64,
    /// Of that, pages of files, which is code: its own and the libraries'.
    pub(crate) files: u64,
    /// Resident at most so far.
    pub(crate) most: u64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
            Ok(kilobytes.ok_or("no such field")?.parse::<u64>()? * 1024)
        };
        Ok(Self {
            now: field("VmRSS:")?,
            files: field("RssFile:")?,
            most: field("VmHWM:")?,
        })
    }
}
