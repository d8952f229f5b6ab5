//! What only macOS has: the driver's place, and the LaunchAgent. Whether Core Audio has loaded the driver is in the daemon's word.

use super::facts::Facts;
use super::{bad, bad_sentences, doubtful, good};
use crate::install::{self, AgentFile, Installed};
use crate::report::Finding;

/// What was found, before it is judged.
pub(super) struct Installation(Result<Installed, String>);

impl Installation {
    /// Looks at the disk and asks launchd.
    pub(super) fn gather(_: &Facts) -> Self {
        Self(install::inspect().map_err(|error| error.to_string()))
    }

    /// What was written, and whether the daemon is started.
    pub(super) fn of_files(&self) -> Vec<Finding> {
        let installed = match &self.0 {
            Ok(installed) => installed,
            Err(why) => return vec![bad_sentences(why)],
        };
        vec![
            match installed.driver {
                true => good(format!("The driver is at {}.", install::DRIVER)),
                false => bad(
                    format!("There is no driver at {}.", install::DRIVER),
                    "Run install.sh of the archive.",
                ),
            },
            match installed.agent {
                AgentFile::Same => good("The LaunchAgent is there and unchanged."),
                AgentFile::Nothing => doubtful(
                    "Nothing starts the daemon at login.",
                    "Run `truemute install`.",
                ),
                AgentFile::Other => doubtful(
                    "The LaunchAgent is of another version or was edited.",
                    "Run `truemute install`.",
                ),
                AgentFile::Foreign => doubtful(
                    "Where the LaunchAgent belongs lies a file that is not TrueMute's.",
                    "Move it away, then run `truemute install`.",
                ),
            },
            match installed.loaded {
                true => good("launchd starts the daemon at each login."),
                false => doubtful(
                    "launchd does not know the daemon.",
                    "Run `truemute install`.",
                ),
            },
        ]
    }

    /// How the daemon runs.
    pub(super) fn of_daemon(&self) -> Option<Finding> {
        None
    }

    /// What apps find.
    pub(super) fn of_audio(&self, _: &Facts) -> Vec<Finding> {
        Vec::new()
    }
}
