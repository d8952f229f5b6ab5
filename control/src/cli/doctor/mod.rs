//! `truemute doctor`: looks at the installation from outside and says what is wrong and what to do. [`facts`] gathers what every
//! system has, this file judges it, and an [`Installation`] judges what only one system has. Nothing here changes anything.

#[cfg(any(target_os = "macos", test))]
mod driver;
mod facts;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(fuzzing, target_os = "linux"))]
pub use linux::fuzz_graph;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(windows)]
mod windows;

use std::path::PathBuf;

use serde::Serialize;
use truemute_core::observed::MicState;

use super::{Failure, output};
use crate::api::SocketError;
use crate::backend::SHOWN_AS;
use crate::protocol::{SCHEMA, Status};
use crate::report::{self, Finding, Page, Verdict};
use crate::system;
use facts::Facts;
#[cfg(target_os = "linux")]
use linux::Installation;
#[cfg(target_os = "macos")]
use macos::Installation;
#[cfg(windows)]
use windows::Installation;

/// Prints what was found. Fails if something does not work.
pub(super) fn run(socket: Result<PathBuf, SocketError>, json: bool) -> Result<(), Failure> {
    let facts = Facts::gather(&socket);
    let installed = Installation::gather(&facts);
    let findings = judge(&facts, &installed);
    if json {
        output::json(&Findings {
            schema: SCHEMA,
            findings: &findings,
            driver: installed.driver(),
        })?;
    } else {
        output::text(&report::findings(&findings, &Page::of_stdout()))?;
    }
    if findings
        .iter()
        .any(|finding| finding.verdict == Verdict::Bad)
    {
        return Err(Failure::new(
            "The installation does not work as it should. Do what is said above, then run `truemute doctor` again.",
        ));
    }
    Ok(())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Findings<'a, Driver> {
    schema: u32,
    findings: &'a [Finding],
    /// On macOS, all that the driver tells about itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<&'a Driver>,
}

fn judge(facts: &Facts, installed: &Installation) -> Vec<Finding> {
    let mut findings = vec![match &facts.settings {
        Ok(settings) if !settings.forced.is_empty() => good(format!(
            "The configuration is right; the policy forces {} of its values.",
            settings.forced.len()
        )),
        Ok(_) => good("The configuration is right."),
        Err(error) => bad_sentences(error),
    }];
    // Configuration that cannot be read is said once.
    if facts.settings.is_ok() {
        findings.extend(installed.of_files());
    }
    match &facts.status {
        Ok(status) => {
            findings.push(good(format!("The daemon {} answers.", status.version)));
            findings.extend(of_status(status));
            findings.extend(installed.of_daemon());
        }
        Err(error) => findings.push(bad_sentences(error)),
    }
    findings.extend(installed.of_audio(facts));
    findings
}

fn of_status(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if status.connected {
        findings.push(good(format!(
            "The daemon is connected to {}.",
            status.backend
        )));
        findings.push(match status.real_mic.state {
            MicState::Missing => bad(
                "The daemon finds no real mic that it may follow.",
                "Plug one in, or look at real_mic in the configuration and allowed_real_mics in the policy.",
            ),
            MicState::Denied => bad(
                "The system does not let TrueMute hear the microphone.",
                "Allow it in System Settings, Privacy & Security, Microphone.",
            ),
            MicState::AllZero => doubtful(
                format!("The real mic {} delivers nothing but zeros.", status.real_mic.name),
                "Look for a mute switch on the microphone, and at its input volume.",
            ),
            MicState::Capturing | MicState::Released => {
                good(format!("The daemon follows the real mic {}.", status.real_mic.name))
            }
        });
    } else {
        findings.push(bad(
            "The daemon is not connected to an audio server.",
            &format!("{}.", system::START_SERVER),
        ));
    }
    let bypasses = status.bypasses.iter().map(|bypass| {
        doubtful(
            format!(
                "{} records from the real mic {} itself.",
                bypass.who.app, bypass.real_mic
            ),
            &format!("Select {SHOWN_AS} in it."),
        )
    });
    let warnings = status.warnings.iter().map(|warning| {
        let (what, remedy) = sentences(warning);
        Finding {
            verdict: Verdict::Doubtful,
            what,
            remedy,
        }
    });
    findings.extend(bypasses);
    findings.extend(warnings);
    findings
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

/// Of a message whose first sentence says what went wrong and whose rest says what to do.
fn bad_sentences(message: &str) -> Finding {
    let (what, remedy) = sentences(message);
    Finding {
        verdict: Verdict::Bad,
        what,
        remedy,
    }
}

fn sentences(message: &str) -> (String, Option<String>) {
    match message.split_once(". ") {
        Some((what, remedy)) => (format!("{what}."), Some(remedy.to_owned())),
        None => (message.to_owned(), None),
    }
}
