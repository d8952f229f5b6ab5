//! What gets through when things fail, run by `cargo xtask faults`: each fault is inflicted on a private server with what
//! `truemute install` writes, while clients of every kind record. Prints a table, and fails if any sample that was not zero
//! reached a client that TrueMute had muted.

mod fault;
mod field;
mod outcome;
mod text;
mod ways;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Parser;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use truemute_tests::listening::Kind;
use truemute_tests::servers::Version;

use crate::fault::Fault;
use crate::field::Field;
use crate::outcome::Row;
use crate::ways::Column;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Inflicts faults on private audio servers and says what reached the clients
#[derive(Debug, Parser)]
#[command(name = "faults", max_term_width = 100)]
struct Arguments {
    /// The long faults are short: for a look, or for CI
    #[arg(long)]
    quick: bool,
    /// Only faults whose name contains one of these
    #[arg(long, value_delimiter = ',', value_name = "TEXT")]
    only: Vec<String>,
    /// Only these clients
    #[arg(long, value_enum, value_delimiter = ',')]
    clients: Vec<Client>,
    /// Only this server
    #[arg(long, value_enum)]
    server: Option<Server>,
    /// Seconds that the storm of clients lasts
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    storm: u64,
    /// Also write the report to this file, as docs/reliability.md
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Only the faults, or only the ways round the virtual mic
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// List the faults and end
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Client {
    Explicit,
    Default,
    Pulse,
    Alsa,
    Browser,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Server {
    Installed,
    Debian13,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Faults,
    Ways,
}

impl Arguments {
    fn kinds(&self) -> Vec<Kind> {
        let chosen = |kind: &Kind| {
            let client = match kind {
                Kind::Explicit => Client::Explicit,
                Kind::Default => Client::Default,
                Kind::Pulse => Client::Pulse,
                Kind::Alsa => Client::Alsa,
                Kind::Browser => Client::Browser,
            };
            self.clients.is_empty() || self.clients.contains(&client)
        };
        Kind::ALL.into_iter().filter(chosen).collect()
    }

    fn versions(&self) -> Vec<Version> {
        match self.server {
            Some(Server::Installed) => vec![Version::Installed],
            Some(Server::Debian13) => vec![Version::Debian13],
            None => vec![Version::Installed, Version::Debian13],
        }
    }

    fn storm(&self) -> Duration {
        Duration::from_secs(if self.quick { 10 } else { self.storm })
    }

    fn faults(&self, may_mount: bool) -> Vec<Fault> {
        let mut faults = fault::all(self.storm(), may_mount);
        faults.retain(|fault| {
            self.only.is_empty() || self.only.iter().any(|text| fault.name.contains(text))
        });
        faults
    }
}

/// All that was seen.
#[derive(Default)]
struct Report {
    quick: bool,
    /// Under what conditions the faults were inflicted, in a sentence.
    conditions: String,
    tables: Vec<Table>,
    ways: Vec<Column>,
}

/// What the faults did on one server.
struct Table {
    server: String,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    let may_mount = keep_mounts_private();
    match run(&Arguments::parse(), may_mount) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets what is mounted from now on be seen by this process and its children only, and go with them; says whether that can be
/// had here. Called before there is another thread.
fn keep_mounts_private() -> bool {
    // SAFETY: nothing but the mounts is unshared: descriptors stay as they are.
    let own = unsafe { unshare_unsafe(UnshareFlags::NEWNS) };
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    own.and_then(|()| mount_change("/", flags)).is_ok()
}

/// Says whether everything that had to be silent was.
fn run(arguments: &Arguments, may_mount: bool) -> Result<bool> {
    if arguments.list {
        let faults = arguments.faults(may_mount);
        faults.iter().for_each(|fault| println!("{}", fault.name));
        return Ok(true);
    }
    let versions = arguments.versions();
    let wants = |part| arguments.part.is_none_or(|only| only == part);
    let mut report = Report {
        quick: arguments.quick,
        ..Report::default()
    };
    if wants(Part::Faults) {
        let before = load();
        let kinds = arguments.kinds();
        // Side by side: most of the time is waiting.
        thread::scope(|scope| {
            let kinds = &kinds;
            let inflict = move |version| {
                // An error of the rig can hold anything; a thread hands over its words.
                inflict(version, &arguments.faults(may_mount), kinds)
                    .map_err(|error| error.to_string())
            };
            let threads: Vec<_> = versions
                .iter()
                .map(|version| scope.spawn(move || inflict(*version)))
                .collect();
            for thread in threads {
                let table = thread.join().map_err(|_| "a thread panicked")?;
                report.tables.extend(table?);
            }
            Result::Ok(())
        })?;
        report.conditions = format!(
            "The storm of 500 clients lasted {} s. This was a {} build, which had {} processors of a machine whose load was {before} \
             when it began and {} when it ended (both servers and all clients are part of it).",
            arguments.storm().as_secs(),
            if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
            thread::available_parallelism()?,
            load(),
        );
    }
    if wants(Part::Ways) {
        report.ways = ways::try_all(&versions);
    }
    let text = text::of(&report);
    println!("{text}");
    if let Some(file) = &arguments.write {
        let old = fs::read_to_string(file).unwrap_or_default();
        fs::write(file, text::with_kept_sections(&text, &old))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let mut rows = report.tables.iter().flat_map(|table| &table.rows);
    let silent = rows.all(|row| row.failed.is_none() && row.leaked() == 0)
        && report.ways.iter().all(|column| column.leaked() == 0);
    Ok(silent && !(report.tables.is_empty() && report.ways.is_empty()))
}

/// The machine's load average over a minute (proc(5)).
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// Inflicts the faults one by one, each on a server of its own; nothing if this version cannot be had here.
fn inflict(version: Version, faults: &[Fault], kinds: &[Kind]) -> Result<Option<Table>> {
    let mut table = None;
    for fault in faults {
        eprintln!("{version:?}: {}", fault.name);
        let Some(mut field) = Field::set(version, kinds)? else {
            break;
        };
        let table = table.get_or_insert_with(|| Table {
            server: field.server_name(),
            rows: Vec::new(),
        });
        let row = outcome::observe(fault, &mut field);
        eprintln!("  {}: {}", table.server, text::cells(&row));
        if !row.is_well() {
            eprintln!("{}", field.logs());
        }
        table.rows.push(row);
    }
    Ok(table)
}
