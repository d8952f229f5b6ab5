//! `truemute top`: connects the live table to the daemon.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::Failure;
use crate::api::{Client, ClientError};
use crate::protocol::{
    Answer, By, Call, ErrorCode, ErrorObject, GateState, Switched, WatchEvent, WatchParams,
};
use crate::system;
use crate::top::{self, TopError};

pub(super) fn run(socket: &Path) -> Result<(), Failure> {
    top::run(AtSocket(socket.to_owned())).map_err(|error| match error {
        TopError::NotATerminal => Failure::usage(error.to_string()),
        TopError::Terminal(_) => Failure::new(error.to_string()),
    })
}

/// The daemon behind a socket; each call has a connection of its own.
struct AtSocket(PathBuf);

impl top::Daemon for AtSocket {
    fn watch(
        &self,
        interval_ms: u32,
        take: &mut dyn FnMut(WatchEvent) -> ControlFlow<()>,
    ) -> String {
        match self.follow(interval_ms, take) {
            Ok(()) => "The daemon has ended.".into(),
            Err(error) => error.to_string(),
        }
    }

    fn switch(&self, to: GateState) -> Result<Switched, ErrorObject> {
        let call = match to {
            GateState::Muted => Call::Mute(By::default()),
            GateState::Live => Call::Unmute(By::default()),
        };
        match Client::connect(&self.0).and_then(|mut client| client.call(call)) {
            Ok(Answer::Switched(switched)) => Ok(switched),
            Ok(_) => Err(failed("The daemon answered something else than was asked.")),
            Err(ClientError::Refused(error)) => Err(error),
            Err(error) => Err(failed(&error.to_string())),
        }
    }
}

impl AtSocket {
    fn follow(
        &self,
        interval_ms: u32,
        take: &mut dyn FnMut(WatchEvent) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut client = Client::connect(&self.0)?;
        client.call(Call::Watch(WatchParams {
            interval_ms: Some(interval_ms),
        }))?;
        while let Some(event) = client.follow()? {
            if take(event).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn failed(message: &str) -> ErrorObject {
    ErrorObject {
        code: ErrorCode::Failed,
        message: message.into(),
        remedy: format!("Look at the daemon's log ({}).", system::LOG),
    }
}
