//! What Linux and macOS share: Unix sockets, POSIX files and signals.

mod ends;
mod files;
mod socket;

use std::io;

use rustix::process::{RawPid, Uid};

pub(crate) use ends::{Ends, keep_files_private};
pub(crate) use files::*;
#[cfg(target_os = "linux")]
pub(crate) use socket::own_folder;
pub(crate) use socket::{Bound, Stream, has_gone};

use super::PeerProcess;

/// The process at the other end of a socket, by what the kernel says of it. Root is no exception: one rule without exceptions, and
/// root can become the user (`runuser -u USER truemute ...`).
pub(super) fn peer_of(user: Uid, process: RawPid) -> PeerProcess {
    PeerProcess {
        is_same_user: user == rustix::process::geteuid(),
        process: process.cast_unsigned(),
    }
}

/// The number of the user who runs this program.
pub(crate) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Puts the calling thread before others, so that a busy machine does not let the lease run out, which would mute. It
/// cannot starve anybody, as a real-time thread could.
///
/// # Errors
/// Without the right to do so the thread stays as it is: Linux grants it to root and up to RLIMIT_NICE (setpriority(2), where 0 is
/// the calling thread alone).
pub(crate) fn go_first() -> io::Result<()> {
    /// The nice value that PipeWire's own server asks for (`nice.level` in its pipewire.conf).
    const NICE: i32 = -11;
    Ok(rustix::process::setpriority_process(None, NICE)?)
}
