//! What only Linux has: [`graph`] reads the audio server's graph, [`guard`] judges the guard, [`installation`] what was written,
//! [`mod@real_time`] the daemon's threads; this file judges the graph.

mod graph;
#[cfg(fuzzing)]
pub use graph::fuzz as fuzz_graph;
mod guard;
mod installation;
mod real_time;

use truemute_macos::diagnosis::Diagnosis;
use truemute_pipewire::{LinkChecks, link_checks};

use super::facts::Facts;
use super::{bad, bad_sentences, doubtful, good};
use crate::install::Installed;
use crate::report::Finding;
use graph::{Graph, GraphError};
use real_time::{RealTime, of_real_time, real_time};

/// `node.name` of the virtual mic.
const VIRTUAL_MIC: &str = truemute_pipewire::VIRTUAL_MIC;

/// What was found, before it is judged.
pub(super) struct Installation {
    /// Whether the daemon has a real-time thread; absent if there is no daemon to look at, or nothing for it to connect to:
    /// then it has no audio thread at all.
    real_time: Option<RealTime>,
    /// The audio server's graph.
    graph: Result<Graph, GraphError>,
    /// What the server does about links that should not be.
    links: Result<LinkChecks, String>,
    /// What is there of an installation, or why that cannot be known.
    installed: Result<Installed, String>,
}

impl Installation {
    /// Looks at everything; a few seconds at most.
    pub(super) fn gather(facts: &Facts) -> Self {
        let connected = facts.status.as_ref().ok().filter(|status| status.connected);
        Self {
            real_time: connected.and_then(|status| real_time(status.daemon_pid)),
            graph: graph::read(),
            links: link_checks(),
            installed: installation::look(),
        }
    }

    /// What was written, and whether the daemon is started.
    pub(super) fn of_files(&self) -> Vec<Finding> {
        installation::of_files(&self.installed)
    }

    /// How the daemon runs.
    pub(super) fn of_daemon(&self) -> Option<Finding> {
        self.real_time.as_ref().map(of_real_time)
    }

    /// A driver's own account: there is none on Linux.
    pub(super) fn driver(&self) -> Option<&Diagnosis> {
        None
    }

    /// What apps find on the audio server.
    pub(super) fn of_audio(&self, facts: &Facts) -> Vec<Finding> {
        let graph = match &self.graph {
            Ok(graph) => graph,
            Err(error) => return vec![of_graph_error(error)],
        };
        let mut findings = of_graph(graph, facts.status.is_ok());
        if let Ok(settings) = &facts.settings {
            findings.extend(guard::judge(settings.config.guard, graph, &self.links));
        }
        findings.extend(installation::of_graph(graph));
        findings
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

#[cfg(test)]
mod tests {
    use super::super::judge;
    use super::*;
    use crate::report::Verdict;

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
        };
        let installed = Installation {
            real_time: None,
            graph: Err(GraphError::NoServer("refused".into())),
            links: Err("No server.".into()),
            installed: Err("There is no home directory. Set HOME.".into()),
        };
        let findings = judge(&facts, &installed);
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
