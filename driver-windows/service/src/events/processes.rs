//! What the events say of each process: offers to it, and packets for it. Sums only grow.

use std::collections::HashMap;

use super::decode::{Meaning, decode};
use super::{Events, Heard};

/// The most processes, and the most streams, that are kept apart: an engine has tens.
const MOST: usize = 4096;

/// All processes, since the agent began.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    of: HashMap<u32, Process>,
    /// Which client an offer named for a stream, by the process that logged it and the stream's address there.
    clients: HashMap<(u32, u64), u32>,
    /// Whether events are listened to now.
    pub(crate) hears: bool,
    /// How often that began, and how often all was forgotten.
    pub(crate) beginnings: u64,
    forgot: u64,
    /// Events that are known to be lost. Whose they were, nobody knows.
    pub(crate) lost: u64,
}

/// One process, whatever its streams are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    /// Times that the engine signalled to it that a pass is done.
    pub(crate) offers: u64,
    /// Packets between it and the engine.
    pub(crate) packets: u64,
    /// Frames in them.
    pub(crate) frames: u64,
}

impl Process {
    /// What came since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            offers: self.offers.saturating_sub(before.offers),
            packets: self.packets.saturating_sub(before.packets),
            frames: self.frames.saturating_sub(before.frames),
        }
    }
}

impl Processes {
    /// Adds what came since the last call.
    pub(crate) fn listen(&mut self, events: &dyn Events) {
        let Heard {
            hears,
            beginnings,
            events,
            lost,
        } = events.heard();
        self.hears = hears;
        self.lost += lost;
        if self.of.len() > MOST || self.clients.len() > MOST {
            // Processes come and go; forgetting is a loss of which at least one is known.
            self.of.clear();
            self.clients.clear();
            self.forgot += 1;
            self.lost += 1;
        }
        self.beginnings = beginnings + self.forgot;
        for event in &events {
            match decode(event) {
                Some(Meaning::Offer { instance, client }) => {
                    self.clients.insert((event.pid, instance), client);
                    self.of.entry(client).or_default().offers += 1;
                }
                Some(Meaning::Packet { instance, frames }) => {
                    // The event names no client. If its stream is one that an offer has named, it is that client's; else the one's who
                    // logged it.
                    let named = self.clients.get(&(event.pid, instance));
                    let process = self.of.entry(*named.unwrap_or(&event.pid)).or_default();
                    process.packets += 1;
                    process.frames += u64::from(frames);
                }
                None => self.lost += 1,
            }
        }
    }

    /// One of them; zeros if nothing was heard of it.
    pub(crate) fn of(&self, pid: u32) -> Process {
        self.of.get(&pid).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::{offer, packet};
    use super::*;
    use std::sync::Mutex;

    struct Replays(Mutex<Heard>);

    impl Events for Replays {
        fn heard(&self) -> Heard {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    #[test]
    fn offers_and_packets_are_the_clients_whom_they_name() {
        const ENGINE: u32 = 900;
        let mut strange = packet(ENGINE, 1, 480);
        strange.version = 9;
        let replays = Replays(Mutex::new(Heard {
            hears: true,
            beginnings: 1,
            events: vec![
                offer(ENGINE, 1, 70_001),
                packet(ENGINE, 1, 480),
                packet(70_002, 5, 441),
                offer(ENGINE, 1, 70_001),
                strange,
            ],
            lost: 2,
        }));
        let mut processes = Processes::default();
        processes.listen(&replays);
        let of = |offers, packets, frames| Process {
            offers,
            packets,
            frames,
        };
        assert_eq!(processes.of(70_001), of(2, 1, 480));
        assert_eq!(
            processes.of(70_002),
            of(0, 1, 441),
            "named by nobody: who logged it"
        );
        assert_eq!(processes.of(ENGINE), Process::default());
        assert_eq!(
            (processes.hears, processes.lost),
            (true, 3),
            "not understood is lost"
        );
        processes.listen(&replays);
        assert_eq!(
            processes.of(70_001),
            of(2, 1, 480),
            "heard once, counted once"
        );
        assert!(!processes.hears);
    }
}
