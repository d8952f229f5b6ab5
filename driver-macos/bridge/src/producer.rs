//! The one peer that is let in, from its hello to its end: what it asks for, what it is told, and when it has to go.

use crate::LEASE_NS;
use crate::device::Device;
use crate::memory::Incoming;
use crate::message::{
    Anchor, Aside, Event, FromAgent, FromPlugin, GateState, LARGEST_FROM_AGENT,
    LARGEST_FROM_PLUGIN, MOST_PULLS, Muted, Opened, Refused, Reply, Request, VERSION, Welcome,
    decode, encode,
};
use crate::peer::AllowedUser;
use crate::wire::{Broken, Wire};
use rustix::event::PollFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a hello may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a producer may go without a whole message that we can answer: it says nothing, or half of something, or does not
/// read what it asked for. It is also how long one that hangs keeps another one out.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// Messages that may come in a second; an agent needs about ten.
const MOST_IN_A_SECOND: u32 = 2000;

/// How often it is looked at who is at the console.
const LOOK: Duration = Duration::from_millis(500);

/// Bytes around the text of a reply, at most: kinds, the request's number and a length.
const LARGEST_ENVELOPE: usize = 16;

/// How long a mute waits for reads that are under way. They take microseconds.
const SETTLING: Duration = Duration::from_millis(100);

/// What failed, if the system does not say who is at the console.
pub(crate) const CONSOLE_USER: &str = "user at the console";

/// What becomes of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Stays,
    /// It hung up.
    Gone,
    /// It has to go.
    Dropped(Refused),
    /// The system failed.
    Failed(&'static str, Errno),
}

impl From<Broken> for Verdict {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Ended => Self::Gone,
            Broken::NotAMessage => Self::Dropped(Refused::NotAMessage),
            Broken::System(error) => Self::Failed("socket", error),
        }
    }
}

/// The peer.
pub(crate) struct Producer {
    wire: Wire,
    user: u32,
    /// What it was told last; nothing before it is in.
    told: Option<Told>,
    lease_until_ns: u64,
    heard: Instant,
    looked: Instant,
    second: Instant,
    in_this_second: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    running: u32,
    arrivals: u64,
    clock: Anchor,
    gate: GateState,
}

/// As much of a text as fits a message.
fn fitting(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LARGEST_FROM_PLUGIN - LARGEST_ENVELOPE));
    text
}

fn gate_state(device: &dyn Device) -> GateState {
    let (epoch, open) = device.gate().state();
    GateState {
        epoch: epoch.get(),
        open,
    }
}

/// Waits a moment for reads that are under way.
fn settles(is_settled: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    let mut settled = is_settled();
    while !settled && began.elapsed() < SETTLING {
        std::thread::sleep(Duration::from_micros(100));
        settled = is_settled();
    }
    settled
}

fn set_aside(aside: &Aside, device: &dyn Device) -> bool {
    device.set_aside(aside);
    settles(|| device.is_aside_settled())
}

impl Producer {
    pub(crate) fn new(socket: UnixStream, user: u32) -> Result<Self, Errno> {
        let now = Instant::now();
        Ok(Self {
            wire: Wire::new(socket, LARGEST_FROM_AGENT)?,
            user,
            told: None,
            lease_until_ns: 0,
            heard: now,
            looked: now,
            second: now,
            in_this_second: 0,
        })
    }

    pub(crate) fn user(&self) -> u32 {
        self.user
    }

    /// Whether it said hello, and may produce.
    pub(crate) fn is_in(&self) -> bool {
        self.told.is_some()
    }

    /// What to wait for: as long as it does not read, nothing more is read from it.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.wire.is_sending() {
            PollFlags::OUT
        } else {
            PollFlags::IN
        }
    }

    /// Does what is due. Returns soon, whatever the peer does.
    pub(crate) fn serve(
        &mut self,
        device: &dyn Device,
        incoming: &Incoming,
        allowed: &AllowedUser,
    ) -> Verdict {
        match self.step(device, incoming, allowed) {
            Ok(()) => Verdict::Stays,
            Err(verdict) => verdict,
        }
    }

    fn step(
        &mut self,
        device: &dyn Device,
        incoming: &Incoming,
        allowed: &AllowedUser,
    ) -> Result<(), Verdict> {
        self.end_a_lapsed_lease(device);
        self.wire.flush()?;
        self.work(device, incoming)?;
        // Nothing more comes in before the peer has read what it asked for.
        if !self.wire.is_sending() {
            self.wire.receive()?;
            self.work(device, incoming)?;
            self.tell_changes(device)?;
        }
        self.check_time(allowed)
    }

    /// Obeys the messages that are there, as long as the peer reads the replies.
    fn work(&mut self, device: &dyn Device, incoming: &Incoming) -> Result<(), Verdict> {
        while !self.wire.is_sending() {
            let Some(bytes) = self.wire.next()? else {
                break;
            };
            let message = decode(bytes).map_err(|_| Broken::NotAMessage)?;
            self.count()?;
            self.obey(message, device, incoming)?;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Verdict> {
        self.heard = Instant::now();
        if self.heard.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = self.heard;
            self.in_this_second = 0;
        }
        self.in_this_second += 1;
        if self.in_this_second > MOST_IN_A_SECOND {
            return Err(Verdict::Dropped(Refused::Flood));
        }
        Ok(())
    }

    fn check_time(&mut self, allowed: &AllowedUser) -> Result<(), Verdict> {
        let now = Instant::now();
        let silence = if self.is_in() { SILENCE } else { PATIENCE };
        if now.duration_since(self.heard) > silence {
            return Err(Verdict::Dropped(Refused::Slow));
        }
        if now.duration_since(self.looked) > LOOK {
            self.looked = now;
            let allowed = allowed().map_err(|error| Verdict::Failed(CONSOLE_USER, error))?;
            if allowed != Some(self.user) {
                return Err(Verdict::Dropped(Refused::User { uid: self.user }));
            }
        }
        Ok(())
    }

    fn obey(
        &mut self,
        message: FromAgent,
        device: &dyn Device,
        incoming: &Incoming,
    ) -> Result<(), Verdict> {
        match (message, self.is_in()) {
            (FromAgent::Hello { version: VERSION }, false) => self.welcome(device, incoming),
            (FromAgent::Hello { .. }, false) => {
                Err(Verdict::Dropped(Refused::Version { ours: VERSION }))
            }
            (FromAgent::Request { id, request }, true) => {
                let reply = self.answer(request, device);
                self.send(&FromPlugin::Reply { id, reply })
            }
            _ => Err(Verdict::Dropped(Refused::NotAMessage)),
        }
    }

    fn welcome(&mut self, device: &dyn Device, incoming: &Incoming) -> Result<(), Verdict> {
        let memory = incoming.renew().map_err(|error| {
            Verdict::Dropped(Refused::NoMemory {
                errno: error.raw_os_error(),
            })
        })?;
        let told = Told {
            running: device.running(),
            arrivals: device.arrivals(),
            clock: device.clock(),
            gate: gate_state(device),
        };
        let welcome = FromPlugin::Welcome(Welcome {
            version: VERSION,
            instance: device.instance(),
            anchor: told.clock,
            gate: told.gate,
            running: told.running,
        });
        let bytes = encode(&welcome, LARGEST_FROM_PLUGIN)
            .map_err(|_| Verdict::Failed("welcome", Errno::MSGSIZE))?;
        self.wire.send_first(&bytes, memory.as_fd())?;
        self.told = Some(told);
        Ok(())
    }

    fn answer(&mut self, request: Request, device: &dyn Device) -> Reply {
        match request {
            Request::Mute => Reply::Muted(self.mute(device)),
            Request::Unmute => Reply::Unmuted(self.unmute(device)),
            Request::RenewLease => Reply::Lease {
                gate: self.renew_lease(device),
            },
            Request::Snapshot(recorded) => Reply::Snapshot(device.snapshot(recorded.as_ref())),
            Request::Aside(aside) => Reply::Aside {
                settled: set_aside(&aside, device),
            },
            Request::Trace(on) => {
                device.trace(on);
                Reply::Pong
            }
            Request::Pulls => Reply::Pulls(device.pulls(MOST_PULLS)),
            Request::Diag => Reply::Diag(fitting(device.diag())),
            Request::Ping => Reply::Pong,
        }
    }

    fn mute(&mut self, device: &dyn Device) -> Muted {
        let epoch = device.gate().mute();
        device.gate().revoke_lease();
        let settled = settles(|| device.gate().settled(epoch));
        self.remember_gate(device);
        Muted {
            epoch: epoch.get(),
            settled,
            done_ns: device.now_ns(),
        }
    }

    fn unmute(&mut self, device: &dyn Device) -> Opened {
        let opened_ns = device.now_ns();
        // The former lease may be left from before a mute: it must not be shorter than a new one.
        self.lease_until_ns = opened_ns.saturating_add(LEASE_NS);
        device.gate().renew_lease(self.lease_until_ns);
        let epoch = device.gate().unmute(opened_ns);
        self.remember_gate(device);
        Opened {
            epoch: epoch.get(),
            opened_ns,
        }
    }

    fn renew_lease(&mut self, device: &dyn Device) -> GateState {
        self.end_a_lapsed_lease(device);
        if device.gate().state().1 {
            self.lease_until_ns = device.now_ns().saturating_add(LEASE_NS);
            device.gate().renew_lease(self.lease_until_ns);
        }
        self.remember_gate(device);
        gate_state(device)
    }

    /// A lease that ran out is a mute: a late renewal must not bring sound back.
    fn end_a_lapsed_lease(&mut self, device: &dyn Device) {
        if self.is_in() && device.gate().state().1 && device.now_ns() >= self.lease_until_ns {
            device.gate().mute();
            device.gate().revoke_lease();
        }
    }

    /// A reply tells it.
    fn remember_gate(&mut self, device: &dyn Device) {
        if let Some(told) = &mut self.told {
            told.gate = gate_state(device);
        }
    }

    /// One change at a time, and always the newest: nothing piles up for a peer that does not read.
    fn tell_changes(&mut self, device: &dyn Device) -> Result<(), Verdict> {
        while !self.wire.is_sending() {
            let Some(told) = &mut self.told else {
                return Ok(());
            };
            let (running, clock, gate) = (device.running(), device.clock(), gate_state(device));
            let arrivals = device.arrivals();
            let event = if told.gate != gate {
                told.gate = gate;
                Event::Gate(gate)
            } else if told.clock.seed != clock.seed {
                told.clock = clock;
                Event::Clock(clock)
            } else if told.arrivals != arrivals {
                told.arrivals = arrivals;
                Event::Arrived(arrivals)
            } else if told.running != running {
                told.running = running;
                Event::Running(running)
            } else {
                return Ok(());
            };
            self.send(&FromPlugin::Event(event))?;
        }
        Ok(())
    }

    fn send(&mut self, message: &FromPlugin) -> Result<(), Verdict> {
        let bytes = encode(message, LARGEST_FROM_PLUGIN)
            .map_err(|_| Verdict::Failed("too long a message", Errno::MSGSIZE))?;
        self.wire.queue(&bytes);
        Ok(self.wire.flush()?)
    }

    /// Nothing of this peer is heard any more.
    pub(crate) fn silence(&mut self, device: &dyn Device, incoming: &Incoming) {
        device.gate().mute();
        device.gate().revoke_lease();
        incoming.clear();
        // The next one says anew whom it mutes, and the gate is shut until then.
        device.set_aside(&Aside::default());
        device.trace(false);
    }

    /// The last words, as far as the system takes them at once.
    pub(crate) fn tell_end(&mut self, why: Refused) {
        if !self.wire.is_sending() {
            let message = if self.is_in() {
                FromPlugin::Event(Event::Ended(why))
            } else {
                FromPlugin::Refused(why)
            };
            let _ = self.send(&message);
        }
    }
}

impl AsFd for Producer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}
