//! What the kernel says of processes: CPU time, memory, real-time threads.

use std::fs;

use crate::Result;

/// CPU time that the threads of a process have used, in nanoseconds. From `schedstat`, for the ticks in `stat` are 10 ms.
pub(crate) fn cpu_ns(process: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end between the two looks.
        let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        let first = text.split_whitespace().next().unwrap_or("0");
        sum += first.parse::<u64>()?;
    }
    Ok(sum)
}

/// Memory of a process in bytes: resident now, and at most so far.
pub(crate) fn memory(process: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next());
        Ok(kilobytes.ok_or("no such field")?.parse::<u64>()? * 1024)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Whether a thread of the process has real-time priority: SCHED_FIFO or SCHED_RR (sched(7)), field 41 of `stat`.
pub(crate) fn has_realtime_thread(process: u32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("stat")).unwrap_or_default();
        // The name, field 2, is in parentheses and may have spaces.
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let policy = after_name.split_whitespace().nth(41 - 3);
        if matches!(policy, Some("1" | "2")) {
            return Ok(true);
        }
    }
    Ok(false)
}
