//! What gets through when things fail, run by `cargo xtask faults`: each fault is inflicted on a private server with what
//! `truemute install` writes, while clients of every kind record. Prints a table, and fails if any sample that was not zero
//! reached a client that TrueMute had muted.

mod fault;
mod field;
mod outcome;
mod text;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use truemute_tests::listening::Kind;
use truemute_tests::servers::Version;

use crate::fault::Fault;
use crate::field::Field;
use crate::outcome::Row;

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

    fn faults(&self) -> Vec<Fault> {
        let mut faults = fault::all(if self.quick { 10 } else { self.storm });
        faults.retain(|fault| {
            self.only.is_empty() || self.only.iter().any(|text| fault.name.contains(text))
        });
        faults
    }
}

/// All that was seen on one server.
struct Table {
    server: String,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether everything that had to be silent was.
fn run(arguments: &Arguments) -> Result<bool> {
    let faults = arguments.faults();
    if arguments.list {
        faults.iter().for_each(|fault| println!("{}", fault.name));
        return Ok(true);
    }
    let kinds = arguments.kinds();
    let mut tables: Vec<Table> = Vec::new();
    for version in arguments.versions() {
        let mut rows = Vec::new();
        let mut server = None;
        for fault in &faults {
            eprintln!("{version:?}: {}", fault.name);
            let Some(mut field) = Field::set(version, &kinds)? else {
                break;
            };
            let named = server.get_or_insert_with(|| field.server_name());
            let row = outcome::observe(fault, &mut field);
            eprintln!("{}", text::line(named, &row));
            if row.failed.is_some() || row.leaked() > 0 {
                eprintln!("{}", field.logs());
            }
            rows.push(row);
        }
        tables.extend(server.map(|server| Table { server, rows }));
    }
    let text = text::of(&tables, arguments.quick);
    println!("{text}");
    if let Some(file) = &arguments.write {
        let old = fs::read_to_string(file).unwrap_or_default();
        fs::write(file, text::with_kept_sections(&text, &old))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let mut rows = tables.iter().flat_map(|table| &table.rows);
    Ok(!tables.is_empty() && rows.all(|row| row.failed.is_none() && row.leaked() == 0))
}
