//! `truemute install` and `truemute uninstall`, for one user. This file says what is done in what order; [`parts`] and [`guard`]
//! have the files, [`versions`] finds out which of them a machine needs, [`disk`] writes and removes them, [`record`] remembers
//! what was changed, [`default_source`] and [`services`] deal with the session manager and with systemd.

mod default_source;
mod disk;
pub mod guard;
pub mod parts;
mod places;
mod record;
mod services;
mod versions;

/// For fuzzing: what an installation reads that others may have written.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    Record::fuzz(bytes);
    let _ = std::str::from_utf8(bytes).map(Wireplumber::fuzz);
}

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use truemute_pipewire::VIRTUAL_MIC;

use crate::backend::muted_mics_path;
use crate::config::{Config, ConfigError, Guard, POLICY_PATH, Policy, Settings};
use crate::daemon::lock_file;
use crate::protocol::{Answer, Call};
use disk::Found;
use guard::Trusted;
use parts::{File, SILENT_TWIN, Wireplumber};
use places::Places;
use record::{Before, Record};

/// How long the mics may take to be there after the audio server was started again.
const MICS_COME_BACK: Duration = Duration::from_secs(5);

/// How to install or uninstall.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Start the audio server and the daemon again afterwards.
    pub restart: bool,
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
    match Wireplumber::installed() {
        Some(Wireplumber::V0_4 | Wireplumber::V0_5) => {}
        Some(Wireplumber::V0_5_15) => work.tell("This WirePlumber manages what its clients may see in a way that the guard does not know: with guard = \"enforce\" the daemon cuts off who records from a real mic, and nothing does while it is away."),
        None => work.tell("This WirePlumber is not known, or there is none: without the daemon, apps get silence only where no other source was chosen."),
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
/// The configuration or the policy cannot be read: they say whether the guard enforces.
fn wanted(executable: &Path, systemd: bool) -> Result<Vec<File>, InstallError> {
    let config = Config::read_default()?;
    let policy = Policy::read(POLICY_PATH.as_ref(), 0)?;
    let config = Settings::new(config, policy).config;
    let wireplumber = Wireplumber::installed();
    let mut files = vec![parts::unit(executable)];
    files.extend(parts::of_server(wireplumber));
    if config.guard == Guard::Enforce && wireplumber == Some(Wireplumber::V0_5) {
        let trusted = Trusted::configured(&config, executable, systemd);
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

/// One run: what is known, and whom to tell.
struct Work<'a> {
    options: Options,
    say: &'a mut dyn FnMut(&str),
    places: Places,
    record: Record,
    systemd: bool,
    changed: bool,
    /// Of the guard's files: PipeWire and WirePlumber have to read that together.
    guard_changed: bool,
}

impl<'a> Work<'a> {
    fn begin(options: Options, say: &'a mut dyn FnMut(&str)) -> Result<Self, InstallError> {
        if rustix::process::geteuid().is_root() && std::env::var_os("SUDO_UID").is_some() {
            return Err(InstallError::Sudo);
        }
        let places = Places::of_user().ok_or(InstallError::NoHome)?;
        let systemd = services::are_there();
        if options.restart && !systemd {
            return Err(InstallError::NoSystemd);
        }
        Ok(Self {
            options,
            say,
            record: Record::read(&places.record),
            places,
            systemd,
            changed: false,
            guard_changed: false,
        })
    }

    fn tell(&mut self, what: &str) {
        (self.say)(what);
    }

    /// Says what is done; false if it is not to be done.
    fn does(&mut self, what: &str) -> bool {
        self.changed = true;
        if self.options.dry_run {
            self.tell(&format!("Not done, only said: {what}."));
        } else {
            self.tell(&format!("{what}."));
        }
        !self.options.dry_run
    }

    fn path(&self, file: &File) -> PathBuf {
        self.places.base(file.base).join(file.path)
    }

    fn places_of(&self, files: &[File]) -> BTreeSet<PathBuf> {
        files.iter().map(|file| self.path(file)).collect()
    }

    fn guard_files(&self) -> BTreeSet<PathBuf> {
        self.places_of(&guard::files(&Trusted::default()))
    }

    /// A PipeWire that has read the guard's files serves nobody without a WirePlumber that has read them. If these were removed and
    /// WirePlumber alone were started again, as it is after a crash, no app would have sound.
    fn may_remove(&self, paths: &BTreeSet<PathBuf>) -> Result<(), InstallError> {
        if self.options.restart || self.options.dry_run || !self.systemd {
            return Ok(());
        }
        for path in self.guard_files().intersection(paths) {
            let found = disk::look(path, "").map_err(file_error(path))?;
            if matches!(found, Found::Same | Found::Other) {
                return Err(InstallError::NeedsRestart);
            }
        }
        Ok(())
    }

    fn remember(&mut self) -> Result<(), InstallError> {
        let path = self.places.record.clone();
        self.record.write(&path).map_err(file_error(&path))
    }

    fn write(&mut self, changes: Vec<(PathBuf, String)>) -> Result<(), InstallError> {
        let guard = self.guard_files();
        for (path, text) in changes {
            self.guard_changed |= guard.contains(&path);
            if !self.does(&format!("Write {}", path.display())) {
                continue;
            }
            let made = disk::write(&path, &text).map_err(file_error(&path))?;
            self.record.directories.extend(made);
            self.record.files.insert(path);
            self.remember()?;
        }
        Ok(())
    }

    fn remove(&mut self, paths: BTreeSet<PathBuf>) -> Result<(), InstallError> {
        let guard = self.guard_files();
        for path in paths {
            match disk::look(&path, "").map_err(file_error(&path))? {
                Found::Nothing => {}
                Found::Foreign => {
                    self.tell(&format!(
                        "Left alone, for it is not ours: {}.",
                        path.display()
                    ));
                }
                Found::Same | Found::Other => {
                    self.guard_changed |= guard.contains(&path);
                    if self.does(&format!("Remove {}", path.display())) {
                        disk::remove(&path).map_err(file_error(&path))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the virtual mic the default source, and remembers what was.
    fn make_default(&mut self) {
        match default_source::chosen() {
            Ok(Some(name)) if name == VIRTUAL_MIC => {}
            Ok(before) => {
                let was = before.clone();
                if !self.does("Make TrueMute Microphone the default input") {
                    return;
                }
                if self.record.default_source.is_none() {
                    let name = before.filter(|name| !default_source::is_ours(name));
                    self.record.default_source = Some(Before { name });
                }
                // The twin first, so that it is the choice before: what WirePlumber 0.4 falls back to.
                let done = self
                    .remember()
                    .map_err(|error| error.to_string())
                    .and_then(|()| default_source::choose(Some(SILENT_TWIN)))
                    .and_then(|()| default_source::choose(Some(VIRTUAL_MIC)));
                match done {
                    Ok(()) => default_source::wait_until_stored(&self.places.wireplumber, Some(VIRTUAL_MIC)),
                    Err(why) => self.tell(&format!("That could not be done ({why}). Choose it in the desktop's sound settings.")),
                }
                if let Some(name) = was {
                    self.tell(&format!(
                        "Your input was {name}. To have TrueMute follow it whatever else is plugged in, write real_mic = \"{name}\" into its configuration."
                    ));
                }
            }
            Err(why) => self.tell(&format!(
                "The default input is left as it is ({why}). Run this again when PipeWire runs, or choose TrueMute Microphone in the desktop's sound settings."
            )),
        }
    }

    /// Unmutes what a daemon that did not end in order has left mute.
    fn unmute_mics(&mut self) {
        let list = muted_mics_path().filter(|list| list.exists());
        let Some(list) = list else { return };
        if !self.does("Unmute the real microphones that TrueMute muted") {
            return;
        }
        // A server that was just started has its mics a moment later.
        let deadline = Instant::now() + MICS_COME_BACK;
        let why = loop {
            let why = match truemute_pipewire::give_mics_back(list.clone()) {
                Ok(true) => return,
                Ok(false) => "one of them is not plugged in".to_owned(),
                Err(failure) => failure.to_string(),
            };
            if !self.options.restart || Instant::now() >= deadline {
                break why;
            }
            thread::sleep(Duration::from_millis(200));
        };
        self.tell(&format!(
            "That could not be done for all ({why}). Unmute them in the desktop's sound settings."
        ));
    }

    /// Gives back the default source that was before, unless somebody chose another since.
    fn restore_default(&mut self) {
        let Ok(now) = default_source::chosen() else {
            return;
        };
        let before = self.record.default_source.clone().and_then(|it| it.name);
        let is_ours = now.as_deref().is_none_or(default_source::is_ours);
        if !is_ours || now == before {
            return;
        }
        let what = match &before {
            Some(name) => format!("Make {name} the default input again"),
            None => "Have no default input chosen, as before".to_owned(),
        };
        if !self.does(&what) {
            return;
        }
        match default_source::choose(before.as_deref()) {
            Ok(()) => {
                default_source::wait_until_stored(&self.places.wireplumber, before.as_deref())
            }
            Err(why) => self.tell(&format!(
                "That could not be done ({why}). Choose an input in the desktop's sound settings."
            )),
        }
    }

    /// Removes what the daemon remembers of its gate, so that a later installation starts like the first.
    fn forget_gate(&mut self) -> Result<(), InstallError> {
        let path = self.places.gate.clone();
        if path.exists() && self.does(&format!("Remove {}", path.display())) {
            std::fs::remove_file(&path).map_err(file_error(&path))?;
        }
        Ok(())
    }

    fn systemctl(&mut self, what: &str, arguments: &[&str]) -> Result<(), InstallError> {
        let what = format!("{what}: systemctl --user {}", arguments.join(" "));
        if self.does(&what) {
            services::systemctl(arguments).map_err(InstallError::Systemd)?;
        }
        Ok(())
    }

    /// Starts again what has to read the files anew, or says that it has to be.
    fn restart(&mut self, with_daemon: bool) -> Result<(), InstallError> {
        if self.options.restart {
            return self.restart_now(with_daemon);
        }
        if !self.changed {
            self.tell(if with_daemon {
                "Everything is in place already."
            } else {
                "Nothing of it is installed."
            });
            return Ok(());
        }
        self.tell("It takes effect when PipeWire, WirePlumber and the daemon have been started again, which interrupts all sound for a moment.");
        if self.guard_changed {
            self.tell("The guard's files changed: end PipeWire and WirePlumber both, then start both. A WirePlumber that is started again alone can leave every app without sound.");
        }
        if self.systemd {
            let again = if with_daemon { "install" } else { "uninstall" };
            self.tell(&format!("`truemute {again} --restart` does that."));
        }
        Ok(())
    }

    fn restart_now(&mut self, with_daemon: bool) -> Result<(), InstallError> {
        let units = services::of_server();
        let with = |verb: &'static str| [vec![verb], units.clone()].concat();
        let ended = self.systemctl("End the audio server", &with("stop"));
        let forgotten = if with_daemon || ended.is_err() {
            Ok(())
        } else {
            self.forget_in_wireplumber()
        };
        // Whatever failed before: nobody is to be left without sound.
        let started = self.systemctl("Start it again", &with("start"));
        let daemon = if with_daemon {
            self.systemctl("Start the daemon", &["restart", services::UNIT])
        } else {
            Ok(())
        };
        ended.and(forgotten).and(started).and(daemon)
    }

    /// Takes our sources out of WirePlumber's state. Only while it does not run: it writes what it has in memory.
    fn forget_in_wireplumber(&mut self) -> Result<(), InstallError> {
        let state = self.places.wireplumber.clone();
        for (path, rest) in default_source::remembered(&state).map_err(file_error(&state))? {
            if self.does(&format!(
                "Take TrueMute's sources out of {}",
                path.display()
            )) {
                disk::write(&path, &rest).map_err(file_error(&path))?;
            }
        }
        Ok(())
    }

    /// The last of an uninstallation: what the record says of directories, and the record.
    fn forget(&mut self) -> Result<(), InstallError> {
        if !self.options.restart {
            let state = self.places.wireplumber.clone();
            if default_source::chosen().is_err() {
                self.forget_in_wireplumber()?;
            } else if !default_source::remembered(&state)
                .map_err(file_error(&state))?
                .is_empty()
            {
                self.tell("WirePlumber still remembers TrueMute's sources. Run this again while it does not run, or with --restart.");
            }
        }
        if self.options.dry_run {
            return Ok(());
        }
        let directories: Vec<_> = self.record.directories.iter().cloned().collect();
        disk::remove_empty(&directories);
        let path = self.places.record.clone();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(&path)(error)),
            _ => Ok(()),
        }
    }
}
