//! What the driver knows, behind one spin lock. Taken at DISPATCH_LEVEL at most; whoever has it calls nothing that waits.

use crate::clock::Clock;
use crate::device::Device;
use crate::kernel::events::Events;
use crate::kernel::imports::{
    KeAcquireSpinLockRaiseToDpc, KeQueryPerformanceCounter, KeReleaseSpinLock,
};
use core::cell::UnsafeCell;

/// The device, and whom its stream tells of packets.
#[derive(Debug)]
pub struct State {
    /// The device.
    pub device: Device,
    /// The events of the stream.
    pub events: Events,
}

struct Locked {
    /// `KSPIN_LOCK`: 0 is free (`KeInitializeSpinLock` writes that).
    lock: UnsafeCell<usize>,
    state: UnsafeCell<State>,
}

// SAFETY: the state is reached through `with` only, which has the lock.
unsafe impl Sync for Locked {}

static STATE: Locked = Locked {
    lock: UnsafeCell::new(0),
    state: UnsafeCell::new(State {
        device: Device::new(),
        events: Events::NONE,
    }),
};

/// Does something with the state, and with the present in nanoseconds of the performance counter, looked at under the lock, so
/// that it never goes back. At DISPATCH_LEVEL or below; not from within itself.
pub fn with<R>(work: impl FnOnce(&mut State, u64) -> R) -> R {
    // SAFETY: the lock is a word that nothing else uses.
    let irql = unsafe { KeAcquireSpinLockRaiseToDpc(STATE.lock.get()) };
    // SAFETY: the lock is held, and `work` gets the only reference.
    let state = unsafe { &mut *STATE.state.get() };
    let now_ns = state.device.clock().nanoseconds(ticks());
    let result = work(state, now_ns);
    // SAFETY: it was taken above, and this is the IRQL from before.
    unsafe { KeReleaseSpinLock(STATE.lock.get(), irql) };
    result
}

/// The performance counter. Any IRQL.
pub fn ticks() -> u64 {
    // SAFETY: the frequency is optional.
    unsafe { KeQueryPerformanceCounter(core::ptr::null_mut()) }.cast_unsigned()
}

/// A clock whose time line begins now.
pub fn clock() -> Clock {
    let mut frequency = 0;
    // SAFETY: it writes the frequency.
    let now = unsafe { KeQueryPerformanceCounter(&raw mut frequency) };
    Clock::new(frequency.cast_unsigned(), now.cast_unsigned())
}
