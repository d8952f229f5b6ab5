//! Installing on Windows, for one user: what starts the daemon at login, which is a value under the registry's `Run` key. The driver
//! belongs to the machine, and comes and goes by `truemute driver`.

use std::io::{self, BufReader};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use truemute_windows::control_device::{AskError, Opens as _};
use truemute_windows::events::read::{self, Dials as _};
use truemute_windows::wasapi::DriverDevice;

use super::Options;
use crate::api::{self, Client};
use crate::protocol::{Answer, Call};
use crate::system::EventsService;
use crate::tool::{self, Said};

/// Programs named under it start when the user logs in (Microsoft, "Run and RunOnce Registry Keys").
const RUN: &str = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run";
const NAME: &str = "TrueMute";

/// Runs a program of the command line without a window.
const WINDOWLESS: &str = "conhost.exe";

const LIMIT: Duration = Duration::from_secs(10);

/// Lines after which the service must have said whether it listens: it writes one a second, and more if there are events.
const LINES: u32 = 5;

/// Why it could not be done. Nothing, or not all, was done then; doing it again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The executable's path is not known.
    #[error("It cannot be found out where this program lies: {0}. Start it by its path.")]
    NoProgram(io::Error),
    /// The registry.
    #[error("The registry was not changed: {0}. Look whether a policy of this machine forbids it.")]
    Registry(String),
    /// The daemon does not start or end.
    #[error("The daemon did not {0}: {1}. Log off and on again.")]
    Daemon(&'static str, String),
}

/// What starts the daemon at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtLogin {
    /// This program.
    Same,
    /// Another one, or another way.
    Other,
    /// Nothing.
    Nothing,
}

/// What is there of an installation.
pub(crate) struct Installed {
    /// What starts the daemon.
    pub(crate) at_login: AtLogin,
    /// Whether the driver answers.
    pub(crate) driver: Result<(), AskError>,
    /// Whether the service listens to Windows' events; if not, why, and what to do.
    pub(crate) events: Result<(), String>,
}

/// Installs for the user who runs this program, and tells `say` each thing that is done, in a sentence. Doing it again changes
/// only what is not as it should be.
///
/// # Errors
/// See [`InstallError`].
pub fn install(options: Options, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let wanted = command_line()?;
    let at_login = at_login(&wanted)?;
    if at_login != AtLogin::Same {
        say("Start the daemon at each login.");
        if !options.dry_run {
            registry(&["add", RUN, "/v", NAME, "/t", "REG_SZ", "/d", &wanted, "/f"])?;
        }
    }
    let running = daemon();
    let again = options.restart || at_login == AtLogin::Other;
    if let Some(process) = running.filter(|_| again) {
        say("End the daemon.");
        if !options.dry_run {
            end(process)?;
        }
    }
    if running.is_none() || again {
        say("Start the daemon.");
        if !options.dry_run {
            start()?;
        }
    }
    if driver() == Err(AskError::NotThere) {
        say(
            "The driver is not there, so that there is no Microphone (TrueMute): run `truemute driver install` as an administrator.",
        );
    }
    Ok(())
}

/// Undoes [`install`], and tells `say` each thing that is done. The driver stays: `truemute driver remove` removes it.
///
/// # Errors
/// See [`InstallError`].
pub fn uninstall(options: Options, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    if at_login(&command_line()?)? != AtLogin::Nothing {
        say("Do not start the daemon at login any more.");
        if !options.dry_run {
            registry(&["delete", RUN, "/v", NAME, "/f"])?;
        }
    }
    if let Some(process) = daemon() {
        say("End the daemon.");
        if !options.dry_run {
            end(process)?;
        }
    }
    say("Your configuration and the history of counts stay where they are.");
    Ok(())
}

/// Looks what is there, and changes nothing.
///
/// # Errors
/// See [`InstallError`].
pub(crate) fn inspect() -> Result<Installed, InstallError> {
    Ok(Installed {
        at_login: at_login(&command_line()?)?,
        driver: driver(),
        events: events(),
    })
}

/// The service tells within some seconds: it begins to listen when somebody reads.
fn events() -> Result<(), String> {
    const ABSENT: &str = "The service that listens to Windows' events does not answer, so that offers of sound are not counted, and what apps got is estimated by their sessions only. Install it with `truemute driver install`, as an administrator.";
    let absent = |_| ABSENT.to_owned();
    let mut lines = BufReader::new(EventsService.dial().map_err(absent)?);
    for _ in 0..LINES {
        let line = read::line(&mut lines).map_err(absent)?;
        match line.trouble {
            _ if line.listens => return Ok(()),
            Some(why) => return Err(why),
            None => {}
        }
    }
    Err(ABSENT.to_owned())
}

fn driver() -> Result<(), AskError> {
    DriverDevice.open().map(drop)
}

fn program() -> Result<PathBuf, InstallError> {
    std::env::current_exe().map_err(InstallError::NoProgram)
}

fn command_line() -> Result<String, InstallError> {
    let program = program()?;
    Ok(format!(
        "{WINDOWLESS} --headless \"{}\" daemon",
        program.display()
    ))
}

fn at_login(wanted: &str) -> Result<AtLogin, InstallError> {
    let said = ask_registry(&["query", RUN, "/v", NAME])?;
    // reg.exe says 1 where there is no such value; it prints name, type and value, with spaces between.
    if !said.is_good() {
        return Ok(AtLogin::Nothing);
    }
    Ok(match said.text().contains(wanted) {
        true => AtLogin::Same,
        false => AtLogin::Other,
    })
}

fn ask_registry(arguments: &[&str]) -> Result<Said, InstallError> {
    let mut command = Command::new("reg.exe");
    command.args(arguments);
    tool::ask(command, LIMIT).map_err(|error| InstallError::Registry(error.to_string()))
}

fn registry(arguments: &[&str]) -> Result<(), InstallError> {
    let said = ask_registry(arguments)?;
    match said.is_good() {
        true => Ok(()),
        false => Err(InstallError::Registry(said.errors)),
    }
}

/// The process of the daemon that answers.
fn daemon() -> Option<u32> {
    let pipe = api::default_path().ok()?;
    match Client::connect(&pipe).ok()?.call(Call::Status).ok()? {
        Answer::Status(status) => Some(status.daemon_pid),
        _ => None,
    }
}

fn start() -> Result<(), InstallError> {
    let failed = |error: io::Error| InstallError::Daemon("start", error.to_string());
    let mut command = Command::new(WINDOWLESS);
    command.arg("--headless").arg(program()?).arg("daemon");
    command.spawn().map_err(failed)?;
    let began = Instant::now();
    while daemon().is_none() {
        if began.elapsed() > LIMIT {
            return Err(InstallError::Daemon("start", "it does not answer".into()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Ends it at once. The driver is silent from then on, and the next daemon begins muted.
fn end(process: u32) -> Result<(), InstallError> {
    let mut command = Command::new("taskkill.exe");
    command.args(["/F", "/PID", &process.to_string()]);
    let said = tool::ask(command, LIMIT);
    let said = said.map_err(|error| InstallError::Daemon("end", error.to_string()))?;
    match said.is_good() {
        true => Ok(()),
        false => Err(InstallError::Daemon("end", said.errors)),
    }
}
