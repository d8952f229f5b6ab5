//! Cuts bypasses off the real mics, where the server lets everybody link to everything: the link goes, and the stream is sent to
//! the virtual mic. Decides only, from plain facts; [`super::Guard`] carries it out. A link is there before it can be cut, so a
//! few frames can slip through (docs/known-issues.md has figures).

use std::collections::{BTreeMap, BTreeSet};

use super::reach::Reached;
use crate::graph::model::Model;

/// So many cuts of one stream within [`WITHIN_NS`] are a fight that cutting cannot win: somebody links it again each time.
const CUTS_AT_MOST: usize = 8;
const WITHIN_NS: u64 = 10_000_000_000;

/// What is to be asked of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Remove this link.
    Unlink(u32),
    /// Send this stream to the virtual mic from now on.
    Retarget(u32),
    /// Remove this node: it comes back however often it is cut off.
    Remove(u32),
}

/// Who was cut off, and how often of late.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    /// By node, with its serial.
    streams: BTreeMap<u32, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    serial: String,
    /// Links that the server was asked to remove and that the registry still shows, with their serials.
    asked: BTreeSet<(u32, u64)>,
    /// Times of the last cuts, monotonic nanoseconds.
    cuts_ns: Vec<u64>,
    removed: bool,
}

impl Cutter {
    /// What is to be done about `bypasses`, none of which is trusted, and which of them (by node) were cut by it. `passes` are
    /// the nodes that may read a mic.
    pub(crate) fn cut(
        &mut self,
        bypasses: &[&Reached],
        model: &Model,
        passes: impl Fn(u32) -> bool,
        now_ns: u64,
    ) -> (Vec<Order>, BTreeSet<u32>) {
        self.streams.retain(|node, stream| {
            let there = model.nodes.get(node);
            there.is_some_and(|node| node.prop("object.serial") == stream.serial)
        });
        let mut points: BTreeMap<u32, BTreeSet<(u32, u64)>> = BTreeMap::new();
        let mut behind: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        for bypass in bypasses {
            if let Some((node, links)) = point(bypass, model, &passes) {
                points.entry(node).or_default().extend(links);
                behind.entry(node).or_default().insert(bypass.node);
            }
        }
        let mut orders = Vec::new();
        let mut cut = BTreeSet::new();
        for (node, links) in points {
            if self.cut_off(node, &links, model, now_ns, &mut orders) {
                cut.extend(behind.remove(&node).into_iter().flatten());
            }
        }
        (orders, cut)
    }

    fn cut_off(
        &mut self,
        node: u32,
        links: &BTreeSet<(u32, u64)>,
        model: &Model,
        now_ns: u64,
        orders: &mut Vec<Order>,
    ) -> bool {
        let Some(facts) = model.nodes.get(&node) else {
            return false;
        };
        let stream = self.streams.entry(node).or_default();
        stream.serial = facts.prop("object.serial").to_owned();
        stream.asked.retain(|link| links.contains(link));
        let fresh: Vec<(u32, u64)> = links.difference(&stream.asked).copied().collect();
        if fresh.is_empty() || stream.removed {
            return false;
        }
        orders.extend(fresh.iter().map(|(link, _)| Order::Unlink(*link)));
        stream.asked.extend(fresh);
        stream.cuts_ns.push(now_ns);
        stream
            .cuts_ns
            .retain(|at| now_ns.saturating_sub(*at) < WITHIN_NS);
        if stream.cuts_ns.len() >= CUTS_AT_MOST {
            stream.removed = true;
            orders.push(Order::Remove(node));
        } else if facts.prop("media.class") == "Stream/Input/Audio" {
            orders.push(Order::Retarget(node));
        }
        true
    }
}

/// Where a bypass is to be cut: the first node on its way that may not read a mic, and the links into it.
fn point(
    bypass: &Reached,
    model: &Model,
    passes: &impl Fn(u32) -> bool,
) -> Option<(u32, Vec<(u32, u64)>)> {
    let way: Vec<u32> = [bypass.mic]
        .into_iter()
        .chain(bypass.through.iter().copied())
        .chain([bypass.node])
        .collect();
    let links = |from: &dyn Fn(u32) -> bool, to: u32| -> Vec<(u32, u64)> {
        model
            .links
            .iter()
            .filter(|(_, link)| link.input_node == to && from(link.output_node))
            .map(|(id, link)| (*id, link.serial))
            .collect()
    };
    let steps = way.windows(2).map(|step| (step[0], step[1]));
    let mut found = steps
        .filter(|(_, to)| *to == bypass.node || !passes(*to))
        .map(|(from, to)| (to, links(&|node| node == from, to)))
        .filter(|(_, links)| !links.is_empty());
    // The shortest way can end inside the node's own program, while a link leads there as well.
    let any = || (bypass.node, links(&|node| way.contains(&node), bypass.node));
    found
        .next()
        .or_else(|| Some(any()).filter(|(_, links)| !links.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        model::{Link, Node, NodeState},
        props::Props,
    };

    /// A mic (1), a trusted effect (2, 3), a sink of nobody (4), an app (5).
    fn model(links: &[(u32, u32, u32)]) -> Model {
        let mut model = Model::default();
        for (id, class) in [
            (1, "Audio/Source"),
            (2, "Stream/Input/Audio"),
            (3, "Audio/Source"),
            (4, "Audio/Sink"),
            (5, "Stream/Input/Audio"),
        ] {
            let props: Props = [
                ("media.class".to_owned(), class.to_owned()),
                ("object.serial".to_owned(), format!("{id}00")),
            ]
            .into_iter()
            .collect();
            let state = NodeState::Running;
            model.nodes.insert(
                id,
                Node {
                    props,
                    state,
                    told: true,
                },
            );
        }
        for (id, output_node, input_node) in links {
            let link = Link {
                output_node: *output_node,
                output_port: 0,
                input_node: *input_node,
                input_port: 0,
                client: None,
                serial: u64::from(*id),
            };
            model.links.insert(*id, link);
        }
        model
    }

    fn reached(through: &[u32]) -> Reached {
        Reached {
            node: 5,
            mic: 1,
            through: through.to_vec(),
        }
    }

    fn cut(cutter: &mut Cutter, way: &Reached, model: &Model, now_ns: u64) -> Vec<Order> {
        let trusted = |node| node == 2 || node == 3;
        cutter.cut(&[way], model, trusted, now_ns).0
    }

    #[test]
    fn the_way_is_cut_where_it_leaves_what_is_trusted() {
        use Order::{Retarget, Unlink};
        for (links, through, orders) in [
            (
                vec![(90, 1, 5), (91, 1, 5)],
                vec![],
                vec![Unlink(90), Unlink(91), Retarget(5)],
            ),
            (
                vec![(90, 1, 2), (91, 3, 5)],
                vec![2, 3],
                vec![Unlink(91), Retarget(5)],
            ),
            // The app may listen to that sink; the mic may not play into it.
            (vec![(90, 1, 4), (91, 4, 5)], vec![4], vec![Unlink(90)]),
            (
                vec![(90, 1, 2), (91, 3, 4), (92, 4, 5)],
                vec![2, 3, 4],
                vec![Unlink(91)],
            ),
        ] {
            let way = reached(&through);
            let found = cut(&mut Cutter::default(), &way, &model(&links), 0);
            assert_eq!(found, orders, "{links:?}");
        }
    }

    #[test]
    fn a_link_is_cut_once_and_one_that_comes_back_again() {
        let mut cutter = Cutter::default();
        let way = reached(&[]);
        assert_eq!(cut(&mut cutter, &way, &model(&[(90, 1, 5)]), 0).len(), 2);
        assert_eq!(cut(&mut cutter, &way, &model(&[(90, 1, 5)]), 1), []);
        let again = cut(&mut cutter, &way, &model(&[(91, 1, 5)]), 2);
        assert_eq!(again, [Order::Unlink(91), Order::Retarget(5)]);
        // The server gives numbers again at once.
        let mut reused = model(&[(91, 1, 5)]);
        reused.links.get_mut(&91).expect("made above").serial = 1000;
        assert_eq!(cut(&mut cutter, &way, &reused, 3).len(), 2);
    }

    #[test]
    fn a_fight_ends_with_the_stream_and_slow_ones_are_none() {
        let mut cutter = Cutter::default();
        let way = reached(&[]);
        let mut fight = |step_ns: u64, from: u32| {
            let rounds = 0..u32::try_from(2 * CUTS_AT_MOST).expect("few");
            let orders = rounds.map(|round| {
                let links = [(from + round, 1, 5)];
                let at = u64::from(from + round) * step_ns;
                cut(&mut cutter, &way, &model(&links), at)
            });
            orders
                .flatten()
                .filter(|it| *it == Order::Remove(5))
                .count()
        };
        assert_eq!(fight(WITHIN_NS, 100), 0);
        assert_eq!(fight(WITHIN_NS, 200), 0);
        assert_eq!(fight(1, u32::MAX / 2), 1);
    }
}
