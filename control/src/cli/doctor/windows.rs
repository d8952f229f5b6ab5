//! What only Windows has: the driver's control device, and what starts the daemon at login. Whether Windows lists the endpoint is in the
//! daemon's word.

use super::facts::Facts;
use super::{bad_sentences, doubtful, good};
use crate::install::{self, AtLogin, Installed};
use crate::report::{Finding, Verdict};

/// What was found, before it is judged.
pub(super) struct Installation(Result<Installed, String>);

impl Installation {
    /// Looks at the registry, and asks the driver.
    pub(super) fn gather(_: &Facts) -> Self {
        Self(install::inspect().map_err(|error| error.to_string()))
    }

    /// What was written, and whether the driver answers.
    pub(super) fn of_files(&self) -> Vec<Finding> {
        let installed = match &self.0 {
            Ok(installed) => installed,
            Err(why) => return vec![bad_sentences(why)],
        };
        vec![
            match &installed.driver {
                Ok(()) => good("The driver answers."),
                Err(why) => bad_sentences(&why.to_string()),
            },
            match &installed.events {
                Ok(()) => good("The service listens to Windows' events."),
                // Live or muted does not depend on it.
                Err(why) => Finding {
                    verdict: Verdict::Doubtful,
                    ..bad_sentences(why)
                },
            },
            match installed.at_login {
                AtLogin::Same => good("Windows starts the daemon at each login."),
                AtLogin::Other => doubtful(
                    "Windows starts another program as the daemon, or this one from another place.",
                    "Run `truemute install`.",
                ),
                AtLogin::Nothing => doubtful(
                    "Nothing starts the daemon at login.",
                    "Run `truemute install`.",
                ),
            },
        ]
    }

    /// The driver says nothing more of itself than that it answers.
    pub(super) fn driver(&self) -> Option<&()> {
        None
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
