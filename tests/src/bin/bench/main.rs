//! The benchmark, run by `cargo xtask bench`: TrueMute beside what a person would take instead, pw-loopback and
//! PulseAudio's module-remap-source, in the same run on the same machine. It reports; it never fails for a slow machine.

mod figures;
mod latency;
mod load;
mod machine;
mod macos;
mod process;
mod rival;
mod switching;
mod targets;
mod text;
mod windows;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;
use truemute_pipewire::rehearsal::Debian13;

use crate::machine::Machine;
use crate::rival::Ground;
use crate::targets::Target;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures TrueMute beside pw-loopback and module-remap-source on private audio servers
#[derive(Debug, Parser)]
#[command(name = "bench", max_term_width = 100)]
struct Arguments {
    /// A smoke test of under a minute; its figures mean little
    #[arg(long)]
    quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Also write the report to this file, as docs/performance.md
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Also write every figure to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run the server and what is measured from this root filesystem of Debian 13; needs root
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Frames that each way adds
    Latency,
    /// Time per cycle, CPU and memory with many clients
    Load,
    /// How fast mute and unmute are
    Switching,
    /// Time of a read through the macOS plug-in
    Macos,
    /// Time of a period in the Windows driver
    Windows,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Report {
    quick: bool,
    machine: Machine,
    latency: Vec<latency::Row>,
    load: Vec<load::Cell>,
    switching: Vec<switching::Row>,
    commands: Option<switching::Commands>,
    macos: Vec<macos::Row>,
    windows: Option<windows::Costs>,
    targets: Vec<Target>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let root = match &arguments.root {
        Some(path) => Some((Debian13::at(path)?, path.clone())),
        None => None,
    };
    let ground = Ground::new(root)?;
    let wants = |part| arguments.only.is_empty() || arguments.only.contains(&part);
    let quick = arguments.quick;
    let mut report = Report {
        quick,
        machine: Machine::look(&ground)?,
        latency: Vec::new(),
        load: Vec::new(),
        switching: Vec::new(),
        commands: None,
        macos: Vec::new(),
        windows: None,
        targets: Vec::new(),
    };
    // What one part could not measure does not take away what the others did.
    let mut failures = Vec::new();
    if wants(Part::Latency) {
        let measured = latency::measure(&ground, &mut report.latency);
        failures.extend(measured.err());
    }
    if wants(Part::Switching) {
        let plan = switching::Plan::new(quick);
        let measured = switching::measure(&ground, &plan, &mut report.switching);
        failures.extend(measured.err());
        match switching::commands(&ground, &plan) {
            Ok(commands) => report.commands = Some(commands),
            Err(error) => failures.push(error),
        }
    }
    if wants(Part::Load) {
        let measured = load::measure(&ground, &load::Plan::new(quick), &mut report.load);
        failures.extend(measured.err());
    }
    if wants(Part::Macos) {
        let measured = macos::measure(quick, &mut report.macos);
        failures.extend(measured.err());
    }
    if wants(Part::Windows) {
        if windows::has_driver() {
            match windows::measure(quick) {
                Ok(costs) => report.windows = Some(costs),
                Err(error) => failures.push(error),
            }
        } else {
            progress("the Windows driver was not built: cargo xtask bench says why");
        }
    }
    report.machine.finish()?;
    report.targets = targets::judge(&report);
    let text = text::of(&report);
    println!("{text}");
    if let Some(file) = &arguments.write {
        fs::write(file, &text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(file, json + "\n").map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if failures.is_empty() {
        return Ok(());
    }
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    Err(format!("not everything could be measured:\n{}", failures.join("\n")).into())
}

/// Says on stderr what is being measured.
fn progress(what: impl std::fmt::Display) {
    eprintln!("{what}");
}
