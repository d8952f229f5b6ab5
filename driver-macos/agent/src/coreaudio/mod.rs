//! The real system: Core Audio through coreaudio-rs and objc2-core-audio, permission through AVFoundation. `unsafe` stays in
//! [`hal`], [`devices`] and [`permission`], behind safe functions.

mod capture;
mod devices;
mod driver;
mod hal;
mod permission;
mod processes;

use std::path::PathBuf;
use std::sync::Arc;

use objc2_core_audio::{
    kAudioHardwarePropertyDefaultInputDevice, kAudioHardwarePropertyDevices,
    kAudioHardwarePropertyProcessObjectList,
};
use truemute_agent::system::{Capture, Input, Names, Permission, Recorder, System, SystemError};

pub use driver::{diagnosis, socket};

use crate::NAMES;
use hal::{Address, Listener, SYSTEM};

/// Core Audio.
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreAudio;

impl System for CoreAudio {
    fn names(&self) -> Names {
        NAMES
    }

    fn now_ns(&self) -> u64 {
        hal::now_ns()
    }

    fn inputs(&self) -> Result<Vec<Input>, SystemError> {
        devices::inputs()
    }

    fn default_input(&self) -> Result<Option<String>, SystemError> {
        devices::default_input()
    }

    fn set_default_input(&self, uid: &str) -> Result<(), SystemError> {
        devices::set_default_input(uid)
    }

    fn open(&self, uid: &str) -> Result<Box<dyn Capture>, SystemError> {
        Ok(Box::new(capture::HalCapture::open(uid)?))
    }

    fn permission(&self) -> Permission {
        permission::status()
    }

    fn ask_permission(&self) {
        permission::ask();
    }

    fn recorders(&self) -> Result<Vec<Recorder>, SystemError> {
        processes::recorders()
    }

    fn executable(&self, pid: u32) -> Option<PathBuf> {
        processes::executable(pid)
    }

    fn watch(
        &self,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Box<dyn Send + Sync>, SystemError> {
        let mut listeners = Vec::new();
        for selector in [
            kAudioHardwarePropertyDevices,
            kAudioHardwarePropertyDefaultInputDevice,
        ] {
            let changed = changed.clone();
            let address = Address::global(selector);
            listeners.push(Listener::new(SYSTEM, address, move || changed())?);
        }
        // Before macOS 14.2 there is no such list; then recorders are not known at all, and `recorders` says so.
        let processes = Address::global(kAudioHardwarePropertyProcessObjectList);
        if let Ok(listener) = Listener::new(SYSTEM, processes, move || changed()) {
            listeners.push(listener);
        }
        Ok(Box::new(listeners))
    }

    fn set_hog(&self, uid: &str, on: bool) -> Result<(), SystemError> {
        devices::set_hog(uid, on)
    }
}
