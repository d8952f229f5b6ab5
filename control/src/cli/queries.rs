//! The commands that ask a running daemon: one call, one answer, printed. `watch` goes on.

use std::path::Path;

use super::output;
use super::{Failure, Format};
use crate::api::{Client, ClientError};
use crate::daemon::Want;
use crate::protocol::{Answer, By, Call, OfClient, Origin, WatchEvent, WatchParams};
use crate::report::{self, Page};

pub(super) fn status(socket: &Path, format: Format) -> Result<(), Failure> {
    let connected = Client::connect(socket);
    // Silence could be taken for "muted".
    if let (false, Err(ClientError::NoDaemon(_))) = (format.json, &connected) {
        output::text(&report::no_daemon(&Page::of_stdout()))?;
    }
    let answer = connected?.call(Call::Status)?;
    print(&answer, format, |answer, page| match answer {
        Answer::Status(status) => Some(report::status(status, page)),
        _ => None,
    })
}

pub(super) fn switch(socket: &Path, want: Want, format: Format) -> Result<(), Failure> {
    let call = match want {
        Want::Mute => Call::Mute,
        Want::Unmute => Call::Unmute,
        Want::Toggle => Call::Toggle,
    };
    let mut daemon = Client::connect(socket)?;
    let answer = daemon.call(call(By::default()))?;
    // What it means to people depends on more than the gate: there may be no mic, or an app that goes round it.
    let status = match format.json {
        true => None,
        false => daemon.call(Call::Status).ok(),
    };
    print(&answer, format, |answer, page| match (answer, &status) {
        (Answer::Switched(switched), Some(Answer::Status(status))) => {
            Some(report::switched(switched, Some(status), page))
        }
        (Answer::Switched(switched), _) => Some(report::switched(switched, None, page)),
        _ => None,
    })
}

pub(super) fn lock(socket: &Path, locked: bool, format: Format) -> Result<(), Failure> {
    let call = match locked {
        true => Call::Lock,
        false => Call::Unlock,
    };
    show(socket, call, format, |answer, _| match answer {
        Answer::Locked(locked) => Some(report::locked(locked)),
        _ => None,
    })
}

pub(super) fn switch_app(
    socket: &Path,
    client: String,
    muted: bool,
    format: Format,
) -> Result<(), Failure> {
    let of = OfClient {
        client,
        origin: Origin::default(),
    };
    let call = match muted {
        true => Call::MuteClient(of),
        false => Call::UnmuteClient(of),
    };
    show(socket, call, format, |answer, page| match answer {
        Answer::AppSwitched(switched) => Some(report::app_switched(switched, page)),
        _ => None,
    })
}

pub(super) fn clients(socket: &Path, format: Format) -> Result<(), Failure> {
    show(socket, Call::Clients, format, |answer, page| match answer {
        Answer::Stats(stats) => Some(report::clients(stats, page)),
        _ => None,
    })
}

/// Prints every line that the daemon sends, until it ends.
pub(super) fn watch(socket: &Path) -> Result<(), Failure> {
    let mut client = Client::connect(socket)?;
    client.call(Call::Watch(WatchParams::default()))?;
    while let Some(event) = client.follow::<WatchEvent>()? {
        if !output::json_line(&event)? {
            return Ok(());
        }
    }
    Err(Failure::new(
        "The daemon has ended. Start it again, and then `truemute watch`.",
    ))
}

/// Calls, and prints the answer as JSON or as text.
fn show(
    socket: &Path,
    call: Call,
    format: Format,
    text: impl FnOnce(&Answer, &Page) -> Option<String>,
) -> Result<(), Failure> {
    let answer = Client::connect(socket)?.call(call)?;
    print(&answer, format, text)
}

fn print(
    answer: &Answer,
    format: Format,
    text: impl FnOnce(&Answer, &Page) -> Option<String>,
) -> Result<(), Failure> {
    if format.json {
        return output::json(answer);
    }
    match text(answer, &Page::of_stdout()) {
        Some(text) => output::text(&text),
        None => Err(another_answer()),
    }
}

pub(super) fn another_answer() -> Failure {
    Failure::new(
        "The daemon answered something else than was asked. Restart the daemon, so that both are of one version.",
    )
}
