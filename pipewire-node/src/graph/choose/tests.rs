use super::*;
use proptest::prelude::*;

fn node(id: u32, name: &str, media_class: &str, priority: i32) -> NodeFacts {
    NodeFacts {
        id,
        name: name.to_owned(),
        media_class: media_class.to_owned(),
        priority,
        ..NodeFacts::default()
    }
}

fn mic(id: u32, name: &str, priority: i32) -> NodeFacts {
    NodeFacts {
        hardware: true,
        client: Some(30),
        ..node(id, name, "Audio/Source", priority)
    }
}

fn grouped(group: &str, node: NodeFacts) -> NodeFacts {
    NodeFacts {
        link_group: Some(group.to_owned()),
        ..node
    }
}

fn of_client(client: u32, node: NodeFacts) -> NodeFacts {
    NodeFacts {
        client: Some(client),
        ..node
    }
}

/// Ours (1 to 3), two real mics (10, 11), speakers (12).
fn desktop() -> Vec<NodeFacts> {
    vec![
        of_client(
            9,
            grouped("truemute", node(1, "truemute.mic", "Audio/Source", 3000)),
        ),
        of_client(9, grouped("truemute", node(2, "truemute.capture", "", 0))),
        node(3, "truemute.silent", "Audio/Source/Virtual", 2900),
        mic(10, "alsa_input.usb", 2000),
        mic(11, "alsa_input.pci", 1900),
        NodeFacts {
            hardware: true,
            client: Some(30),
            ..node(12, "alsa_output.pci", "Audio/Sink", 1000)
        },
    ]
}

fn choice(nodes: &[NodeFacts], links: &[(u32, u32)], wish: &Wish) -> Choice {
    choose(
        Graph {
            nodes,
            links,
            own_client: Some(9),
        },
        wish,
    )
}

fn wish(chosen: &str) -> Wish {
    Wish {
        chosen: vec![NamePattern(chosen.to_owned())],
        ..Wish::default()
    }
}

fn follow(node: u32, why: Why) -> Choice {
    Choice::Follow { node, why }
}

#[test]
fn wishes_rank_and_fall_through() {
    let some = |name: &str| Some(name.to_owned());
    let (usb, pci) = ("alsa_input.usb", "alsa_input.pci");
    let table = [
        (None, None, None, follow(10, Why::Priority)),
        (None, None, some(pci), follow(11, Why::Default)),
        (
            None,
            some(pci),
            some(usb),
            follow(11, Why::ConfiguredDefault),
        ),
        (some(usb), some(pci), some(pci), follow(10, Why::Chosen)),
        // As on a desktop where TrueMute is the default.
        (
            None,
            some("truemute.mic"),
            some("truemute.mic"),
            follow(10, Why::Priority),
        ),
        (
            None,
            some("truemute.mic"),
            some(pci),
            follow(11, Why::Default),
        ),
        // Not there, ours, or no source.
        (
            some("unplugged"),
            some(pci),
            None,
            follow(11, Why::ConfiguredDefault),
        ),
        (some("truemute.mic"), None, None, follow(10, Why::Priority)),
        (some("truemute.*"), None, None, follow(10, Why::Priority)),
        (
            some("alsa_output.pci"),
            some("alsa_output.pci.monitor"),
            some("alsa_output.pci"),
            follow(10, Why::Priority),
        ),
        // Patterns take the best of what they match; a star elsewhere is a character.
        (some("alsa_input.*"), None, None, follow(10, Why::Chosen)),
        (some("*"), None, None, follow(10, Why::Chosen)),
        (some("alsa_input.p*"), None, None, follow(11, Why::Chosen)),
        (some("*pci"), None, None, follow(10, Why::Priority)),
    ];
    for (chosen, configured_default, default, expected) in table {
        let wish = Wish {
            chosen: chosen.map(NamePattern).into_iter().collect(),
            allowed: None,
            configured_default,
            default,
        };
        assert_eq!(choice(&desktop(), &[], &wish), expected, "{wish:?}");
    }
}

#[test]
fn the_policy_outranks_every_wish() {
    let allow = |patterns: &[&str]| Wish {
        allowed: Some(
            patterns
                .iter()
                .map(|it| NamePattern((*it).to_owned()))
                .collect(),
        ),
        configured_default: Some("alsa_input.usb".to_owned()),
        ..wish("alsa_input.usb")
    };
    assert_eq!(
        choice(&desktop(), &[], &allow(&["alsa_input.pci"])),
        follow(11, Why::Priority)
    );
    assert_eq!(
        choice(&desktop(), &[], &allow(&["nothing*", "alsa_input.u*"])),
        follow(10, Why::Chosen)
    );
    assert_eq!(choice(&desktop(), &[], &allow(&[])), Choice::Nothing);
    assert_eq!(
        choice(&desktop(), &[], &allow(&["truemute.*"])),
        Choice::Nothing
    );
}

#[test]
fn only_sources_are_followed() {
    for (class, followed) in [
        ("Audio/Source", true),
        ("Audio/Source/Virtual", true),
        ("Audio/Duplex", true),
        ("Audio/Source/Internal", false),
        ("Audio/Sink", false),
        ("Stream/Input/Audio", false),
        ("Stream/Output/Audio", false),
        ("Video/Source", false),
        ("", false),
    ] {
        let expected = if followed {
            follow(5, Why::Chosen)
        } else {
            Choice::Nothing
        };
        assert_eq!(
            choice(&[node(5, "it", class, 0)], &[], &wish("it")),
            expected,
            "{class}"
        );
    }
}

#[test]
fn a_processed_source_of_the_real_mic_is_followed_if_wanted() {
    // EasyEffects: filters in one client between the mic and the source that it offers.
    let mut nodes = desktop();
    nodes.push(of_client(40, node(20, "ee_filter", "", 0)));
    nodes.push(of_client(
        40,
        node(21, "easyeffects_source", "Audio/Source/Virtual", 500),
    ));
    let links = [(10, 20), (20, 21), (21, 2)];
    assert_eq!(
        choice(&nodes, &links, &wish("easyeffects_source")),
        follow(21, Why::Chosen)
    );
    assert_eq!(
        choice(&nodes, &links, &Wish::default()),
        follow(10, Why::Priority)
    );
    // The same, fed by the virtual mic: it would feed itself.
    let looped = [(1, 20), (20, 21)];
    assert_eq!(
        choice(&nodes, &looped, &wish("easyeffects_source")),
        follow(10, Why::Priority)
    );
}

#[test]
fn an_echo_canceller_is_refused_when_it_hears_us_and_kept_during_a_call() {
    let mut nodes = desktop();
    for (id, name, class) in [
        (20, "echo-cancel-capture", "Stream/Input/Audio"),
        (21, "echo-cancel-source", "Audio/Source"),
        (22, "echo-cancel-sink", "Audio/Sink"),
        (23, "echo-cancel-playback", "Stream/Output/Audio"),
    ] {
        nodes.push(grouped(
            "echo-cancel-1",
            of_client(41, node(id, name, class, 0)),
        ));
    }
    // A conferencing app: records from us, plays to the canceller's sink.
    nodes.push(of_client(42, node(24, "zoom-in", "Stream/Input/Audio", 0)));
    nodes.push(of_client(
        42,
        node(25, "zoom-out", "Stream/Output/Audio", 0),
    ));
    let call = [(10, 20), (1, 24), (25, 22), (23, 12), (21, 2)];
    assert_eq!(
        choice(&nodes, &call, &wish("echo-cancel-source")),
        follow(21, Why::Chosen)
    );
    assert_eq!(
        choice(&nodes, &[(1, 20)], &wish("echo-cancel-source")),
        follow(10, Why::Priority)
    );
    assert_eq!(
        choice(&nodes, &[(3, 22)], &wish("echo-cancel-source")),
        follow(10, Why::Priority)
    );
}

#[test]
fn many_hops_lead_back_to_us_too() {
    // Loopback to a virtual sink, its monitor into a filter chain, that into a program which offers a source.
    let nodes = [
        desktop(),
        vec![
            grouped("loopback-1", node(20, "in", "Stream/Input/Audio", 0)),
            grouped("loopback-1", node(21, "out", "Stream/Output/Audio", 0)),
            node(22, "null", "Audio/Sink", 0),
            grouped("chain-1", node(23, "in2", "Stream/Input/Audio", 0)),
            grouped("chain-1", node(24, "chain_source", "Audio/Source", 0)),
            of_client(50, node(25, "program-in", "Stream/Input/Audio", 0)),
            of_client(50, node(26, "program-source", "Audio/Source/Virtual", 9000)),
        ],
    ]
    .concat();
    let links = [(1, 20), (21, 22), (22, 23), (24, 25)];
    for name in ["chain_source", "program-source", "null"] {
        assert_eq!(
            choice(&nodes, &links, &wish(name)),
            follow(10, Why::Priority),
            "{name}"
        );
    }
    assert_eq!(
        choice(&nodes, &links[1..], &wish("program-source")),
        follow(26, Why::Chosen)
    );
}

#[test]
fn hearing_oneself_in_the_speakers_does_not_cost_the_mic() {
    let mut nodes = desktop();
    nodes.push(grouped(
        "loopback-1",
        node(20, "in", "Stream/Input/Audio", 0),
    ));
    nodes.push(grouped(
        "loopback-1",
        node(21, "out", "Stream/Output/Audio", 0),
    ));
    nodes.push(NodeFacts {
        hardware: true,
        client: Some(30),
        ..node(13, "interface", "Audio/Duplex", 2500)
    });
    nodes.push(node(14, "derived", "Audio/Source/Virtual", 2600));
    let links = [(1, 20), (21, 12)];
    assert_eq!(
        choice(&nodes, &links, &wish("derived")),
        follow(14, Why::Chosen)
    );
    // An interface that plays us and records a mic: what it records is the room, but the node is one, so a link into it
    // counts against it, and not against what records from it.
    let through = [(1, 20), (21, 13), (13, 14)];
    assert_eq!(
        choice(&nodes, &through, &wish("interface")),
        follow(14, Why::Priority)
    );
}

#[test]
fn what_our_client_makes_is_ours_by_any_name() {
    let nodes = [of_client(9, node(1, "innocent", "Audio/Source", 1))];
    assert_eq!(choice(&nodes, &[], &Wish::default()), Choice::Nothing);
    // Nodes of nobody are not ours because we do not know our own client yet.
    let nobodys = [node(1, "innocent", "Audio/Source", 1)];
    assert_eq!(
        choose(
            Graph {
                nodes: &nobodys,
                ..Graph::default()
            },
            &Wish::default()
        ),
        follow(1, Why::Priority)
    );
}

prop_compose! {
    fn any_node()(
        id in 0u32..14,
        name in prop_oneof![3 => "[ab]{1,2}", 1 => Just("truemute.mic".to_owned())],
        media_class in prop_oneof![
            Just("Audio/Source"), Just("Audio/Source/Virtual"), Just("Audio/Duplex"), Just("Audio/Sink"),
            Just("Stream/Input/Audio"), Just("Stream/Output/Audio"), Just(""),
        ],
        priority in -1i32..3,
        link_group in proptest::option::weighted(0.4, "[xyz]"),
        client in proptest::option::weighted(0.6, 0u32..5),
        hardware in proptest::bool::weighted(0.2),
    ) -> NodeFacts {
        NodeFacts { id, name, media_class: media_class.to_owned(), priority, link_group, client, hardware }
    }
}

prop_compose! {
    fn any_graph()(
        nodes in proptest::collection::vec(any_node(), 0..14),
        links in proptest::collection::vec((0u32..14, 0u32..14), 0..20),
    ) -> (Vec<NodeFacts>, Vec<(u32, u32)>) {
        let mut seen = BTreeSet::new();
        (nodes.into_iter().filter(|it| seen.insert(it.id)).collect(), links)
    }
}

prop_compose! {
    fn any_wish()(
        chosen in proptest::collection::vec("[ab]{1,2}\\*?", 0..3),
        allowed in proptest::option::weighted(0.2, proptest::collection::vec("[ab]?\\*?", 0..3)),
        configured_default in proptest::option::of("[ab]{1,2}"),
        default in proptest::option::of("[ab]{1,2}"),
    ) -> Wish {
        let allowed = allowed.map(|it| it.into_iter().map(NamePattern).collect());
        Wish { chosen: chosen.into_iter().map(NamePattern).collect(), allowed, configured_default, default }
    }
}

fn derived(nodes: &[NodeFacts], links: &[(u32, u32)]) -> BTreeSet<u32> {
    let graph = Graph {
        nodes,
        links,
        own_client: Some(0),
    };
    derived_from_us(graph, &Flow::new(graph))
}

/// The rules of [`derived_from_us`] said another way: a table of single steps, closed over until nothing changes.
fn reachable_from_us(
    nodes: &[NodeFacts],
    links: &[(u32, u32)],
    own_client: Option<u32>,
) -> BTreeSet<u32> {
    let step = |from: &NodeFacts, to: &NodeFacts| {
        let linked = links.contains(&(from.id, to.id))
            && !(from.hardware && from.media_class == "Audio/Duplex");
        let one_group = from.link_group.is_some() && from.link_group == to.link_group;
        let one_program = from.client.is_some()
            && from.client == to.client
            && !from.hardware
            && !to.hardware
            && ["", "Stream/Input/Audio"].contains(&from.media_class.as_str())
            && ["Audio/Source", "Audio/Source/Virtual", "Audio/Duplex"]
                .contains(&to.media_class.as_str());
        linked || one_group || one_program
    };
    let ours = |it: &&NodeFacts| {
        it.name.starts_with("truemute.") || (own_client.is_some() && it.client == own_client)
    };
    let mut reached: BTreeSet<u32> = nodes.iter().filter(ours).map(|it| it.id).collect();
    loop {
        let more: BTreeSet<u32> = nodes
            .iter()
            .filter(|to| {
                nodes
                    .iter()
                    .any(|from| reached.contains(&from.id) && step(from, to))
            })
            .map(|it| it.id)
            .collect();
        let before = reached.len();
        reached.extend(more);
        if reached.len() == before {
            return reached;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn never_follows_what_we_reach_and_always_follows_what_is_left(
        (nodes, links) in any_graph(), wish in any_wish(), own_client in proptest::option::of(0u32..5),
    ) {
        // Links to nodes that are not known carry on in `choose`, not in the table: leave them out here.
        let known: BTreeSet<u32> = nodes.iter().map(|it| it.id).collect();
        let links: Vec<_> = links.into_iter().filter(|(a, b)| known.contains(a) && known.contains(b)).collect();
        let reached = reachable_from_us(&nodes, &links, own_client);
        let left = |node: &NodeFacts| {
            ["Audio/Source", "Audio/Source/Virtual", "Audio/Duplex"].contains(&node.media_class.as_str())
                && !reached.contains(&node.id)
                && wish.allowed.as_ref().is_none_or(|it| it.iter().any(|it| it.matches(&node.name)))
        };
        match choose(Graph { nodes: &nodes, links: &links, own_client }, &wish) {
            Choice::Follow { node, .. } => prop_assert!(nodes.iter().any(|it| it.id == node && left(it))),
            Choice::Nothing => prop_assert!(!nodes.iter().any(left)),
        }
    }

    /// A less wanted mic is followed only while none is there that is wanted more, whatever else comes and goes.
    #[test]
    fn the_list_is_kept_to(
        (nodes, links) in any_graph(), wish in any_wish(), own_client in proptest::option::of(0u32..5),
    ) {
        let graph = Graph { nodes: &nodes, links: &links, own_client };
        let rank = |node: &NodeFacts| wish.chosen.iter().position(|it| it.matches(&node.name));
        let reached = derived_from_us(graph, &Flow::new(graph));
        let best = nodes
            .iter()
            .filter(|it| is_source(it) && !reached.contains(&it.id))
            .filter(|it| wish.allowed.as_ref().is_none_or(|all| all.iter().any(|one| one.matches(&it.name))))
            .filter_map(rank)
            .min();
        match choose(graph, &wish) {
            Choice::Follow { node, why } => {
                let followed = nodes.iter().find(|it| it.id == node).expect("it is there");
                prop_assert_eq!(best.is_some(), why == Why::Chosen);
                if let Some(best) = best {
                    prop_assert_eq!(rank(followed), Some(best));
                }
            }
            Choice::Nothing => prop_assert_eq!(best, None),
        }
    }

    #[test]
    fn the_order_of_the_facts_does_not_matter(
        ((nodes, links), shuffled) in any_graph().prop_flat_map(|(nodes, links)| {
            let shuffled = (Just(nodes.clone()).prop_shuffle(), Just(links.clone()).prop_shuffle());
            (Just((nodes, links)), shuffled)
        }),
        wish in any_wish(), own_client in proptest::option::of(0u32..5),
    ) {
        let one = choose(Graph { nodes: &nodes, links: &links, own_client }, &wish);
        let other = choose(Graph { nodes: &shuffled.0, links: &shuffled.1, own_client }, &wish);
        prop_assert_eq!(one, other);
    }

    #[test]
    fn another_link_never_makes_more_sources_followable(
        (nodes, links) in any_graph(), more in proptest::collection::vec((0u32..14, 0u32..14), 0..5),
    ) {
        let before = derived(&nodes, &links);
        let links = [links, more].concat();
        let after = derived(&nodes, &links);
        prop_assert!(after.is_superset(&before));
    }
}
