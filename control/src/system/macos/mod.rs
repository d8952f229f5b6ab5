//! macOS: launchd, the kernel's word about peers and boots, and the host clock that Core Audio counts in.

mod event_loop;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::libc::CLOCK_UPTIME_RAW;
use nix::sys::socket::{getsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use rustix::process::Uid;

use super::unix::peer_of;
use super::{PeerProcess, Sign};
use crate::lock::Verdict;
use crate::{store, tool};
pub(crate) use event_loop::wait_beside_keys;

/// How people start the daemon.
pub(crate) const START: &str = "launchctl kickstart gui/$(id -u)/org.truemute.daemon";
/// How people start it again.
pub(crate) const RESTART: &str = "launchctl kickstart -k gui/$(id -u)/org.truemute.daemon";
/// How people end it.
pub(crate) const STOP: &str = "launchctl bootout gui/$(id -u)/org.truemute.daemon";
/// Where its log is.
pub(crate) const LOG: &str = "~/Library/Logs/TrueMute.log";
/// How people start what serves the virtual mic.
pub(crate) const START_SERVER: &str =
    "Look whether TrueMute.driver is in /Library/Audio/Plug-Ins/HAL, and restart the Mac";
/// Why there may be no place for the daemon's socket.
pub(crate) const NO_SOCKET_PLACE: &str =
    "There is no home directory for the daemon's socket. Set HOME, or name a socket";
/// Why there is no lock here, and what to do.
pub(crate) const NO_AUTHORITY: [&str; 2] = [
    "There is no lock on macOS yet, for nothing would ask whoever unlocks",
    "Mute instead; an administrator can lock by policy.",
];

/// What to do where there is no home directory.
pub(crate) const SET_HOME: &str = "Set HOME or XDG_STATE_HOME";

/// Where the daemon's socket is by default: beside what outlives it, for macOS has no directory of a login session. A path of
/// at most 103 bytes can be a socket (sockaddr_un, sys/un.h).
pub(crate) fn socket_path() -> Option<PathBuf> {
    Some(store::state_directory()?.join("api.sock"))
}

/// The machine's present boot, from the kernel's variable `kern.bootsessionuuid`; empty if it cannot be told.
pub(crate) fn boot() -> String {
    let mut command = Command::new("/usr/sbin/sysctl");
    command.args(["-n", "kern.bootsessionuuid"]);
    let said = tool::ask(command, Duration::from_secs(2));
    said.map_or_else(|_| String::new(), |said| said.text().trim().to_owned())
}

/// LOCAL_PEERCRED and LOCAL_PEERPID (sys/un.h): the credentials are those at connect(2), the process is the one that
/// connected.
pub(crate) fn peer(stream: &UnixStream) -> io::Result<PeerProcess> {
    let user = getsockopt(stream, sockopt::LocalPeerCred)?;
    let process = getsockopt(stream, sockopt::LocalPeerPid)?;
    Ok(peer_of(Uid::from_raw(user.uid()), process))
}

/// `CLOCK_UPTIME_RAW` (clock_gettime(3) of macOS): mach_absolute_time() in nanoseconds, the host clock of Core Audio. It stands
/// still while the machine sleeps, unlike `CLOCK_MONOTONIC` there.
pub(crate) fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::from_raw(CLOCK_UPTIME_RAW));
    let time = time.map_or(Duration::ZERO, Duration::from);
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Core Audio names every client to its plug-in: nothing is hidden.
pub(crate) fn blind_spots() -> Vec<String> {
    Vec::new()
}

/// launchd watches for the end of a process only, not for its silence.
pub(crate) fn watchdog_limit() -> Option<Duration> {
    None
}

/// launchd wants to be told nothing.
pub(crate) fn tell_manager(_: Sign) {}

/// Nobody can be asked: see `docs/known-issues.md`.
pub(crate) fn verdict(_pid: u32, _uid: u32, _ask_the_user: bool) -> Verdict {
    Verdict::Nobody("no authority is asked on macOS".to_owned())
}
