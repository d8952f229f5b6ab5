//! Gathers what `truemute doctor` judges on every system: the configuration, and the daemon's own word.

use std::path::{Path, PathBuf};

use crate::api::{Client, SocketError};
use crate::config::{Config, POLICY_PATH, Policy, Settings};
use crate::protocol::{Answer, Call, Status};

/// What was found, before it is judged.
pub(super) struct Facts {
    /// The configuration under the policy, or what is wrong with either.
    pub(super) settings: Result<Settings, String>,
    /// The daemon's status, or why there is none.
    pub(super) status: Result<Status, String>,
}

impl Facts {
    /// Looks at everything; a few seconds at most.
    pub(super) fn gather(socket: &Result<PathBuf, SocketError>) -> Facts {
        let status = match socket {
            Ok(socket) => status(socket),
            Err(error) => Err(error.to_string()),
        };
        Facts {
            settings: settings(),
            status,
        }
    }
}

fn settings() -> Result<Settings, String> {
    let config = Config::read_default().map_err(|error| error.to_string())?;
    let policy = Policy::read(POLICY_PATH.as_ref(), 0).map_err(|error| error.to_string())?;
    Ok(Settings::new(config, policy))
}

fn status(socket: &Path) -> Result<Status, String> {
    match Client::connect(socket).and_then(|mut client| client.call(Call::Status)) {
        Ok(Answer::Status(status)) => Ok(status),
        Ok(_) => Err("The daemon answered something else than was asked. Restart it, so that both are of one version.".into()),
        Err(error) => Err(error.to_string()),
    }
}
