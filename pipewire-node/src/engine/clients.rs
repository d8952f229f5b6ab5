//! The clients of our sources on the main thread: who is linked, where their counts stand, and the final figures of those
//! that left. Their pulls are counted in `count/`, on the real-time thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use truemute_core::{
    ledger::{SlotSnapshot, SlotWriter},
    observed::{Client, ClientState, CountedBy, Counts},
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
        table::Peer,
    },
    graph::model::{Model, Node, NodeState},
    monotonic::monotonic_ns,
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

    /// The counting side found a node's record: counts from now on, whoever it is.
    pub(super) fn joined(
        &mut self,
        node: u32,
        side: Side,
        (record, joined_ns): (ActivationRecord, u64),
        model: &Model,
        tables: &Tables<'_>,
    ) {
        // The server gives a number again at once: what joins under it may be another client, also where the registry's view
        // of both comes in one turn.
        let serial = model.nodes.get(&node).and_then(Node::serial);
        let is_another = |entry: &Entry| entry.left && (serial.is_none() || entry.serial != serial);
        if self.by_node.get(&node).is_some_and(is_another) {
            self.leave(node);
        }
        let entry = self.entry(node, serial);
        let linked = Linked {
            side,
            record,
            joined_ns,
        };
        if entry.side.is_some() {
            entry.other = Some(linked);
        } else {
            self.count(node, linked, tables);
        }
    }

    fn count(&mut self, node: u32, linked: Linked, tables: &Tables<'_>) {
        let Some(entry) = self.by_node.get_mut(&node) else {
            return;
        };
        let Linked {
            side,
            record,
            joined_ns,
        } = linked;
        (entry.side, entry.left) = (Some(side), false);
        let account = match std::mem::replace(&mut entry.place, Place::Nowhere) {
            Place::Here(account) => account,
            place => return entry.place = place,
        };
        if let Some(estimate) = &mut self.estimate {
            match side {
                Side::Mic => {
                    entry.place = Place::Estimating;
                    estimate.follow(node, account, joined_ns);
                }
                // The estimator knows the cycles of the virtual mic only.
                Side::Aside => entry.place = Place::Here(account),
            }
            return;
        }
        let peer = Peer {
            joined_ns,
            node_id: node,
            account,
            record: record.clone(),
        };
        match tables.add(side, peer) {
            Some(Ok(())) => entry.place = Place::Counting { _record: record },
            Some(Err(full)) => {
                tracing::warn!("{full}");
                entry.place = Place::Here(full.0.account);
            }
            None => tracing::error!(
                node,
                "the audio thread does not answer: a client is not counted"
            ),
        }
    }

    /// A node was unlinked from a source of ours: its record is read once more and let go of.
    pub(super) fn left(&mut self, node: u32, side: Side, tables: &Tables<'_>) {
        let Some(entry) = self.by_node.get_mut(&node) else {
            return;
        };
        if entry.side != Some(side) {
            entry.other = entry.other.take().filter(|other| other.side != side);
            return;
        }
        match (&entry.place, &mut self.estimate) {
            (Place::Counting { .. }, _) => {
                let peer = tables.remove(side, node);
                entry.place = peer.map_or(Place::Nowhere, |peer| Place::Here(peer.account));
            }
            (Place::Estimating, Some(estimate)) => {
                estimate.leave(node, monotonic_ns());
                entry.place = Place::Leaving;
            }
            _ => {}
        }
        (entry.side, entry.left) = (None, true);
        if let Some(other) = entry.other.take() {
            self.count(node, other, tables);
        } else if entry.client.is_none() {
            self.leave(node);
        }
    }

    /// Counts from the profiler from now on. What was read from records until now is thrown away: they were not what
    /// we took them for, or nobody wants them.
    pub(super) fn estimate(&mut self, estimate: Estimate, now_ns: u64, tables: &Tables<'_>) {
        self.estimate = Some(estimate);
        let counting = |(node, entry): (&u32, &Entry)| {
            let side = entry.side?;
            matches!(entry.place, Place::Counting { .. }).then_some((*node, side))
        };
        let nodes: Vec<_> = self.by_node.iter().filter_map(counting).collect();
        for (node, side) in nodes {
            let former = tables.remove(side, node);
            let (Some(entry), Some(estimate)) = (self.by_node.get_mut(&node), &mut self.estimate)
            else {
                continue;
            };
            if let Some(writer) = former.and_then(|peer| peer.account.slot) {
                self.ledger.release(writer);
            }
            let slot = self.ledger.claim(entry.id);
            entry.slot = slot.as_ref().map(SlotWriter::slot);
            entry.last = None;
            let account = Account {
                client: entry.id,
                slot,
            };
            match side {
                Side::Mic => {
                    entry.place = Place::Estimating;
                    estimate.follow(node, account, now_ns);
                }
                Side::Aside => entry.place = Place::Here(account),
            }
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

    /// A source of ours goes, which has no clients: lets go of whoever else was counted there (the graph's driver).
    pub(super) fn leave_side(&mut self, side: Side, tables: &Tables<'_>) {
        let counted = |(node, entry): (&u32, &Entry)| {
            let there = entry.other.as_ref().is_some_and(|it| it.side == side);
            (entry.side == Some(side) || there).then_some(*node)
        };
        let nodes: Vec<u32> = self.by_node.iter().filter_map(counted).collect();
        for node in nodes {
            self.left(node, side, tables);
        }
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

    /// A client has corked: whoever sees that sees all of its pulls.
    fn settle_pulls(&self, node: u32, tables: &Tables<'_>) {
        if let Some(entry) = self.by_node.get(&node)
            && let (Place::Counting { .. }, Some(side)) = (&entry.place, entry.side)
        {
            tables.settle(side, node);
        }
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
        self.gone.push(observed(
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

    fn present(&self) -> impl Iterator<Item = (u64, &ClientFacts)> {
        self.by_node
            .values()
            .filter_map(|entry| Some((entry.id, entry.client.as_ref()?)))
    }

    fn leaving_clients(&self) -> impl Iterator<Item = u64> {
        self.leaving
            .values()
            .filter(|entry| entry.client.is_some())
            .map(|entry| entry.id)
    }

    /// From what a client with this slot of the ledger is counted.
    fn counted_by(&self, slot: Option<usize>) -> CountedBy {
        match (slot, &self.estimate) {
            (None, _) => CountedBy::Unattributed,
            (Some(_), Some(_)) => CountedBy::Profiler,
            (Some(_), None) => CountedBy::ActivationRecord,
        }
    }

    /// Whether this is the number of a client, connected or gone.
    pub(crate) fn knows(&self, id: u64) -> bool {
        self.present().any(|(known, _)| known == id)
            || self.leaving_clients().any(|known| known == id)
            || self.gone.iter().any(|gone| gone.id == id)
    }

    /// Whether any client is connected that is not on the silent source.
    pub(crate) fn any_on_mic(&self) -> bool {
        let entries = self.by_node.values();
        let mut clients = entries.filter(|entry| entry.client.is_some());
        clients.any(|entry| entry.side != Some(Side::Aside))
    }

    /// Whether any client of the virtual mic pulls.
    pub(crate) fn any_running(&self) -> bool {
        let pulls = |client: &ClientFacts| client.state == ClientState::Running;
        self.by_node.values().any(|entry| {
            entry.side != Some(Side::Aside) && entry.client.as_ref().is_some_and(pulls)
        })
    }

    /// The nodes that are linked to this source of ours, the graph's driver included.
    pub(super) fn on(&self, side: Side) -> impl Iterator<Item = u32> {
        self.by_node.iter().filter_map(move |(node, entry)| {
            let linked = |it: &Linked| it.side == side;
            let there = entry.side == Some(side) || entry.other.as_ref().is_some_and(linked);
            there.then_some(*node)
        })
    }

    /// The clients that are connected: node, number, and who it is.
    pub(super) fn connected(&self) -> impl Iterator<Item = (u32, u64, &Who)> {
        self.by_node
            .iter()
            .filter_map(|(node, entry)| Some((*node, entry.id, &entry.client.as_ref()?.who)))
    }

    /// Who says this of itself.
    pub(super) fn who_made(&self, claims: &Claims) -> Who {
        identify(claims, &self.world)
    }

    /// Who is there and in what state, to see whether something changed.
    pub(crate) fn summary(&self) -> Vec<(u64, ClientState)> {
        let leaving = self.leaving_clients().map(|id| (id, ClientState::Gone));
        self.present()
            .map(|(id, client)| (id, client.state))
            .chain(leaving)
            .collect()
    }

    /// All clients with their counts, those that left included. `muted` says which apps are muted on their own.
    pub(crate) fn observe(&mut self, wall_ns: u64, muted: impl Fn(&Who) -> bool) -> Vec<Client> {
        for entry in self.by_node.values_mut().chain(self.leaving.values_mut()) {
            // A writer that was interrupted inside its slot leaves the last look standing.
            if let Some(Ok(seen)) = entry.slot.map(|slot| self.ledger.snapshot(slot)) {
                entry.last = Some(Look::from(&seen));
            }
        }
        let entries = self.by_node.values().chain(self.leaving.values());
        let there = entries.filter_map(|entry| {
            let client = entry.client.as_ref()?;
            let seen = observed(
                entry.id,
                client,
                entry.last,
                self.counted_by(entry.slot),
                wall_ns,
            );
            Some(Client {
                app_muted: muted(&client.who),
                ..seen
            })
        });
        there.chain(self.gone.iter().cloned()).collect()
    }
}

fn observed(
    id: u64,
    client: &ClientFacts,
    look: Option<Look>,
    counted_by: CountedBy,
    wall_ns: u64,
) -> Client {
    Client {
        id,
        who: client.who.clone(),
        state: client.state,
        app_muted: false,
        counted_by,
        counts: look.map(|seen| seen.counts).unwrap_or_default(),
        first_seen_ns: client.first_seen_ns,
        last_pull_ns: look
            .and_then(|seen| seen.last_pull_ns)
            .map(|at| wall_ns.saturating_sub(monotonic_ns().saturating_sub(at))),
    }
}

#[cfg(test)]
mod tests;
