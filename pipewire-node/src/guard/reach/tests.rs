use proptest::prelude::*;

use super::*;

const OWN: u32 = 9;
const SESSION_MANAGER: u32 = 30;

fn node(id: u32, client: Option<u32>, media_class: &str) -> NodeFacts {
    NodeFacts {
        id,
        name: format!("node-{id}"),
        media_class: media_class.to_owned(),
        client,
        ..NodeFacts::default()
    }
}

fn grouped(node: NodeFacts) -> NodeFacts {
    NodeFacts {
        link_group: Some("group".to_owned()),
        ..node
    }
}

/// Ours (1, 2) and the silent source in the server (3), two real mics (10, 11), a duplex interface (12), a recorder (20).
fn desktop() -> Vec<NodeFacts> {
    let hardware = |id, class| NodeFacts {
        hardware: true,
        ..node(id, Some(SESSION_MANAGER), class)
    };
    vec![
        node(1, Some(OWN), "Audio/Source"),
        node(2, Some(OWN), ""),
        NodeFacts {
            name: "truemute.silence".to_owned(),
            ..node(3, None, "Audio/Source/Virtual")
        },
        hardware(10, "Audio/Source"),
        hardware(11, "Audio/Source"),
        hardware(12, "Audio/Duplex"),
        node(20, Some(40), "Stream/Input/Audio"),
    ]
}

fn found(more: &[NodeFacts], links: &[(u32, u32)]) -> Vec<(u32, u32, Vec<u32>)> {
    let nodes = [desktop(), more.to_vec()].concat();
    let graph = Graph {
        nodes: &nodes,
        links,
        own_client: Some(OWN),
    };
    reach(graph)
        .into_iter()
        .map(|it| (it.node, it.mic, it.through))
        .collect()
}

#[test]
fn who_records_through_the_gate_is_no_bypass() {
    assert_eq!(found(&[], &[(10, 2), (1, 20)]), []);
    assert_eq!(found(&[], &[(3, 20)]), []);
}

#[test]
fn who_records_from_any_real_mic_is_one() {
    for mic in [10, 11, 12] {
        assert_eq!(found(&[], &[(mic, 20), (10, 2)]), [(20, mic, vec![])]);
    }
    // Nobody's node: a lingering one.
    let lingering = node(21, None, "Stream/Input/Audio");
    assert_eq!(found(&[lingering], &[(10, 21)]), [(21, 10, vec![])]);
    // Whatever it calls itself.
    let disguised = NodeFacts {
        name: "truemute.capture".to_owned(),
        hardware: true,
        ..node(21, Some(41), "Audio/Sink")
    };
    assert_eq!(found(&[disguised], &[(10, 21)]), [(21, 10, vec![])]);
}

#[test]
fn the_way_through_others_is_told() {
    let null_sink = node(21, None, "Audio/Sink");
    assert_eq!(
        found(&[null_sink], &[(10, 21), (21, 20)]),
        [(20, 10, vec![21])]
    );
    let loopback = [
        grouped(node(21, Some(41), "Stream/Input/Audio")),
        grouped(node(22, Some(41), "Audio/Source")),
    ];
    assert_eq!(
        found(&loopback, &[(11, 21), (22, 20)]),
        [(20, 11, vec![21, 22]), (21, 11, vec![])]
    );
    // A source that only passes the mic's sound on is no mic, also while nothing is linked to it.
    assert_eq!(found(&loopback, &[(22, 20)]), []);
    // Through the gate first.
    assert_eq!(found(&loopback, &[(10, 2), (1, 21), (22, 20)]), []);
    // The silent source has inputs on some servers: then it is silent no more.
    assert_eq!(found(&[], &[(10, 3), (3, 20)]), [(20, 10, vec![3])]);
}

#[test]
fn what_the_session_manager_puts_before_the_mic_belongs_to_it() {
    let bluetooth = [
        NodeFacts {
            hardware: true,
            ..node(21, Some(SESSION_MANAGER), "Audio/Source/Internal")
        },
        grouped(node(22, Some(SESSION_MANAGER), "Stream/Input/Audio")),
        grouped(node(23, Some(SESSION_MANAGER), "Audio/Source")),
    ];
    assert_eq!(
        found(&bluetooth, &[(21, 22), (23, 20)]),
        [(20, 21, vec![22, 23])]
    );
    assert_eq!(found(&bluetooth, &[(21, 22), (23, 2)]), []);
}

#[test]
fn a_link_from_us_into_a_duplex_interface_hides_nobody() {
    assert_eq!(found(&[], &[(1, 12), (12, 20)]), [(20, 12, vec![])]);
}

prop_compose! {
    fn any_node()(
        id in 0u32..14,
        ours in proptest::bool::weighted(0.1),
        media_class in prop_oneof![
            Just("Audio/Source"), Just("Audio/Source/Virtual"), Just("Audio/Duplex"), Just("Audio/Sink"),
            Just("Stream/Input/Audio"), Just("Stream/Output/Audio"), Just(""),
        ],
        link_group in proptest::option::weighted(0.3, "[xyz]"),
        client in proptest::option::weighted(0.6, 0u32..5),
        hardware in proptest::bool::weighted(0.3),
    ) -> NodeFacts {
        let client = if ours { Some(OWN) } else { client };
        NodeFacts { id, name: String::new(), media_class: media_class.to_owned(), priority: 0, link_group, client, hardware }
    }
}

prop_compose! {
    fn any_graph()(
        nodes in proptest::collection::vec(any_node(), 0..14),
        links in proptest::collection::vec((0u32..14, 0u32..14), 0..24),
    ) -> (Vec<NodeFacts>, Vec<(u32, u32)>) {
        let mut seen = BTreeSet::new();
        let nodes: Vec<_> = nodes.into_iter().filter(|it| seen.insert(it.id)).collect();
        let known: BTreeSet<u32> = nodes.iter().map(|it| it.id).collect();
        (nodes, links.into_iter().filter(|(a, b)| known.contains(a) && known.contains(b)).collect())
    }
}

/// Whether sound takes this step, by the rules as [`Flow`] words them.
fn step(links: &[(u32, u32)], from: &NodeFacts, to: &NodeFacts, first: bool) -> bool {
    let duplex = from.hardware && from.media_class == "Audio/Duplex";
    let linked = links.contains(&(from.id, to.id)) && (first || !duplex);
    let one_group = from.link_group.is_some() && from.link_group == to.link_group;
    let one_program = from.client.is_some()
        && from.client == to.client
        && is_recording_stream(from)
        && is_source(to)
        && !to.hardware;
    linked || (!first && (one_group || one_program))
}

/// Every node that a hardware mic's sound gets to over a link without passing one of ours: closed over until nothing changes.
fn heard(nodes: &[NodeFacts], links: &[(u32, u32)], mic: &NodeFacts) -> BTreeSet<u32> {
    let ours = |it: &NodeFacts| it.client == Some(OWN);
    let mut has = BTreeSet::from([mic.id]);
    loop {
        let more: Vec<u32> = nodes
            .iter()
            .filter(|to| !ours(to) && !has.contains(&to.id))
            .filter(|to| {
                nodes
                    .iter()
                    .any(|from| has.contains(&from.id) && step(links, from, to, from.id == mic.id))
            })
            .map(|it| it.id)
            .collect();
        if more.is_empty() {
            break;
        }
        has.extend(more);
    }
    let into = |to: &&NodeFacts| {
        !ours(to)
            && to.id != mic.id
            && nodes.iter().any(|from| {
                let duplex = from.hardware && from.media_class == "Audio/Duplex";
                has.contains(&from.id)
                    && links.contains(&(from.id, to.id))
                    && (from.id == mic.id || !duplex)
            })
    };
    nodes.iter().filter(into).map(|it| it.id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whoever_hears_hardware_past_the_gate_is_found_and_the_told_way_is_real((nodes, links) in any_graph()) {
        let graph = Graph { nodes: &nodes, links: &links, own_client: Some(OWN) };
        let found = reach(graph);
        let of = |id: u32| nodes.iter().find(|it| it.id == id).expect("known");
        let mics = nodes.iter().filter(|it| it.hardware && is_source(it) && it.client != Some(OWN));
        for mic in mics {
            for id in heard(&nodes, &links, mic) {
                let node = of(id);
                let part_of_the_mic = node.client.is_some() && node.client == mic.client;
                if keeps(node) && !part_of_the_mic {
                    prop_assert!(found.iter().any(|it| it.node == id), "{id} hears {} unseen", mic.id);
                }
            }
        }
        for it in &found {
            let way: Vec<u32> = [it.mic].into_iter().chain(it.through.iter().copied()).chain([it.node]).collect();
            for (at, pair) in way.windows(2).enumerate() {
                prop_assert!(step(&links, of(pair[0]), of(pair[1]), at == 0), "{way:?}");
            }
            prop_assert!(way.iter().all(|id| of(*id).client != Some(OWN)), "{way:?} passes the gate");
            prop_assert_eq!(found.iter().filter(|other| other.node == it.node).count(), 1);
        }
    }

    #[test]
    fn the_order_of_the_facts_does_not_matter(
        ((nodes, links), shuffled) in any_graph().prop_flat_map(|(nodes, links)| {
            let shuffled = (Just(nodes.clone()).prop_shuffle(), Just(links.clone()).prop_shuffle());
            (Just((nodes, links)), shuffled)
        }),
    ) {
        let who = |nodes: &[NodeFacts], links: &[(u32, u32)]| -> Vec<(u32, u32, usize)> {
            let graph = Graph { nodes, links, own_client: Some(OWN) };
            reach(graph).into_iter().map(|it| (it.node, it.mic, it.through.len())).collect()
        };
        prop_assert_eq!(who(&nodes, &links), who(&shuffled.0, &shuffled.1));
    }
}
