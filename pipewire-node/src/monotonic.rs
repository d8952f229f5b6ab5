//! The one clock of the real-time path, the counts and the engine.

use rustix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds of the monotonic clock, with which PipeWire stamps its cycles and records. Any thread; real-time
/// safe: a vDSO call without a system call (about 25 ns).
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec
        .cast_unsigned()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec.cast_unsigned())
}
