//! When a block that a microphone delivered was sound, where Windows cannot say it.

use std::time::Duration;

/// The earliest moment at which the first frame of a block can have been sound, where its own time stamp is wrong
/// (`AUDCLNT_BUFFERFLAGS_TIMESTAMP_ERROR`): the block may have waited as long as the engine's buffer lasts. A later moment would let
/// sound from before an unmute be taken for new (promise P3).
///
/// `now_ns` is when it was fetched, `frames` its length at `rate` Hz, `buffer` what the engine keeps at most.
#[cfg_attr(not(windows), allow(dead_code, reason = "only Windows captures"))]
pub(crate) fn earliest_ns(now_ns: u64, frames: u32, rate: u32, buffer: Duration) -> u64 {
    let long_ns = u64::from(frames) * 1_000_000_000 / u64::from(rate.max(1));
    let buffer_ns = u64::try_from(buffer.as_nanos()).unwrap_or(u64::MAX);
    now_ns.saturating_sub(long_ns).saturating_sub(buffer_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_a_time_may_be_as_old_as_the_buffer_is_long() {
        let buffer = Duration::from_millis(100);
        // 10 ms that have waited in a buffer of 100 ms began 110 ms ago.
        assert_eq!(earliest_ns(1_000_000_000, 480, 48_000, buffer), 890_000_000);
        assert_eq!(earliest_ns(1_000, 480, 48_000, buffer), 0);
    }
}
