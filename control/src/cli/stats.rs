//! `truemute stats`: figures from the daemon, or, with `--since` and no daemon, from the history alone.

use std::path::PathBuf;

use super::output;
use super::queries::another_answer;
use super::{Failure, StatsArgs};
use crate::api::{Client, ClientError, SocketError};
use crate::clock::{Stamp, rfc3339};
use crate::protocol::{Answer, Call, Stats, StatsParams};
use crate::report::{self, Page};
use crate::stats::{parse_since, write_csv};
use crate::store::{Reader, StoreError, default_path};

pub(super) fn run(socket: Result<PathBuf, SocketError>, args: StatsArgs) -> Result<(), Failure> {
    let since_ns = match &args.since {
        Some(text) => Some(since(text)?),
        None => None,
    };
    let stats = match since_ns {
        None => ask(&mut Client::connect(&socket?)?, None)?,
        Some(since_ns) => match reach(socket)? {
            Some(mut client) => ask(&mut client, Some(since_ns))?,
            None => {
                output::note("No daemon answers; these figures come from the history alone.");
                read(since_ns)?
            }
        },
    };
    if args.csv {
        csv(&stats)
    } else if args.format.json {
        output::json(&stats)
    } else {
        output::text(&report::stats(&stats, &Page::of_stdout()))
    }
}

/// In nanoseconds since 1970. What cannot be a time is wrong usage.
fn since(text: &str) -> Result<u64, Failure> {
    parse_since(text, Stamp::now().wall_ns).map_err(|error| Failure::usage(error.to_string()))
}

/// The daemon, if one runs. Without a runtime directory (cron, `su`) the history can still be read.
fn reach(socket: Result<PathBuf, SocketError>) -> Result<Option<Client>, Failure> {
    match socket {
        Err(SocketError::NoRuntimeDir) => Ok(None),
        socket => match Client::connect(&socket?) {
            Err(ClientError::NoDaemon(_)) => Ok(None),
            connected => Ok(Some(connected?)),
        },
    }
}

fn ask(client: &mut Client, since_ns: Option<u64>) -> Result<Stats, Failure> {
    let params = StatsParams {
        since: since_ns.map(rfc3339),
    };
    match client.call(Call::Stats(params))? {
        Answer::Stats(stats) => Ok(stats),
        _ => Err(another_answer()),
    }
}

fn read(since_ns: u64) -> Result<Stats, StoreError> {
    let path = default_path().unwrap_or_default();
    Reader::open(&path)?.stats(since_ns)
}

fn csv(stats: &Stats) -> Result<(), Failure> {
    let mut text = Vec::new();
    write_csv(stats, &mut text).map_err(|error| {
        Failure::new(format!(
            "The figures cannot be written as CSV: {error}. This is a defect; please report it."
        ))
    })?;
    output::bytes(&text)
}
