//! The real `truemute`: its executable, and its daemon on a private server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use truemute::demo::{DemoError, RunningDaemon};
use truemute::protocol::{GateState, Stats, Status};
use truemute_pipewire::rehearsal::PrivateServer;

use crate::recorder::wait_until;

/// How long the daemon may take to be ready.
const LIMIT: Duration = Duration::from_secs(20);

/// The executable, built once a test run in the profile that the tests have. (Cargo gives `CARGO_BIN_EXE_` only to tests
/// of the same package.) `cargo xtask test` has built it already and says so by `TRUEMUTE_BUILT`: an ordinary user whom it
/// runs tests as may have no cargo. A program of tests/ that is no test takes what lies beside it.
///
/// # Panics
/// If it cannot be built.
pub fn executable() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let own = std::env::current_exe().expect("a program has an executable");
        // target/PROFILE/deps/TEST, or target/PROFILE/PROGRAM
        let folder = own.parent().expect("a program lies in a folder");
        let is_test = folder.file_name().is_some_and(|name| name == "deps");
        let profile = if is_test {
            folder.parent()
        } else {
            Some(folder)
        };
        let profile = profile.expect("a test lies in target");
        if !is_test || std::env::var_os("TRUEMUTE_BUILT").is_some() {
            return profile.join("truemute");
        }
        let release = profile.file_name().is_some_and(|name| name == "release");
        let mut build = Command::new(env!("CARGO"));
        build
            .args([
                "build",
                "--quiet",
                "--package",
                "truemute",
                "--bin",
                "truemute",
            ])
            .arg("--target-dir")
            .arg(profile.parent().expect("a profile lies in target"))
            .args(release.then_some("--release"))
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let status = build.status().expect("cargo can be started");
        assert!(status.success(), "truemute cannot be built");
        profile.join("truemute")
    })
}

/// Starts the daemon with `config` (TOML) on `server` and waits until its virtual mic can be recorded from.
///
/// # Panics
/// If it is not ready within 20 seconds; with its log.
pub fn start(server: &PrivateServer, config: &str) -> RunningDaemon {
    RunningDaemon::start(executable(), server, config, LIMIT).unwrap_or_else(|error| {
        panic!("{error}\nThe server's log:\n{}", server.log());
    })
}

/// What has been written of the last hour: `truemute stats --since` as it is without a daemon.
///
/// # Panics
/// If it cannot be read.
pub fn written(server: &PrivateServer) -> Stats {
    let nobody = server.directory().join("nobody.sock");
    let mut command = server.command(executable());
    command.args(["stats", "--since", "1h", "--json", "--socket"]);
    let output = command.arg(nobody).output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{}", server.log());
    serde_json::from_slice(&output.stdout).expect("it keeps to its schema")
}

/// Whether the daemon is muted because a busy machine gave it no time (P2): it could not renew its lease, or the audio thread
/// did not confirm within a second that it is live.
pub fn is_starved(status: &Status) -> bool {
    let reason = status.reason.as_str();
    status.gate == GateState::Muted && matches!(reason, "lease" | "not_confirmed")
}

/// Unmutes again if [`is_starved`]; says whether it was.
///
/// # Panics
/// If the daemon does not answer or refuses.
pub fn unmute_if_starved(daemon: &RunningDaemon) -> bool {
    let status = daemon.status();
    let status = status.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    let starved = is_starved(&status);
    if starved {
        println!("the daemon muted itself on a busy machine: unmuted again");
        let again = daemon.unmute();
        again.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
    }
    starved
}

/// Waits at most `limit` until the daemon's status fulfils `condition`; gives that status.
///
/// # Errors
/// The last status as text, or why there was none.
pub fn wait_for(
    daemon: &RunningDaemon,
    limit: Duration,
    mut condition: impl FnMut(&Status) -> bool,
) -> Result<Status, String> {
    let mut last = Err(DemoError::Misunderstood);
    let held = wait_until(limit, || {
        last = daemon.status();
        last.as_ref().is_ok_and(&mut condition)
    });
    match last {
        Ok(status) if held => Ok(status),
        other => Err(format!("{other:?}\n{}", daemon.log())),
    }
}
