//! Judges what the macOS driver tells about itself. It comes through Core Audio and not over the driver's socket, so that it is
//! there when the socket is what does not work.

use std::io;

use truemute_macos::diagnosis::{Bridge, Diagnosis};

use super::{bad, bad_sentences, doubtful, good};
use crate::report::Finding;

/// What to do about what nobody but a developer can mend.
const REPORT: &str =
    "Restart the Mac; if it is still so, send what `truemute doctor --json` prints with a report.";

/// What was found, or why nothing was, as two sentences.
pub(super) fn judge(driver: &Result<Diagnosis, String>) -> Vec<Finding> {
    let driver = match driver {
        Ok(driver) => driver,
        Err(why) => return vec![bad_sentences(why)],
    };
    let mut findings = vec![of_version(driver)];
    findings.extend(of_bridge(&driver.bridge));
    findings
}

fn of_version(driver: &Diagnosis) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    if driver.version != ours {
        return doubtful(
            format!(
                "The driver that runs is version {}, this program {ours}.",
                driver.version
            ),
            "Run install.sh of one archive, then restart the Mac.",
        );
    }
    let present = driver.clients.iter().filter(|client| client.present != 0);
    good(format!(
        "The driver {ours} runs in Core Audio; {} programs have opened TrueMute Microphone, {} record.",
        present.count(),
        driver.running
    ))
}

fn of_bridge(bridge: &Bridge) -> Vec<Finding> {
    let failed: Vec<_> = bridge
        .failed
        .iter()
        .map(|place| format!("{}: {}", place.path, error(place.errno)))
        .collect();
    let failed = failed.join("; ");
    let path = bridge.own_path.as_ref().or(bridge.path.as_ref());
    let mut findings = vec![match (path, bridge.errno) {
        (Some(path), _) => good(format!("The driver listens for the daemon at {path}.")),
        (None, Some(errno)) => bad(
            format!(
                "The driver could not begin to listen for the daemon: {}.",
                error(errno)
            ),
            REPORT,
        ),
        (None, None) if bridge.started == 0 => bad(
            "The driver was loaded, but Core Audio did not start it.",
            REPORT,
        ),
        (None, None) if failed.is_empty() => doubtful(
            "The driver does not listen for the daemon yet.",
            "Run `truemute doctor` again.",
        ),
        (None, None) => bad(
            format!("The driver has no place to listen for the daemon ({failed})."),
            REPORT,
        ),
    }];
    if path.is_some() && !failed.is_empty() {
        findings.push(doubtful(
            format!("The driver could not listen everywhere ({failed})."),
            "Nothing, as long as the daemon is connected; else look who owns those files.",
        ));
    }
    findings.extend(bridge.errors.iter().map(|step| {
        doubtful(
            format!(
                "In the driver this failed: {}, {}.",
                step.what,
                error(step.errno)
            ),
            "If something does not work, send what `truemute doctor --json` prints with a report.",
        )
    }));
    if path.is_some() && bridge.producer.is_none() {
        findings.push(match bridge.refused.last() {
            Some(last) => doubtful(
                format!(
                    "No daemon is connected to the driver, and it turned {} away, last user {}: {}.",
                    bridge.refusals, last.user, last.why
                ),
                "The daemon must be of the user at the screen; log out other users.",
            ),
            None => doubtful(
                "No daemon is connected to the driver.",
                "Run `truemute install`, which starts it.",
            ),
        });
    }
    findings
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use truemute_macos::diagnosis::{FailedPlace, FailedStep, Reads, Refusal};

    /// A driver of this version that is connected.
    fn driver() -> Diagnosis {
        Diagnosis {
            version: env!("CARGO_PKG_VERSION").into(),
            instance: "1".into(),
            now_ns: 0,
            gate_open: 0,
            gate_epoch: 0,
            running: 0,
            clock: None,
            clients: Vec::new(),
            unattributed: Reads::default(),
            forgotten_clients: 0,
            bridge: Bridge {
                started: 1,
                errno: None,
                own_path: Some("/private/tmp/socket".into()),
                path: None,
                failed: Vec::new(),
                errors: Vec::new(),
                producer: Some(501),
                producers: 1,
                refusals: 0,
                refused: Vec::new(),
            },
            unanswered: Vec::new(),
        }
    }

    /// The worst that is said of a driver that differs like this, and all of it.
    fn said(alter: impl FnOnce(&mut Diagnosis)) -> (Verdict, String) {
        let mut driver = driver();
        alter(&mut driver);
        let findings = judge(&Ok(driver));
        let worst = findings.iter().map(|it| it.verdict).max();
        let text: Vec<_> = findings.into_iter().map(|it| it.what).collect();
        (worst.expect("something is said"), text.join("\n"))
    }

    #[test]
    fn a_driver_that_works_is_good() {
        let (verdict, text) = said(|_| {});
        assert_eq!(verdict, Verdict::Good, "{text}");
        assert!(text.contains("/private/tmp/socket"), "{text}");
    }

    #[test]
    fn a_socket_that_does_not_come_up_is_said_with_its_errors() {
        let place = |errno| FailedPlace {
            path: "/private/tmp/a".into(),
            errno,
        };
        let (verdict, text) = said(|driver| {
            driver.bridge.own_path = None;
            driver.bridge.failed = vec![place(1), place(13)];
        });
        assert_eq!(verdict, Verdict::Bad);
        assert!(
            text.contains("/private/tmp/a: ") && text.contains("os error 13"),
            "{text}"
        );
        let (verdict, text) = said(|driver| {
            driver.bridge.own_path = None;
            driver.bridge.started = 0;
            driver.bridge.errno = Some(24);
        });
        assert!(
            verdict == Verdict::Bad && text.contains("os error 24"),
            "{text}"
        );
        let (verdict, _) = said(|driver| {
            driver.bridge.own_path = None;
            driver.bridge.started = 0;
        });
        assert_eq!(verdict, Verdict::Bad);
        let (verdict, text) = said(|driver| driver.bridge.failed = vec![place(48)]);
        assert!(
            verdict == Verdict::Doubtful && text.contains("everywhere"),
            "{text}"
        );
    }

    #[test]
    fn who_was_turned_away_and_what_failed_is_said() {
        let (verdict, text) = said(|driver| {
            driver.bridge.producer = None;
            driver.bridge.refusals = 3;
            driver.bridge.refused = vec![Refusal {
                user: 502,
                why: "user 502 is not the one at the console".into(),
                at_ns: 1,
            }];
            driver.bridge.errors = vec![FailedStep {
                what: "accept".into(),
                errno: 24,
            }];
        });
        assert_eq!(verdict, Verdict::Doubtful);
        assert!(
            text.contains("3 away, last user 502") && text.contains("accept"),
            "{text}"
        );
    }

    #[test]
    fn another_version_and_no_driver_are_said() {
        let (verdict, text) = said(|driver| driver.version = "0.0.9".into());
        assert!(
            verdict == Verdict::Doubtful && text.contains("0.0.9"),
            "{text}"
        );
        let absent = judge(&Err("There is none. Restart.".into()));
        assert_eq!(absent, [bad("There is none.", "Restart.")]);
    }
}
