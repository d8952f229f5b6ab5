//! `truemute driver`: installs and removes the driver of this machine.

use std::path::PathBuf;

use clap::Subcommand;
use truemute_windows::installation::{self, SetupApi};

use super::{Failure, output};

/// What to do with the driver.
#[derive(Debug, Subcommand)]
pub(super) enum DriverCommand {
    /// Install the driver, or bring it up to date
    Install {
        /// Its INF [default: truemute.inf beside this program, or in a folder `driver` there]
        #[arg(long, value_name = "FILE")]
        inf: Option<PathBuf>,
    },
    /// Remove the driver and its device
    Remove,
}

pub(super) fn run(command: DriverCommand) -> Result<(), Failure> {
    let done = match command {
        DriverCommand::Install { inf } => {
            let inf = inf.or_else(beside_program).ok_or_else(|| {
                Failure::usage("There is no truemute.inf beside this program. Name it with --inf.")
            })?;
            installation::install(&SetupApi, &inf)
        }
        DriverCommand::Remove => installation::remove(&SetupApi),
    };
    let done = done.map_err(|error| Failure::new(error.to_string()))?;
    output::text(&format!("{done}\n"))
}

fn beside_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let places = ["truemute.inf", r"driver\truemute.inf"];
    let mut places = places.iter().map(|place| folder.join(place));
    places.find(|place| place.is_file())
}
