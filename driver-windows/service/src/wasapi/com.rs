//! COM: every thread that calls it must have entered it. Text and memory that it gives.

use std::cell::Cell;

use truemute_agent::system::SystemError;
use windows::Win32::Media::Audio::{IMMDevice, IMMDeviceEnumerator, MMDeviceEnumerator};
use windows::Win32::System::Com::{
    CLSCTX_ALL, COINIT_MULTITHREADED, CoCreateInstance, CoInitializeEx, CoTaskMemFree,
};
use windows::core::{HSTRING, PWSTR};

thread_local! {
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// Enters COM on this thread, into the apartment that is free of threads. It is left when the thread ends, with the process.
fn enter() {
    if !ENTERED.replace(true) {
        // SAFETY: nothing is asked of the caller. A thread that somebody else had enter another apartment stays in that one, in which
        // all that is called here works too (RPC_E_CHANGED_MODE).
        let _ = unsafe { CoInitializeEx(None, COINIT_MULTITHREADED) };
    }
}

/// The system's list of endpoints.
pub(super) fn enumerator() -> Result<IMMDeviceEnumerator, SystemError> {
    enter();
    // SAFETY: COM was entered; the class has that interface.
    unsafe { CoCreateInstance(&MMDeviceEnumerator, None, CLSCTX_ALL) }
        .map_err(|error| refused("the list of devices", &error))
}

/// The endpoint of an id.
pub(super) fn endpoint(uid: &str) -> Result<IMMDevice, SystemError> {
    // SAFETY: COM was entered; the text lives as long as the call.
    unsafe { enumerator()?.GetDevice(&HSTRING::from(uid)) }
        .map_err(|_| SystemError::NoDevice(uid.to_owned()))
}

/// What COM refused, as an error.
pub(super) fn refused(what: &str, error: &windows::core::Error) -> SystemError {
    SystemError::Refused {
        what: what.to_owned(),
        status: error.code().0,
    }
}

/// A text that COM gave, which is freed.
pub(crate) fn text(given: PWSTR) -> String {
    if given.is_null() {
        return String::new();
    }
    // SAFETY: COM gave it: it ends with a zero, and is ours to free.
    unsafe {
        let text = given.to_string().unwrap_or_default();
        CoTaskMemFree(Some(given.0.cast()));
        text
    }
}
