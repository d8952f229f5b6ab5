//! The stream's timer: a high-resolution `EX_TIMER`, one shot at a time, set anew to the end of the next packet. The functions are asked
//! for by name: every Windows 10 has them (wdm.h, from 8.1 on), Wine 10 has not, and there the driver loads but opens no stream.

use crate::abi::nt::LargeInteger;
use crate::kernel::imports::{KeFlushQueuedDpcs, find};
use crate::text::utf16;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

/// `EX_TIMER`, of which nothing is known here.
type Timer = c_void;
/// `EXT_CALLBACK`. Called at DISPATCH_LEVEL.
type Callback = unsafe extern "system" fn(*mut Timer, *mut c_void);
type Allocate = unsafe extern "system" fn(Callback, *mut c_void, u32) -> *mut Timer;
type Set = unsafe extern "system" fn(*mut Timer, LargeInteger, LargeInteger, *mut c_void) -> u8;
type Cancel = unsafe extern "system" fn(*mut Timer, *mut c_void) -> u8;
type Delete = unsafe extern "system" fn(*mut Timer, u8, u8, *mut c_void) -> u8;

/// `EX_TIMER_HIGH_RESOLUTION`.
const HIGH_RESOLUTION: u32 = 4;

/// The functions, or null.
static FUNCTIONS: [AtomicPtr<c_void>; 4] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 4];
/// The one stream's timer, or null.
static TIMER: AtomicPtr<Timer> = AtomicPtr::new(core::ptr::null_mut());

/// Looks for the functions. When the driver is loaded, at PASSIVE_LEVEL.
pub fn load() {
    let found = [
        find(utf16!("ExAllocateTimer")),
        find(utf16!("ExSetTimer")),
        find(utf16!("ExCancelTimer")),
        find(utf16!("ExDeleteTimer")),
    ];
    for (place, function) in FUNCTIONS.iter().zip(found) {
        place.store(function, Ordering::Release);
    }
}

struct Functions {
    allocate: Allocate,
    set: Set,
    cancel: Cancel,
    delete: Delete,
}

fn functions() -> Option<Functions> {
    let [allocate, set, cancel, delete] = FUNCTIONS
        .each_ref()
        .map(|place| NonNull::new(place.load(Ordering::Acquire)));
    let (allocate, set, cancel, delete) = (allocate?, set?, cancel?, delete?);
    // SAFETY: they are the kernel's functions of these names, with the signatures of wdm.h.
    unsafe {
        Some(Functions {
            allocate: core::mem::transmute::<*mut c_void, Allocate>(allocate.as_ptr()),
            set: core::mem::transmute::<*mut c_void, Set>(set.as_ptr()),
            cancel: core::mem::transmute::<*mut c_void, Cancel>(cancel.as_ptr()),
            delete: core::mem::transmute::<*mut c_void, Delete>(delete.as_ptr()),
        })
    }
}

/// Whether this system has such timers.
pub fn is_there() -> bool {
    functions().is_some()
}

/// Makes the timer of the one stream. False if the system has none left, or does not know such timers. PASSIVE_LEVEL.
pub fn make() -> bool {
    let Some(functions) = functions() else {
        return false;
    };
    // SAFETY: the callback is a function of this image, which stays until the timer is deleted.
    let timer = unsafe { (functions.allocate)(fire, core::ptr::null_mut(), HIGH_RESOLUTION) };
    TIMER.store(timer, Ordering::Release);
    !timer.is_null()
}

/// Lets it fire once, after so many nanoseconds. At DISPATCH_LEVEL or below; also from the callback.
pub fn set(after_ns: u64) {
    let timer = TIMER.load(Ordering::Acquire);
    if let (Some(functions), false) = (functions(), timer.is_null()) {
        // Relative times are negative, in units of 100 ns. Rounded up, since too early is once more.
        let units =
            LargeInteger::try_from(after_ns.div_ceil(100).max(1)).unwrap_or(LargeInteger::MAX);
        // SAFETY: the timer is not deleted while the stream is there, and a deleted one would not be set (ExDeleteTimer).
        unsafe { (functions.set)(timer, units.wrapping_neg(), 0, core::ptr::null_mut()) };
    }
}

/// Lets it not fire any more. A callback that is under way may still end. At DISPATCH_LEVEL or below.
pub fn cancel() {
    let timer = TIMER.load(Ordering::Acquire);
    if let (Some(functions), false) = (functions(), timer.is_null()) {
        // SAFETY: as above.
        unsafe { (functions.cancel)(timer, core::ptr::null_mut()) };
    }
}

/// Deletes it, and waits until no callback is under way. PASSIVE_LEVEL.
pub fn delete() {
    let timer = TIMER.swap(core::ptr::null_mut(), Ordering::AcqRel);
    if let (Some(functions), false) = (functions(), timer.is_null()) {
        // SAFETY: it is deleted once: whoever swaps it out. Cancelled, and waited for.
        unsafe { (functions.delete)(timer, 1, 1, core::ptr::null_mut()) };
        // SAFETY: no lock is held here.
        unsafe { KeFlushQueuedDpcs() };
    }
}

/// The timer's callback.
unsafe extern "system" fn fire(_timer: *mut Timer, _context: *mut c_void) {
    crate::kernel::stream::tick();
}
