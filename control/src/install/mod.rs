//! `truemute install` and `truemute uninstall`, for one user: on Linux the whole installation, on macOS and Windows what starts
//! the daemon at login: there the driver belongs to the machine, and comes and goes by the scripts of the archive or by
//! `truemute driver`.

#[cfg(any(target_os = "macos", test))]
mod launch_agent;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(target_os = "macos")]
pub use macos::*;
#[cfg(windows)]
pub use windows::*;

/// How to install or uninstall.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Start what reads the installed files again afterwards: the audio server and the daemon on Linux, the daemon elsewhere.
    pub restart: bool,
}
