//! Installing on macOS: the LaunchAgent that starts the daemon at login. The driver and the application are put into their places
//! by install.sh of the archive, which needs root, and calls this for the user.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Options;
pub(crate) use super::launch_agent::Found as AgentFile;
use super::launch_agent::{Found, LABEL, LaunchAgent};
use crate::tool;

/// Where Core Audio looks for the driver.
pub(crate) const DRIVER: &str = "/Library/Audio/Plug-Ins/HAL/TrueMute.driver";

/// launchd waits for the daemon's end.
const LIMIT: Duration = Duration::from_secs(30);

/// Why it could not be done. Nothing, or not all, was done then; doing it again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is no home directory.
    #[error("There is no home directory to install to. Set HOME.")]
    NoHome,
    /// Run as root.
    #[error("This would install TrueMute for root. Run it as yourself, without sudo.")]
    Root,
    /// The executable's path is not known.
    #[error("It cannot be found out where this program lies: {0}. Start it by its path.")]
    NoProgram(io::Error),
    /// A program outside of its application gets no permission to record.
    #[error("{} does not lie in TrueMute.app, and macOS gives a microphone to an application only. Run the one in /Applications/TrueMute.app/Contents/MacOS.", .0.display())]
    NoApplication(PathBuf),
    /// Others' file lies where ours belongs.
    #[error("Not ours, and in the way: {}. Move it away, then run this again.", .0.display())]
    Foreign(PathBuf),
    /// A file or directory.
    #[error("{} cannot be read, written or removed: {source}. Check whose it is, and the disk.", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// launchd refused.
    #[error("launchd did not do it: {0}. Log in at the screen of the Mac, then run this again.")]
    Launchd(String),
}

/// Installs for the user who runs this program, and tells `say` each thing that is done, in a sentence. Doing it again changes
/// only what is not as it should be.
///
/// # Errors
/// See [`InstallError`].
pub fn install(options: Options, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let (agent, path) = wanted()?;
    let found = agent.look(&path).map_err(file_error(&path))?;
    if found == Found::Foreign {
        return Err(InstallError::Foreign(path));
    }
    if found != Found::Same {
        say(&format!("Write {}.", path.display()));
        if !options.dry_run {
            agent.write(&path).map_err(file_error(&path))?;
        }
    }
    let running = is_loaded();
    if running && (found != Found::Same || options.restart) {
        say("End the daemon.");
        if !options.dry_run {
            launchctl(&["bootout", &target()]).map_err(InstallError::Launchd)?;
        }
    }
    if !running || found != Found::Same || options.restart {
        say("Start the daemon, now and at each login.");
        if !options.dry_run {
            launchctl(&["enable", &target()]).map_err(InstallError::Launchd)?;
            launchctl(&["bootstrap", &domain(), &path.to_string_lossy()])
                .map_err(InstallError::Launchd)?;
        }
    }
    if !Path::new(DRIVER).exists() {
        say(&format!(
            "{DRIVER} is not there, so that there is no TrueMute Microphone: run install.sh of the archive."
        ));
    }
    Ok(())
}

/// Undoes [`install`], and tells `say` each thing that is done. The driver and the application stay: uninstall.sh removes them.
///
/// # Errors
/// See [`InstallError`].
pub fn uninstall(options: Options, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let home = home()?;
    let path = LaunchAgent::path(&home);
    let agent = LaunchAgent::new(Path::new(""), &home);
    if is_loaded() {
        say("End the daemon.");
        if !options.dry_run {
            launchctl(&["bootout", &target()]).map_err(InstallError::Launchd)?;
        }
    }
    match agent.look(&path).map_err(file_error(&path))? {
        Found::Nothing => {}
        Found::Foreign => return Err(InstallError::Foreign(path)),
        Found::Same | Found::Other => {
            say(&format!("Remove {}.", path.display()));
            if !options.dry_run {
                std::fs::remove_file(&path).map_err(file_error(&path))?;
            }
        }
    }
    say("Your configuration and the history of counts stay where they are.");
    Ok(())
}

/// What is there of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The LaunchAgent's file.
    pub(crate) agent: Found,
    /// Whether launchd has it.
    pub(crate) loaded: bool,
    /// Whether the driver lies where Core Audio looks for it.
    pub(crate) driver: bool,
}

/// Looks what is there, and changes nothing.
///
/// # Errors
/// See [`InstallError`].
pub(crate) fn inspect() -> Result<Installed, InstallError> {
    let (agent, path) = wanted()?;
    Ok(Installed {
        agent: agent.look(&path).map_err(file_error(&path))?,
        loaded: is_loaded(),
        driver: Path::new(DRIVER).exists(),
    })
}

fn wanted() -> Result<(LaunchAgent, PathBuf), InstallError> {
    if rustix::process::geteuid().is_root() {
        return Err(InstallError::Root);
    }
    let home = home()?;
    let executable = std::env::current_exe().map_err(InstallError::NoProgram)?;
    // The archive has a link to it in /usr/local/bin.
    let executable = executable.canonicalize().map_err(InstallError::NoProgram)?;
    if !executable.ends_with("Contents/MacOS/truemute") {
        return Err(InstallError::NoApplication(executable));
    }
    let path = LaunchAgent::path(&home);
    Ok((LaunchAgent::new(&executable, &home), path))
}

fn home() -> Result<PathBuf, InstallError> {
    std::env::home_dir().ok_or(InstallError::NoHome)
}

/// The user's session at the screen (launchctl(1)).
fn domain() -> String {
    format!("gui/{}", rustix::process::getuid().as_raw())
}

fn target() -> String {
    format!("{}/{LABEL}", domain())
}

fn is_loaded() -> bool {
    launchctl(&["print", &target()]).is_ok()
}

fn launchctl(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("/bin/launchctl");
    command.args(arguments);
    let said = tool::ask(command, LIMIT).map_err(|error| format!("launchctl: {error}"))?;
    match said.is_good() {
        true => Ok(()),
        false if said.errors.is_empty() => Err(format!("launchctl {} failed", arguments.join(" "))),
        false => Err(said.errors),
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { path, source }
}
