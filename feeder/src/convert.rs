//! From the device's channels to two, and from its rate to the driver's. Which resampler does it is decided here.
//!
//! A device of 48 kHz is not resampled: its frames pass as they are, and where the clocks differ, single frames are doubled or
//! left out behind a short crossfade (rubato's `Slip`). Every other rate goes through a windowed sinc (rubato's `Async`).

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler as _, Resizable, SincInterpolationParameters,
    SincInterpolationType, Slip, WindowFunction,
};

use crate::pace::LARGEST_CORRECTION;
use crate::{Frame, RATE};

/// Frames of the device in one step, at most.
const LARGEST_STEP: usize = 512;

/// And at least, where frames slip: the crossfade is about half of a step, and its pitch the more off the shorter it is (by 3 %
/// in 31 frames). What is left over waits for the next block.
pub(crate) const SMALLEST_STEP: usize = 64;

/// Points of the sinc. With this window, what would alias is 110 dB down (tests/quality.rs), at a delay of half of it.
const SINC_POINTS: usize = 128;

/// Points of the sinc that are kept for each sample; between two of them a straight line is wrong by -94 dB at most, the
/// square of pi / 256 divided by 8.
const OVERSAMPLING: usize = 256;

/// What the device delivers becomes what the driver takes.
pub(crate) struct Converter {
    channels: usize,
    nominal: f64,
    resampler: Resampler,
    /// Frames of the device that were not taken yet, as stereo.
    waiting: Vec<Frame>,
    done: Vec<Frame>,
}

enum Resampler {
    Slip(Slip<f32>),
    Sinc(Box<Async<f32>>),
}

impl Converter {
    /// `rate` and `channels` are checked already.
    pub(crate) fn new(rate: u32, channels: usize) -> Option<Converter> {
        let nominal = f64::from(RATE) / f64::from(rate);
        let fixed = FixedAsync::Input;
        let resampler = if rate == RATE {
            Resampler::Slip(Slip::new(LARGEST_STEP, 2, fixed).ok()?)
        } else {
            let sinc = SincInterpolationParameters::new(SINC_POINTS, WindowFunction::Blackman2)
                .oversampling_factor(OVERSAMPLING)
                .interpolation(SincInterpolationType::Linear);
            let largest = 1.0 + 2.0 * LARGEST_CORRECTION;
            let resampler =
                Async::new_sinc(nominal, largest, &sinc, LARGEST_STEP, 2, fixed).ok()?;
            Resampler::Sinc(Box::new(resampler))
        };
        let room = match &resampler {
            Resampler::Slip(slip) => slip.output_frames_max(),
            Resampler::Sinc(sinc) => sinc.output_frames_max(),
        };
        Some(Converter {
            channels,
            nominal,
            resampler,
            waiting: Vec::with_capacity(LARGEST_STEP),
            done: vec![[0.0; 2]; room],
        })
    }

    /// How much later a sound comes out than it went in, in frames of the driver.
    pub(crate) fn delay(&self) -> usize {
        match &self.resampler {
            Resampler::Slip(slip) => slip.output_delay(),
            Resampler::Sinc(sinc) => sinc.output_delay(),
        }
    }

    /// Frames of the device that came and did not go out yet; what the resampler remembers of the past is not among them.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Forgets all sound.
    pub(crate) fn reset(&mut self) {
        self.waiting.clear();
        match &mut self.resampler {
            Resampler::Slip(slip) => slip.reset(),
            Resampler::Sinc(sinc) => sinc.reset(),
        }
    }

    /// Takes as many of the interleaved samples as make one step, and says how many frames that were. Fewer than make a step
    /// wait. Nothing is left to take when it says 0.
    pub(crate) fn take(&mut self, samples: &[f32]) -> usize {
        let room = LARGEST_STEP - self.waiting.len();
        let right = usize::from(self.channels > 1);
        let frames = samples.chunks_exact(self.channels).take(room);
        let before = self.waiting.len();
        self.waiting
            .extend(frames.map(|frame| [frame[0], frame[right]]));
        self.waiting.len() - before
    }

    /// Converts what waits, playing it at `correction` times its rate; nothing if that is too little for a step.
    pub(crate) fn step(&mut self, correction: f64) -> Option<&[Frame]> {
        let frames = self.waiting.len();
        let least = match self.resampler {
            Resampler::Slip(_) => SMALLEST_STEP,
            Resampler::Sinc(_) => 1,
        };
        if frames < least {
            return None;
        }
        let written = match &mut self.resampler {
            Resampler::Slip(slip) => step(slip, correction, &self.waiting, &mut self.done),
            Resampler::Sinc(sinc) => step(
                &mut **sinc,
                self.nominal * correction,
                &self.waiting,
                &mut self.done,
            ),
        };
        self.waiting.clear();
        Some(&self.done[..written])
    }
}

fn step<R: Adjustable<f32> + Resizable<f32>>(
    resampler: &mut R,
    ratio: f64,
    from: &[Frame],
    to: &mut [Frame],
) -> usize {
    let room = to.len();
    let sized = resampler.set_chunk_size(from.len());
    let set = resampler.set_resample_ratio(ratio, true);
    debug_assert!(sized.is_ok() && set.is_ok());
    let input = InterleavedSlice::new(from.as_flattened(), 2, from.len());
    let output = InterleavedSlice::new_mut(to.as_flattened_mut(), 2, room);
    let (Ok(input), Ok(mut output)) = (input, output) else {
        return 0;
    };
    let done = resampler.process_into_buffer(&input, &mut output, None);
    debug_assert!(done.is_ok());
    done.map_or(0, |(_, written)| written)
}
