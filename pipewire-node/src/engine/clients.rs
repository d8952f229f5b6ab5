//! The clients of our sources on the main thread: who came, who they are, and the final figures of those that left. Where each
//! is counted is in [`counting`], what is shown of them in [`showing`]. Their pulls are counted in `count/`, on the real-time
//! thread.

mod counting;
mod showing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use truemute_core::{
    ledger::{SlotSnapshot, SlotWriter},
    observed::{Client, ClientState, Counts},
};

use super::{
    clock::wall_ns,
    data_loop::DataLoop,
    estimate::Estimate,
    sides::{Side, Tables},
};
use crate::{
    count::{
        Clients as Ledger,
        activation::ActivationRecord,
        books::{Account, TraceReceiver},
    },
    graph::model::{Model, Node, NodeState},
    sample::Cycle,
    who::{Claims, Who, identify, system::System},
};

/// Final counts that wait to be fetched, at most. The oldest go first; they are missed only by a daemon that has not
/// asked for as many clients.
const GONE_AT_MOST: usize = 4096;

/// All clients.
pub(crate) struct Clients {
    ledger: Arc<Ledger>,
    world: System,
    by_node: BTreeMap<u32, Entry>,
    /// Those who left while they were estimated, by number. What they did last is not told yet, so their counts are not
    /// final: until then they are shown as corked.
    leaving: BTreeMap<u64, Entry>,
    gone: Vec<Client>,
    next_id: u64,
    estimate: Option<Estimate>,
}

/// A node that is linked to a source of ours. The counting side may know it before the registry shows the link, and the
/// graph's driver it knows too: only a node with a link is a client.
struct Entry {
    id: u64,
    slot: Option<usize>,
    place: Place,
    client: Option<ClientFacts>,
    last: Option<Look>,
    /// [`Node::serial`] of the node.
    serial: Option<u64>,
    /// The source of ours that it is linked to, as the counting side sees it.
    side: Option<Side>,
    /// Linked to both: the other one, where it is not counted. The graph's driver can be, and whom somebody links by hand.
    other: Option<Linked>,
    /// Unlinked, as the counting side sees it; the registry may not have said so yet.
    left: bool,
    /// It left before the registry had shown it, so nobody can ever say who it was.
    stranger: bool,
}

/// A look at a client's slot, without the distribution that its intervals come from: that has 2 kB.
#[derive(Clone, Copy)]
struct Look {
    counts: Counts,
    last_pull_ns: Option<u64>,
}

impl From<&SlotSnapshot> for Look {
    fn from(seen: &SlotSnapshot) -> Self {
        Self {
            counts: seen.into(),
            last_pull_ns: seen.last_pull_ns,
        }
    }
}

/// What the counting side told of a link.
struct Linked {
    side: Side,
    record: ActivationRecord,
    joined_ns: u64,
}

/// Where the right to write the client's slot is.
enum Place {
    /// Here, with nothing to count from.
    Here(Account),
    /// With the real-time thread, which looks at the record in each cycle. The record's last owner is here.
    Counting { _record: ActivationRecord },
    /// With the estimator.
    Estimating,
    /// With the estimator, which has yet to hear what the node did before it was unlinked.
    Leaving,
    /// Lost to a full table: this client is not counted.
    Nowhere,
}

struct ClientFacts {
    who: Who,
    claims: Claims,
    first_seen_ns: u64,
    state: ClientState,
}

impl Clients {
    pub(crate) fn new(ledger: Arc<Ledger>, world: System) -> Self {
        Self {
            ledger,
            world,
            by_node: BTreeMap::new(),
            leaving: BTreeMap::new(),
            gone: Vec::new(),
            next_id: 1,
            estimate: None,
        }
    }

    /// A message of the profiler.
    pub(crate) fn profile(&mut self, message: &[u8]) {
        if let Some(estimate) = &mut self.estimate {
            estimate.message(message, &self.ledger);
        }
    }

    /// The estimator's trace, if it counts.
    pub(crate) fn estimated_trace(&mut self) -> Option<&mut TraceReceiver> {
        self.estimate.as_mut().map(Estimate::trace)
    }

    /// The new real-time state is there: it tells the estimator, if that counts, of its cycles.
    pub(super) fn enter_path(&mut self, rt: &DataLoop<Cycle>) {
        if let Some(estimate) = &mut self.estimate {
            let cycles = estimate.listen();
            rt.run(|cycle| cycle.tell_cycles(cycles));
        }
    }

    /// Takes over who is linked now. `sources` are the nodes of ours; `moving` says who stays a client for as long as its node
    /// is there, also while it is linked to neither.
    pub(super) fn update(
        &mut self,
        model: &Model,
        sources: impl IntoIterator<Item = u32>,
        moving: impl Fn(u32) -> bool,
        wall_ns: u64,
        tables: &Tables<'_>,
    ) {
        let readers: BTreeSet<u32> = sources
            .into_iter()
            .flat_map(|source| model.readers(source))
            .collect();
        let stays = |node: &u32| {
            readers.contains(node) || (moving(*node) && model.nodes.contains_key(node))
        };
        let is_gone = |(node, entry): (&u32, &Entry)| {
            (entry.client.is_some() && !stays(node)).then_some(*node)
        };
        let vanished: Vec<u32> = self.by_node.iter().filter_map(is_gone).collect();
        for node in vanished {
            self.retire(node, tables);
        }
        let known = |(node, entry): (&u32, &Entry)| entry.client.is_some().then_some(*node);
        let known: BTreeSet<u32> = self.by_node.iter().filter_map(known).collect();
        for node in readers.union(&known) {
            let ran = self.runs(*node);
            self.learn(*node, model, wall_ns);
            if ran && !self.runs(*node) {
                self.settle_pulls(*node, tables);
            }
        }
    }

    fn runs(&self, node: u32) -> bool {
        let client = |entry: &Entry| entry.client.as_ref().map(|it| it.state);
        self.by_node.get(&node).and_then(client) == Some(ClientState::Running)
    }

    fn entry(&mut self, node: u32, serial: Option<u64>) -> &mut Entry {
        self.by_node.entry(node).or_insert_with(|| {
            let id = self.next_id;
            self.next_id += 1;
            let slot = self.ledger.claim(id);
            Entry {
                id,
                slot: slot.as_ref().map(SlotWriter::slot),
                place: Place::Here(Account { client: id, slot }),
                client: None,
                last: None,
                serial,
                side: None,
                other: None,
                left: false,
                stranger: false,
            }
        })
    }

    /// A node is about to leave: if no turn has seen its link, this is the last moment to learn who it was. (A client can
    /// come and go within one turn.) The graph's driver is told like a client and is no stream; it is in the registry long
    /// before, so what is not there is no driver, and its pulls are unattributed.
    pub(crate) fn recognise(&mut self, node: u32, model: &Model, wall_ns: u64) {
        let Some(entry) = self.by_node.get_mut(&node).filter(|it| it.client.is_none()) else {
            return;
        };
        let records = |node: &Node| node.prop("media.class") == "Stream/Input/Audio";
        match model.nodes.get(&node) {
            Some(known) if records(known) => self.learn(node, model, wall_ns),
            Some(_) => {}
            None => entry.stranger = true,
        }
    }

    fn learn(&mut self, node: u32, model: &Model, wall_ns: u64) {
        let Some(facts) = model.nodes.get(&node) else {
            return;
        };
        let claims = Claims::of(facts, model);
        let state = match facts.state {
            NodeState::Running => ClientState::Running,
            _ => ClientState::Corked,
        };
        self.entry(node, facts.serial());
        let (Some(entry), world) = (self.by_node.get_mut(&node), &self.world) else {
            return;
        };
        match &mut entry.client {
            // Properties come in several messages; a stream may also change its title later.
            Some(client) if client.claims == claims => client.state = state,
            Some(client) => {
                *client = ClientFacts {
                    who: identify(&claims, world),
                    claims,
                    state,
                    first_seen_ns: client.first_seen_ns,
                };
            }
            None => {
                let who = identify(&claims, world);
                entry.client = Some(ClientFacts {
                    who,
                    claims,
                    first_seen_ns: wall_ns,
                    state,
                });
            }
        }
    }

    fn retire(&mut self, node: u32, tables: &Tables<'_>) {
        for side in [Side::Mic, Side::Aside] {
            self.left(node, side, tables);
        }
        self.leave(node);
    }

    /// Takes an entry out. Its counts are final at once, unless the estimator has not heard all of it.
    fn leave(&mut self, node: u32) {
        let Some(entry) = self.by_node.remove(&node) else {
            return;
        };
        match entry.place {
            Place::Leaving => drop(self.leaving.insert(entry.id, entry)),
            _ => self.close(entry),
        }
    }

    /// Closes the accounts of those about whom the profiler has told everything.
    pub(crate) fn settle(&mut self, now_ns: u64) {
        let settled = self.estimate.as_mut().map(|it| it.settled(now_ns));
        for account in settled.into_iter().flatten() {
            let id = account.client;
            if let Some(mut entry) = self.leaving.remove(&id) {
                entry.place = Place::Here(account);
                self.close(entry);
            } else if let Some(entry) = self.by_node.values_mut().find(|entry| entry.id == id) {
                entry.place = Place::Here(account);
            }
        }
    }

    /// When [`Self::settle`] has something to do at the latest.
    pub(crate) fn settles_at_ns(&self) -> Option<u64> {
        self.estimate.as_ref()?.settles_at_ns()
    }

    /// Gives the slot back and keeps the final counts, if this was a client.
    fn close(&mut self, mut entry: Entry) {
        if let Place::Here(Account {
            slot: Some(writer), ..
        }) = entry.place
        {
            if entry.stranger && entry.client.is_none() {
                return self.ledger.disown(writer);
            }
            let released = self.ledger.release(writer);
            entry.last = released.as_ref().map(Look::from).or(entry.last);
        }
        let Some(mut client) = entry.client else {
            return;
        };
        client.state = ClientState::Gone;
        if self.gone.len() >= GONE_AT_MOST {
            self.gone.remove(0);
        }
        self.gone.push(showing::observed(
            entry.id,
            &client,
            entry.last,
            self.counted_by(entry.slot),
            wall_ns(),
        ));
    }

    /// The caller has taken the final counts of these clients.
    pub(crate) fn forget_gone(&mut self, ids: &[u64]) {
        let ids: BTreeSet<u64> = ids.iter().copied().collect();
        self.gone.retain(|client| !ids.contains(&client.id));
    }

    /// Who says this of itself.
    pub(super) fn who_made(&self, claims: &Claims) -> Who {
        identify(claims, &self.world)
    }
}

#[cfg(test)]
mod tests;
