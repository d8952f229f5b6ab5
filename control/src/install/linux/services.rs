//! The user's systemd, if there is one.

use std::process::Command;
use std::time::Duration;

use crate::tool;

/// Stopping a service may take as long as it may take to end.
const LIMIT: Duration = Duration::from_secs(60);

/// The unit of the daemon.
pub(super) const UNIT: &str = "truemute.service";

/// The audio server's units. The sockets belong to it: a client that connects while it is down would start it.
const SERVER: [&str; 5] = [
    "pipewire.socket",
    "pipewire-pulse.socket",
    "pipewire.service",
    "wireplumber.service",
    "pipewire-pulse.service",
];

/// Those of the audio server's units that this machine has.
pub(super) fn of_server() -> Vec<&'static str> {
    let there = |unit: &&str| systemctl(&["cat", unit]).is_ok();
    SERVER.into_iter().filter(there).collect()
}

/// Whether a systemd of this user answers.
pub(super) fn are_there() -> bool {
    systemctl(&["show-environment"]).is_ok()
}

/// `systemctl --user` with `arguments`.
///
/// # Errors
/// What it said.
pub(super) fn systemctl(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(arguments);
    let said = tool::ask(command, LIMIT).map_err(|error| format!("systemctl: {error}"))?;
    if said.is_good() {
        Ok(said.text())
    } else if said.errors.is_empty() {
        Err(format!("systemctl --user {} failed", arguments.join(" ")))
    } else {
        Err(said.errors)
    }
}
