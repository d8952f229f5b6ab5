//! The feeder: each block of the device goes to the position of the driver's clock where it belongs.

use crate::convert::{Converter, SMALLEST_STEP};
use crate::pace::{self, JUMP_FRAMES};
use crate::{Frame, RATE, Timeline};

/// What a device delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Nominal sample rate in Hz, 8,000 to 192,000.
    pub rate: u32,
    /// Channels, 1 to 64. One goes to both sides; of more, the first two are left and right.
    pub channels: u32,
    /// Frames in the largest block.
    pub largest_block: u32,
}

/// What the delay has to be enough for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// How late a block may come, in milliseconds.
    pub stall_ms: u32,
    /// Whoever reads at a moment reads only what is at least so many frames behind the driver's clock (on macOS, the device's
    /// safety offset).
    pub read_behind: u32,
}

impl Default for Pacing {
    /// 30 ms, and the safety offset of the macOS driver.
    fn default() -> Self {
        Self {
            stall_ms: 30,
            read_behind: 1024,
        }
    }
}

/// Added to the delay for what drift control leaves (20 frames at 200 ppm) and time stamps that jitter, and for what waits.
const MARGIN: u32 = 96 + SMALLEST_STEP as u32;

/// The longest delay in frames: half of the smallest ring that is fed.
const LONGEST_DELAY: u32 = 16_384;

/// A longer gap in the capture begins a new run.
const LONGEST_GAP: f64 = 16_384.0;

/// Why a device cannot be fed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The rate is out of range.
    #[error(
        "The microphone's rate is {0} Hz, which is not between 8,000 and 192,000. Choose another rate for it."
    )]
    Rate(u32),
    /// No channel, or too many.
    #[error(
        "The microphone has {0} channels, which is not between 1 and 64. Choose another microphone."
    )]
    Channels(u32),
    /// So large blocks need a longer delay than there is room for.
    #[error(
        "The microphone delivers {0} frames at once, which is too many. Choose a smaller buffer for it."
    )]
    Block(u32),
}

/// What a device delivered at once.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Interleaved samples; what is left of an incomplete frame at the end is dropped.
    pub samples: &'a [f32],
    /// The device's time stamp of the first frame, in nanoseconds of the host's monotonic clock. It should not jitter as the
    /// thread's wake-ups do.
    pub host_ns: u64,
}

/// Takes the frames: the driver's ring. Called from [`Feeder::push`], on the thread that captures.
pub trait Sink {
    /// A run of frames begins at `position`; what was written before no longer counts. Its first frame was captured at
    /// `host_ns` by the device's time stamps.
    fn begin(&mut self, position: u64, host_ns: u64);

    /// The next frames of the run.
    fn write(&mut self, frames: &[Frame]);
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It follows the one before.
    Steady,
    /// A run began with it.
    Began,
    /// The device had lost frames before it, for which this many frames of silence were written.
    Gap(u32),
}

/// Feeds one driver from one device. Use one for each start of a device, or [`Feeder::reset`] it.
pub struct Feeder {
    format: Format,
    delay: u32,
    converter: Converter,
    run: Option<Run>,
}

/// What is being written.
#[derive(Clone, Copy)]
struct Run {
    seed: u64,
    /// The position of the next frame.
    next: u64,
    /// By how many frames the first step came out too long: a resampler keeps some frames back, once.
    kept_back: Option<f64>,
}

impl Feeder {
    /// Allocates all that will be needed.
    ///
    /// # Errors
    /// The format is out of range.
    pub fn new(format: Format, pacing: Pacing) -> Result<Feeder, FormatError> {
        if !(8_000..=192_000).contains(&format.rate) {
            return Err(FormatError::Rate(format.rate));
        }
        if !(1..=64).contains(&format.channels) {
            return Err(FormatError::Channels(format.channels));
        }
        let too_large = FormatError::Block(format.largest_block);
        let delay = delay(format, pacing).ok_or(too_large)?;
        let converter = Converter::new(format.rate, format.channels as usize)
            .ok_or(FormatError::Rate(format.rate))?;
        Ok(Feeder {
            format,
            delay,
            converter,
            run: None,
        })
    }

    /// How many frames after its capture a frame is written for, by the driver's clock.
    pub fn delay_frames(&self) -> u32 {
        self.delay
    }

    /// How much later than it was captured (by the device's time stamps) a sound stands in the ring, in frames of the driver:
    /// [`Feeder::delay_frames`], and the resampler's own.
    pub fn latency_frames(&self) -> u32 {
        self.delay + u32::try_from(self.converter.delay()).unwrap_or(u32::MAX)
    }

    /// Forgets all sound; the next block begins a run.
    pub fn reset(&mut self) {
        self.converter.reset();
        self.run = None;
    }

    /// Writes one block to where it belongs. Real-time safe if `sink` is.
    pub fn push(&mut self, block: Block<'_>, clock: Timeline, sink: &mut impl Sink) -> Flow {
        let per_frame = f64::from(RATE) / f64::from(self.format.rate);
        let due = clock.position_at(block.host_ns) + f64::from(self.delay);
        // Before the driver's clock began there is nowhere to write.
        if due < 0.0 || block.samples.len() < self.format.channels as usize {
            return Flow::Steady;
        }
        let (mut run, flow) = self.follow(due, block.host_ns, clock.seed, per_frame, sink);
        let mut rest = block.samples;
        let mut due = due - self.converter.waiting() as f64 * per_frame;
        loop {
            let taken = self.converter.take(rest);
            if taken == 0 {
                break;
            }
            rest = &rest[taken * self.format.channels as usize..];
            let frames = self.converter.waiting();
            let ahead = run.next as f64 - due - run.kept_back.unwrap_or(0.0);
            let Some(done) = self.converter.step(pace::correction(ahead)) else {
                break;
            };
            sink.write(done);
            run.next += done.len() as u64;
            due += frames as f64 * per_frame;
            run.kept_back.get_or_insert(run.next as f64 - due);
        }
        self.run = Some(run);
        flow
    }

    /// Where to write a block that is due at `due`: where the run stands, or after a gap, or in a new run.
    fn follow(
        &mut self,
        due: f64,
        host_ns: u64,
        seed: u64,
        per_frame: f64,
        sink: &mut impl Sink,
    ) -> (Run, Flow) {
        let going_on = self.run.filter(|run| run.seed == seed);
        if let Some(mut run) = going_on {
            let late = due - self.converter.waiting() as f64 * per_frame - run.next as f64;
            if late.abs() <= JUMP_FRAMES {
                return (run, Flow::Steady);
            }
            if (0.0..=LONGEST_GAP).contains(&late) {
                self.converter.reset();
                let gap = late.round() as u32;
                run.next += u64::from(gap);
                run.kept_back = None;
                fill(gap as usize, sink);
                return (run, Flow::Gap(gap));
            }
        }
        self.converter.reset();
        let next = due.round() as u64;
        sink.begin(next, host_ns);
        let run = Run {
            seed,
            next,
            kept_back: None,
        };
        (run, Flow::Began)
    }
}

fn fill(mut frames: usize, sink: &mut impl Sink) {
    const SILENCE: [Frame; 256] = [[0.0; 2]; 256];
    while frames > 0 {
        let now = frames.min(SILENCE.len());
        sink.write(&SILENCE[..now]);
        frames -= now;
    }
}

/// Just before a block that is late, the last frame in the ring is a block and the stall old.
fn delay(format: Format, pacing: Pacing) -> Option<u32> {
    let rate = u64::from(RATE);
    let block = (u64::from(format.largest_block) * rate).div_ceil(u64::from(format.rate));
    let stall = (u64::from(pacing.stall_ms) * rate).div_ceil(1000);
    let delay = (block + stall + u64::from(MARGIN)).saturating_sub(u64::from(pacing.read_behind));
    u32::try_from(delay)
        .ok()
        .filter(|delay| *delay <= LONGEST_DELAY)
}
