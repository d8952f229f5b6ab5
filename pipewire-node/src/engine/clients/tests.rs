//! Whose pulls are whose, and what becomes of those that are nobody's.

use truemute_core::{
    ledger::{Pull, Tally},
    observed::CountedBy,
};

use super::*;

const NODE: u32 = 57;

/// A node is told as a peer, pulls once, and is unlinked; the registry shows `model` then.
fn pulled_once(clients: &mut Clients, model: &Model) {
    let ledger = clients.ledger.clone();
    let entry = clients.entry(NODE, None);
    let Place::Here(Account {
        slot: Some(writer), ..
    }) = &mut entry.place
    else {
        panic!("a new entry has its account");
    };
    let pull = Pull {
        finish_ns: 9,
        frames: 256,
        nanoseconds: 5_333_333,
        live: false,
        flagged: false,
    };
    ledger.record(writer, pull);
    clients.recognise(NODE, model, 1);
    clients.leave(NODE);
}

fn clients() -> Clients {
    Clients::new(Arc::new(Ledger::new(1)), System::new(None))
}

fn showing(class: &str) -> Model {
    let mut model = Model::default();
    let props = [("media.class", class)];
    let node = Node {
        props: props.into_iter().collect(),
        state: NodeState::Running,
        ..Node::default()
    };
    model.nodes.insert(NODE, node);
    model
}

#[test]
fn a_client_that_the_registry_never_showed_is_unattributed() {
    let mut clients = clients();
    pulled_once(&mut clients, &Model::default());
    let pulls = Tally {
        pulls: 1,
        frames: 256,
        nanoseconds: 5_333_333,
    };
    assert_eq!(clients.ledger.unattributed(), pulls);
    assert!(clients.observe(1, |_| false).is_empty());
}

#[test]
fn a_client_of_a_moment_is_known_by_its_node() {
    let mut clients = clients();
    pulled_once(&mut clients, &showing("Stream/Input/Audio"));
    let [client] = &clients.observe(1, |_| false)[..] else {
        panic!("one client");
    };
    assert_eq!(
        (client.state, client.counts.muted.pulls),
        (ClientState::Gone, 1)
    );
    assert_eq!(clients.ledger.unattributed(), Tally::default());
}

#[test]
fn the_driver_of_the_graph_is_nobody() {
    let mut clients = clients();
    pulled_once(&mut clients, &showing("Audio/Source"));
    assert!(clients.observe(1, |_| false).is_empty());
    assert_eq!(clients.ledger.unattributed(), Tally::default());
}

#[test]
fn a_client_without_a_slot_says_so() {
    let mut clients = clients();
    let slots: Vec<_> = std::iter::from_fn(|| clients.ledger.claim(9)).collect();
    clients.learn(NODE, &showing("Stream/Input/Audio"), 1);
    let [client] = &clients.observe(1, |_| false)[..] else {
        panic!("one client");
    };
    assert_eq!(client.counted_by, CountedBy::Unattributed);
    for slot in slots {
        clients.ledger.release(slot);
    }
}
