//! What `truemute install` wrote: whether it is there, unchanged, read by the server, and what it protects from.

use crate::install::{self, Installed};
use crate::report::Finding;

use super::graph::Graph;
use super::{bad, doubtful, good};

/// The files on the disk, and the unit.
pub(super) fn of_files(installed: &Result<Installed, String>) -> Vec<Finding> {
    let installed = match installed {
        Ok(installed) => installed,
        Err(why) => return vec![super::bad_sentences(why)],
    };
    let mut findings = Vec::new();
    if installed.missing.is_empty() && installed.changed.is_empty() && installed.foreign.is_empty()
    {
        findings.push(good(format!(
            "All {} files of the installation are there and unchanged.",
            installed.files
        )));
    }
    let several = [
        (&installed.missing, "is missing", "Run `truemute install`."),
        (
            &installed.changed,
            "is of another version or was edited",
            "Run `truemute install`.",
        ),
        (
            &installed.foreign,
            "is not TrueMute's",
            "Move it away, then run `truemute install`.",
        ),
    ];
    for (paths, what, remedy) in several {
        for path in paths {
            findings.push(doubtful(format!("{} {what}.", path.display()), remedy));
        }
    }
    findings.push(match installed.enabled {
        Some(true) => good("systemd starts the daemon at each login."),
        Some(false) => doubtful("systemd does not start the daemon at login.", "Run `truemute install`."),
        None => doubtful(
            "No systemd of this user answers: nothing starts the daemon at login, or ends it when it hangs.",
            "Have the session start `truemute supervise`.",
        ),
    });
    if installed.failed {
        findings.push(bad(
            "The daemon could not start, and systemd does not try again.",
            "Put right what `journalctl --user -u truemute` says, then run `systemctl --user restart truemute`.",
        ));
    }
    findings
}

/// What the server made of them, and so what holds while the daemon is away.
pub(super) fn of_graph(graph: &Graph) -> Vec<Finding> {
    let twin = match graph.twin {
        None => bad(
            "The silent twin is not in the server: when the daemon ends, apps hear the room.",
            "Run `truemute install --restart`.",
        ),
        Some(twin) if twin.inputs > 0 => bad(
            "What is called the silent twin has inputs: sound can be led into it.",
            "Run `truemute install --restart`, and look for another node of the name truemute.silent.",
        ),
        Some(twin) if twin.volume != 0.0 => doubtful(
            "Somebody has turned up the silent twin: without the daemon apps get a tone. It cannot carry the room.",
            "Restart PipeWire: systemctl --user restart pipewire.",
        ),
        Some(_) => {
            good("The silent twin is in the server: apps get zeros while the daemon is away.")
        }
    };
    let targets = if graph.targets {
        good(
            "Apps that ask for TrueMute Microphone get silence without it, whatever other input is the default.",
        )
    } else {
        doubtful(
            "The session manager does not run TrueMute's script: without the daemon, apps may be led to an input that was chosen before.",
            "Run `truemute install --restart`.",
        )
    };
    vec![twin, targets]
}

/// Looks at the disk and at systemd.
pub(super) fn look() -> Result<Installed, String> {
    install::inspect().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;

    #[test]
    fn a_daemon_that_systemd_gave_up_is_bad() {
        let worst = |failed| {
            let installed = Installed {
                enabled: Some(true),
                failed,
                ..Installed::default()
            };
            of_files(&Ok(installed))
                .into_iter()
                .map(|it| it.verdict)
                .max()
        };
        assert_eq!(worst(false), Some(Verdict::Good));
        assert_eq!(worst(true), Some(Verdict::Bad));
    }
}
