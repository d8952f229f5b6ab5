//! The macOS plug-in's device in this process, with its gate, ledger, clock and bridge, and clients that read from it as Core
//! Audio lets apps read: some frames at once, a safety offset behind its clock. The calls by which a host gets there are driven
//! by the host in C ([`crate::hal_host`]).

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use truemute_agent::simulated::{RAMP, now_ns};
use truemute_bridge::message::Anchor;
use truemute_hal::device::Device;
use truemute_hal::input;

/// Frames that Core Audio stays behind the clock: the device's safety offset (`driver-macos/plugin/properties.tsv`).
const SAFETY_OFFSET: u64 = 1024;

const RATE: u128 = 48_000;

/// What a client got in one read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Position of the first frame.
    pub position: u64,
    /// When, by the host's clock in nanoseconds.
    pub at_ns: u64,
    /// Left and right.
    pub frames: Vec<[f32; 2]>,
}

impl Read {
    /// Whether every byte is zero.
    pub fn is_zero(&self) -> bool {
        self.frames
            .iter()
            .flatten()
            .all(|sample| sample.to_bits() == 0)
    }
}

/// The plug-in. Its device lives as long as this process.
pub struct Plugin {
    device: Arc<Device>,
    next_client: AtomicU32,
}

/// A client that reads, until it is dropped or stopped.
pub struct Reader {
    stop: Arc<AtomicBool>,
    reads: Arc<Mutex<Vec<Read>>>,
    thread: Option<JoinHandle<()>>,
}

impl Plugin {
    /// Listens in this folder, for this process's user.
    pub fn start(folder: &Path) -> Plugin {
        let device = Arc::new(Device::new());
        let user = rustix::process::getuid().as_raw();
        device.open_bridge(folder, Box::new(move || Ok(Some(user))));
        Plugin {
            device,
            next_client: AtomicU32::new(1),
        }
    }

    /// A client comes, and reads so many frames at once. The first one begins a new timeline of the clock.
    ///
    /// # Panics
    /// The system gives no thread.
    pub fn read(&self, frames: u32) -> Reader {
        self.read_and(frames, |_| {})
    }

    /// The same, with `then` called after each read.
    ///
    /// # Panics
    /// The system gives no thread.
    pub fn read_and(&self, frames: u32, then: impl Fn(&Read) + Send + 'static) -> Reader {
        self.start_reading(std::process::id(), frames, then)
    }

    /// The same as [`Plugin::read`], for a process of this number.
    ///
    /// # Panics
    /// The system gives no thread.
    pub fn read_as(&self, pid: u32, frames: u32) -> Reader {
        self.start_reading(pid, frames, |_| {})
    }

    /// Where the device's clock stands.
    pub fn position(&self) -> u64 {
        position_at(
            truemute_bridge::device::Device::clock(&*self.device),
            now_ns(),
        )
    }

    /// How many clients it tells an agent of: those that are there, and those that left and are not known to be on record.
    pub fn tells_of(&self) -> usize {
        self.device.clients().everybody(None).clients.len()
    }

    fn start_reading(
        &self,
        pid: u32,
        frames: u32,
        then: impl Fn(&Read) + Send + 'static,
    ) -> Reader {
        let client = self.next_client.fetch_add(1, Ordering::Relaxed);
        let pid = pid.cast_signed();
        self.device
            .add_client(client, pid, Some("org.example.reader".into()));
        self.device.start_io(client);
        let stop = Arc::<AtomicBool>::default();
        let reads = Arc::<Mutex<Vec<Read>>>::default();
        let thread = std::thread::spawn({
            let (device, stop, reads) = (self.device.clone(), stop.clone(), reads.clone());
            move || {
                let clock = truemute_bridge::device::Device::clock(&*device);
                // On a grid of its own size.
                let mut position =
                    position_at(clock, now_ns()) / u64::from(frames) * u64::from(frames);
                while !stop.load(Ordering::Relaxed) {
                    let due_ns = host_ns(clock, position + u64::from(frames) + SAFETY_OFFSET);
                    std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
                    let read = read_once(&device, client, position, frames);
                    then(&read);
                    reads
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(read);
                    position += u64::from(frames);
                }
                device.stop_io(client);
                device.remove_client(client);
            }
        });
        Reader {
            stop,
            reads,
            thread: Some(thread),
        }
    }
}

fn read_once(device: &Device, client: u32, position: u64, frames: u32) -> Read {
    let mut bytes = vec![0xa5; frames as usize * size_of::<[f32; 2]>()];
    let at_ns = now_ns();
    input::read(device, client, frames, Some(position as f64), &mut bytes);
    let samples = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_ne_bytes(*bytes));
    let samples: Vec<f32> = samples.collect();
    Read {
        position,
        at_ns,
        frames: samples.as_chunks::<2>().0.to_vec(),
    }
}

fn position_at(clock: Anchor, at_ns: u64) -> u64 {
    let after = u128::from(at_ns.saturating_sub(clock.host_ns));
    clock.sample + (after * RATE / 1_000_000_000) as u64
}

fn host_ns(clock: Anchor, position: u64) -> u64 {
    let after = u128::from(position.saturating_sub(clock.sample));
    clock.host_ns + (after * 1_000_000_000).div_ceil(RATE) as u64
}

impl Reader {
    /// What it got so far.
    pub fn so_far(&self) -> Vec<Read> {
        self.reads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it got sound in a read after this moment.
    pub fn hears_since(&self, at_ns: u64) -> bool {
        let reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads
            .iter()
            .rev()
            .take_while(|read| read.at_ns > at_ns)
            .any(|read| !read.is_zero())
    }

    /// Leaves, and says what it got.
    pub fn stop(mut self) -> Vec<Read> {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

/// Checks what a client got of the simulated mic's ramp: each read is zeros or the ramp, of which within one run every frame
/// stands at its position and no bit is changed; nothing of it was captured before `opened_ns`. A run ends with zeros if `runs`
/// may be many. Zeros within a run are the position's frames that came too late (a machine that lets the capture wait for more
/// than 30 ms): what follows has to stand where it would without them. Gives the frames of sound.
///
/// # Panics
/// It is anything else.
pub fn check_ramp(reads: &[Read], opened_ns: u64, runs: Runs) -> usize {
    // By how much the ramp's number is ahead of the position.
    let mut ahead = None;
    let mut frames = 0;
    for read in reads {
        if read.is_zero() {
            if runs == Runs::Many {
                ahead = None;
            }
            continue;
        }
        for (position, [left, right]) in (read.position..).zip(&read.frames) {
            assert_eq!(
                right.to_bits(),
                (-left).to_bits(),
                "right is not the negative of left"
            );
            let number = (f64::from(*left) * RAMP as f64) as u64;
            let its_ahead = (number + RAMP - position % RAMP) % RAMP;
            assert_eq!(
                *ahead.get_or_insert(its_ahead),
                its_ahead,
                "frame {number} of the ramp at position {position}"
            );
            // The ramp counts frames since the host's clock began.
            let opened = (u128::from(opened_ns) * RATE / 1_000_000_000) as u64;
            let after_opening = (number + RAMP - opened % RAMP) % RAMP;
            assert!(after_opening < RAMP / 2, "captured before the unmute");
            frames += 1;
        }
    }
    frames
}

/// How often the capture may begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Not at all.
    One,
    /// As often as there are zeros between.
    Many,
}
