//! `truemute supervise` with the real daemon: one that hangs or dies is replaced, one that ends in order is not, and neither
//! outlives the other.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use support::{daemon_command, socket_in, stderr, truemute, wait_for};
use truemute::protocol::Status;

/// A supervisor and its daemon, in a home of their own without an audio server.
struct Supervised {
    dir: tempfile::TempDir,
    supervisor: Child,
}

impl Supervised {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = supervise(dir.path()).spawn().unwrap();
        Self { dir, supervisor }
    }

    /// The daemon that answers and is not `former`.
    fn daemon(&self, former: Option<Pid>) -> Pid {
        wait_for("a daemon answers", || {
            let output = truemute(&socket_in(self.dir.path()), &["status", "--json"]);
            let status: Status = serde_json::from_slice(&output.stdout).ok()?;
            let daemon = Pid::from_raw(status.daemon_pid.cast_signed())?;
            (Some(daemon) != former).then_some(daemon)
        })
    }

    /// Exit code of the supervisor.
    fn ended(&mut self) -> Option<i32> {
        let status = wait_for("the supervisor's end", || {
            self.supervisor.try_wait().unwrap()
        });
        status.code()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

fn supervise(dir: &Path) -> Command {
    let like = daemon_command(dir);
    let mut command = Command::new(like.get_program());
    command.arg("supervise").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn is_gone(pid: Pid) {
    wait_for("the daemon is gone", || test_kill_process(pid).err());
}

#[test]
fn a_daemon_that_hangs_or_dies_is_replaced() {
    let supervised = Supervised::start();
    let mut daemon = supervised.daemon(None);
    for signal in [Signal::KILL, Signal::STOP, Signal::ABORT] {
        kill_process(daemon, signal).unwrap();
        let next = supervised.daemon(Some(daemon));
        is_gone(daemon);
        daemon = next;
    }
}

#[test]
fn told_to_end_both_end_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut supervised = Supervised::start();
        let daemon = supervised.daemon(None);
        let folder = supervised.dir.path().join("truemute");
        kill_process(Pid::from_child(&supervised.supervisor), signal).unwrap();
        assert_eq!(supervised.ended(), Some(0), "{signal:?}");
        is_gone(daemon);
        let left = fs::read_dir(folder).unwrap().flatten();
        let sockets: Vec<_> = left
            .map(|entry| entry.file_name())
            .filter(|name| !name.to_string_lossy().ends_with(".lock"))
            .collect();
        assert!(sockets.is_empty(), "{sockets:?}");
    }
}

#[test]
fn a_daemon_that_ends_in_order_is_not_started_again() {
    let mut supervised = Supervised::start();
    let daemon = supervised.daemon(None);
    kill_process(daemon, Signal::TERM).unwrap();
    assert_eq!(supervised.ended(), Some(0));
}

#[test]
fn the_daemon_does_not_outlive_its_supervisor() {
    let mut supervised = Supervised::start();
    let daemon = supervised.daemon(None);
    supervised.supervisor.kill().unwrap();
    supervised.supervisor.wait().unwrap();
    is_gone(daemon);
}

#[test]
fn what_never_starts_is_not_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bad.toml"), "x = 1").unwrap();
    let mut command = supervise(dir.path());
    command.arg("--config").arg(dir.path().join("bad.toml"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert_eq!(text.matches("bad.toml:1").count(), 1, "{text}");
    assert!(text.contains("did not start"), "{text}");
}
