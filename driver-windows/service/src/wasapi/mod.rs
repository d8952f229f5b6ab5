//! Windows itself: WASAPI through the crate `windows`, the driver's control device, and what only Windows knows of its processes.
//! `unsafe` stays in here, behind safe types. It is compiled on Linux for Windows, and has not run there: `docs/known-issues.md`.

mod capture;
mod com;
pub(crate) use com::text;
mod control;
mod devices;
mod exclusive;
mod processes;
mod sessions;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use truemute_agent::system::{Capture, Input, Names, Permission, Recorder, System, SystemError};

use crate::NAMES;
use crate::sessions::{Session, Sessions, recorders};
pub use control::DriverDevice;
use exclusive::Exclusive;

/// The audio system of this user's session.
#[derive(Default)]
pub struct Wasapi {
    /// The microphone that we have for ourselves.
    held: Mutex<Option<(String, Exclusive)>>,
}

impl System for Wasapi {
    fn names(&self) -> Names {
        NAMES
    }

    fn now_ns(&self) -> u64 {
        processes::now_ns()
    }

    fn inputs(&self) -> Result<Vec<Input>, SystemError> {
        devices::inputs()
    }

    fn default_input(&self) -> Result<Option<String>, SystemError> {
        devices::default_input()
    }

    /// Windows has no public function for it: its settings are shown, and the user chooses.
    fn set_default_input(&self, uid: &str) -> Result<(), SystemError> {
        if devices::default_input()?.as_deref() == Some(uid) {
            return Ok(());
        }
        // Its own program for such addresses; that it says it failed means nothing.
        if let Err(error) = std::process::Command::new("explorer.exe")
            .arg("ms-settings:sound")
            .status()
        {
            tracing::warn!("the settings cannot be shown: {error}");
        }
        Err(SystemError::NotDefault(
            NAMES.shown_as,
            NAMES.sound_settings,
        ))
    }

    fn open(&self, uid: &str) -> Result<Box<dyn Capture>, SystemError> {
        Ok(Box::new(capture::WasapiCapture::open(uid)?))
    }

    fn permission(&self) -> Permission {
        processes::microphone_permission()
    }

    /// Desktop programs are not asked about.
    fn ask_permission(&self) {}

    fn recorders(&self) -> Result<Vec<Recorder>, SystemError> {
        Ok(recorders(&sessions::sessions()?))
    }

    fn executable(&self, pid: u32) -> Option<PathBuf> {
        processes::executable(pid)
    }

    fn watch(
        &self,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Box<dyn Send + Sync>, SystemError> {
        Ok(Box::new(devices::Watching::start(changed)?))
    }

    fn set_hog(&self, uid: &str, on: bool) -> Result<(), SystemError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_ref() {
            Some((holding, _)) if on && holding == uid => return Ok(()),
            // An exclusive stream ends when nobody has it any more.
            Some((holding, _)) if on || holding == uid => *held = None,
            _ => {}
        }
        if on {
            *held = Some((uid.to_owned(), Exclusive::hold(uid)?));
        }
        Ok(())
    }
}

impl Sessions for Wasapi {
    fn sessions(&self) -> Result<Vec<Session>, SystemError> {
        sessions::sessions()
    }
}
