//! `truemute install` and `truemute uninstall`, for one user: on Linux the whole installation, on macOS what starts the daemon at
//! login, for the bundles belong to the machine and come and go by the scripts of the archive.

#[cfg(any(target_os = "macos", test))]
mod launch_agent;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(target_os = "macos")]
pub use macos::*;

/// How to install or uninstall.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Start what reads the installed files again afterwards: the audio server and the daemon on Linux, the daemon on macOS.
    pub restart: bool,
}
