//! What each operating system gives in its own way: who is at the other end of a socket, which boot this is, the clock that
//! the audio counts in, the service manager, files that are the user's alone, the authority that unlocks, and what people type to start the
//! daemon. All have the same names; what Linux and macOS share is in `unix`. The audio system itself is behind [`crate::backend`], installing in [`crate::install`].

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

/// The process at the other end of a local socket, as the kernel vouches for it.
pub(crate) struct PeerProcess {
    /// Whether it is of our own user.
    pub(crate) is_same_user: bool,
    /// 0 if it is not visible from here (another pid namespace).
    pub(crate) process: u32,
}

/// What the daemon tells the service manager that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The API is served.
    Ready,
    /// The daemon ends.
    Ending,
    /// Its threads answer.
    Alive,
    /// From now on it may be silent for this long.
    Patience(std::time::Duration),
}
