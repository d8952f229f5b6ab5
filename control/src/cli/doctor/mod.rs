//! `truemute doctor`: looks at the installation from outside and says what is wrong and what to do. [`facts`] gathers,
//! [`graph`] reads the audio server's graph, [`guard`] judges the guard, this file judges. Nothing here changes anything.

mod facts;
mod graph;
#[cfg(fuzzing)]
pub use graph::fuzz as fuzz_graph;
mod guard;
mod installation;

use std::path::PathBuf;

use serde::Serialize;
use truemute_core::observed::MicState;

use super::{Failure, output};
use crate::api::SocketError;
use crate::protocol::{SCHEMA, Status};
use crate::report::{self, Finding, Page, Verdict};
use facts::{Facts, RealTime};
use graph::{Graph, GraphError};

/// `node.name` of the virtual mic.
const VIRTUAL_MIC: &str = truemute_pipewire::VIRTUAL_MIC;

/// Prints what was found. Fails if something does not work.
pub(super) fn run(socket: Result<PathBuf, SocketError>, json: bool) -> Result<(), Failure> {
    let findings = judge(&Facts::gather(&socket));
    if json {
        output::json(&Findings {
            schema: SCHEMA,
            findings: &findings,
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
struct Findings<'a> {
    schema: u32,
    findings: &'a [Finding],
}

fn judge(facts: &Facts) -> Vec<Finding> {
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
        findings.extend(installation::of_files(&facts.installed));
    }
    match &facts.status {
        Ok(status) => {
            findings.push(good(format!("The daemon {} answers.", status.version)));
            findings.extend(of_status(status));
            findings.extend(facts.real_time.as_ref().map(of_real_time));
        }
        Err(error) => findings.push(bad_sentences(error)),
    }
    match &facts.graph {
        Ok(graph) => {
            findings.extend(of_graph(graph, facts.status.is_ok()));
            let wanted = facts.settings.as_ref().ok();
            let wanted = wanted.map(|settings| settings.config.guard);
            findings.extend(
                wanted
                    .into_iter()
                    .flat_map(|wanted| guard::judge(wanted, graph, &facts.links)),
            );
            findings.extend(installation::of_graph(graph));
        }
        Err(error) => findings.push(of_graph_error(error)),
    }
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
            MicState::Capturing | MicState::Released => {
                good(format!("The daemon follows the real mic {}.", status.real_mic.name))
            }
        });
    } else {
        findings.push(bad(
            "The daemon is not connected to an audio server.",
            "Start PipeWire: systemctl --user start pipewire wireplumber.",
        ));
    }
    let bypasses = status.bypasses.iter().map(|bypass| {
        doubtful(
            format!(
                "{} records from the real mic {} itself.",
                bypass.app, bypass.real_mic
            ),
            "Select TrueMute Microphone in it.",
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

fn of_real_time(real_time: &RealTime) -> Finding {
    match real_time {
        RealTime::Priority(priority) => good(format!(
            "The daemon's audio thread runs in real time, with priority {priority}."
        )),
        RealTime::None { limit: 0 } => doubtful(
            "The daemon has no real-time thread and may not make one, so that a busy machine can lose cycles.",
            "Install rtkit, or raise the limit rtprio (ulimit -r) to 20, then restart the daemon.",
        ),
        RealTime::None { limit } => doubtful(
            format!(
                "The daemon has no real-time thread, although priorities up to {limit} are allowed."
            ),
            "Restart the daemon; if that does not help, look at its log (journalctl --user -u truemute).",
        ),
    }
}

fn of_graph(graph: &Graph, daemon_runs: bool) -> Vec<Finding> {
    let mut findings = vec![good(format!("PipeWire {} answers.", graph.version))];
    let listed = graph.sources.iter().any(|source| source == VIRTUAL_MIC);
    if !listed {
        let finding = bad(
            "TrueMute Microphone is not among the server's sources.",
            if daemon_runs {
                "Look at the daemon's log (journalctl --user -u truemute)."
            } else {
                "Start the daemon."
            },
        );
        findings.push(finding);
    } else {
        findings.push(good("Apps can select TrueMute Microphone."));
    }
    if !guard::in_force(graph) && graph.has_only_our_sources() {
        findings.push(bad(
            "The server has no real mic.",
            "Plug one in, or look whether its profile is on (pavucontrol, Configuration).",
        ));
    }
    match graph.default_source.as_deref() {
        Some(VIRTUAL_MIC) => findings.push(good("TrueMute Microphone is the default source.")),
        other if listed => findings.push(doubtful(
            format!(
                "The default source is {}: apps that do not let you choose record from it.",
                other.unwrap_or("not set")
            ),
            "Choose TrueMute Microphone as the input in the desktop's sound settings, or in each app.",
        )),
        _ => {}
    }
    findings
}

fn of_graph_error(error: &GraphError) -> Finding {
    match error {
        GraphError::NoTool => doubtful(
            "What apps can select was not checked: there is no pw-dump.",
            "Install PipeWire's tools (Debian: pipewire-bin), then run this again.",
        ),
        GraphError::NoServer(why) => bad(
            format!("No PipeWire answers ({why})."),
            "Start it: systemctl --user start pipewire wireplumber.",
        ),
        GraphError::NotUnderstood(why) => doubtful(
            format!(
                "What apps can select was not checked: pw-dump printed what this version does not understand ({why})."
            ),
            "Please report it, with the version of PipeWire.",
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::Installed;

    fn graph(sources: &[&str], default: Option<&str>) -> Graph {
        Graph {
            version: "1.4.2".into(),
            makes_nodes: true,
            sources: sources.iter().map(|name| (*name).to_owned()).collect(),
            default_source: default.map(str::to_owned),
            twin: None,
            targets: false,
        }
    }

    fn verdicts(findings: &[Finding]) -> Vec<Verdict> {
        findings.iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_graph_as_it_should_be_is_good() {
        let graph = graph(&["mic", VIRTUAL_MIC], Some(VIRTUAL_MIC));
        assert_eq!(verdicts(&of_graph(&graph, true)), [Verdict::Good; 3]);
    }

    #[test]
    fn the_twin_is_judged_by_what_it_can_carry() {
        let with = |inputs, volume| {
            let mut graph = graph(&[], None);
            (graph.twin, graph.targets) = (Some(graph::Twin { inputs, volume }), true);
            verdicts(&installation::of_graph(&graph))[0]
        };
        assert_eq!(with(0, 0.0), Verdict::Good);
        assert_eq!(with(0, 0.3), Verdict::Doubtful);
        assert_eq!(with(1, 0.0), Verdict::Bad);
    }

    #[test]
    fn what_is_missing_in_the_graph_is_found() {
        for (sources, default, worst) in [
            (&["mic"][..], Some("mic"), Verdict::Bad),
            (&[VIRTUAL_MIC][..], Some(VIRTUAL_MIC), Verdict::Bad),
            (&["mic", VIRTUAL_MIC][..], Some("mic"), Verdict::Doubtful),
            (&["mic", VIRTUAL_MIC][..], None, Verdict::Doubtful),
        ] {
            let findings = of_graph(&graph(sources, default), true);
            assert_eq!(verdicts(&findings).into_iter().max(), Some(worst));
        }
    }

    #[test]
    fn everything_that_is_not_good_says_what_to_do() {
        let facts = Facts {
            settings: Err("config.toml:1: wrong. Correct it.".into()),
            status: Err("No daemon answers at x. Start it.".into()),
            real_time: None,
            graph: Err(GraphError::NoServer("refused".into())),
            links: Err("No server.".into()),
            installed: Err("There is no home directory. Set HOME.".into()),
        };
        let findings = judge(&facts);
        assert_eq!(verdicts(&findings), [Verdict::Bad; 3]);
        let nothing = installation::of_files(&Ok(Installed {
            missing: vec!["a".into()],
            changed: vec!["b".into()],
            foreign: vec!["c".into()],
            ..Installed::default()
        }));
        assert_eq!(verdicts(&nothing), [Verdict::Doubtful; 4]);
        let unprotected = installation::of_graph(&graph(&[], None));
        assert_eq!(verdicts(&unprotected), [Verdict::Bad, Verdict::Doubtful]);
        let more = [
            of_real_time(&RealTime::None { limit: 0 }),
            of_real_time(&RealTime::None { limit: 20 }),
            of_graph_error(&GraphError::NoTool),
            of_graph_error(&GraphError::NotUnderstood("x".into())),
        ];
        for finding in findings
            .iter()
            .chain(&more)
            .chain(&nothing)
            .chain(&unprotected)
        {
            assert!(finding.what.ends_with('.'), "{finding:?}");
            assert!(finding.remedy.is_some(), "{finding:?}");
        }
    }
}
