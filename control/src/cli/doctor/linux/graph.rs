//! The audio server's graph as any client sees it, through PipeWire's own pw-dump: an independent look, since the daemon could
//! be wrong about itself.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use truemute_pipewire::{SILENT_SOURCE, VIRTUAL_MIC};

use crate::install::parts::{SILENT_TWIN, TARGETS_KEY};
use crate::tool;

/// A server that takes longer to tell its graph does not work.
const LIMIT: Duration = Duration::from_secs(5);

/// What matters of it here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Graph {
    /// Version of the server.
    pub(super) version: String,
    /// `node.name` of every source that apps can select.
    pub(super) sources: Vec<String>,
    /// Whether clients may have the server make nodes for them.
    pub(super) makes_nodes: bool,
    /// `node.name` of the source that apps get if they do not choose.
    pub(super) default_source: Option<String>,
    /// The silent twin, if it is there.
    pub(super) twin: Option<Twin>,
    /// Whether the session manager runs our script for targets.
    pub(super) targets: bool,
}

impl Graph {
    /// Whether every source is one of TrueMute's own.
    pub(super) fn has_only_our_sources(&self) -> bool {
        let ours = [VIRTUAL_MIC, SILENT_TWIN, SILENT_SOURCE];
        let mut sources = self.sources.iter();
        sources.all(|source| ours.contains(&source.as_str()))
    }
}

/// The silent twin as the server has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Twin {
    /// Ports that sound could come in by.
    pub(super) inputs: usize,
    /// Its volume: 0 is silence.
    pub(super) volume: f64,
}

/// Why there is no graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GraphError {
    /// pw-dump is not installed.
    NoTool,
    /// pw-dump failed: its own words.
    NoServer(String),
    /// It printed something else than is expected.
    NotUnderstood(String),
}

/// Asks the server of this session.
pub(super) fn read() -> Result<Graph, GraphError> {
    let said = tool::ask(Command::new("pw-dump"), LIMIT).map_err(|_| GraphError::NoTool)?;
    match said.status {
        Some(status) if status.success() => parse(&said.output),
        Some(_) => Err(GraphError::NoServer(said.errors)),
        None => Err(GraphError::NoServer("pw-dump did not end in 5 s".into())),
    }
}

fn parse(dump: &[u8]) -> Result<Graph, GraphError> {
    let objects: Vec<Value> = serde_json::from_slice(dump)
        .map_err(|error| GraphError::NotUnderstood(error.to_string()))?;
    let of_type = |name: &'static str| {
        let wanted = format!("PipeWire:Interface:{name}");
        objects
            .iter()
            .filter(move |object| object["type"] == *wanted)
    };
    let version = of_type("Core")
        .find_map(|core| core["info"]["version"].as_str())
        .ok_or_else(|| GraphError::NotUnderstood("it names no core".into()))?;
    let sources = of_type("Node")
        .map(|node| &node["info"]["props"])
        .filter(|props| {
            props["media.class"]
                .as_str()
                .is_some_and(|class| class == "Audio/Source" || class.starts_with("Audio/Source/"))
        })
        .filter_map(|props| props["node.name"].as_str());
    let makes_nodes = of_type("Factory").any(|factory| {
        let name = factory["info"]["name"].as_str();
        name == Some("adapter") || name == Some("spa-node-factory")
    });
    let metadata = |key: &'static str| {
        of_type("Metadata")
            .filter_map(|metadata| metadata["metadata"].as_array())
            .flatten()
            .find(move |entry| entry["key"] == key)
    };
    let default_source =
        metadata("default.audio.source").and_then(|entry| entry["value"]["name"].as_str());
    let twin = of_type("Node")
        .map(|node| &node["info"])
        .find(|info| info["props"]["node.name"] == SILENT_TWIN)
        .map(twin);
    Ok(Graph {
        version: version.to_owned(),
        sources: sources.map(str::to_owned).collect(),
        makes_nodes,
        default_source: default_source.map(str::to_owned),
        twin,
        targets: metadata(TARGETS_KEY).is_some(),
    })
}

/// For fuzzing: what pw-dump prints; the names in it are other programs'.
#[cfg(fuzzing)]
pub fn fuzz(dump: &[u8]) {
    let _ = parse(dump);
}

fn twin(info: &Value) -> Twin {
    let volumes = info["params"]["Props"].as_array().into_iter().flatten();
    let volumes = volumes.filter_map(|props| props["volume"].as_f64());
    Twin {
        inputs: info["n-input-ports"]
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(usize::MAX),
        // Its own, and the converter's behind it. One that is not told is none that can be trusted.
        volume: volumes
            .fold(None, |most: Option<f64>, it| {
                Some(most.unwrap_or(0.0).max(it.abs()))
            })
            .unwrap_or(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortened from pw-dump 0.3.65.
    const DUMP: &str = r#"[
        {"id": 0, "type": "PipeWire:Interface:Core", "info": {"version": "0.3.65", "name": "pipewire-0"}},
        {"id": 11, "type": "PipeWire:Interface:Factory", "info": {"name": "adapter"}},
        {"id": 30, "type": "PipeWire:Interface:Node", "info": {"props": {"media.class": "Audio/Source", "node.name": "truemute.mic"}}},
        {"id": 31, "type": "PipeWire:Interface:Node", "info": {"props": {"media.class": "Audio/Source/Virtual", "node.name": "simulated"}}},
        {"id": 32, "type": "PipeWire:Interface:Node", "info": {"props": {"media.class": "Audio/Sink", "node.name": "speaker"}}},
        {"id": 33, "type": "PipeWire:Interface:Node", "info": null},
        {"id": 34, "type": "PipeWire:Interface:Node", "info": {"n-input-ports": 0, "props": {"media.class": "Audio/Source", "node.name": "truemute.silent"},
            "params": {"Props": [{"volume": 0.0, "mute": false}, {"live": false}, {"frequency": 440.0, "volume": 0.5}]}}},
        {"id": 40, "type": "PipeWire:Interface:Metadata", "props": {"metadata.name": "default"}, "metadata": [
            {"subject": 0, "key": "truemute.targets", "type": "Spa:String", "value": "1"},
            {"subject": 0, "key": "default.audio.sink", "type": "Spa:String:JSON", "value": {"name": "speaker"}},
            {"subject": 0, "key": "default.audio.source", "type": "Spa:String:JSON", "value": {"name": "truemute.mic"}}]}
    ]"#;

    #[test]
    fn the_graph_is_read_from_a_dump() {
        assert_eq!(
            parse(DUMP.as_bytes()).unwrap(),
            Graph {
                version: "0.3.65".into(),
                sources: vec![
                    "truemute.mic".into(),
                    "simulated".into(),
                    "truemute.silent".into()
                ],
                makes_nodes: true,
                default_source: Some("truemute.mic".into()),
                twin: Some(Twin {
                    inputs: 0,
                    volume: 0.5
                }),
                targets: true,
            }
        );
    }

    #[test]
    fn something_else_is_not_understood() {
        for dump in [&b""[..], b"garbage", b"{}", b"[]", b"[1, null]"] {
            assert!(matches!(parse(dump), Err(GraphError::NotUnderstood(_))));
        }
    }
}
