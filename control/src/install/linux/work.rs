//! The single steps of installing and uninstalling: each says what it does, and does it unless it is only to be said. What is
//! done in what order is not here.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use truemute_pipewire::VIRTUAL_MIC;

use super::disk::{self, Found};
use super::guard::{self, Trusted};
use super::parts::{File, SILENT_TWIN};
use super::places::Places;
use super::record::{Before, Record};
use super::{InstallError, Options, default_source, file_error, services};
use crate::backend::muted_mics_path;

/// How long the mics may take to be there after the audio server was started again.
const MICS_COME_BACK: Duration = Duration::from_secs(5);

/// One run: what is known, and whom to tell.
pub(super) struct Work<'a> {
    options: Options,
    say: &'a mut dyn FnMut(&str),
    pub(super) places: Places,
    pub(super) record: Record,
    pub(super) systemd: bool,
    pub(super) changed: bool,
    /// Of the guard's files: PipeWire and WirePlumber have to read that together.
    guard_changed: bool,
}

impl<'a> Work<'a> {
    pub(super) fn begin(
        options: Options,
        say: &'a mut dyn FnMut(&str),
    ) -> Result<Self, InstallError> {
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

    pub(super) fn tell(&mut self, what: &str) {
        (self.say)(what);
    }

    /// Says what is done; false if it is not to be done.
    pub(super) fn does(&mut self, what: &str) -> bool {
        self.changed = true;
        if self.options.dry_run {
            self.tell(&format!("Not done, only said: {what}."));
        } else {
            self.tell(&format!("{what}."));
        }
        !self.options.dry_run
    }

    pub(super) fn path(&self, file: &File) -> PathBuf {
        self.places.base(file.base).join(file.path)
    }

    pub(super) fn places_of(&self, files: &[File]) -> BTreeSet<PathBuf> {
        files.iter().map(|file| self.path(file)).collect()
    }

    pub(super) fn guard_files(&self) -> BTreeSet<PathBuf> {
        self.places_of(&guard::files(&Trusted::default()))
    }

    /// A PipeWire that has read the guard's files serves nobody without a WirePlumber that has read them. If these were removed and
    /// WirePlumber alone were started again, as it is after a crash, no app would have sound.
    pub(super) fn may_remove(&self, paths: &BTreeSet<PathBuf>) -> Result<(), InstallError> {
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

    pub(super) fn remember(&mut self) -> Result<(), InstallError> {
        let path = self.places.record.clone();
        self.record.write(&path).map_err(file_error(&path))
    }

    pub(super) fn write(&mut self, changes: Vec<(PathBuf, String)>) -> Result<(), InstallError> {
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

    pub(super) fn remove(&mut self, paths: BTreeSet<PathBuf>) -> Result<(), InstallError> {
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
    pub(super) fn make_default(&mut self) {
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
    pub(super) fn unmute_mics(&mut self) {
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
    pub(super) fn restore_default(&mut self) {
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
    pub(super) fn forget_gate(&mut self) -> Result<(), InstallError> {
        let path = self.places.gate.clone();
        if path.exists() && self.does(&format!("Remove {}", path.display())) {
            std::fs::remove_file(&path).map_err(file_error(&path))?;
        }
        Ok(())
    }

    pub(super) fn systemctl(&mut self, what: &str, arguments: &[&str]) -> Result<(), InstallError> {
        let what = format!("{what}: systemctl --user {}", arguments.join(" "));
        if self.does(&what) {
            services::systemctl(arguments).map_err(InstallError::Systemd)?;
        }
        Ok(())
    }

    /// Starts again what has to read the files anew, or says that it has to be.
    pub(super) fn restart(&mut self, with_daemon: bool) -> Result<(), InstallError> {
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

    pub(super) fn restart_now(&mut self, with_daemon: bool) -> Result<(), InstallError> {
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
    pub(super) fn forget_in_wireplumber(&mut self) -> Result<(), InstallError> {
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
    pub(super) fn forget(&mut self) -> Result<(), InstallError> {
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
