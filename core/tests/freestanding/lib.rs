//! Core's whole surface in a library without std and without an allocator, whose panic handler needs a symbol that
//! nobody defines: it links only if the optimised code has no way to panic. Built by `../freestanding.rs`.
#![no_std]

use core::panic::PanicInfo;
use truemute_core::gate::{Decision, Gate, SilentReason, Source};
use truemute_core::ledger::{Ledger, Pull};
use truemute_core::local_ring::LocalRing;
use truemute_core::shared_ring::{RingWriter, SharedRing};

unsafe extern "C" {
    fn a_way_to_panic_remains() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: never runs, for the library does not link if this call remains.
    unsafe { a_way_to_panic_remains() }
}

static GATE: Gate = Gate::new();
static LEDGER: Ledger<512> = Ledger::new(1);
static RING: SharedRing = SharedRing::new();

/// # Safety
/// `buffer` has to point to `bytes` bytes that nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cycle(now_ns: u64, began_ns: u64, buffer: *mut u8, bytes: usize) -> u8 {
    // SAFETY: the caller vouches for pointer and length.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, bytes) };
    #[cfg(with_a_way_to_panic)]
    {
        buffer[bytes / 2] = 1;
    }
    let source = Source::Block { began_ns };
    match GATE
        .begin(now_ns, source)
        .fill(buffer, |buffer| buffer.fill(1))
    {
        Decision::Live(epoch) => epoch.get() as u8,
        Decision::Silent(reason) => reason.code(),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn command(now_ns: u64, code: u8) -> u64 {
    GATE.renew_lease(now_ns);
    GATE.revoke_lease();
    let settled = GATE.settled(GATE.mute());
    let live = matches!(GATE.decide(now_ns, Source::Missing), Decision::Live(_));
    let known = SilentReason::from_code(code).is_some();
    GATE.unmute(now_ns).get() ^ GATE.state().0.get() ^ u64::from(settled ^ live ^ known)
}

#[unsafe(no_mangle)]
pub extern "C" fn count(now_ns: u64, frames: u32, slot: usize) -> u64 {
    let live = frames & 1 == 1;
    let pull = Pull {
        finish_ns: now_ns,
        frames,
        nanoseconds: now_ns,
        live,
        flagged: !live,
    };
    let Some(mut writer) = LEDGER.claim(now_ns) else {
        LEDGER.record_unattributed(pull);
        return LEDGER.unattributed().pulls;
    };
    LEDGER.record(&mut writer, pull);
    LEDGER.record_lost(&mut writer, now_ns);
    LEDGER.record_flagged(&mut writer);
    let seen = LEDGER
        .snapshot(slot)
        .map_or(0, |seen| seen.intervals.percentile_ns(frames as u16));
    seen ^ LEDGER
        .release(writer)
        .map_or(0, |last| last.intervals.total() ^ last.live.frames)
}

/// # Safety
/// `buffer` has to point to `bytes` bytes that nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(now_ns: u64, position: u64, buffer: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller vouches for pointer and length.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, bytes) };
    matches!(
        RING.deliver(&GATE, now_ns, position, buffer),
        Decision::Live(_)
    )
}

#[unsafe(no_mangle)]
pub extern "C" fn write(epoch: u64, position: u64, began_ns: u64, frame: u64, frames: usize) {
    let mut writer = RingWriter::new();
    writer.begin(&RING, epoch, position, began_ns);
    writer.write(&RING, core::iter::repeat_n(frame, frames));
}

/// # Safety
/// `buffer` has to point to `bytes` bytes that nobody else uses during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn local(now_ns: u64, position: u64, buffer: *mut u8, bytes: usize) -> bool {
    // SAFETY: the caller vouches for pointer and length.
    let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, bytes) };
    let mut ring = LocalRing::<1024>::new();
    ring.feed(now_ns, position, now_ns, buffer.as_chunks().0);
    let live = matches!(ring.deliver(&GATE, now_ns, now_ns, buffer), Decision::Live(_));
    ring.clear();
    live
}
