//! The history: who pulled how much, minute by minute, kept in an SQLite file over restarts. [`Recorder`] writes it while
//! the daemon runs, [`Reader`] reads it with or without one. What the figures mean for people is [`crate::stats`]'s matter.
//!
//! The file is `history.sqlite` in `$XDG_STATE_HOME/truemute` (mode 0700, the file 0600): it tells who pulled when, which
//! is the user's own affair. docs/history.md describes its tables.

mod accounts;
mod bypasses;
mod file;
mod read;
mod recorder;
mod row;
#[cfg(test)]
pub(crate) use bypasses::tests as bypass_tests;
#[cfg(test)]
pub(crate) mod tests;
mod window;
mod write;

use std::fmt;
use std::path::PathBuf;

pub use accounts::{ClientRecord, ConnectedNs};
pub use bypasses::BypassRecord;
pub use read::Reader;
pub use recorder::{Options, Recorder};
pub use window::Window;

use crate::protocol::{ErrorCode, ErrorObject, GateState};
use crate::system;

/// A change of the gate, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateRecord {
    /// When, in nanoseconds since 1970.
    pub at_ns: u64,
    /// The state from then on.
    pub gate: GateState,
    /// Why, in the words of [`Status::reason`](crate::protocol::Status::reason).
    pub reason: String,
    /// Clock that `position` counts in, if the change took effect in a cycle.
    pub clock: Option<String>,
    /// First frame in the new state.
    pub position: Option<u64>,
}

/// Where the history lives, in [`state_directory`].
pub fn default_path() -> Option<PathBuf> {
    Some(state_directory()?.join("history.sqlite"))
}

/// Where the daemon keeps what outlives it: below `$XDG_STATE_HOME`, or `~/.local/state` where that is not set or not
/// absolute (XDG Base Directory Specification 0.8); on Windows `%LOCALAPPDATA%\\TrueMute`. None if there is no home directory either.
pub fn state_directory() -> Option<PathBuf> {
    system::state_directory()
}

/// Why the history could not be written or read. Shown as one sentence on what went wrong and one on what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no history yet.
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The latest that this program knows.
        known: i64,
    },
    /// It has an old format, and was opened for reading only.
    Older {
        /// The file.
        path: PathBuf,
    },
    /// Another program's database stands there.
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file's content makes no sense.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        cause: rusqlite::Error,
    },
    /// The disk is full.
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file or its directory cannot be written, read, or made.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// Anything else that SQLite reports.
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        cause: rusqlite::Error,
    },
    /// Summing up took longer than a reader may hold up the recorder.
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The recorder's thread has ended.
    Ended,
}

impl StoreError {
    /// What went wrong: one sentence.
    pub fn message(&self) -> String {
        match self {
            StoreError::Missing { path } => format!("There is no history at {}.", path.display()),
            StoreError::Newer { path, found, known } => format!(
                "The history {} has format {found}, and this truemute knows formats up to {known}.",
                path.display()
            ),
            StoreError::Older { path } => {
                format!("The history {} has an old format.", path.display())
            }
            StoreError::Foreign { path } => {
                format!("{} is a database of another program.", path.display())
            }
            StoreError::Damaged { path, cause } => {
                format!("The history {} is damaged ({cause}).", path.display())
            }
            StoreError::Full { path } => {
                format!(
                    "The disk that holds the history {} is full.",
                    path.display()
                )
            }
            StoreError::Unusable { path, cause } => {
                format!("The history {} cannot be used ({cause}).", path.display())
            }
            StoreError::Database { path, cause } => {
                format!("The history {} failed ({cause}).", path.display())
            }
            StoreError::TooLong { path } => {
                format!("Summing up the history {} takes too long.", path.display())
            }
            StoreError::Ended => "The recorder of the history has ended.".into(),
        }
    }

    /// What to do: one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            StoreError::Missing { .. } => "Start `truemute daemon` and let an app record.",
            StoreError::Newer { .. } => "Update truemute, or move the file away to start anew.",
            StoreError::Older { .. } => "Start `truemute daemon`, which updates it.",
            StoreError::Foreign { .. } => "Move it away.",
            StoreError::Damaged { .. } => {
                "Start `truemute daemon`, which sets the file aside and begins a new one."
            }
            StoreError::Full { .. } => "Free some space.",
            StoreError::Unusable { .. } => {
                "Check that it is a file of yours, that its directory exists, and that you may write there."
            }
            StoreError::Database { .. } => "Try again; if it stays, move the file away.",
            StoreError::TooLong { .. } => {
                "Ask for a shorter time with `--since`, or lower `retention_days` in the configuration."
            }
            StoreError::Ended => "Restart `truemute daemon`.",
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.message(), self.remedy())
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for ErrorObject {
    fn from(error: StoreError) -> ErrorObject {
        ErrorObject {
            code: ErrorCode::Store,
            message: error.message(),
            remedy: error.remedy().into(),
        }
    }
}
