//! `truemute driver`: installs and removes the driver of this machine and the service beside it.

use std::io::BufReader;
use std::path::PathBuf;

use clap::Subcommand;
use truemute_windows::events::read::{self, Dials as _};
use truemute_windows::installation::{self, ServiceControl, SetupApi};

use super::{Failure, output};
use crate::system::{EventsPipe, EventsService};

/// What to do with the driver.
#[derive(Debug, Subcommand)]
pub(super) enum DriverCommand {
    /// Install the driver and its service, or bring them up to date
    Install {
        /// The driver's INF [default: truemute.inf beside this program, or in a folder `driver` there]
        #[arg(long, value_name = "FILE")]
        inf: Option<PathBuf>,
    },
    /// Remove the driver, its device and its service
    Remove,
    /// Print Windows' own events about audio, raw, one JSON object a line, until the service ends or Ctrl-C
    Events,
    /// Run as the service, which only Windows does
    #[command(hide = true)]
    Service,
}

pub(super) fn run(command: DriverCommand) -> Result<(), Failure> {
    let failed = |error: installation::InstallError| Failure::new(error.to_string());
    match command {
        DriverCommand::Install { inf } => {
            let inf = inf.or_else(beside_program).ok_or_else(|| {
                Failure::usage("There is no truemute.inf beside this program. Name it with --inf.")
            })?;
            let program = std::env::current_exe().map_err(|error| {
                Failure::new(format!(
                    "It cannot be found out where this program lies: {error}. Start it by its path."
                ))
            })?;
            let done = installation::install(&SetupApi, &inf).map_err(failed)?;
            output::text(&format!("{done}\n"))?;
            installation::service::install(&ServiceControl, &program).map_err(failed)?;
            output::text("The service that listens to Windows' events runs.\n")
        }
        DriverCommand::Remove => {
            if installation::service::remove(&ServiceControl).map_err(failed)? {
                output::text("The service is removed.\n")?;
            }
            let done = installation::remove(&SetupApi).map_err(failed)?;
            output::text(&format!("{done}\n"))
        }
        DriverCommand::Events => events(),
        DriverCommand::Service => truemute_windows::service::run(EventsPipe::make).map_err(|error| {
            Failure::new(format!(
                "This is no service now: {error}. `truemute driver install` makes it one, and Windows starts it."
            ))
        }),
    }
}

fn events() -> Result<(), Failure> {
    let stream = EventsService.dial().map_err(|error| {
        Failure::new(format!(
            "The service does not answer: {error}. Install it with `truemute driver install`, as an administrator."
        ))
    })?;
    let mut lines = BufReader::new(stream);
    // Its end is the service's.
    while let Ok(line) = read::line(&mut lines) {
        if !output::json_line(&line)? {
            break;
        }
    }
    Ok(())
}

fn beside_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let places = ["truemute.inf", r"driver\truemute.inf"];
    let mut places = places.iter().map(|place| folder.join(place));
    places.find(|place| place.is_file())
}
