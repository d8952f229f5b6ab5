//! The real mic's way to the capture filter: linked only while somebody listens and the gate may need it, let go of and
//! suspended otherwise (P8). The links are ours: without linger, so that they go when we do. Other links into the filter are
//! cut: its ports mix, and what another app plays is not to be heard as the mic.

use std::collections::BTreeSet;

use pipewire::{core::CoreRc, link::Link as LinkProxy, properties::PropertiesBox};

use crate::{
    graph::{
        model::{Link, Model, NodeState},
        watch::Watch,
    },
    sample::Channel,
};

/// Keeps the mic linked or released.
#[derive(Default)]
pub(crate) struct MicKeeper {
    linked: Option<Linked>,
    /// The mic that we linked last: only what we opened is ours to close.
    opened: Option<u32>,
    /// The mic that was asked to close its device, so that it is asked once.
    closed: Option<u32>,
    /// Links of others into the filter, which the server was asked to remove, with their serials.
    foreign: BTreeSet<(u32, u64)>,
}

struct Linked {
    mic: u32,
    pairs: Vec<Pair>,
}

impl Linked {
    /// Whether the mic, or a link that was there, has gone.
    fn is_lost(&mut self, model: &Model) -> bool {
        let mut lost = !model.nodes.contains_key(&self.mic);
        for pair in &mut self.pairs {
            let there = model
                .links
                .values()
                .any(|l| l.output_port == pair.output && l.input_port == pair.input);
            lost |= pair.seen && !there;
            pair.seen |= there;
        }
        lost
    }
}

struct Pair {
    output: u32,
    input: u32,
    /// Whether the registry has shown the link: if it vanishes after that, somebody removed it.
    seen: bool,
    _proxy: LinkProxy,
}

impl MicKeeper {
    /// Brings the links in line with what is wanted: `mic` is the node to be linked, or `None` for released. `before` is
    /// called if it is linked now, while no sound of it can come yet.
    pub(crate) fn keep(
        &mut self,
        mic: Option<u32>,
        capture: u32,
        model: &Model,
        core: &CoreRc,
        before: impl FnOnce(),
    ) -> Result<(), pipewire::Error> {
        if self
            .linked
            .as_mut()
            .is_some_and(|linked| linked.is_lost(model) || Some(linked.mic) != mic)
        {
            self.linked = None;
        }
        let Some(mic) = mic.filter(|_| self.linked.is_none()) else {
            return Ok(());
        };
        let pairs = pairs(model, mic, capture);
        if !pairs.is_empty() {
            before();
        }
        let pairs = pairs
            .into_iter()
            .map(|(output, input)| {
                let proxy = link(core, mic, output, capture, input)?;
                Ok(Pair {
                    output,
                    input,
                    seen: false,
                    _proxy: proxy,
                })
            })
            .collect::<Result<Vec<_>, pipewire::Error>>()?;
        if !pairs.is_empty() {
            self.opened = Some(mic);
            self.linked = Some(Linked { mic, pairs });
        }
        Ok(())
    }

    /// Closes the device of a mic that was linked and is released (`None` if none is to be closed), unless somebody else
    /// uses it. The server
    /// obeys in any state (`suspend_node`, src/pipewire/impl-node.c), and 0.3.65 then leaves whoever records from the mic
    /// with silence (measured), so only an idle mic without other links is asked. What cannot be excluded is a link that is
    /// made while the request is under way; the session manager's own timeout has the same gap.
    pub(crate) fn close(&mut self, mic: Option<u32>, capture: u32, model: &Model, watch: &Watch) {
        let Some(mic) = mic.filter(|mic| self.linked.is_none() && self.opened == Some(*mic)) else {
            self.closed = None;
            return;
        };
        let idle = model
            .nodes
            .get(&mic)
            .is_some_and(|node| node.state == NodeState::Idle);
        if idle && !model.used_by_others(mic, Some(capture)) {
            if self.closed.replace(mic) != Some(mic) {
                watch.suspend(mic);
            }
        } else {
            self.closed = None;
        }
    }

    /// Removes what others have linked into the filter. If there is such a link now and was none before, or the reverse,
    /// says which. (A link that lingers has no client, so it is not ours.)
    pub(crate) fn cut_foreign(
        &mut self,
        capture: u32,
        model: &Model,
        watch: &Watch,
    ) -> Option<bool> {
        let own = model.nodes.get(&capture)?.client()?;
        let into_us = |link: &Link| link.input_node == capture && link.client != Some(own);
        let found: BTreeSet<(u32, u64)> = model
            .links
            .iter()
            .filter(|(_, link)| into_us(link))
            .map(|(id, link)| (*id, link.serial))
            .collect();
        for (id, _) in found.difference(&self.foreign) {
            let link = model.links.get(id);
            let source = link.and_then(|link| model.nodes.get(&link.output_node));
            let client = link.and_then(|link| model.clients.get(&link.client?));
            tracing::warn!(
                source = source.map_or("", |node| node.prop("node.name")),
                by = client.and_then(|props| props.get("application.name")),
                "somebody linked a source into the virtual microphone; the link is removed, and until then there is silence"
            );
            watch.destroy(*id);
        }
        let before = std::mem::replace(&mut self.foreign, found);
        let mixed = !self.foreign.is_empty();
        (before.is_empty() == mixed).then_some(mixed)
    }

    /// The mic whose links the registry has shown.
    pub(crate) fn capturing(&self) -> Option<u32> {
        self.linked
            .as_ref()
            .filter(|l| l.pairs.iter().all(|p| p.seen))
            .map(|l| l.mic)
    }

    /// The mic that is linked or about to be.
    pub(crate) fn mic(&self) -> Option<u32> {
        self.linked.as_ref().map(|l| l.mic)
    }
}

/// Which output port of the mic goes into which input port of the filter: by channel name where all agree, else in
/// order; a mic with fewer channels repeats its last one, so that no channel of the virtual mic stays silent.
fn pairs(model: &Model, mic: u32, capture: u32) -> Vec<(u32, u32)> {
    let outputs = model.capture_ports(mic);
    let inputs = model.input_ports(capture);
    let Some(last) = outputs.last() else {
        return Vec::new();
    };
    let by_name = inputs
        .iter()
        .all(|(_, i)| outputs.iter().any(|(_, o)| o.channel == i.channel));
    inputs
        .iter()
        .enumerate()
        .map(|(index, (input, port))| {
            let output = if by_name {
                outputs
                    .iter()
                    .find(|(_, o)| o.channel == port.channel)
                    .unwrap_or(last)
            } else {
                outputs.get(index).unwrap_or(last)
            };
            (output.0, *input)
        })
        .collect()
}

fn link(
    core: &CoreRc,
    mic: u32,
    output: u32,
    capture: u32,
    input: u32,
) -> Result<LinkProxy, pipewire::Error> {
    let mut properties = PropertiesBox::new();
    properties.insert("link.output.node", mic.to_string());
    properties.insert("link.output.port", output.to_string());
    properties.insert("link.input.node", capture.to_string());
    properties.insert("link.input.port", input.to_string());
    properties.insert("object.linger", "false");
    // The mic runs for the clients of the virtual mic, never for the link's sake.
    properties.insert("link.passive", "true");
    core.create_object("link-factory", &properties)
}

/// The channels of a mic, from its ports.
pub(crate) fn channels_of(model: &Model, mic: u32) -> Vec<Channel> {
    model
        .capture_ports(mic)
        .iter()
        .take(crate::sample::MAX_CHANNELS)
        .enumerate()
        .map(|(index, (_, port))| Channel::named(&port.channel, index))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::model::Port;

    fn model(outputs: &[&str], inputs: &[&str]) -> Model {
        let mut model = Model::default();
        let port = |node, output, number: usize, channel: &&str| Port {
            node,
            output,
            monitor: false,
            number: number as u32,
            channel: (*channel).to_owned(),
        };
        for (i, channel) in outputs.iter().enumerate() {
            model
                .ports
                .insert(100 + i as u32, port(1, true, i, channel));
        }
        for (i, channel) in inputs.iter().enumerate() {
            model
                .ports
                .insert(200 + i as u32, port(2, false, i, channel));
        }
        model
    }

    #[test]
    fn channels_meet_by_name_else_in_order() {
        assert_eq!(
            pairs(&model(&["FR", "FL"], &["FL", "FR"]), 1, 2),
            [(101, 200), (100, 201)]
        );
        assert_eq!(
            pairs(&model(&["AUX0", "AUX1"], &["FL", "FR"]), 1, 2),
            [(100, 200), (101, 201)]
        );
        assert_eq!(
            pairs(&model(&["MONO"], &["FL", "FR"]), 1, 2),
            [(100, 200), (100, 201)]
        );
        assert_eq!(pairs(&model(&[], &["FL", "FR"]), 1, 2), []);
        assert_eq!(
            pairs(&model(&["FL", "FR", "FC"], &["MONO"]), 1, 2),
            [(100, 200)]
        );
    }

    #[test]
    fn a_sinks_monitor_is_no_capture_port() {
        let mut model = model(&["FL"], &["FL"]);
        model.ports.get_mut(&100).expect("made above").monitor = true;
        assert_eq!(pairs(&model, 1, 2), []);
        assert!(channels_of(&model, 1).is_empty());
    }
}
