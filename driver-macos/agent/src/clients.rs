//! The virtual mic's clients, as the plug-in counts them, in the words of every backend. Who left stays until its final
//! counts were recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use truemute_bridge::message;
use truemute_core::observed::{Api, Client, ClientState, CountedBy, Counts, Purpose};

use crate::bypass::{When, identity, name};
use crate::system::System;

/// The clients of one instance of the plug-in, by their arrival.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: BTreeMap<u64, Client>,
}

impl Clients {
    /// What the plug-in says now, with who left since it was asked last.
    pub(crate) fn look(&mut self, told: Vec<message::Client>, system: &dyn System, now: When) {
        for told in told {
            let known = self
                .known
                .entry(told.arrival)
                .or_insert_with(|| first_sight(&told, system, now));
            known.state = match told.running {
                Some(true) => ClientState::Running,
                Some(false) => ClientState::Corked,
                None => ClientState::Gone,
            };
            if let Some(counts) = told.counts {
                (known.counts, known.counted_by) = (counts, CountedBy::Driver);
            }
            known.last_pull_ns = told.last_read_ns.map(|read_ns| {
                let ago_ns = now.host_ns.saturating_sub(read_ns);
                now.wall_ns.saturating_sub(ago_ns)
            });
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Client> {
        self.known.values().cloned().collect()
    }

    /// Drops those that left.
    pub(crate) fn forget(&mut self, ids: &[u64]) {
        self.known
            .retain(|id, client| client.state != ClientState::Gone || !ids.contains(id));
    }
}

/// Who it is, is asked once: its process may end before it is seen again, and its number go to another one.
fn first_sight(told: &message::Client, system: &dyn System, now: When) -> Client {
    let pid = u32::try_from(told.pid).ok();
    let executable: Option<PathBuf> = pid.and_then(|pid| system.executable(pid));
    Client {
        id: told.arrival,
        app: name(
            executable.as_deref(),
            told.bundle.as_deref(),
            pid.unwrap_or(0),
        ),
        stream: told.bundle.clone().unwrap_or_default(),
        pid,
        identity: identity(executable.as_ref()),
        executable,
        puller: None,
        api: Api::CoreAudio,
        purpose: Purpose::Recording,
        state: ClientState::Corked,
        app_muted: false,
        counted_by: CountedBy::Unattributed,
        counts: Counts::default(),
        first_seen_ns: now.wall_ns,
        last_pull_ns: None,
    }
}
