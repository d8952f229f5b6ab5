//! Installing on Linux. This file says what is done in what order; [`parts`] and [`guard`]
//! have the files, [`versions`] finds out which of them a machine needs, [`disk`] writes and removes them, [`record`] remembers
//! what was changed, [`default_source`] and [`services`] deal with the session manager and with systemd; [`work`] does
//! each step, or only says it.

mod default_source;
mod disk;
pub mod guard;
pub mod parts;
mod places;
mod record;
mod services;
mod versions;
mod work;

/// For fuzzing: what an installation reads that others may have written.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    Record::fuzz(bytes);
    let _ = std::str::from_utf8(bytes).map(Wireplumber::fuzz);
}

use std::io;
use std::path::{Path, PathBuf};

use super::Options;
use crate::config::{Config, ConfigError, Guard, POLICY_PATH, Policy, Settings};
use crate::daemon::lock_file;
use crate::protocol::{Answer, Call};
use disk::Found;
use guard::Trusted;
use parts::{File, Wireplumber};
use places::Places;
#[cfg(fuzzing)]
use record::Record;
use work::Work;

/// Chooses the virtual mic as the default source, as installing does, and says if that cannot be. Takes effect at once if the
/// virtual mic is there, else when it comes.
pub(crate) fn choose_virtual_mic() -> Result<(), String> {
    default_source::choose(Some(truemute_pipewire::VIRTUAL_MIC))
}

/// Why it could not be done. Nothing, or not all, was done then; doing it again goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is no home directory.
    #[error("There is no home directory to install to. Set HOME.")]
    NoHome,
    /// Run by sudo, for the wrong user.
    #[error("This would install TrueMute for root. Run it as yourself, without sudo.")]
    Sudo,
    /// The executable's path is not known.
    #[error("It cannot be found out where this program lies: {0}. Start it by its path.")]
    NoProgram(io::Error),
    /// The configuration says what to install.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Trusting it by its path would trust every app that speaks PulseAudio.
    #[error(
        "{} is also pipewire-pulse, which records for every app that speaks PulseAudio, so the guard cannot trust it. Take it out of trusted_processors; run an echo canceller or filter from PipeWire's own configuration (pipewire.conf.d), which is trusted.", .0.display()
    )]
    ServesEverybody(PathBuf),
    /// Others' files lie where ours belong.
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
    /// systemd refused.
    #[error("systemd did not do it: {0}. Look at systemctl --user status truemute.")]
    Systemd(String),
    /// Restarting was asked for, and there is nobody to do it.
    #[error(
        "There is no systemd of this user that could start PipeWire again. Start it again by hand, without --restart."
    )]
    NoSystemd,
    /// The guard's files are to go, and only a restart makes that whole.
    #[error(
        "PipeWire serves nobody without the guard once it has read it, so that there may be no sound when the guard's files are removed. Run this again with --restart, which starts PipeWire and WirePlumber again together."
    )]
    NeedsRestart,
    /// To uninstall would end the lock.
    #[error(
        "TrueMute is locked, and uninstalling would end that. Run `truemute unlock` first; where a policy locks it, ask the administrator."
    )]
    Locked,
}

/// Installs for the user who runs this program, and tells `say` each thing that is done, in a sentence. Doing it again changes
/// only what is not as it should be.
///
/// # Errors
/// See [`InstallError`]. If a file of somebody else's is in the way, or a restart is needed and not asked for, nothing is done.
pub fn install(options: Options, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let mut work = Work::begin(options, say)?;
    let executable = std::env::current_exe().map_err(InstallError::NoProgram)?;
    let wanted = wanted(&executable, work.systemd)?;
    let mut stale = work.places_of(&parts_of_any());
    let mut changes = Vec::new();
    for file in &wanted {
        let (path, text) = (work.path(file), disk::marked(file));
        stale.remove(&path);
        match disk::look(&path, &text).map_err(file_error(&path))? {
            Found::Same => {}
            Found::Foreign => return Err(InstallError::Foreign(path)),
            Found::Nothing | Found::Other => changes.push((path, text)),
        }
    }
    work.may_remove(&stale)?;
    work.write(changes)?;
    // What another version of us, or of the session manager, needed.
    work.remove(stale)?;
    let new_files = work.changed;
    work.make_default();
    if work.systemd {
        if new_files {
            work.systemctl("Tell systemd of what is new", &["daemon-reload"])?;
        }
        if services::systemctl(&["is-enabled", services::UNIT]).is_err() {
            let enable = ["enable", services::UNIT];
            work.systemctl("Start the daemon at each login", &enable)?;
        }
    } else {
        work.tell("No systemd of this user answers: nothing starts the daemon at login. Have the session start `truemute supervise`.");
    }
    if Wireplumber::installed().is_none() {
        work.tell("This WirePlumber is not known, or there is none: without the daemon, apps get silence only where no other source was chosen.");
    }
    work.restart(true)
}

/// Undoes [`install`], whatever of it is there, also after a crash, and tells `say` each thing that is done.
///
/// # Errors
/// See [`InstallError`].
pub fn uninstall(options: Options, say: &mut dyn FnMut(&str)) -> Result<(), InstallError> {
    let mut work = Work::begin(options, say)?;
    if lock_file::may_hold(&work.places.lock) || daemon_is_locked() {
        return Err(InstallError::Locked);
    }
    let mut files = work.places_of(&parts_of_any());
    files.extend(work.record.files.iter().cloned());
    work.may_remove(&files)?;
    let unit = work.path(&parts::unit(Path::new("")));
    if work.systemd && disk::look(&unit, "").is_ok_and(|it| it == Found::Other) {
        work.systemctl("End the daemon", &["disable", "--now", services::UNIT])?;
    }
    let daemon_runs = daemon_answers();
    if daemon_runs {
        work.tell("The daemon still runs, and nothing starts it again: end it.");
    } else {
        work.forget_gate()?;
    }
    work.restore_default();
    work.remove(files)?;
    if work.systemd {
        work.systemctl("Tell systemd that the unit is gone", &["daemon-reload"])?;
    }
    let restarted = work.restart(false);
    if !daemon_runs {
        // The guard hides the mics from this process while it is in force.
        work.unmute_mics();
    }
    restarted?;
    work.forget()?;
    work.tell("Your configuration and the history of counts stay where they are.");
    Ok(())
}

/// What is there of an installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Files that this machine needs.
    pub(crate) files: usize,
    /// Those that are not there.
    pub(crate) missing: Vec<PathBuf>,
    /// Ours, but not as this version writes them.
    pub(crate) changed: Vec<PathBuf>,
    /// Others' files in their places.
    pub(crate) foreign: Vec<PathBuf>,
    /// Whether systemd starts the daemon at login; nothing if there is no systemd of this user.
    pub(crate) enabled: Option<bool>,
    /// Whether systemd has given the daemon up.
    pub(crate) failed: bool,
}

/// Looks what is there, and changes nothing.
///
/// # Errors
/// See [`InstallError`].
pub(crate) fn inspect() -> Result<Installed, InstallError> {
    let places = Places::of_user().ok_or(InstallError::NoHome)?;
    let executable = std::env::current_exe().map_err(InstallError::NoProgram)?;
    let systemd = services::are_there();
    let mut installed = Installed {
        enabled: systemd.then(|| services::systemctl(&["is-enabled", services::UNIT]).is_ok()),
        failed: systemd && services::systemctl(&["is-failed", services::UNIT]).is_ok(),
        ..Installed::default()
    };
    for file in wanted(&executable, systemd)? {
        let path = places.base(file.base).join(file.path);
        installed.files += 1;
        match disk::look(&path, &disk::marked(&file)).map_err(file_error(&path))? {
            Found::Same => {}
            Found::Nothing => installed.missing.push(path),
            Found::Other => installed.changed.push(path),
            Found::Foreign => installed.foreign.push(path),
        }
    }
    Ok(installed)
}

/// The files that this machine needs.
///
/// # Errors
/// The configuration or the policy cannot be read: they say whether the guard enforces. Or it would let everybody through.
fn wanted(executable: &Path, systemd: bool) -> Result<Vec<File>, InstallError> {
    let config = Config::read_default()?;
    let policy = Policy::read(POLICY_PATH.as_ref(), 0)?;
    let config = Settings::new(config, policy).config;
    let wireplumber = Wireplumber::installed();
    let mut files = vec![parts::unit(executable)];
    files.extend(parts::of_server(wireplumber));
    if config.guard == Guard::Enforce && wireplumber == Some(Wireplumber::V0_5) {
        let trusted = Trusted::configured(&config, executable, systemd);
        let bridge = truemute_pipewire::rehearsal::find_program("pipewire-pulse");
        if let Some(path) =
            bridge.and_then(|bridge| trusted.serves_everybody(&bridge).map(Path::to_owned))
        {
            return Err(InstallError::ServesEverybody(path));
        }
        files.extend(guard::files(&trusted));
    }
    Ok(files)
}

/// Every file that could be ours, on any machine.
fn parts_of_any() -> Vec<File> {
    let mut files = vec![parts::unit(Path::new(""))];
    for wireplumber in [Wireplumber::V0_4, Wireplumber::V0_5] {
        files.extend(parts::of_server(Some(wireplumber)));
    }
    files.extend(guard::files(&Trusted::default()));
    files
}

fn daemon_answers() -> bool {
    crate::api::default_path().is_ok_and(|socket| crate::api::Client::connect(&socket).is_ok())
}

fn daemon_is_locked() -> bool {
    let asked = crate::api::default_path().ok().and_then(|socket| {
        let mut daemon = crate::api::Client::connect(&socket).ok()?;
        daemon.call(Call::Status).ok()
    });
    matches!(asked, Some(Answer::Status(status)) if status.locked)
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { path, source }
}
