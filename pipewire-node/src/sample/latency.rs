//! How old a block of the real mic is before it reaches us: what the ports in front of us report (`SPA_PARAM_Latency`,
//! spa/param/latency-utils.h), shared between the main loop, which learns it, and the real-time thread.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pipewire::spa::sys as spa_sys;

/// Latency of a port: parts that scale with the quantum, with the rate, and absolute ones add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    /// In quanta, at most.
    pub(crate) quanta: f32,
    /// In frames at the graph's rate, at most.
    pub(crate) frames: u32,
    /// In nanoseconds, at most.
    pub(crate) nanoseconds: u64,
}

/// The latency where both threads see it. A reader may mix two settings for one cycle; both are upper bounds of some
/// moment, and every block is judged anew.
#[derive(Default)]
pub(crate) struct SharedLatency {
    quanta_and_frames: AtomicU64,
    nanoseconds: AtomicU64,
    /// Node id of the mic that is linked.
    mic: AtomicU32,
}

impl SharedLatency {
    /// Main-loop thread.
    pub(crate) fn set(&self, latency: Latency) {
        let packed = (u64::from(latency.quanta.to_bits()) << 32) | u64::from(latency.frames);
        self.quanta_and_frames.store(packed, Ordering::Relaxed);
        self.nanoseconds
            .store(latency.nanoseconds, Ordering::Relaxed);
    }

    /// Main-loop thread: which mic is linked from now on.
    pub(crate) fn set_mic(&self, node: u32) {
        self.mic.store(node, Ordering::Relaxed);
    }

    /// Real-time thread: whether the linked mic is the graph's driver, whose clock has its node id
    /// (src/pipewire/impl-node.c). If another device drives, the mic's samples have waited for up to a quantum in the
    /// buffer that matches the two clocks, which no port reports.
    pub(crate) fn mic_drives(&self, clock: u32) -> bool {
        self.mic.load(Ordering::Relaxed) == clock
    }

    /// Real-time thread: nanoseconds, for a quantum of `frames` at `rate` Hz. `rate` 0 gives the absolute part.
    pub(crate) fn nanoseconds(&self, frames: u32, rate: u32) -> u64 {
        let packed = self.quanta_and_frames.load(Ordering::Relaxed);
        let quanta = f32::from_bits((packed >> 32) as u32).clamp(0.0, 64.0);
        let absolute = self.nanoseconds.load(Ordering::Relaxed);
        let total = u64::from(packed as u32) + (quanta * frames as f32) as u64;
        if rate == 0 {
            absolute
        } else {
            absolute.saturating_add(total.saturating_mul(1_000_000_000) / u64::from(rate))
        }
    }
}

/// Parses a Latency param; `None` if it is not one.
///
/// # Safety
/// `param` points at a complete pod.
pub(crate) unsafe fn parse(param: *const spa_sys::spa_pod) -> Option<Latency> {
    // SAFETY: zero is a valid value of this plain struct.
    let mut info: spa_sys::spa_latency_info = unsafe { std::mem::zeroed() };
    // SAFETY: the caller vouches for the pod; the function checks its type and sizes.
    if unsafe { spa_sys::spa_latency_parse(param, &mut info) } < 0 {
        return None;
    }
    // What comes from behind us (direction input) is the clients' latency, not the mic's.
    (info.direction == spa_sys::SPA_DIRECTION_OUTPUT).then_some(Latency {
        quanta: info.max_quantum,
        frames: not_negative(info.max_rate),
        nanoseconds: not_negative(info.max_ns),
    })
}

/// These fields are unsigned in the headers of 0.3.65 and signed in those of 1.4; less than nothing is no age of a block.
fn not_negative<From: TryInto<To>, To: Default>(value: From) -> To {
    value.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let shared = SharedLatency::default();
        shared.set(Latency {
            quanta: 1.5,
            frames: 48,
            nanoseconds: 1_000,
        });
        // 1.5 * 64 + 48 = 144 frames = 3 ms
        assert_eq!(shared.nanoseconds(64, 48_000), 3_001_000);
    }

    #[test]
    fn a_negative_latency_is_none() {
        assert_eq!(not_negative::<i32, u32>(-1), 0);
        assert_eq!(not_negative::<u64, u64>(7), 7);
    }

    #[test]
    fn a_mic_drives_only_with_its_own_clock() {
        let shared = SharedLatency::default();
        shared.set_mic(42);
        assert!(shared.mic_drives(42));
        assert!(!shared.mic_drives(28));
    }

    #[test]
    fn strange_figures_stay_finite() {
        let shared = SharedLatency::default();
        shared.set(Latency {
            quanta: f32::INFINITY,
            frames: u32::MAX,
            nanoseconds: u64::MAX,
        });
        assert_eq!(shared.nanoseconds(1024, 48_000), u64::MAX);
        shared.set(Latency {
            quanta: f32::NAN,
            frames: 0,
            nanoseconds: 7,
        });
        assert_eq!(shared.nanoseconds(1024, 48_000), 7);
        assert_eq!(shared.nanoseconds(1024, 0), 7);
    }
}
