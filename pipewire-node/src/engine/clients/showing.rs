//! What is shown of the clients: who is there, in what state, with what counts.

use truemute_core::observed::{Client, ClientState, CountedBy};

use super::{ClientFacts, Clients, Linked, Look};
use crate::{engine::sides::Side, monotonic::monotonic_ns, who::Who};

impl Clients {
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
    pub(in crate::engine) fn on(&self, side: Side) -> impl Iterator<Item = u32> {
        self.by_node.iter().filter_map(move |(node, entry)| {
            let linked = |it: &Linked| it.side == side;
            let there = entry.side == Some(side) || entry.other.as_ref().is_some_and(linked);
            there.then_some(*node)
        })
    }

    /// The clients that are connected: node, number, and who it is.
    pub(in crate::engine) fn connected(&self) -> impl Iterator<Item = (u32, u64, &Who)> {
        self.by_node
            .iter()
            .filter_map(|(node, entry)| Some((*node, entry.id, &entry.client.as_ref()?.who)))
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
    pub(super) fn counted_by(&self, slot: Option<usize>) -> CountedBy {
        match (slot, &self.estimate) {
            (None, _) => CountedBy::Unattributed,
            (Some(_), Some(_)) => CountedBy::Profiler,
            (Some(_), None) => CountedBy::ActivationRecord,
        }
    }
}

pub(super) fn observed(
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
        offers: None,
        first_seen_ns: client.first_seen_ns,
        last_pull_ns: look
            .and_then(|seen| seen.last_pull_ns)
            .map(|at| wall_ns.saturating_sub(monotonic_ns().saturating_sub(at))),
    }
}
