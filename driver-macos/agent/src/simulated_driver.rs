//! A stand-in for the HAL plug-in, for tests: the real gate, ledger, ring and bridge, and clients that read as Core Audio lets
//! apps read: every few milliseconds, a safety offset behind the clock. Every client keeps what it got.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_bridge::Frame;
use truemute_bridge::device::Device;
use truemute_bridge::memory::Incoming;
use truemute_bridge::message::{Anchor, Client, Snapshot};
use truemute_bridge::server::Server;
use truemute_core::gate::{Decision, Gate, SilentReason};
use truemute_core::ledger::{Ledger, Pull, SlotWriter, Tally};
use truemute_core::observed::Counts;

use crate::agent::lock;
use crate::simulated::now_ns;

/// Frames that a reader stays behind the clock (`driver-macos/plugin/properties.tsv`).
pub const SAFETY_OFFSET: u64 = 1024;

const RATE: u64 = truemute_feeder::RATE as u64;

/// What a client got in one read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Position of the first frame.
    pub position: u64,
    /// When, by the host's clock.
    pub at_ns: u64,
    /// Why there is no sound; nothing if there is.
    pub silent: Option<SilentReason>,
    /// The frames.
    pub frames: Vec<Frame>,
}

/// The stand-in. Dropping it is the end of the plug-in: the bridge hangs up.
pub struct Driver {
    mic: Arc<Mic>,
    incoming: Arc<Incoming>,
    server: Arc<Server>,
}

struct Mic {
    gate: Gate,
    ledger: Ledger<16>,
    instance: u64,
    epoch_ns: u64,
    seed: AtomicU64,
    running: AtomicU32,
    clients: Mutex<Vec<Known>>,
    arrivals: AtomicU64,
}

struct Known {
    arrival: u64,
    slot: Option<usize>,
    /// Of one that left.
    last: Option<Counts>,
    running: bool,
}

/// A client that reads. Dropping it stops it; [`Reader::stop`] also says what it got.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Read>>>,
    reads: Arc<Mutex<Vec<Read>>>,
}

impl Driver {
    /// Listens in this folder, for this process's user.
    ///
    /// # Errors
    /// The system gives no thread or socket.
    pub fn start(folder: &Path) -> io::Result<Driver> {
        let now = now_ns();
        let mic = Arc::new(Mic {
            gate: Gate::new(),
            ledger: Ledger::new(now),
            instance: now,
            epoch_ns: now,
            seed: AtomicU64::new(1),
            running: AtomicU32::new(0),
            clients: Mutex::default(),
            arrivals: AtomicU64::new(0),
        });
        let incoming = Arc::new(Incoming::new());
        let user = rustix::process::getuid().as_raw();
        let allowed = Box::new(move || Some(user));
        let server = Server::start(folder, allowed, mic.clone(), incoming.clone())?;
        Ok(Driver {
            mic,
            incoming,
            server: Arc::new(server),
        })
    }

    /// A client comes that reads so many frames at once.
    ///
    /// # Panics
    /// There are too many, or the system gives no thread.
    pub fn read(&self, frames: usize) -> Reader {
        let arrival = self.mic.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
        let writer = self.mic.ledger.claim(arrival).expect("a free slot");
        lock(&self.mic.clients).push(Known {
            arrival,
            slot: Some(writer.slot()),
            last: None,
            running: true,
        });
        self.mic.running.fetch_add(1, Ordering::Relaxed);
        self.server.poke();
        let stop = Arc::new(AtomicBool::new(false));
        let reads = Arc::new(Mutex::new(Vec::new()));
        let reading = Reading {
            mic: self.mic.clone(),
            incoming: self.incoming.clone(),
            server: self.server.clone(),
            stop: stop.clone(),
            reads: reads.clone(),
        };
        let thread = std::thread::spawn(move || reading.run(arrival, writer, frames));
        Reader {
            stop,
            thread: Some(thread),
            reads,
        }
    }

    /// The clock begins anew, as when Core Audio restarts it.
    pub fn restart_clock(&self) {
        self.mic.seed.fetch_add(1, Ordering::Relaxed);
        self.server.poke();
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.mic.gate
    }
}

impl Reader {
    /// What it got so far.
    pub fn so_far(&self) -> Vec<Read> {
        lock(&self.reads).clone()
    }

    /// Leaves, and says what it got.
    ///
    /// # Panics
    /// Its thread did.
    pub fn stop(mut self) -> Vec<Read> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("it reads")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Reading {
    mic: Arc<Mic>,
    incoming: Arc<Incoming>,
    server: Arc<Server>,
    stop: Arc<AtomicBool>,
    reads: Arc<Mutex<Vec<Read>>>,
}

impl Reading {
    fn run(self, arrival: u64, mut writer: SlotWriter, frames: usize) -> Vec<Read> {
        // On a grid of its own size, as Core Audio does.
        let mut position = self.mic.position(now_ns()) / frames as u64 * frames as u64;
        let mut buffer = vec![0xa5_u8; frames * size_of::<Frame>()];
        while !self.stop.load(Ordering::Relaxed) {
            let due_ns = self.mic.host_ns(position + frames as u64 + SAFETY_OFFSET);
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            let at_ns = now_ns();
            let decision = self.incoming.with(|ring| match ring {
                Some(ring) => ring.deliver(&self.mic.gate, at_ns, position, &mut buffer),
                None => {
                    buffer.fill(0);
                    Decision::Silent(SilentReason::SourceMissing)
                }
            });
            self.mic.ledger.record(
                &mut writer,
                Pull {
                    finish_ns: at_ns,
                    frames: frames as u32,
                    nanoseconds: frames as u64 * 1_000_000_000 / RATE,
                    live: matches!(decision, Decision::Live(_)),
                    flagged: false,
                },
            );
            let samples = buffer
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_ne_bytes(*bytes));
            let samples: Vec<f32> = samples.collect();
            lock(&self.reads).push(Read {
                position,
                at_ns,
                silent: match decision {
                    Decision::Live(_) => None,
                    Decision::Silent(why) => Some(why),
                },
                frames: samples.as_chunks::<2>().0.to_vec(),
            });
            position += frames as u64;
        }
        let counts = self.mic.ledger.release(writer);
        for known in lock(&self.mic.clients)
            .iter_mut()
            .filter(|known| known.arrival == arrival)
        {
            known.slot = None;
            known.last = counts.as_ref().map(Counts::from);
            known.running = false;
        }
        self.mic.running.fetch_sub(1, Ordering::Relaxed);
        self.server.poke();
        std::mem::take(&mut lock(&self.reads))
    }
}

impl Mic {
    fn position(&self, host_ns: u64) -> u64 {
        let after = u128::from(host_ns.saturating_sub(self.epoch_ns));
        (after * u128::from(RATE) / 1_000_000_000) as u64
    }

    fn host_ns(&self, position: u64) -> u64 {
        self.epoch_ns + (u128::from(position) * 1_000_000_000 / u128::from(RATE)) as u64
    }
}

impl Device for Mic {
    fn gate(&self) -> &Gate {
        &self.gate
    }

    fn now_ns(&self) -> u64 {
        now_ns()
    }

    fn clock(&self) -> Anchor {
        Anchor {
            host_ns: self.epoch_ns,
            sample: 0,
            seed: self.seed.load(Ordering::Relaxed),
            rate: RATE as u32,
        }
    }

    fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    fn instance(&self) -> u64 {
        self.instance
    }

    fn snapshot(&self, take_gone: bool) -> Snapshot {
        let mut clients = lock(&self.clients);
        let told = |known: &Known| {
            let slot = known.slot.and_then(|slot| self.ledger.snapshot(slot).ok());
            Client {
                arrival: known.arrival,
                id: known.arrival as u32,
                pid: std::process::id().cast_signed(),
                bundle: Some("org.example.reader".into()),
                running: known.slot.map(|_| known.running),
                last_read_ns: slot.as_ref().and_then(|slot| slot.last_pull_ns),
                counts: slot.as_ref().map(Counts::from).or(known.last),
            }
        };
        let snapshot = Snapshot {
            instance: self.instance,
            at_ns: now_ns(),
            clients: clients.iter().map(told).collect(),
            unattributed: Tally::default(),
            forgotten: 0,
        };
        if take_gone {
            clients.retain(|known| known.slot.is_some());
        }
        snapshot
    }

    fn diag(&self) -> String {
        "a stand-in for the driver".into()
    }
}
