//! Whether the daemon's audio thread is a real-time thread.

use std::fs;

use super::{doubtful, good};
use crate::report::Finding;

/// The scheduling of the daemon's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RealTime {
    /// A thread runs under a real-time policy with this priority, the highest there is.
    Priority(u32),
    /// None does.
    None {
        /// The highest priority that the limits of the process allow.
        limit: u32,
    },
}

/// Judges it.
pub(super) fn of_real_time(real_time: &RealTime) -> Finding {
    match real_time {
        RealTime::Priority(priority) => good(format!(
            "The daemon's audio thread runs in real time, with priority {priority}."
        )),
        RealTime::None { limit: 0 } => doubtful(
            "The daemon has no real-time thread and may not make one, so that a busy machine can lose cycles.",
            "Install rtkit, or raise the limit rtprio (ulimit -r) to 20, then restart the daemon.",
        ),
        RealTime::None { limit } => doubtful(
            format!(
                "The daemon has no real-time thread, although priorities up to {limit} are allowed."
            ),
            "Restart the daemon; if that does not help, look at its log (journalctl --user -u truemute).",
        ),
    }
}

/// From /proc, for it tells what is, not what was asked for. None if the process cannot be looked at.
pub(super) fn real_time(pid: u32) -> Option<RealTime> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let highest = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter_map(|stat| priority(&stat))
        .max();
    match highest {
        Some(priority) => Some(RealTime::Priority(priority)),
        None => {
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
            Some(RealTime::None {
                limit: limit(&limits).unwrap_or(0),
            })
        }
    }
}

/// The priority of a thread under SCHED_FIFO or SCHED_RR, from its `stat`: fields 40 (rt_priority) and 41 (policy) of
/// proc_pid_stat(5). The name in field 2 may hold spaces and brackets; nothing after its last bracket does.
fn priority(stat: &str) -> Option<u32> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (priority, policy) = (fields.get(37)?, fields.get(38)?);
    matches!(*policy, "1" | "2")
        .then(|| priority.parse().ok())
        .flatten()
}

/// The soft limit of real-time priority, from `limits` of proc(5).
fn limit(limits: &str) -> Option<u32> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max realtime priority"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(99),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a (thread) 1) S 1 7 7 0 -1 64 0 0 0 0 0 0 0 0 -11 0 2 0 100 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 -1 3 ";

    #[test]
    fn real_time_threads_are_told_from_others() {
        assert_eq!(priority(&format!("{STAT}10 1 0 0 0")), Some(10));
        assert_eq!(priority(&format!("{STAT}88 2 0 0 0")), Some(88));
        assert_eq!(priority(&format!("{STAT}0 0 0 0 0")), None);
        assert_eq!(priority("garbage"), None);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        assert!(real_time(std::process::id()).is_some());
        assert_eq!(real_time(u32::MAX), None);
    }

    #[test]
    fn the_limit_is_the_soft_one() {
        assert_eq!(
            limit("Max realtime priority     20                   95\n"),
            Some(20)
        );
        assert_eq!(
            limit("Max realtime priority     unlimited            unlimited\n"),
            Some(99)
        );
    }
}
