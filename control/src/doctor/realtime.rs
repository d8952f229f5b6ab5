//! Whether a process has a thread with real-time priority, as the daemon's audio thread should.

use std::fs;

use super::{Finding, doubtful, good};

/// The scheduling policies FIFO and round-robin (sched(7), `linux/sched.h`).
const REAL_TIME: [u32; 2] = [1, 2];

/// The finding about process `pid`.
pub(super) fn priority(pid: u32) -> Finding {
    match has_real_time_thread(pid) {
        Some(true) => good("The audio thread has real-time priority."),
        Some(false) => doubtful(
            "The audio thread has no real-time priority, so a busy machine may lose cycles.",
            "Install rtkit, or allow real-time priority in /etc/security/limits.d (\"@audio - rtprio 95\"), and log in again.",
        ),
        None => doubtful(
            "Whether the audio thread has real-time priority could not be checked.",
            "Look at the daemon's threads: ps -L -o cls,rtprio,comm -p PID",
        ),
    }
}

fn has_real_time_thread(pid: u32) -> Option<bool> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let stats =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let policies: Vec<u32> = stats.filter_map(|stat| policy(&stat)).collect();
    (!policies.is_empty()).then(|| policies.iter().any(|policy| REAL_TIME.contains(policy)))
}

/// Field 41 of a thread's `stat` (proc_pid_stat(5)). The second field, the name, is in parentheses and may have spaces
/// and parentheses of its own, so that fields are counted from its end: the next one is field 3.
fn policy(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(41 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_read_behind_any_name() {
        let tail = format!(
            "S {} 2 0 0\n",
            (4..=40)
                .map(|field| field.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        );
        assert_eq!(policy(&format!("12 (a) b (c) {tail}")), Some(2));
        assert_eq!(policy("12 (short) S 1"), None);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        assert!(has_real_time_thread(std::process::id()).is_some());
        assert_eq!(has_real_time_thread(u32::MAX), None);
    }
}
