//! How a command fails: one sentence on what went wrong, one on what to do, and an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use crate::api::{ClientError, SocketError};
use crate::daemon::service::ServiceError;
#[cfg(target_os = "linux")]
use crate::demo::DemoError;
use crate::store::StoreError;

/// A failure that is ready to be shown.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    text: String,
}

/// Failed.
const FAILED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// No daemon answers.
const NO_DAEMON: u8 = 3;

impl Failure {
    /// A failure with exit code 1.
    pub(super) fn new(text: impl Into<String>) -> Failure {
        Failure {
            code: FAILED,
            text: text.into(),
        }
    }

    /// A failure with exit code 2.
    pub(super) fn usage(text: impl Into<String>) -> Failure {
        Failure {
            code: USAGE,
            text: text.into(),
        }
    }

    /// Prints it and gives its exit code.
    pub(super) fn report(self) -> ExitCode {
        // Nothing is left to tell it to if stderr is closed.
        let _ = writeln!(std::io::stderr(), "truemute: {}", self.text);
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let code = match error {
            ClientError::NoDaemon(_) => NO_DAEMON,
            _ => FAILED,
        };
        Failure {
            code,
            text: error.to_string(),
        }
    }
}

#[cfg(target_os = "linux")]
impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Failure {
        // A daemon that is gone here is the demo's own: code 3 would send people to start theirs.
        Failure::new(error.to_string())
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Failure {
        let code = match error {
            // Where there is no place for a daemon, none answers.
            SocketError::NoRuntimeDir => NO_DAEMON,
            _ => FAILED,
        };
        Failure {
            code,
            text: error.to_string(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::new(error.to_string())
    }
}
