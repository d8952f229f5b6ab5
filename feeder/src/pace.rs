//! How fast a block is played, so that the writer stays where it belongs. Pure arithmetic.
//!
//! The error is how far the writer is ahead of where the time stamps of the frames belong. It grows by the difference of the
//! two clocks, and is worked off within [`SETTLING_S`]: a proportional control, which rests at an error of `drift` ×
//! [`SETTLING_S`] × 48,000 frames, and one for rounding: 20 at 200 ppm. There is nothing to integrate, nothing winds up, and while both clocks agree
//! nothing is changed at all.

use crate::RATE;

/// In how many seconds an error is worked off to 1/e. A step of a whole frame moves the pitch by 10 ppm.
pub const SETTLING_S: f64 = 2.0;

/// An error of more frames than this is none of drift: frames were lost, or the device's time stamps jumped. 5 ms.
pub const JUMP_FRAMES: f64 = 240.0;

/// What the pitch is changed by at most; more can be asked of the resamplers.
pub(crate) const LARGEST_CORRECTION: f64 = JUMP_FRAMES / SETTLING_S / RATE as f64;

/// An error that comes from frames being whole is none.
const ROUNDING_FRAMES: f64 = 1.0;

/// The factor by which more (or, below 1, fewer) frames are to be written than the nominal rates say.
pub(crate) fn correction(ahead_frames: f64) -> f64 {
    let rounding = ahead_frames.clamp(-ROUNDING_FRAMES, ROUNDING_FRAMES);
    let wanted = (rounding - ahead_frames) / (SETTLING_S * f64::from(RATE));
    1.0 + wanted.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_is_left_alone() {
        for error in [0.0, -0.9, 0.9] {
            assert_eq!(correction(error), 1.0);
        }
    }

    #[test]
    fn who_is_ahead_writes_fewer() {
        assert!(correction(10.0) < 1.0 && correction(-10.0) > 1.0);
        assert_eq!(correction(1e9), 1.0 - LARGEST_CORRECTION);
    }
}
