//! The device: its time line, its gate, its clients, and what the host's calls do to them. What a read delivers is in
//! `input.rs`.

use crate::cf::Owned;
use crate::clients::Clients;
use crate::clock::{Clock, ZeroTimeStamp};
use crate::diag::{self, Requests};
use crate::host_clock::HostClock;
use crate::properties::Moment;
use std::hash::{BuildHasher, Hasher, RandomState};
use truemute_core::gate::Gate;

/// The device. Any thread.
#[derive(Debug)]
pub struct Device {
    instance: u64,
    host: HostClock,
    clock: Clock,
    gate: Gate,
    clients: Clients,
    requests: Requests,
}

impl Device {
    /// A device that is muted, with nobody there, on a time line that begins now.
    pub fn new() -> Self {
        let host = HostClock::system();
        Self {
            // The standard library seeds its hash maps from the system's random numbers.
            instance: RandomState::new().build_hasher().finish(),
            clock: Clock::new(host.timebase(), host.ticks()),
            host,
            gate: Gate::new(),
            clients: Clients::new(),
            requests: Requests::default(),
        }
    }

    /// Differs after each start of the plug-in, so that counts which begin anew never look negative.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Now, in nanoseconds of the host's clock. Real-time safe.
    pub fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The clients.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The time line.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The property requests that were not answered.
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// A client starts IO. The first one begins a new time line.
    pub fn start_io(&self, client: u32) {
        self.clients.start(client, || {
            self.clock.restart(self.host.ticks());
        });
    }

    /// A client stops IO.
    pub fn stop_io(&self, client: u32) {
        self.clients.stop(client);
    }

    /// The latest boundary of a period. Real-time safe.
    pub fn zero_time_stamp(&self) -> Option<ZeroTimeStamp> {
        self.clock.zero_time_stamp(self.host.ticks())
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

impl Moment for Device {
    fn running(&self) -> bool {
        self.clients.running() > 0
    }

    fn diag(&self) -> Option<Owned> {
        diag::diagnosis(self).property_list()
    }
}
