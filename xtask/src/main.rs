//! `cargo xtask`: the tasks of whoever builds, tests or releases TrueMute.
//! It is compiled before any system library is installed, so it uses no crate that needs one.

mod asan;
mod bench;
mod cross;
mod demo;
mod deny;
mod dist;
mod e2e;
mod faults;
mod findings;
mod fuzz;
mod macos;
mod nt;
#[cfg(unix)]
mod ordinary_user;
mod other_debian;
mod packages;
mod process;
mod report;
mod setup;
mod step;
mod tally;
mod test;
#[cfg(unix)]
mod vm;
mod windows;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::other_debian::{Release, Root};
use crate::packages::Part;
use crate::report::Progress;
use crate::step::Step;
use crate::workspace::Workspace;

/// Tasks around TrueMute: install what is missing, show it, test it, measure it, pack it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing for building, running and testing
    Setup {
        /// Only these parts
        parts: Vec<Part>,
    },
    /// Install what is missing, build, and show the main job on a private audio server
    Demo,
    /// Install what is missing and run the usual tests, or the steps that are named
    Test {
        /// Only these steps
        steps: Vec<Step>,
    },
    /// Measure the release build beside pw-loopback and module-remap-source
    Bench {
        /// For the benchmark itself; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Break what can break while clients record, and say what reached them
    Faults {
        /// For the program itself; --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Install and use TrueMute on a whole Debian 13 with a sound card, in an emulated machine
    #[cfg(unix)]
    Vm,
    /// Build a release with manual pages, completions and what starts the daemon, and pack it
    Dist {
        /// The system that it is for
        #[arg(long, value_enum, default_value_t = dist::Target::Linux)]
        target: dist::Target,
        /// Also copy it to ~/.local
        #[arg(long, conflicts_with = "target")]
        install: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    process::interrupted();
    match run(&arguments.task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<bool> {
    let workspace = Workspace::find()?;
    let mut progress = Progress::new();
    match task {
        Task::Setup { parts } => {
            let named = parts;
            let parts = match named.is_empty() {
                true => Part::value_variants(),
                false => named,
            };
            setup::packages(&workspace, &mut progress, parts)?;
            if parts.contains(&Part::Test) {
                deny::install(&workspace, &mut progress)?;
                match other_debian::install(&workspace, Release::Trixie, &mut progress)? {
                    Root::At(root) => println!("Debian 13 root: {}", root.display()),
                    Root::Unavailable(why) => println!("No Debian 13 root: {why}."),
                }
            }
            // Eight minutes of a processor: only for whoever says that it is wanted.
            if named.contains(&Part::Macos) {
                macos::install_signer(&workspace, &mut progress)?;
            }
            Ok(true)
        }
        Task::Demo => demo::run(&workspace, &mut progress),
        Task::Bench { arguments } => bench::run(&workspace, &mut progress, arguments),
        Task::Faults { arguments } => faults::run(&workspace, &mut progress, arguments),
        #[cfg(unix)]
        Task::Vm => vm::run(&workspace, &mut progress),
        Task::Dist { target, install } => match target {
            dist::Target::Linux => dist::run(&workspace, &mut progress, *install),
            dist::Target::Macos => macos::dist(&workspace, &mut progress),
            dist::Target::Windows => windows::dist(&workspace, &mut progress),
        },
        Task::Test { steps } => test::run(&workspace, &mut progress, steps),
    }
}
