//! Who may speak to the control device, beyond its descriptor: of those who are logged on at the machine, the console's user. Decided
//! when it is opened and at each request, for a handle outlives a switch of users. PASSIVE_LEVEL.
//!
//! Windows 10 has both functions for it; where one is missing, nobody may. Only where there can be no sound at all, because the timers of
//! the stream are missing as well, the descriptor decides alone: that is Wine.

use crate::abi::nt::Irp;
use crate::kernel::imports::find;
use crate::kernel::timer;
use crate::text::utf16;
use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

/// `RtlGetActiveConsoleId` of ntddk.h: the session at the console. Its page does not say since when; win32k.sys imports it.
type ConsoleSession = unsafe extern "system" fn() -> u32;
/// `IoGetRequestorSessionId` of ntifs.h: the session that a request comes from.
type RequestorSession = unsafe extern "system" fn(*mut Irp, *mut u32) -> crate::abi::status::Status;

static FUNCTIONS: [AtomicPtr<c_void>; 2] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 2];

/// Looks for the functions. When the driver is loaded.
pub fn load() {
    let found = [
        find(utf16!("RtlGetActiveConsoleId")),
        find(utf16!("IoGetRequestorSessionId")),
    ];
    for (place, function) in FUNCTIONS.iter().zip(found) {
        place.store(function, Ordering::Release);
    }
}

/// Whether who sends this request may open the device and feed: the system's own session 0, where services run, or the session at
/// the console.
pub fn may_speak(irp: &mut Irp) -> bool {
    let [console, requestor] = FUNCTIONS
        .each_ref()
        .map(|place| NonNull::new(place.load(Ordering::Acquire)));
    let (Some(console), Some(requestor)) = (console, requestor) else {
        return !timer::is_there();
    };
    // SAFETY: they are the kernel's functions of these names, with these signatures.
    let (console, requestor) = unsafe {
        (
            core::mem::transmute::<*mut c_void, ConsoleSession>(console.as_ptr()),
            core::mem::transmute::<*mut c_void, RequestorSession>(requestor.as_ptr()),
        )
    };
    let mut session = u32::MAX;
    // SAFETY: it reads the request and writes the session.
    let known = unsafe { requestor(irp, &raw mut session) };
    // SAFETY: it takes nothing.
    known.is_ok() && (session == 0 || session == unsafe { console() })
}
