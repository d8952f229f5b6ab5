//! The virtual mic's clients, as the plug-in counts them, in the words of every backend. Who left stays until its final
//! counts were recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use truemute_bridge::message::{self, MOST_RECORDED, Recorded};
use truemute_core::observed::{Api, Client, ClientState, CountedBy, Counts, Purpose, Who};

use truemute_agent::bypass::{identity, name};
use truemute_agent::driver::When;
use truemute_agent::system::System;

/// The clients of one instance of the plug-in, by their arrival.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: BTreeMap<u64, Client>,
    /// Number of the last look.
    last_look: u64,
    /// Those whose final counts were recorded, until the plug-in has answered a request that says so.
    recorded: BTreeSet<u64>,
}

impl Clients {
    /// What the plug-in need not keep for us any more.
    pub(crate) fn recorded(&self) -> Recorded {
        let gone = self.recorded.iter().take(MOST_RECORDED);
        Recorded {
            look: self.last_look,
            gone: gone.copied().collect(),
        }
    }

    /// The plug-in was told so, and answered with the look of this number.
    pub(crate) fn acknowledged(&mut self, recorded: &Recorded, look: u64) {
        self.last_look = look;
        self.recorded
            .retain(|arrival| !recorded.gone.contains(arrival));
    }

    /// What the plug-in says now: everybody who is there, and who left and is not recorded. Whom it does not name any more
    /// has left too, and was one too many for it to remember.
    pub(crate) fn look(&mut self, told: Vec<message::Client>, system: &dyn System, now: When) {
        let mut vanished: BTreeSet<u64> = self.known.keys().copied().collect();
        for told in told {
            vanished.remove(&told.arrival);
            if self.recorded.contains(&told.arrival) {
                continue;
            }
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
        for arrival in vanished {
            if let Some(known) = self.known.get_mut(&arrival) {
                known.state = ClientState::Gone;
            }
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Client> {
        self.known.values().cloned().collect()
    }

    /// Drops those that left, whose final counts were recorded.
    pub(crate) fn forget(&mut self, ids: &[u64]) {
        for id in ids {
            if self
                .known
                .get(id)
                .is_some_and(|client| client.state == ClientState::Gone)
            {
                self.known.remove(id);
                self.recorded.insert(*id);
            }
        }
    }
}

/// Who it is, is asked once: its process may end before it is seen again, and its number go to another one.
fn first_sight(told: &message::Client, system: &dyn System, now: When) -> Client {
    let pid = u32::try_from(told.pid).ok();
    let executable: Option<PathBuf> = pid.and_then(|pid| system.executable(pid));
    Client {
        id: told.arrival,
        who: Who {
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
        },
        state: ClientState::Corked,
        app_muted: false,
        counted_by: CountedBy::Unattributed,
        counts: Counts::default(),
        offers: None,
        first_seen_ns: now.wall_ns,
        last_pull_ns: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use truemute_agent::simulated::Simulated;

    fn told(arrival: u64, running: Option<bool>) -> message::Client {
        message::Client {
            arrival,
            id: 1,
            pid: 1,
            bundle: None,
            running,
            counts: Some(Counts::default()),
            last_read_ns: None,
        }
    }

    #[test]
    fn who_left_is_recorded_once_and_the_plug_in_told_until_it_has_heard() {
        let (system, now) = (
            Simulated::new(Vec::new()),
            When {
                host_ns: 0,
                wall_ns: 0,
            },
        );
        let mut clients = Clients::default();
        let left = || vec![told(1, Some(true)), told(2, None)];
        clients.look(left(), &system, now);
        clients.acknowledged(&Recorded::default(), 1);
        clients.forget(&[1, 2]);
        let expected = Recorded {
            look: 1,
            gone: vec![2],
        };
        // The reply is lost: the plug-in is told again, and does not bring it back.
        assert_eq!(
            (clients.recorded(), clients.recorded()),
            (expected.clone(), expected.clone())
        );
        clients.look(left(), &system, now);
        assert_eq!(clients.all().len(), 1, "it is recorded already");
        clients.acknowledged(&expected, 2);
        let rest = Recorded {
            look: 2,
            gone: Vec::new(),
        };
        assert_eq!(clients.recorded(), rest);
        clients.look(Vec::new(), &system, now);
        let states: Vec<_> = clients.all().iter().map(|it| (it.id, it.state)).collect();
        assert_eq!(states, [(1, ClientState::Gone)], "it is not named any more");
    }
}
