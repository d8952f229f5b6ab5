//! How the user or the system tells a process to end: signals.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Waits for SIGTERM, SIGINT and SIGHUP, which no longer end the process while this is there.
pub(crate) struct Ends(Signals);

impl Ends {
    /// From now on.
    ///
    /// # Errors
    /// The system gives no more handlers.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Signals::new([SIGTERM, SIGINT, SIGHUP])?))
    }

    /// Waits for the next one, and names it for the log; nothing if there can be no more.
    pub(crate) fn wait(&mut self) -> Option<String> {
        Some(format!("signal {}", self.0.forever().next()?))
    }
}

/// Whatever this process writes from now on is its user's alone.
pub(crate) fn keep_files_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}
