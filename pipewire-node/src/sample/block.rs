//! The real mic's block of one cycle: taken from the filter's ports, copied, and dated. Whether it may be heard is decided
//! in `cycle.rs`. Real-time thread.

use std::{ffi::c_void, ptr, sync::Arc};

use pipewire::{spa::sys as spa_sys, sys as pw_sys};
use truemute_core::gate::Source;

use super::{MAX_CHANNELS, latency::SharedLatency};

/// Bytes of one channel in [`Intake::sound`]: as many samples as the largest quantum has that a server allows unless it is
/// told otherwise (`default.clock.quantum-limit`). Larger ones are silent.
const PLANE: usize = 8192 * SAMPLE;
const SAMPLE: usize = size_of::<f32>();

/// What the real mic gave for one cycle.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// The driver's clock id.
    pub(crate) clock: u32,
    /// Clock position of the first frame.
    pub(crate) position: u64,
    /// Start of the cycle, monotonic nanoseconds.
    pub(crate) nsec: u64,
    pub(crate) frames: u32,
    pub(crate) rate: u32,
    /// A block only if the sound of all channels was copied.
    pub(super) source: Source,
}

/// Blocks that a mic without hardware of its own (an echo canceller, a filter chain) can hold from before it was let go
/// of. The graph stands still while nobody listens, with a block in each link that goes on as soon as it is linked again.
/// Measured with a null sink behind a filter: the first whole block was of the moment before the suspend.
pub(crate) const VIRTUAL_SETTLES: u32 = 2;

impl Block {
    /// No cycle, no sound.
    pub(crate) const NONE: Self = Self {
        clock: 0,
        position: 0,
        nsec: 0,
        frames: 0,
        rate: 0,
        source: Source::Missing,
    };

    /// The cycle at `position`, without sound.
    pub(crate) fn at(position: &spa_sys::spa_io_position) -> Self {
        let clock = &position.clock;
        Self {
            clock: clock.id,
            position: clock.position,
            nsec: clock.nsec,
            frames: u32::try_from(clock.duration).unwrap_or(0),
            rate: clock.rate.denom,
            source: Source::Missing,
        }
    }
}

/// What takes blocks from the filter's ports.
pub(super) struct Intake {
    latency: Arc<SharedLatency>,
    channels: usize,
    ports: [*mut c_void; MAX_CHANNELS],
    /// Blocks of a newly linked mic that are still to be dropped.
    settling: u32,
    /// Somebody else's sound is mixed into the mic's.
    mixed: bool,
    /// The block's sound: each channel's samples, [`PLANE`] bytes apart. A copy, for what the ports hold is unmapped by the
    /// main thread when a link goes, and the stream's callback may come after that.
    sound: Box<[u8]>,
}

impl Intake {
    /// Allocates everything. Any thread.
    pub(super) fn new(channels: usize, latency: Arc<SharedLatency>) -> Self {
        let channels = channels.min(MAX_CHANNELS);
        Self {
            latency,
            channels,
            ports: [ptr::null_mut(); MAX_CHANNELS],
            settling: 0,
            mixed: false,
            // Written, so that its pages are there before the first cycle.
            sound: vec![0xff; channels * PLANE].into(),
        }
    }

    pub(super) fn set_port(&mut self, index: usize, port: *mut c_void) {
        if let Some(slot) = self.ports.get_mut(index) {
            *slot = port;
        }
    }

    /// See [`Cycle::expect_mic`](super::Cycle::expect_mic).
    pub(super) fn expect_mic(&mut self, node: u32, dropped: u32) {
        self.latency.set_mic(node);
        self.settling = dropped;
    }

    /// See [`Cycle::distrust`](super::Cycle::distrust).
    pub(super) fn distrust(&mut self, mixed: bool) {
        self.mixed = mixed;
    }

    /// The first `bytes` bytes of a channel of the block that was taken last.
    pub(super) fn sound(&self, channel: usize, bytes: usize) -> Option<&[u8]> {
        self.sound.chunks_exact(PLANE).nth(channel)?.get(..bytes)
    }

    /// Takes the block of the cycle at `position`; its sound only if the gate is `open`.
    pub(super) fn take(&mut self, position: &spa_sys::spa_io_position, open: bool) -> Block {
        let clock = &position.clock;
        let mut block = Block::at(position);
        let (frames, rate) = (block.frames, block.rate);
        let wanted = u64::from(frames) * SAMPLE as u64;
        let mut linked = 0;
        let mut whole = 0;
        let planes = self.sound.chunks_exact_mut(PLANE);
        for (port, plane) in self.ports.iter().zip(planes) {
            // SAFETY: a port of our filter, dequeued on the filter's own data loop (pipewire/filter.h).
            let buffer = unsafe { pw_sys::pw_filter_dequeue_buffer(*port) };
            if buffer.is_null() {
                continue;
            }
            // SAFETY: a dequeued buffer has at least one data with a chunk (DSP format: one plane), and stays readable
            // during this callback: the main thread takes it back by a call on this thread first.
            unsafe {
                let spa_buffer = (*buffer).buffer;
                if (*spa_buffer).n_datas > 0 {
                    let data = &*(*spa_buffer).datas;
                    let chunk = &*data.chunk;
                    let end = u64::from(chunk.offset) + wanted;
                    let flags = chunk.flags as u32;
                    let corrupt = flags & spa_sys::SPA_CHUNK_FLAG_CORRUPTED != 0;
                    // In the first cycle of a link the mic may not have run before us. The mixer of our port then makes
                    // silence of its own, of the largest size; silence of the mic's has the cycle's size
                    // (spa/plugins/audiomixer/mixer-dsp.c).
                    let unfed = flags & spa_sys::SPA_CHUNK_FLAG_EMPTY != 0
                        && u64::from(chunk.size) > wanted;
                    linked += usize::from(!unfed);
                    if !data.data.is_null()
                        && u64::from(chunk.size) >= wanted
                        && end <= u64::from(data.maxsize)
                        && !corrupt
                        && !unfed
                        && let Some(plane) = plane.get_mut(..wanted as usize)
                    {
                        if open {
                            let from = data.data.cast::<u8>().add(chunk.offset as usize);
                            ptr::copy_nonoverlapping(from, plane.as_mut_ptr(), plane.len());
                        }
                        whole += 1;
                    }
                }
                pw_sys::pw_filter_queue_buffer(*port, buffer);
            }
        }
        block.source = if linked < self.channels {
            Source::Missing
        } else if whole < self.channels || frames == 0 || rate == 0 {
            Source::Unhealthy
        } else if self.settling > 0 {
            self.settling -= 1;
            Source::Unhealthy
        } else if self.mixed {
            Source::Unhealthy
        } else if !open {
            Source::Missing
        } else {
            Source::Block {
                began_ns: self.capture_began(clock, frames, rate),
            }
        };
        block
    }

    /// When the mic began to capture a block that the graph processes now: a quantum before the cycle (or the device's
    /// whole delay, which for ALSA includes that quantum: spa/node/io.h), and earlier by what stands in front of us.
    fn capture_began(&self, clock: &spa_sys::spa_io_clock, frames: u32, rate: u32) -> u64 {
        let delay = u64::try_from(clock.delay)
            .unwrap_or(0)
            .max(u64::from(frames));
        let delay = match self.latency.mic_drives(clock.id) {
            true => delay,
            false => delay.saturating_add(u64::from(frames)),
        };
        let own = delay.saturating_mul(1_000_000_000) / u64::from(rate);
        clock
            .nsec
            .saturating_sub(own)
            .saturating_sub(self.latency.nanoseconds(frames, rate))
    }
}
