//! What the actor says: its state, its answers, and why it refuses. Nothing here changes anything or reaches the backend's gate.

use std::time::Instant;

use truemute_core::observed::Applied;

use super::actor::Actor;
use super::state::Reason;
use super::status::{self, Facts};
use crate::backend::BackendError;
use crate::protocol::{AppliedHow, ErrorCode, ErrorObject, Origin, SCHEMA, Status, Switched};
use crate::system::START_SERVER;

impl Actor {
    /// The state, in words and figures.
    pub(super) fn status(&self) -> Status {
        let backend = self
            .backend
            .as_ref()
            .map(|(_, backend)| backend.description());
        let warnings = self.settings.warnings.iter().chain(&self.warnings);
        status::status(Facts {
            gate: self.state.gate(),
            reason: self.state.reason(),
            since: self.since,
            backend,
            lost: self.lost_generation > 0,
            look: self.look.as_deref(),
            locked: self.state.is_locked(),
            muted_apps: &self.muted_apps,
            forced: &self.settings.forced,
            warnings: warnings
                .chain(&self.trouble)
                .chain(&self.start_warning)
                .chain(&self.memory_trouble)
                .chain(self.look.iter().flat_map(|look| &look.warnings))
                .cloned()
                .chain(self.history.warnings())
                .collect(),
        })
    }

    /// The answer to a command that was obeyed.
    pub(super) fn switched(
        &self,
        changed: bool,
        applied: Option<Applied>,
        received: Instant,
    ) -> Switched {
        let (applied, clock, position) = match applied {
            Some(Applied::Cycle {
                clock, position, ..
            }) => (AppliedHow::Cycle, Some(clock), Some(position)),
            Some(Applied::Idle { .. }) | None => (AppliedHow::Idle, None, None),
        };
        Switched {
            schema: SCHEMA,
            gate: self.state.gate(),
            changed,
            applied,
            clock,
            position,
            took_us: u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// Why there is no backend.
    pub(super) fn no_server(&self) -> ErrorObject {
        let (message, remedy) = match self.trouble {
            // The first start is under way: neither done nor failed.
            None => (
                "TrueMute has just been started, and is still connecting to the audio server.",
                "Ask again in a moment.".into(),
            ),
            Some(_) => (
                "There is no audio server.",
                format!("{START_SERVER}, then ask again; `truemute doctor` says more."),
            ),
        };
        ErrorObject {
            code: ErrorCode::NoServer,
            message: message.into(),
            remedy,
        }
    }

    /// Why nothing unmutes.
    pub(super) fn locked(&self) -> ErrorObject {
        let (by, remedy) = match self.settings.locked {
            true => (" by the administrator's policy", "Ask the administrator."),
            false => ("", "Run `truemute unlock`."),
        };
        ErrorObject {
            code: ErrorCode::Locked,
            message: format!("TrueMute is locked{by} and stays muted."),
            remedy: remedy.into(),
        }
    }
}

/// This origin may not unmute.
pub(super) fn refused(origin: Origin) -> ErrorObject {
    ErrorObject {
        code: ErrorCode::Refused,
        message: format!("The configuration does not let {} unmute.", name(origin)),
        remedy: "Unmute with `truemute unmute`, or add the origin to unmute_origins in the configuration.".into(),
    }
}

/// The backend could not do it.
pub(super) fn failed(error: &BackendError) -> ErrorObject {
    let text = error.to_string();
    let (message, remedy) = text.split_once(". ").unwrap_or((&text, ""));
    ErrorObject {
        code: match error {
            BackendError::Unknown { .. } => ErrorCode::UnknownClient,
            _ => ErrorCode::Failed,
        },
        message: format!("{message}."),
        remedy: remedy.to_owned(),
    }
}

fn name(origin: Origin) -> String {
    status::reason_text(Reason::Commanded(origin))
}
