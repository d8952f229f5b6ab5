//! The ordinary user who is logged in on the machine's screen, and the commands that he or she types.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::report::Trouble;

/// The person's home.
pub(crate) const HOME: &str = "/home/person";
/// Where the person put the program.
pub(crate) const TRUEMUTE: &str = "/home/person/.local/bin/truemute";

/// The configuration, in the home.
pub(crate) const SETTINGS: &str = ".config/truemute/config.toml";

/// A command of the person's, with the environment of the session.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=person", "--regid=person", "--init-groups", program])
        .current_dir(HOME)
        .env_clear()
        .env("HOME", HOME)
        .env("USER", "person")
        .env("PATH", format!("{HOME}/.local/bin:/usr/bin:/bin"))
        .env("XDG_RUNTIME_DIR", "/run/user/1000")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus")
        .env("DISPLAY", ":0");
    command
}

/// Runs a command line without quoting, whatever it exits with.
pub(crate) fn output(line: &str) -> Result<Output, Trouble> {
    let mut words = line.split_whitespace();
    let mut command = command("timeout");
    command.arg("60").args(words.by_ref());
    command
        .output()
        .map_err(|error| Trouble::Failed(format!("cannot run `{line}`: {error}")))
}

/// Runs a command line that must work; returns what it printed.
pub(crate) fn run(line: &str) -> Result<String, Trouble> {
    let output = output(line)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(Trouble::Failed(format!(
            "`{line}` ended with {}: {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    Ok(text)
}

/// Runs a command line that prints JSON.
pub(crate) fn json(line: &str) -> Result<Value, Trouble> {
    let text = run(line)?;
    serde_json::from_str(&text)
        .map_err(|error| Trouble::Failed(format!("`{line}` printed no JSON: {error}: {text}")))
}

/// Writes a file of the person's; the path is relative to the home, and its folder is made if it is not there.
pub(crate) fn write(path: &str, text: &str) -> Result<(), Trouble> {
    let file = format!("{HOME}/{path}");
    if let Some((folder, _)) = file.rsplit_once('/') {
        run(&format!("mkdir -p {folder}"))?;
    }
    run(&format!("touch {file}"))?;
    Ok(fs::write(file, text)?)
}

/// `truemute status`, if the daemon answers.
pub(crate) fn status() -> Option<Value> {
    json("truemute status --json").ok()
}

/// Whether the daemon answers, and has an audio server with a real mic: what a person waits for before unmuting.
pub(crate) fn ready() -> bool {
    status().is_some_and(|it| it["connected"] == true && it["real_mic"]["state"] != "missing")
}

/// Whether the gate is as named: "live" or "muted".
pub(crate) fn gate_is(word: &str) -> bool {
    status().is_some_and(|status| status["gate"] == word)
}

/// A property of the daemon's unit.
pub(crate) fn unit(property: &str) -> Result<String, Trouble> {
    let line = format!("systemctl --user show --value --property={property} truemute.service");
    Ok(run(&line)?.trim().to_owned())
}
