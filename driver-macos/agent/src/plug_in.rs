//! The HAL plug-in as the agent's driver: `truemute-bridge`'s connection, in the agent's words.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use truemute_agent::driver::{
    Connect, Connected, Driver, DriverError, Hears, Look, Muted, Notice, Opened, Progress, Ring,
    When,
};
use truemute_agent::system::System;
use truemute_bridge::client::{Client, ClientError, Watcher};
use truemute_bridge::memory::Outgoing;
use truemute_bridge::message::{Anchor, Aside, Event, MOST_ASIDE};
use truemute_bridge::place::paths;
use truemute_core::observed::Pull;
use truemute_feeder::{Frame, Pacing, Timeline};

use crate::clients::Clients;

/// Where the plug-in is found.
#[derive(Clone, Debug)]
pub struct PlugIn {
    /// The folder with its socket.
    pub folder: PathBuf,
    /// The users that it may run as.
    pub users: Vec<u32>,
    /// Says where it listens in a folder of its own, as its device publishes it; nothing if it does not say.
    pub published: fn() -> Option<PathBuf>,
}

impl Connect for PlugIn {
    fn connect(&self, hears: Arc<dyn Hears>) -> Result<Connected, DriverError> {
        // Where nobody can have been before it; else by the names that everybody knows.
        let places = (self.published)().into_iter().chain(paths(&self.folder));
        let connected = Client::connect_at(places, &self.users, Box::new(Ears(hears)));
        let connected = connected.map_err(DriverError::new)?;
        Ok(Connected {
            driver: Box::new(Connection {
                client: connected.client,
                clients: Mutex::default(),
            }),
            ring: Box::new(SharedRing(connected.ring)),
            instance: connected.welcome.instance,
            clock: timeline(connected.welcome.anchor),
            running: connected.welcome.running,
            pacing: Pacing::default(),
        })
    }
}

struct Connection {
    client: Client,
    clients: Mutex<Clients>,
}

impl Connection {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Driver for Connection {
    fn mute(&self) -> Result<Muted, DriverError> {
        let muted = self.client.mute().map_err(DriverError::new)?;
        Ok(Muted {
            epoch: muted.epoch,
            settled: muted.settled,
            done_ns: muted.done_ns,
        })
    }

    fn unmute(&self) -> Result<Opened, DriverError> {
        let opened = self.client.unmute().map_err(DriverError::new)?;
        Ok(Opened {
            epoch: opened.epoch,
            opened_ns: opened.opened_ns,
        })
    }

    fn renew_lease(&self) -> Result<(), DriverError> {
        self.client
            .renew_lease()
            .map(drop)
            .map_err(DriverError::new)
    }

    fn progress(&self) -> Result<Progress, DriverError> {
        let look = self.client.snapshot(None).map_err(DriverError::new)?;
        let counts = look
            .clients
            .iter()
            .filter_map(|client| client.counts.as_ref());
        Ok(Progress {
            at_ns: look.at_ns,
            live_pulls: counts.map(|counts| counts.live.pulls).sum(),
        })
    }

    fn look(&self, system: &dyn System, now: When) -> Result<Look, DriverError> {
        let mut clients = self.clients();
        let recorded = clients.recorded();
        let look = self
            .client
            .snapshot(Some(recorded.clone()))
            .map_err(DriverError::new)?;
        clients.acknowledged(&recorded, look.look);
        // The plug-in's clock is the host's, and its look a moment old.
        clients.look(look.clients, system, now);
        Ok(Look {
            instance: look.instance,
            clients: clients.all(),
            unattributed: look.unattributed,
            warnings: Vec::new(),
        })
    }

    fn glance(&self, system: &dyn System, now: When) -> Result<Look, DriverError> {
        let mut clients = self.clients();
        let look = self.client.snapshot(None).map_err(DriverError::new)?;
        clients.look(look.clients, system, now);
        Ok(Look {
            instance: look.instance,
            clients: clients.all(),
            unattributed: look.unattributed,
            warnings: Vec::new(),
        })
    }

    fn set_aside(&self, clients: &[u64], judged: Option<u64>) -> Result<bool, DriverError> {
        // More than it has seats for, it cannot tell from each other anyway, and all of those are silent.
        let clients = clients.iter().copied().take(MOST_ASIDE).collect();
        let judged = judged.unwrap_or(u64::MAX);
        let aside = Aside { clients, judged };
        self.client.set_aside(aside).map_err(DriverError::new)
    }

    fn trace(&self, on: bool) -> Result<(), DriverError> {
        self.client.trace(on).map_err(DriverError::new)
    }

    fn pulls(&self) -> Result<(Vec<Pull>, u64), DriverError> {
        let told = self.client.pulls().map_err(DriverError::new)?;
        let pull = |it: &truemute_bridge::message::Pulled| Pull {
            client: it.arrival,
            monotonic_ns: it.at_ns,
            position: it.position,
            frames: it.frames,
            live: it.live,
            flagged: it.flagged,
        };
        let mut pulls: Vec<Pull> = told.pulls.iter().map(pull).collect();
        // Each client's are in order already.
        pulls.sort_by_key(|pull| pull.monotonic_ns);
        Ok((pulls, told.lost))
    }

    fn forget(&self, gone: &[u64]) {
        self.clients().forget(gone);
    }

    fn diag(&self) -> Result<String, DriverError> {
        self.client.diag().map_err(DriverError::new)
    }
}

/// The memory that plug-in and agent share.
struct SharedRing(Outgoing);

impl Ring for SharedRing {
    fn begin(&mut self, epoch: u64, position: u64, began_ns: u64) {
        self.0.begin(epoch, position, began_ns);
    }

    fn write(&mut self, frames: &[Frame]) {
        self.0.write(frames);
    }
}

/// What the plug-in tells on its own.
struct Ears(Arc<dyn Hears>);

impl Watcher for Ears {
    fn event(&mut self, event: Event) {
        self.0.notice(match event {
            Event::Running(clients) => Notice::Running(clients),
            Event::Clock(anchor) => Notice::Clock(timeline(anchor)),
            Event::Gate(gate) if !gate.open => Notice::LeaseRanOut(gate.epoch),
            Event::Arrived(_) => Notice::Arrived,
            Event::Gate(_) | Event::Ended(_) => Notice::Changed,
        });
    }

    fn lost(&mut self, why: ClientError) {
        self.0.lost(DriverError::new(why));
    }
}

fn timeline(anchor: Anchor) -> Timeline {
    Timeline {
        host_ns: anchor.host_ns,
        position: anchor.sample,
        seed: anchor.seed,
    }
}
