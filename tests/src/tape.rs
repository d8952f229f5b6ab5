//! What one recording client saw, cycle by cycle, written by its real-time callback without allocation or lock and
//! readable at any time.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use pipewire::spa::sys::{spa_chunk, spa_io_position};

use crate::append::Append;

/// One process callback that delivered a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cycle {
    /// The graph's clock (`clock.id`, a node id); positions compare only within one.
    pub clock: u32,
    /// The clock's position at the cycle's first frame.
    pub position: u64,
    /// When the cycle began, nanoseconds of the monotonic clock.
    pub nsec: u64,
    /// Frames of the graph's cycle.
    pub duration: u64,
    /// When this client had read the cycle's sound, nanoseconds of the monotonic clock.
    pub done_ns: u64,
    /// The position area changed while the client read: the driver had begun the next cycle already.
    pub moved: bool,
    /// Frames received, at the client's rate.
    pub frames: u32,
    /// `spa_chunk.offset`.
    pub chunk_offset: u32,
    /// `spa_chunk.size` in bytes.
    pub chunk_size: u32,
    /// `spa_chunk.stride` in bytes.
    pub chunk_stride: i32,
    /// `spa_chunk.flags`.
    pub chunk_flags: i32,
    /// Bytes that are not zero. Negative zero has one.
    pub nonzero_bytes: u32,
    /// Samples with any bit set.
    pub nonzero_samples: u32,
    /// The last of them as it lay in memory, as [`Cycle::first`]; 0 if there is none.
    pub last_nonzero: u32,
    /// First sample as it lay in memory: the bits of an F32, or an S16 in the low half.
    pub first: u32,
    /// FNV-1a of all bytes.
    pub hash: u64,
    /// Where this cycle's bytes begin in [`Tape::bytes_from`], if samples are kept.
    pub kept_at: u64,
    /// How long the graph's last completed cycle took, in nanoseconds: from the moment when its driver triggered the
    /// others until all had finished and the driver was awake again. 0 if it is not known.
    pub former_busy_ns: u64,
}

/// FNV-1a of 64 bits, as in [`Cycle::hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Takes the next byte.
    pub fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

/// The clock that cycles are stamped with.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

impl Cycle {
    /// Whether every bit of every sample is zero.
    pub fn is_zero(&self) -> bool {
        self.nonzero_bytes == 0
    }
}

/// A sample of at most four bytes as it lies in memory.
fn bits(sample: &[u8]) -> u32 {
    let bytes = sample.iter().zip([0, 8, 16, 24]);
    bytes.fold(0, |bits, (byte, shift)| bits | u32::from(*byte) << shift)
}

/// The driver's activation record as far as it is read here; the graph's position lies further on in it. Not a public
/// interface: `struct pw_node_activation` in src/pipewire/private.h, these offsets are the same in 0.3.65, 1.4.2 and 1.6.
/// In the middle of a cycle the first two still tell of the cycle before (`process_node`, src/pipewire/impl-node.c).
#[repr(C)]
pub(crate) struct DriverRecord {
    _status: [u64; 4],
    signal_ns: AtomicU64,
    awake_ns: AtomicU64,
}

/// The record of one client.
pub struct Tape {
    cycles: Append<Cycle>,
    bytes: Append<u8>,
    keep: bool,
    pulls: AtomicU64,
    empty: AtomicU64,
    frames: AtomicU64,
    sample_bytes: u32,
    channels: u32,
    position: AtomicPtr<spa_io_position>,
    driver: AtomicPtr<DriverRecord>,
    reading: AtomicBool,
    pub(crate) node_id: AtomicU32,
    /// Nanoseconds; -1 before any was told.
    pub(crate) source_latency_ns: AtomicI64,
}

impl Tape {
    /// Room for `cycles` cycles and `kept` bytes of sound.
    pub(crate) fn new(cycles: usize, kept: usize, sample_bytes: u32, channels: u32) -> Self {
        Self {
            cycles: Append::with_capacity(cycles),
            bytes: Append::with_capacity(kept),
            keep: kept > 0,
            pulls: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            sample_bytes,
            channels,
            position: AtomicPtr::new(ptr::null_mut()),
            driver: AtomicPtr::new(ptr::null_mut()),
            reading: AtomicBool::new(false),
            node_id: AtomicU32::new(u32::MAX),
            source_latency_ns: AtomicI64::new(-1),
        }
    }

    /// Process callbacks with a buffer so far: what an exact counter must say.
    pub fn pulls(&self) -> u64 {
        self.pulls.load(Ordering::Acquire)
    }

    /// The absolute part of the source's latency in nanoseconds, as the server told it last.
    pub fn source_latency_ns(&self) -> Option<u64> {
        u64::try_from(self.source_latency_ns.load(Ordering::Relaxed)).ok()
    }

    /// Process callbacks without a buffer.
    pub fn empty(&self) -> u64 {
        self.empty.load(Ordering::Relaxed)
    }

    /// Frames received so far.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// The cycles from number `start` on.
    pub fn cycles_from(&self, start: usize) -> Vec<Cycle> {
        self.cycles.from(start)
    }

    /// Cycles logged so far.
    pub fn logged(&self) -> usize {
        self.cycles.len()
    }

    /// Cycles, or bytes of sound that should have been kept, for which there was no room.
    pub fn lost(&self) -> u64 {
        self.cycles.lost() + self.bytes.lost()
    }

    /// The sound as received, from byte `start` on.
    pub fn bytes_from(&self, start: usize) -> Vec<u8> {
        self.bytes.from(start)
    }

    /// Main thread: the area with the graph's position is now at `area`, in the record `driver` if that is known; those
    /// before are about to be unmapped.
    pub(crate) fn set_position(&self, area: *mut spa_io_position, driver: *mut DriverRecord) {
        self.position.store(area, Ordering::SeqCst);
        self.driver.store(driver, Ordering::SeqCst);
        // Whoever began to read before the store may still use the old area.
        while self.reading.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    }

    /// Real-time thread: the callback came and there was no buffer.
    pub(crate) fn note_empty(&self) {
        self.empty.fetch_add(1, Ordering::Relaxed);
    }

    /// Real-time thread: logs one delivery.
    ///
    /// # Safety
    /// Only one thread may call this at a time.
    pub(crate) unsafe fn note(&self, chunk: &spa_chunk, memory: &[u8]) {
        let start = (chunk.offset as usize).min(memory.len());
        let end = (start + chunk.size as usize).min(memory.len());
        let bytes = &memory[start..end];
        let frames = bytes.len() as u32 / (self.sample_bytes * self.channels);
        if self.cycles.capacity() > 0 {
            // SAFETY: as the caller promises.
            unsafe { self.log(chunk, bytes, frames) };
        }
        self.frames.fetch_add(u64::from(frames), Ordering::Relaxed);
        self.pulls.fetch_add(1, Ordering::Release);
    }

    /// # Safety
    /// As [`Tape::note`].
    unsafe fn log(&self, chunk: &spa_chunk, bytes: &[u8], frames: u32) {
        let mut cycle = self.clock();
        cycle.frames = frames;
        cycle.chunk_offset = chunk.offset;
        cycle.chunk_size = chunk.size;
        cycle.chunk_stride = chunk.stride;
        cycle.chunk_flags = chunk.flags;
        let mut hash = Hash::default();
        for byte in bytes {
            cycle.nonzero_bytes += u32::from(*byte != 0);
            hash.add(*byte);
        }
        cycle.hash = hash.0;
        let samples = bytes.chunks(self.sample_bytes as usize).map(bits);
        cycle.first = samples.clone().next().unwrap_or(0);
        for sample in samples.filter(|sample| *sample != 0) {
            cycle.nonzero_samples += 1;
            cycle.last_nonzero = sample;
        }
        cycle.kept_at = self.bytes.len() as u64;
        let after = self.clock();
        cycle.moved = (after.clock, after.position) != (cycle.clock, cycle.position);
        cycle.done_ns = monotonic_ns();
        // SAFETY: the caller is the only one that appends.
        unsafe {
            if self.keep {
                self.bytes.extend(bytes.iter().copied());
            }
            self.cycles.extend([cycle].into_iter());
        }
    }

    fn clock(&self) -> Cycle {
        self.reading.store(true, Ordering::SeqCst);
        let area = self.position.load(Ordering::SeqCst);
        let driver = self.driver.load(Ordering::SeqCst);
        // SAFETY: null, or mapped until `set_position` has returned for its successor, which waits for `reading`.
        let (area, driver) = unsafe { (area.as_ref(), driver.as_ref()) };
        let mut cycle = area.map_or_else(Cycle::default, |area| Cycle {
            clock: area.clock.id,
            position: area.clock.position,
            nsec: area.clock.nsec,
            duration: area.clock.duration,
            ..Cycle::default()
        });
        if let Some(driver) = driver {
            let signalled = driver.signal_ns.load(Ordering::Relaxed);
            cycle.former_busy_ns = driver
                .awake_ns
                .load(Ordering::Relaxed)
                .saturating_sub(signalled);
        }
        self.reading.store(false, Ordering::SeqCst);
        cycle
    }
}
