//! A stage on which TrueMute can be tried without touching the user's sound: a private audio server with its own bus
//! and directories ([`PrivateServer`]), a simulated real mic on it ([`SimulatedMic`]) and real recording programs as clients
//! ([`App`]). `truemute demo`, the end-to-end tests and the benchmarks play here. Nothing of this is used by the daemon.

mod apps;
mod config;
mod confinement;
mod feeder;
mod mic;
mod place;
mod probe;
mod program;
mod recording;
mod server;
mod signal;

pub use apps::{App, AppRecording, Wanted};
pub use mic::{MicOptions, MicState, SimulatedMic};
pub use program::{Program, find_program};
pub use recording::{Format, Recording, Stretch};
pub use server::{Clock, Debian13, PrivateServer, ServerOptions, Service, User, debian13_root};
pub use signal::{Signal, ramp_phase, ramp_value};

use std::io;
use std::path::PathBuf;

/// Why a rehearsal could not be set up. Each message says what went wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RehearsalError {
    /// Programs that the private server needs are not installed.
    #[error(
        "Not installed here: {programs}. Install what is missing, on Debian and Ubuntu with: apt install {packages}"
    )]
    MissingPrograms {
        /// The programs.
        programs: String,
        /// The Debian packages that have them.
        packages: String,
    },
    /// Something of the private server did not come up in time.
    #[error(
        "The private audio server is not up after {waited_ms} ms: {what}. Look at the last lines that its programs wrote:\n{log}"
    )]
    NotReady {
        /// What did not happen.
        what: String,
        /// How long it was waited for.
        waited_ms: u128,
        /// The last lines of the programs' logs.
        log: String,
    },
    /// A file, directory, socket or process could not be made or used.
    #[error("{doing} failed: {source}. Check that the place exists and that this user may use it.")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The root filesystem of another Debian release is not there.
    #[error(
        "there is no usable Debian 13 root at {}. Make one with `cargo xtask setup`, or set TRUEMUTE_DEBIAN13_ROOT.",
        .0.display()
    )]
    NoRoot(PathBuf),
    /// The PipeWire library or server refused something.
    #[error("{doing} failed: {reason}. Look at the private server's log.")]
    Pipewire {
        /// What was being done.
        doing: String,
        /// The library's reason.
        reason: String,
    },
}

impl RehearsalError {
    /// For `map_err` on input and output.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// For `map_err` on calls of the PipeWire library.
    pub(crate) fn pipewire<E: ToString>(doing: &str) -> impl FnOnce(E) -> Self {
        let doing = doing.to_owned();
        move |error| Self::Pipewire {
            doing,
            reason: error.to_string(),
        }
    }
}
