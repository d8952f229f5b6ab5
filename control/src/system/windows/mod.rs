//! Windows: named pipes, the user's folders, and the performance counter that the driver counts in.

mod ends;
mod events;
mod files;
mod pipe;
mod security;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RegGetValueW};
use windows_sys::Win32::System::Threading::{
    GetCurrentThread, SetThreadPriority, THREAD_PRIORITY_ABOVE_NORMAL,
};
use windows_sys::w;

use super::{PeerProcess, Sign};
use crate::lock::Verdict;
pub(crate) use ends::{Ends, keep_files_private, wait_beside_keys};
pub(crate) use events::{EventsPipe, EventsService};
pub(crate) use files::*;
pub(crate) use pipe::Stream;
pub(crate) use pipe::{Bound, has_gone};

/// How people start the daemon.
pub(crate) const START: &str = "truemute install";
/// How people start it again.
pub(crate) const RESTART: &str = "truemute install --restart";
/// How people end it.
pub(crate) const STOP: &str = "truemute uninstall";
/// Where its log is.
pub(crate) const LOG: &str = "run `truemute daemon` in a terminal to see it";
/// How people start what serves the virtual mic.
pub(crate) const START_SERVER: &str =
    "Install the driver with `truemute driver install`, as an administrator";
/// Why there may be no place for the daemon's pipe.
pub(crate) const NO_SOCKET_PLACE: &str =
    "It cannot be told who runs this program. Log in anew, or name a pipe";
/// What to do where there is no home directory.
pub(crate) const SET_HOME: &str = "Set LOCALAPPDATA";
/// Why there is no lock here, and what to do.
pub(crate) const NO_AUTHORITY: [&str; 2] = [
    "There is no lock on Windows yet, for nothing would ask whoever unlocks",
    "Mute instead; an administrator can lock by policy.",
];

/// Where the daemon's pipe is by default: pipes have one name space for the machine, so the user is in the name.
pub(crate) fn socket_path() -> Option<PathBuf> {
    let user = security::own_user().ok()?;
    Some(format!(r"{}truemute-{user}", pipe::PREFIX).into())
}

/// The number of the machine's present boot, which Windows keeps for its prefetcher (`BootId`, undocumented); empty if it is not
/// there, and then no remembered state is of this boot.
pub(crate) fn boot() -> String {
    let (mut number, mut bytes) = (0_u32, 4_u32);
    // SAFETY: `number` has the four bytes that `bytes` says, and both live as long as the call.
    let status = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            w!(
                r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
            ),
            w!("BootId"),
            RRF_RT_REG_DWORD,
            std::ptr::null_mut(),
            (&raw mut number).cast(),
            &raw mut bytes,
        )
    };
    match status {
        ERROR_SUCCESS => number.to_string(),
        _ => String::new(),
    }
}

/// The process at the other end of the pipe. Whoever gets through the pipe's own list of who may open it is the user, an
/// administrator or the system; a client looks at who made the pipe instead.
pub(crate) fn peer(stream: &Stream) -> io::Result<PeerProcess> {
    Ok(PeerProcess {
        is_same_user: stream.is_trusted()?,
        process: stream.peer_process()?,
    })
}

/// QueryPerformanceCounter in nanoseconds, as the driver counts: `ticks * 10^9 / frequency`, rounded down
/// (`truemute-windows-interface`). It goes on while the machine sleeps.
pub(crate) fn monotonic_ns() -> u64 {
    let (mut ticks, mut frequency) = (0, 0);
    // SAFETY: both write one number each. They cannot fail since Windows XP (profileapi.h).
    unsafe {
        QueryPerformanceCounter(&raw mut ticks);
        QueryPerformanceFrequency(&raw mut frequency);
    }
    let (ticks, frequency) = (ticks.unsigned_abs(), frequency.unsigned_abs().max(1));
    u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(frequency)).unwrap_or(u64::MAX)
}

/// Puts the calling thread before others of its process, and of others at the usual priority.
///
/// # Errors
/// The system refuses it.
pub(crate) fn go_first() -> io::Result<()> {
    // SAFETY: the handle stands for the calling thread, and is always valid.
    match unsafe { SetThreadPriority(GetCurrentThread(), THREAD_PRIORITY_ABOVE_NORMAL) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// What is estimated, each client's counts say themselves.
pub(crate) fn blind_spots() -> Vec<String> {
    Vec::new()
}

/// Nothing watches for the daemon's silence.
pub(crate) fn watchdog_limit() -> Option<Duration> {
    None
}

/// Nothing wants to be told.
pub(crate) fn tell_manager(_: Sign) {}

/// Users have no number here, and no authority is asked about them.
pub(crate) fn own_user() -> u32 {
    0
}

/// Nobody can be asked: see `docs/known-issues.md`.
pub(crate) fn verdict(_pid: u32, _uid: u32, _ask_the_user: bool) -> Verdict {
    Verdict::Nobody("no authority is asked on Windows".to_owned())
}
