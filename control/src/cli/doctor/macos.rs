//! What only macOS has: the driver's place, what the driver tells about itself, and the LaunchAgent.

use truemute_macos::coreaudio;
use truemute_macos::diagnosis::Diagnosis;

use super::driver;
use super::facts::Facts;
use super::{bad, bad_sentences, doubtful, good};
use crate::install::{self, AgentFile, Installed};
use crate::report::Finding;

/// What was found, before it is judged.
pub(super) struct Installation {
    files: Result<Installed, String>,
    driver: Result<Diagnosis, String>,
}

impl Installation {
    /// Looks at the disk, and asks launchd and the driver, the latter through Core Audio: also where its socket does not come up.
    pub(super) fn gather(_: &Facts) -> Self {
        Self {
            files: install::inspect().map_err(|error| error.to_string()),
            driver: coreaudio::diagnosis(),
        }
    }

    /// What the driver tells about itself.
    pub(super) fn driver(&self) -> Option<&Diagnosis> {
        self.driver.as_ref().ok()
    }

    /// What was written, and whether the daemon is started.
    pub(super) fn of_files(&self) -> Vec<Finding> {
        let installed = match &self.files {
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

    /// What the driver says.
    pub(super) fn of_audio(&self, _: &Facts) -> Vec<Finding> {
        driver::judge(&self.driver)
    }
}
