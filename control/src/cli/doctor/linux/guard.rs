//! What `truemute doctor` says about the guard: whether apps are kept off the real mics, and what that costs other programs.

use truemute_pipewire::LinkChecks;

use super::graph::Graph;
use super::{bad, doubtful, good};
use crate::config::Guard;
use crate::report::Finding;

/// What programs cannot do while the guard is in force, each tried with PipeWire 1.4.2 (docs/security.md).
const BROKEN: &str = "pactl load-module module-null-sink, module-alsa-sink and module-alsa-source; pw-cli create-node; the output \
that PipeWire shows where there is no sound card; virtual microphones that other programs make, which nobody else sees";

/// Whether only TrueMute's sources and no factory of nodes without an owner are shown to a program like any other.
pub(super) fn in_force(graph: &Graph) -> bool {
    !graph.makes_nodes && graph.has_only_our_sources()
}

/// Judges what apps can do against what is wanted.
pub(super) fn judge(
    wanted: Guard,
    graph: &Graph,
    links: &Result<LinkChecks, String>,
) -> Vec<Finding> {
    if in_force(graph) {
        let mut findings = vec![
            good("Apps are kept off the real mics: the server shows them TrueMute's sources only."),
            good(format!("While that is so, these do not work: {BROKEN}.")),
        ];
        if wanted != Guard::Enforce {
            findings.push(doubtful(
                "Apps are kept off the real mics although `guard` is not \"enforce\".",
                "Set guard = \"enforce\", or run `truemute install --restart` to have that ended.",
            ));
        }
        return findings;
    }
    if wanted != Guard::Enforce {
        return Vec::new();
    }
    vec![match links {
        Ok(LinkChecks::Made) => doubtful(
            "This server makes links for everybody: TrueMute cuts apps off the real mics, and a few frames can slip through.",
            "For more, use PipeWire 0.3.77 or newer with WirePlumber 0.5.",
        ),
        Ok(LinkChecks::Refused | LinkChecks::Guarded) => bad(
            "The guard is to be enforced, and is not in force: apps see the real mics, and are only cut off them.",
            "Run `truemute install`, then restart PipeWire and WirePlumber: systemctl --user restart pipewire wireplumber.",
        ),
        Err(why) => doubtful(
            format!("Whether the server can keep apps off the real mics was not found out. {why}"),
            "Run this again while nothing else changes the sound settings.",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use truemute_pipewire::{SILENT_SOURCE, VIRTUAL_MIC};

    use super::*;
    use crate::install::parts::SILENT_TWIN;
    use crate::report::Verdict;

    fn graph(sources: &[&str], makes_nodes: bool) -> Graph {
        Graph {
            version: "1.4.2".into(),
            sources: sources.iter().map(|name| (*name).to_owned()).collect(),
            makes_nodes,
            default_source: None,
            twin: None,
            targets: true,
        }
    }

    fn worst(wanted: Guard, graph: &Graph, links: LinkChecks) -> Option<Verdict> {
        let findings = judge(wanted, graph, &Ok(links));
        findings.into_iter().map(|finding| finding.verdict).max()
    }

    #[test]
    fn the_guard_is_in_force_only_when_nothing_gives_a_mic_away() {
        for (sources, makes_nodes, expected) in [
            (&[VIRTUAL_MIC, SILENT_TWIN][..], false, true),
            (&[VIRTUAL_MIC, SILENT_TWIN, SILENT_SOURCE], false, true),
            (&[VIRTUAL_MIC, SILENT_TWIN], true, false),
            (&[VIRTUAL_MIC, "mic"], false, false),
        ] {
            assert_eq!(
                in_force(&graph(sources, makes_nodes)),
                expected,
                "{sources:?}"
            );
        }
    }

    #[test]
    fn what_is_wanted_and_not_so_is_said() {
        let (kept_off, open) = (
            graph(&[VIRTUAL_MIC], false),
            graph(&[VIRTUAL_MIC, "mic"], true),
        );
        let (refused, made) = (LinkChecks::Refused, LinkChecks::Made);
        for (wanted, graph, links, expected) in [
            (
                Guard::Enforce,
                &kept_off,
                LinkChecks::Guarded,
                Some(Verdict::Good),
            ),
            (
                Guard::Report,
                &kept_off,
                LinkChecks::Guarded,
                Some(Verdict::Doubtful),
            ),
            (Guard::Enforce, &open, refused, Some(Verdict::Bad)),
            (Guard::Enforce, &open, made, Some(Verdict::Doubtful)),
            (Guard::Report, &open, refused, None),
        ] {
            assert_eq!(
                worst(wanted, graph, links),
                expected,
                "{wanted:?} {links:?}"
            );
        }
    }
}
