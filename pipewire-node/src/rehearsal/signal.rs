//! What a simulated mic plays. Every signal is a pure function of the graph's clock position, so that a recorded sample
//! tells where it came from, and two mics with the same signal play the same sound.

use std::f64::consts::TAU;
use std::sync::Arc;

/// The sound of a simulated mic.
#[derive(Clone, Debug)]
pub enum Signal {
    /// Position-coded: see [`ramp_value`]. Use 23 bits for F32 clients (float holds them exactly), 15 for S16 clients.
    Ramp {
        /// Bits of the position that a sample carries, 1 to 23.
        bits: u32,
    },
    /// A sine at half of full scale.
    Tone {
        /// Frequency in Hz.
        hertz: f64,
    },
    /// White noise at half of full scale, different in each channel; the same seed gives the same noise. Never zero.
    Noise {
        /// Which noise.
        seed: u64,
    },
    /// Recorded sound, repeated for ever, the same in all channels.
    Samples {
        /// The sound, between -1 and 1.
        samples: Arc<[f32]>,
        /// Its sample rate in Hz.
        rate: u32,
    },
    /// Zeros.
    Silence,
}

/// The ramp's sample for a channel at a clock position: `(position mod (2^bits - 1) + 1) / 2^bits`, negated in odd
/// channels. Never zero, so a zero in a recording never came from the ramp.
pub fn ramp_value(bits: u32, channel: u32, position: u64) -> f32 {
    let phase = position % ((1 << bits) - 1) + 1;
    let value = phase as f32 / (1u32 << bits) as f32;
    if channel % 2 == 1 { -value } else { value }
}

/// The reverse of [`ramp_value`]: `position mod (2^bits - 1)`, or nothing if this sample is not one of the ramp's
/// samples for the channel, bit for bit.
pub fn ramp_phase(bits: u32, channel: u32, sample: f32) -> Option<u64> {
    let magnitude = if channel % 2 == 1 { -sample } else { sample };
    let phase = f64::from(magnitude) * f64::from(1u32 << bits);
    let whole = phase >= 1.0 && phase < f64::from(1u32 << bits) && phase.fract() == 0.0;
    whole.then(|| phase as u64 - 1)
}

impl Signal {
    /// Fills one channel's block that begins at `position` of a clock of `rate` Hz. Real-time safe.
    pub(super) fn fill(&self, channel: u32, position: u64, rate: u32, out: &mut [f32]) {
        for (sample, position) in out.iter_mut().zip(position..) {
            *sample = self.at(channel, position, rate);
        }
    }

    fn at(&self, channel: u32, position: u64, rate: u32) -> f32 {
        match self {
            Signal::Ramp { bits } => ramp_value(*bits, channel, position),
            Signal::Tone { hertz } => {
                let turns = (position as f64 * hertz / f64::from(rate)).fract();
                (0.5 * (TAU * turns).sin()) as f32
            }
            Signal::Noise { seed } => noise(*seed ^ (u64::from(channel) << 56), position),
            Signal::Samples { samples, rate: own } => resampled(samples, *own, position, rate),
            Signal::Silence => 0.0,
        }
    }
}

/// Between -0.5 and 0.5 and never zero. The mixer is SplitMix64's finaliser (Steele, Lea, Flood 2014).
fn noise(seed: u64, position: u64) -> f32 {
    let mut x = seed.wrapping_add(position.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let odd = ((x >> 41) as i32 - (1 << 22)) * 2 + 1;
    odd as f32 / (1 << 24) as f32
}

/// Linear interpolation: good enough for speech that is only listened to.
fn resampled(samples: &[f32], own: u32, position: u64, rate: u32) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let scaled = u128::from(position) * u128::from(own);
    let index = (scaled / u128::from(rate.max(1)) % samples.len() as u128) as usize;
    let part = (scaled % u128::from(rate.max(1))) as f32 / rate.max(1) as f32;
    let next = samples[(index + 1) % samples.len()];
    samples[index] + (next - samples[index]) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramp_is_read_back_exactly_and_is_never_zero() {
        for bits in [15, 23] {
            let period = (1u64 << bits) - 1;
            for position in (0..20_000).chain(period - 5..period + 5) {
                for channel in 0..2 {
                    let sample = ramp_value(bits, channel, position);
                    assert_ne!(sample, 0.0);
                    assert_eq!(ramp_phase(bits, channel, sample), Some(position % period));
                    assert_eq!(ramp_phase(bits, 1 - channel, sample), None);
                }
            }
        }
        assert_eq!(ramp_phase(23, 0, 0.0), None);
        assert_eq!(ramp_phase(15, 0, 0.1), None);
    }

    #[test]
    fn ramp_of_15_bits_survives_16_bit_samples() {
        for position in 0..40_000 {
            let sample = ramp_value(15, 1, position);
            let short = (sample * 32768.0) as i16;
            assert_eq!(f32::from(short) / 32768.0, sample);
        }
    }

    #[test]
    fn noise_is_bounded_never_zero_and_differs_by_seed_and_channel() {
        let block = |seed, channel| {
            let mut out = [0.0; 4096];
            Signal::Noise { seed }.fill(channel, 1000, 48_000, &mut out);
            out
        };
        assert!(block(1, 0).iter().all(|s| *s != 0.0 && s.abs() <= 0.5));
        assert_eq!(block(1, 0), block(1, 0));
        assert_ne!(block(1, 0), block(2, 0));
        assert_ne!(block(1, 0), block(1, 1));
    }

    #[test]
    fn samples_repeat_and_follow_the_clock_rate() {
        let signal = Signal::Samples {
            samples: vec![0.0, 1.0, 0.0, -1.0].into(),
            rate: 24_000,
        };
        let mut out = [0.0; 10];
        signal.fill(0, 8, 48_000, &mut out);
        assert_eq!(out, [0.0, 0.5, 1.0, 0.5, 0.0, -0.5, -1.0, -0.5, 0.0, 0.5]);
    }
}
