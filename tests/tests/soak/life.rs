//! What happens in the soak, at random, and what is checked meanwhile and in the end.

use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal as Kill;
use truemute::protocol::GateState;
use truemute_core::observed::ClientState;
use truemute_pipewire::rehearsal::Service;
use truemute_tests::counted::{Own, of_stream};
use truemute_tests::evidence::Reading;
use truemute_tests::recorder::wait_until;
use truemute_tests::servers::Version;
use truemute_tests::stage::LIMIT;
use truemute_tests::tape::{Cycle, monotonic_ns};

use crate::set::{Guest, QUANTUM, Set};

/// Clients at a time.
const MOST_GUESTS: usize = 8;
/// The daemon's memory may be so much above what it was after a third of the time, without clients. The C library keeps the
/// memory of threads that have ended for the next ones: the first restarts of PipeWire cost 6 MB, the ten after them 2 MB
/// together, 24 clients 16 kB (measured).
const GROWTH: u64 = 4 << 20;
/// Restarts of PipeWire before anything is measured.
const WARM_UP: u32 = 4;
/// What is late by so much after a fault or a change is laid to it.
const AFTERMATH: u64 = 1_500_000_000;
/// A cycle's length, and how late a client may look at the position, in nanoseconds.
const CYCLE_NS: u64 = QUANTUM as u64 * 1_000_000_000 / 48_000;
const BLUR_NS: u64 = 2 * CYCLE_NS;

/// The soak on one server.
pub(crate) struct Life {
    version: Version,
    random: fastrand::Rng,
    set: Set,
    guests: Vec<Guest>,
    /// When sound may have been heard: from an unmute's order to the mute's acknowledgement. The last is open while live.
    live: Vec<Range<u64>>,
    /// When something was broken.
    broken: Vec<Range<u64>>,
    seen: Seen,
}

/// What there was to see.
#[derive(Debug, Default)]
struct Seen {
    toggles: u32,
    faults: u32,
    guests: u32,
    compared: u32,
    flagged: u32,
    cycles: u64,
    loud_cycles: u64,
    lost_cycles: u64,
    memory: Vec<u64>,
}

impl Life {
    /// Sets up; nothing if this version cannot be had here.
    pub(crate) fn begin(version: Version, seed: u64) -> Option<Self> {
        let mut set = Set::new(version)?;
        for _ in 0..WARM_UP {
            set.kill(Service::Pipewire);
            set.revive();
            let guest = set.add(true);
            assert!(guest.client.wait_for_pulls(10, LIMIT), "{}", set.logs());
        }
        Some(Self {
            version,
            random: fastrand::Rng::with_seed(seed),
            set,
            guests: Vec::new(),
            live: Vec::new(),
            broken: Vec::new(),
            seen: Seen::default(),
        })
    }

    /// Three acts: in the first two the daemon lives, so that its memory can be compared; in the third it is killed, too.
    pub(crate) fn go_on(&mut self, time: Duration) {
        for act in 1..=3 {
            let deadline = Instant::now() + time / 3;
            while Instant::now() < deadline {
                match self.random.u32(..100) {
                    0..35 => self.toggle(),
                    35..60 => self.guest_comes(),
                    60..85 => self.guest_leaves(),
                    85..97 => drop(self.set.daemon.stats()),
                    _ => self.fault(act == 3),
                }
                // The pace of things, not a wait for one.
                thread::sleep(Duration::from_millis(self.random.u64(5..150)));
            }
            self.everybody_leaves();
            if act < 3 {
                self.seen.memory.push(self.set.memory());
            }
        }
    }

    /// What was seen is enough, and as it should be.
    pub(crate) fn end(self) {
        let seen = &self.seen;
        println!("{:?}: {seen:?}", self.version);
        assert!(
            seen.toggles > 0 && seen.faults > 0 && seen.compared > 0,
            "{seen:?}"
        );
        assert!(seen.loud_cycles > 0, "nothing was ever heard: {seen:?}");
        let [warm, late] = seen.memory[..] else {
            panic!("memory was not looked at twice: {seen:?}");
        };
        assert!(
            late <= warm + GROWTH,
            "memory grew from {warm} to {late}\n{}",
            self.set.logs()
        );
    }

    fn toggle(&mut self) {
        self.seen.toggles += 1;
        let sent_ns = monotonic_ns();
        if self.is_live() {
            let muted = self.set.daemon.mute();
            muted.unwrap_or_else(|error| panic!("{error}\n{}", self.set.logs()));
            self.close(monotonic_ns());
        } else {
            self.live.push(sent_ns..u64::MAX);
            // A busy machine, or a mic that is away, may keep it from taking effect.
            let _ = self.set.daemon.unmute();
        }
    }

    /// Whether sound may be heard now.
    fn is_live(&self) -> bool {
        self.live.last().is_some_and(|it| it.end == u64::MAX)
    }

    /// From `end_ns` on nothing may be heard.
    fn close(&mut self, end_ns: u64) {
        if let Some(last) = self.live.last_mut() {
            last.end = last.end.min(end_ns);
        }
    }

    fn guest_comes(&mut self) {
        if self.guests.len() < MOST_GUESTS {
            let names_it = self.random.bool();
            let guest = self.set.add(names_it);
            self.guests.push(guest);
            self.seen.guests += 1;
        }
    }

    fn guest_leaves(&mut self) {
        if !self.guests.is_empty() {
            let guest = self
                .guests
                .swap_remove(self.random.usize(..self.guests.len()));
            self.see_off(guest);
        }
    }

    fn everybody_leaves(&mut self) {
        while let Some(guest) = self.guests.pop() {
            self.see_off(guest);
        }
        let gone = wait_until(LIMIT, || {
            self.set
                .daemon
                .status()
                .is_ok_and(|status| status.clients == 0)
        });
        assert!(gone, "clients stay\n{}", self.set.logs());
    }

    /// Breaks something for a moment.
    fn fault(&mut self, also_the_daemon: bool) {
        self.seen.faults += 1;
        let start_ns = monotonic_ns();
        let kinds = if also_the_daemon { 7 } else { 5 };
        let fault = self.random.u32(..kinds);
        let moment = Duration::from_millis(self.random.u64(50..800));
        match fault {
            0 => {
                self.set.unplug();
                thread::sleep(moment);
                self.set.plug_in();
            }
            1 => {
                self.set.kill(Service::Pulse);
                thread::sleep(moment);
                self.set.revive();
            }
            2 => {
                self.set.kill(Service::Pipewire);
                thread::sleep(moment);
                self.set.revive();
                let back = || {
                    self.set
                        .daemon
                        .status()
                        .is_ok_and(|status| status.connected)
                };
                assert!(wait_until(LIMIT, back), "no way back\n{}", self.set.logs());
            }
            3 => {
                let server = &self.set.server;
                server
                    .signal(Service::Wireplumber, Kill::STOP)
                    .expect("it runs");
                thread::sleep(moment);
                server
                    .signal(Service::Wireplumber, Kill::CONT)
                    .expect("it runs");
            }
            4 => {
                // Longer than the lease: it comes back muted.
                self.set.daemon.signal(Kill::STOP).expect("it runs");
                thread::sleep(moment + Duration::from_millis(400));
                self.set.daemon.signal(Kill::CONT).expect("it runs");
                self.close(monotonic_ns());
                let muted = || {
                    let status = self.set.daemon.status();
                    status.is_ok_and(|status| status.gate == GateState::Muted)
                };
                assert!(
                    wait_until(LIMIT, muted),
                    "it stays live\n{}",
                    self.set.logs()
                );
            }
            _ => {
                let signal = if fault == 5 { Kill::KILL } else { Kill::ABORT };
                self.set.daemon.stop(signal).expect("it ends");
                self.close(monotonic_ns());
                thread::sleep(moment);
                self.set.start_daemon();
            }
        }
        println!("{:?}: fault {fault} for {moment:?}", self.version);
        self.broken.push(start_ns..monotonic_ns() + AFTERMATH);
    }

    /// A client leaves, and what it got is looked at.
    fn see_off(&mut self, guest: Guest) {
        let name = guest.client.name().to_owned();
        let tape = guest.client.end();
        assert_eq!(tape.tape.lost(), 0, "the tape is too short");
        let reading = Reading::new(tape.tape.cycles_from(0));
        self.silent_but_while_live(&name, &reading);
        let life = guest.since_ns..monotonic_ns();
        let undisturbed = !self.broken.iter().any(|it| overlap(it, &life));
        if reading.cycles.is_empty() || !undisturbed {
            return;
        }
        let lost = reading.gaps(guest.since_ns) as u64;
        // The daemon may still be busy with its leaving.
        let mut counted = None;
        wait_until(LIMIT, || {
            let stats = self.set.daemon.stats().ok();
            counted = stats.and_then(|stats| of_stream(&stats, &name).cloned());
            counted
                .as_ref()
                .is_some_and(|it| it.state == ClientState::Gone)
        });
        // One that left before it was linked was never the virtual mic's client.
        let Some(counted) = counted else {
            assert!(reading.cycles.len() < 40, "{name} is not in the counts");
            return;
        };
        self.seen.compared += 1;
        self.seen.flagged += u32::from(!counted.exact);
        self.seen.lost_cycles += lost;
        assert!(
            lost <= counted.xruns,
            "{name} lost {lost} cycles, and that is not flagged: {counted:?}\n{}",
            self.set.logs()
        );
        let wrong = Own::new(&tape).disagrees(&counted, QUANTUM);
        assert!(wrong.is_none(), "{name}: {wrong:?}\n{}", self.set.logs());
    }

    fn silent_but_while_live(&mut self, name: &str, reading: &Reading) {
        let may_sound = |cycle: &Cycle| {
            self.live.iter().any(|live| {
                cycle.done_ns >= live.start && cycle.nsec < live.end.saturating_add(BLUR_NS)
            })
        };
        for cycle in &reading.cycles {
            self.seen.cycles += 1;
            if cycle.is_zero() {
                continue;
            }
            self.seen.loud_cycles += 1;
            assert!(
                may_sound(cycle),
                "{name} heard the room: {cycle:?}; live: {:?}, broken: {:?}\n{}",
                self.live.last_chunk::<3>(),
                self.broken.last(),
                self.set.logs()
            );
        }
    }
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}
