//! Gathers what `truemute doctor` judges: the configuration, the daemon's own word, its threads.

use std::fs;
use std::path::{Path, PathBuf};

use super::graph::{self, Graph, GraphError};
use super::installation;
use crate::api::{Client, SocketError};
use crate::config::{Config, POLICY_PATH, Policy, Settings};
use crate::install::Installed;
use crate::protocol::{Answer, Call, Status};
use truemute_pipewire::{LinkChecks, link_checks};

/// What was found, before it is judged.
pub(super) struct Facts {
    /// The configuration under the policy, or what is wrong with either.
    pub(super) settings: Result<Settings, String>,
    /// The daemon's status, or why there is none.
    pub(super) status: Result<Status, String>,
    /// Whether the daemon has a real-time thread; absent if there is no daemon to look at, or nothing for it to connect to:
    /// then it has no audio thread at all.
    pub(super) real_time: Option<RealTime>,
    /// The audio server's graph.
    pub(super) graph: Result<Graph, GraphError>,
    /// What the server does about links that should not be.
    pub(super) links: Result<LinkChecks, String>,
    /// What is there of an installation, or why that cannot be known.
    pub(super) installed: Result<Installed, String>,
}

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

impl Facts {
    /// Looks at everything; a few seconds at most.
    pub(super) fn gather(socket: &Result<PathBuf, SocketError>) -> Facts {
        let status = match socket {
            Ok(socket) => status(socket),
            Err(error) => Err(error.to_string()),
        };
        let real_time = status
            .as_ref()
            .ok()
            .filter(|status| status.connected)
            .and_then(|status| real_time(status.daemon_pid));
        Facts {
            settings: settings(),
            status,
            real_time,
            graph: graph::read(),
            links: link_checks(),
            installed: installation::look(),
        }
    }
}

fn settings() -> Result<Settings, String> {
    let config = Config::read_default().map_err(|error| error.to_string())?;
    let policy = Policy::read(POLICY_PATH.as_ref(), 0).map_err(|error| error.to_string())?;
    Ok(Settings::new(config, policy))
}

fn status(socket: &Path) -> Result<Status, String> {
    match Client::connect(socket).and_then(|mut client| client.call(Call::Status)) {
        Ok(Answer::Status(status)) => Ok(status),
        Ok(_) => Err("The daemon answered something else than was asked. Restart it, so that both are of one version.".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// From /proc, for it tells what is, not what was asked for. None if the process cannot be looked at.
fn real_time(pid: u32) -> Option<RealTime> {
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
