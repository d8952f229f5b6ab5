//! The device: its time line, its gate, its clients, and what the host's calls do to them. What a read delivers is in
//! `input.rs`.

use crate::cf::Owned;
use crate::clients::{Clients, Counted, Everybody};
use crate::clock::{self, Clock, ZeroTimeStamp};
use crate::diag::{self, Requests};
use crate::host_clock::HostClock;
use crate::properties::Moment;
use crate::remembered::Remembered;
use crate::sleep::Sleep;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use truemute_bridge::memory::Incoming;
use truemute_bridge::message::{self, Anchor, Aside, Pulls, Recorded, Snapshot};
use truemute_bridge::peer::AllowedUser;
use truemute_bridge::server::Server;
use truemute_core::gate::Gate;

/// How often the bridge lets a thread go on that is just changing the clock. Then it tells the last anchor again, and the new one
/// at its next look.
const PATIENCE: u32 = 1000;

/// The device. Any thread.
#[derive(Debug)]
pub struct Device {
    instance: u64,
    host: HostClock,
    clock: Clock,
    /// The anchor that the bridge was told last.
    told: Remembered<clock::Anchor>,
    sleep: Sleep,
    gate: Gate,
    clients: Clients,
    requests: Requests,
    incoming: Arc<Incoming>,
    /// The server, once it was started; or the system's error number.
    bridge: OnceLock<Result<Server, i32>>,
}

impl Device {
    /// A device that is muted, with nobody there, on a time line that begins now.
    pub fn new() -> Self {
        Self::on(HostClock::system())
    }

    fn on(host: HostClock) -> Self {
        let now = host.look();
        Self {
            // The standard library seeds its hash maps from the system's random numbers.
            instance: RandomState::new().build_hasher().finish(),
            clock: Clock::new(host.timebase(), now.ticks),
            told: Remembered::new(clock::Anchor::first(now.ticks)),
            sleep: Sleep::new(host.timebase().nanoseconds(now.asleep)),
            host,
            gate: Gate::new(),
            clients: Clients::new(),
            requests: Requests::default(),
            incoming: Arc::default(),
            bridge: OnceLock::new(),
        }
    }

    /// Lets an agent of the `allowed` user connect, at a socket in `folder`; once. What comes of it: [`Device::bridge`].
    /// From then on the device lives as long as its process, since its bridge needs it.
    pub fn open_bridge(self: &Arc<Self>, folder: &Path, allowed: AllowedUser) {
        self.bridge.get_or_init(|| {
            Server::start(folder, allowed, self.clone(), self.incoming.clone())
                .map_err(|error| error.raw_os_error().unwrap_or(0))
        });
    }

    /// The bridge, or the system's error number that kept it from starting; nothing before [`Device::open_bridge`].
    pub fn bridge(&self) -> Option<&Result<Server, i32>> {
        self.bridge.get()
    }

    /// The ring of the agent that is connected.
    pub fn incoming(&self) -> &Incoming {
        &self.incoming
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

    /// Differs after each start of the plug-in, so that counts which begin anew never look negative.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Now, in nanoseconds of the host's clock. Every read and the bridge ask this before they look at the gate: if the
    /// machine slept, the gate is muted first ([`Sleep`]). Real-time safe.
    pub fn now_ns(&self) -> u64 {
        let now = self.host.look();
        let timebase = self.host.timebase();
        self.sleep
            .look(timebase.nanoseconds(now.asleep), &self.gate);
        timebase.nanoseconds(now.ticks)
    }

    /// A client came, as the host introduces it.
    pub fn add_client(&self, client: u32, pid: i32, bundle: Option<String>) {
        self.clients.add(client, pid, bundle);
        self.poke();
    }

    /// A client left: its running ends with it.
    pub fn remove_client(&self, client: u32) {
        self.clients.remove(client);
        self.poke();
    }

    /// A client starts IO. The first one begins a new time line.
    pub fn start_io(&self, client: u32) {
        self.clients.start(client, || {
            self.clock.restart(self.host.ticks());
        });
        self.poke();
    }

    /// A client stops IO.
    pub fn stop_io(&self, client: u32) {
        self.clients.stop(client);
        self.poke();
    }

    /// The latest boundary of a period. Real-time safe.
    pub fn zero_time_stamp(&self) -> Option<ZeroTimeStamp> {
        self.clock.zero_time_stamp(self.host.ticks())
    }

    /// The agent is told what changed.
    fn poke(&self) {
        if let Some(Ok(bridge)) = self.bridge.get() {
            bridge.poke();
        }
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

    fn socket(&self) -> String {
        let bridge = self.bridge.get().and_then(|bridge| bridge.as_ref().ok());
        let path = bridge.and_then(|bridge| bridge.report().own_path);
        path.map_or_else(String::new, |path| path.display().to_string())
    }
}

impl truemute_bridge::device::Device for Device {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn now_ns(&self) -> u64 {
        Self::now_ns(self)
    }

    fn clock(&self) -> Anchor {
        let told = self.told.look(PATIENCE, || self.clock.anchor());
        Anchor {
            host_ns: self.host.timebase().nanoseconds(told.ticks),
            sample: told.sample,
            seed: told.seed,
            rate: clock::RATE,
        }
    }

    fn running(&self) -> u32 {
        self.clients.running()
    }

    fn instance(&self) -> u64 {
        self.instance
    }

    fn arrivals(&self) -> u64 {
        self.clients.arrivals()
    }

    fn set_aside(&self, aside: &Aside) {
        self.clients.set_aside(aside);
    }

    fn is_aside_settled(&self) -> bool {
        self.clients.is_aside_settled()
    }

    fn trace(&self, on: bool) {
        self.clients.trace(on);
    }

    fn pulls(&self, most: usize) -> Pulls {
        self.clients.pulls(most)
    }

    fn snapshot(&self, recorded: Option<&Recorded>) -> Snapshot {
        let Everybody {
            look,
            clients,
            unattributed,
            forgotten,
        } = self.clients.everybody(recorded);
        Snapshot {
            instance: self.instance,
            look,
            at_ns: self.now_ns(),
            clients: clients.into_iter().map(told).collect(),
            unattributed,
            forgotten,
        }
    }

    fn diag(&self) -> String {
        diag::diagnosis(self).to_string()
    }
}

fn told(counted: Counted) -> message::Client {
    let Counted {
        client,
        running,
        counts,
    } = counted;
    message::Client {
        arrival: client.arrival,
        id: client.id,
        pid: client.pid,
        bundle: client.bundle,
        running,
        last_read_ns: counts.as_ref().and_then(|counts| counts.last_pull_ns),
        counts: counts.as_ref().map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_clock::Look;
    use crate::sleep::LONGEST_SLEEP_NS;
    use std::cell::Cell;

    thread_local! {
        static ASLEEP: Cell<u64> = const { Cell::new(7) };
    }

    /// A machine that sleeps as long as the test says, and on which no other time passes.
    fn device() -> Device {
        Device::on(HostClock::made_up(|| Look {
            ticks: 1000,
            asleep: ASLEEP.get(),
        }))
    }

    fn sleep(nanoseconds: u64) {
        ASLEEP.set(ASLEEP.get() + nanoseconds);
    }

    #[test]
    fn after_a_sleep_the_next_read_finds_the_gate_muted() {
        let device = device();
        let read = || {
            crate::input::read(&device, 1, 8, Some(0.0), &mut [0; 64]);
            device.gate().state().1
        };
        device.gate().unmute(1000);
        assert!(read());
        sleep(LONGEST_SLEEP_NS);
        assert!(read());
        sleep(1);
        assert!(!read());
        device.gate().unmute(1000);
        assert!(read(), "one sleep, one mute");
    }

    #[test]
    fn after_a_sleep_the_next_tick_of_the_bridge_mutes() {
        let device = device();
        device.gate().unmute(1000);
        sleep(3_600_000_000_000);
        assert!(device.gate().state().1);
        let bridge: &dyn truemute_bridge::device::Device = &device;
        assert_eq!(bridge.now_ns(), 1000, "the host's clock stood still");
        assert!(!device.gate().state().1);
    }
}
