//! Linux: procfs, systemd, logind, polkit, notices on the desktop, and PipeWire's place in the session.

mod manager;
mod notice;
mod polkit;
mod sleep;
mod terminal_agent;

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::time::{ClockId, clock_gettime};

use super::PeerProcess;
use super::unix::peer_of;
pub(crate) use manager::{tell_manager, watchdog_limit};
pub(crate) use notice::show_notice;
pub(crate) use polkit::{NO_AUTHORITY, verdict};
pub(crate) use sleep::watch_sleep;
pub(crate) use terminal_agent::TerminalAgent;

/// How people start the daemon.
pub(crate) const START: &str = "systemctl --user start truemute";
/// How people start it again.
pub(crate) const RESTART: &str = "systemctl --user restart truemute";
/// How people end it.
pub(crate) const STOP: &str = "systemctl --user stop truemute";
/// Where its log is.
pub(crate) const LOG: &str = "journalctl --user -u truemute";
/// How people start the audio server.
pub(crate) const START_SERVER: &str =
    "Start PipeWire (systemctl --user start pipewire wireplumber)";
/// Why there may be no place for the daemon's socket.
pub(crate) const NO_SOCKET_PLACE: &str =
    "XDG_RUNTIME_DIR is not set. Log in through a session that sets it, or name a socket";

/// What to do where there is no home directory.
pub(crate) const SET_HOME: &str = "Set HOME or XDG_STATE_HOME";

/// Where the daemon's socket is by default.
pub(crate) fn socket_path() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("truemute/api.sock"))
}

/// The machine's present boot; empty if it cannot be told.
pub(crate) fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}

/// SO_PEERCRED, unix(7).
pub(crate) fn peer(stream: &UnixStream) -> io::Result<PeerProcess> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(peer_of(peer.uid, peer.pid.as_raw_pid()))
}

/// `CLOCK_MONOTONIC` (clock_gettime(2)): it stands still while the machine sleeps and nobody can set it. PipeWire counts in the
/// same clock.
pub(crate) fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Waits while a hotkey is there: its keys come on a thread of their own.
pub(crate) fn wait_beside_keys<T>(wait: impl FnOnce() -> T) -> T {
    wait()
}

/// What keeps us from seeing who the clients are.
pub(crate) fn blind_spots() -> Vec<String> {
    let runtime =
        std::env::var_os("PIPEWIRE_RUNTIME_DIR").or_else(|| std::env::var_os("XDG_RUNTIME_DIR"));
    let server = PathBuf::from(runtime.unwrap_or_default()).join("pipewire-0");
    truemute_pipewire::who::blind_spots(&server)
}
