//! `truemute doctor`: looks at the configuration, the daemon and what the daemon says, and tells what to do. It changes
//! nothing. How the findings look is [`crate::report::findings`]'s.

mod realtime;

use std::io;
use std::path::Path;
use std::process::Command;

use truemute_core::observed::MicState;

use crate::api::Client;
use crate::config::{self, Config, POLICY_PATH, Policy};
use crate::protocol::{Answer, Call, GateState, Status};
use crate::report::{Finding, Verdict};

/// Everything that can be found out from here. Waits for the daemon, and for systemd, a few seconds at most.
pub fn examine(socket: &Path) -> Vec<Finding> {
    let mut findings = vec![configuration(), policy()];
    findings.extend(at_login());
    let status = Client::connect(socket).and_then(|mut client| client.call(Call::Status));
    match status {
        Ok(Answer::Status(status)) => {
            findings.push(good(format!("The daemon answers at {}.", socket.display())));
            findings.extend(of_status(&status));
            if status.connected {
                findings.push(realtime::priority(status.daemon_pid));
            }
        }
        Ok(_) => findings.push(bad(
            "The daemon answered something else than was asked.",
            "Restart it (systemctl --user restart truemute), so that both are of one version.",
        )),
        // It says itself what to do.
        Err(error) => findings.push(Finding {
            verdict: Verdict::Bad,
            what: error.to_string(),
            remedy: None,
        }),
    }
    findings
}

fn configuration() -> Finding {
    match (Config::read_default(), config::default_path()) {
        // It says itself what to do.
        (Err(error), _) => Finding {
            verdict: Verdict::Bad,
            what: error.to_string(),
            remedy: None,
        },
        (Ok(_), Some(path)) if path.exists() => {
            good(format!("The configuration {} is valid.", path.display()))
        }
        (Ok(_), _) => good("There is no configuration file: the defaults hold."),
    }
}

fn policy() -> Finding {
    match Policy::read(Path::new(POLICY_PATH), 0) {
        Err(error) => Finding {
            verdict: Verdict::Bad,
            what: error.to_string(),
            remedy: None,
        },
        Ok(policy) if policy == Policy::default() => {
            good("No administrator's policy forces anything.")
        }
        Ok(_) => good(format!(
            "The administrator's policy {POLICY_PATH} is valid."
        )),
    }
}

/// Whether systemd starts the daemon at login; nothing on a system without systemd.
fn at_login() -> Option<Finding> {
    let output = match Command::new("systemctl")
        .args(["--user", "is-enabled", "truemute"])
        .output()
    {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(unchecked(&error.to_string())),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    Some(match said.trim() {
        "enabled" => good("The daemon starts at login."),
        "" => unchecked(String::from_utf8_lossy(&output.stderr).trim()),
        other => doubtful(
            format!("The daemon does not start at login (systemd: {other})."),
            "To change that: systemctl --user enable --now truemute",
        ),
    })
}

fn unchecked(why: &str) -> Finding {
    doubtful(
        format!("Whether the daemon starts at login could not be checked: {why}."),
        "In a desktop session of yours: systemctl --user is-enabled truemute",
    )
}

/// What the daemon's own word tells.
fn of_status(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    if status.version != version {
        findings.push(doubtful(
            format!(
                "The daemon is of version {}, this program of version {version}.",
                status.version
            ),
            "Restart the daemon: systemctl --user restart truemute",
        ));
    }
    findings.push(if status.connected {
        good(format!(
            "The audio server is connected: {}.",
            status.backend
        ))
    } else {
        bad(
            "The daemon has no audio server, so there is no virtual mic.",
            "Start PipeWire: systemctl --user start pipewire wireplumber pipewire-pulse",
        )
    });
    if status.connected {
        findings.push(real_mic(status));
    }
    findings.extend(status.bypasses.iter().map(|bypass| {
        doubtful(
            format!(
                "\"{}\" records from {} and not through TrueMute.",
                bypass.app, bypass.real_mic
            ),
            "Choose \"TrueMute Microphone\" in that app.",
        )
    }));
    // A warning says itself what to do.
    findings.extend(status.warnings.iter().map(|warning| Finding {
        verdict: Verdict::Doubtful,
        what: warning.clone(),
        remedy: None,
    }));
    findings
}

fn real_mic(status: &Status) -> Finding {
    let mic = &status.real_mic;
    match (mic.state, status.gate) {
        (MicState::Missing, _) => bad(
            "No real microphone was found.",
            "Plug one in, or see with `wpctl status` which sources there are.",
        ),
        (MicState::Capturing, GateState::Live) => {
            good(format!("The real microphone {} is captured.", mic.name))
        }
        (MicState::Capturing, GateState::Muted) => good(format!(
            "The real microphone {} is captured and its sound thrown away (while_muted = \"hold\").",
            mic.name
        )),
        (MicState::Released, _) => good(format!(
            "The real microphone {} is there and not captured now.",
            mic.name
        )),
    }
}

fn good(what: impl Into<String>) -> Finding {
    Finding {
        verdict: Verdict::Good,
        what: what.into(),
        remedy: None,
    }
}

fn doubtful(what: impl Into<String>, remedy: &str) -> Finding {
    Finding {
        verdict: Verdict::Doubtful,
        what: what.into(),
        remedy: Some(remedy.into()),
    }
}

fn bad(what: impl Into<String>, remedy: &str) -> Finding {
    Finding {
        verdict: Verdict::Bad,
        what: what.into(),
        remedy: Some(remedy.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    fn worst(findings: &[Finding]) -> Verdict {
        findings
            .iter()
            .map(|finding| finding.verdict)
            .max()
            .unwrap_or(Verdict::Good)
    }

    fn of_this_version(mut status: Status) -> Status {
        status.version = env!("CARGO_PKG_VERSION").into();
        status
    }

    #[test]
    fn all_is_well() {
        assert_eq!(
            worst(&of_status(&of_this_version(samples::live()))),
            Verdict::Good
        );
        assert_eq!(
            worst(&of_status(&of_this_version(samples::muted()))),
            Verdict::Good
        );
    }

    #[test]
    fn no_server_and_no_mic_are_wrong() {
        let mut status = of_this_version(samples::muted());
        status.real_mic.state = MicState::Missing;
        assert_eq!(worst(&of_status(&status)), Verdict::Bad);
        status.connected = false;
        let findings = of_status(&status);
        let wrong: Vec<_> = findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Bad)
            .collect();
        assert_eq!(
            wrong.len(),
            1,
            "the server is the cause, the mic only follows: {findings:?}"
        );
    }

    #[test]
    fn bypasses_warnings_and_another_version_are_doubtful() {
        let mut status = of_this_version(samples::live());
        status.version = "0.0.1".into();
        assert_eq!(worst(&of_status(&status)), Verdict::Doubtful);
        let mut status = of_this_version(samples::live());
        status.warnings = vec!["The disk is full. Free some space.".into()];
        assert_eq!(worst(&of_status(&status)), Verdict::Doubtful);
        let mut status = of_this_version(samples::live());
        status.bypasses = samples::trouble().bypasses;
        assert_eq!(worst(&of_status(&status)), Verdict::Doubtful);
    }
}
