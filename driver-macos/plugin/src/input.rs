//! The way of one read: what a client's buffer gets, and how it is counted. On the host's real-time threads: nothing here
//! allocates, locks, blocks, logs, calls CoreFoundation or has a way to panic.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

use crate::device::Device;
use truemute_core::gate::{Decision, SilentReason, Source};
use truemute_core::ledger::Pull;
use truemute_core::shared_ring::RATE;

/// Fills the buffer of one read, and counts it. `sample_time` is where on the device's time line the read begins, as the
/// host says it. The buffer has [`truemute_core::shared_ring::FRAME_BYTES`] for each of the `frames`.
pub fn read(
    device: &Device,
    client: u32,
    frames: u32,
    sample_time: Option<f64>,
    buffer: &mut [u8],
) {
    let now_ns = device.now_ns();
    let reading = device.clients().begin(client);
    let position = sample_time.and_then(position);
    let silence = |source, buffer: &mut [u8]| {
        let delivery = device.gate().begin(now_ns, source);
        delivery.fill(buffer, |buffer| buffer.fill(0))
    };
    let decision = match position {
        // Muted on its own: zeros, and nothing else is looked at.
        _ if reading.is_silent() => {
            buffer.fill(0);
            Decision::Silent(SilentReason::Muted)
        }
        None => silence(Source::Unhealthy, buffer),
        Some(position) => device.incoming().with(|ring| match ring {
            None => silence(Source::Missing, buffer),
            Some(ring) => ring.deliver(device.gate(), now_ns, position, buffer),
        }),
    };
    let pull = Pull {
        finish_ns: now_ns,
        frames,
        nanoseconds: nanoseconds_of(frames),
        live: matches!(decision, Decision::Live(_)),
        flagged: false,
    };
    reading.end(pull, position);
}

/// The first frame of a read; nothing for a time that is no position: negative, not a number, or beyond what a `f64`
/// counts exactly.
fn position(sample_time: f64) -> Option<u64> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    (0.0..EXACT)
        .contains(&sample_time)
        .then_some(sample_time as u64)
}

/// The nanoseconds of sound in so many frames.
fn nanoseconds_of(frames: u32) -> u64 {
    const PER_RATE: u64 = 1_000_000_000;
    u64::from(frames)
        .saturating_mul(PER_RATE)
        .checked_div(RATE)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_no_position_is_no_frame() {
        assert_eq!(position(0.0), Some(0));
        assert_eq!(position(1e9), Some(1_000_000_000));
        for wrong in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e16, -0.5] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }
}
